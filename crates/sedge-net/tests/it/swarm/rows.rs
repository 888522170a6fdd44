//! Topics, messages with a hop limit, and links that come back, over QUIC.

use std::time::Duration;

use bytes::Bytes;
use sedge_net::{
    CloseReason, Conn, Delivery, DialError, Heed, MemoryNet, PeerAddr, Protocol, Swarm, Topic,
    Transport, USUAL_HOPS,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Agent, LONG, in_memory, keys, over_quic};
use crate::peers::{Guests, SOON};

fn topic() -> Topic {
    "jobs".parse().unwrap()
}

/// Adds a handler that passes on what it gets.
fn listen(swarm: &Swarm) -> mpsc::UnboundedReceiver<Delivery> {
    let (sender, heard) = mpsc::unbounded_channel();
    let handler = move |delivery| {
        drop(sender.send(delivery)); // the test may have ended
        async {}
    };
    swarm.on(&topic(), handler).unwrap();
    heard
}

async fn heard(by: &mut mpsc::UnboundedReceiver<Delivery>) -> Delivery {
    timeout(LONG, by.recv()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_027_two_handlers_on_one_topic_are_both_called() {
    let mut agents = Vec::<Agent>::new();
    for id in 0..3 {
        let seeds = agents.first().map(Agent::addr).into_iter().collect();
        agents.push(Agent::join(id, over_quic(id, Guests::everybody()).await, seeds, |_| {}));
    }
    for agent in &agents {
        agent.until(LONG, |it| it.alive() == 3 && !it.neighbours().is_empty()).await;
    }
    let (mut one, mut two) = (listen(&agents[2].swarm), listen(&agents[2].swarm));
    let other: Topic = "other".parse().unwrap();
    let mut elsewhere = agents[2].swarm.subscribe(&other).unwrap();
    let mut at_home = listen(&agents[0].swarm);
    agents[0].swarm.publish(&topic(), Bytes::from_static(b"hello"), USUAL_HOPS).unwrap();
    agents[0].swarm.publish(&other, Bytes::from_static(b"other"), USUAL_HOPS).unwrap();
    for by in [&mut one, &mut two, &mut at_home] {
        let delivery = heard(by).await;
        assert_eq!((delivery.author, &delivery.body[..]), (agents[0].node, b"hello".as_slice()));
    }
    let Some(Heed::Message(delivery)) = timeout(LONG, elsewhere.next()).await.unwrap() else {
        panic!("nothing on the other topic")
    };
    assert_eq!(&delivery.body[..], b"other");
    assert!(one.try_recv().is_err() && two.try_recv().is_err(), "once, and of this topic only");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_or_panics_holds_nobody_up() {
    let net = MemoryNet::new();
    let agents: Vec<_> = (0..2)
        .map(|id| {
            let first = PeerAddr::new(keys(0).node_id());
            Agent::join(id, in_memory(&net, id), vec![first], |it| it.posts_per_second = 1000)
        })
        .collect();
    agents[1].until(LONG, |it| it.alive() == 2 && !it.neighbours().is_empty()).await;
    let swarm = &agents[1].swarm;
    swarm.on(&topic(), |_| std::future::pending()).unwrap();
    swarm.on(&topic(), |it| async move { assert!(it.body.is_empty(), "a bug") }).unwrap();
    let mut quick = listen(swarm);
    let mut slow = swarm.subscribe(&topic()).unwrap();
    for _ in 0..400 {
        agents[0].swarm.publish(&topic(), Bytes::from_static(b"x"), 1).unwrap();
        assert_eq!(heard(&mut quick).await.author, agents[0].node);
    }
    assert_eq!(slow.next().await, Some(Heed::Missed(400 - 256)));
    let panicked = &swarm.metrics().panicked;
    let counted = async {
        while panicked.load(std::sync::atomic::Ordering::Relaxed) != 400 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, counted).await.expect("every panic is counted");
}

/// Twelve nodes, each of which can reach only those before and behind it.
async fn line() -> Vec<Agent> {
    let node = |id: u32| keys(id).node_id();
    let mut agents = Vec::<Agent>::new();
    for id in 0_u32..12 {
        let near: Vec<_> = [id.checked_sub(1), Some(id + 1)].into_iter().flatten().collect();
        let guests = Guests::members(&near.into_iter().map(node).collect::<Vec<_>>());
        let seeds = agents.last().map(Agent::addr).into_iter().collect();
        agents.push(Agent::join(id, over_quic(id, guests).await, seeds, |_| {}));
    }
    for (id, agent) in agents.iter().enumerate() {
        let links = if id == 0 || id == 11 { 1 } else { 2 };
        agent.until(LONG, |it| it.alive() == 12 && it.neighbours().len() == links).await;
    }
    agents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_028_a_broadcast_and_a_directed_message_make_ten_hops_and_not_eleven() {
    let agents = line().await;
    let mut heard_by: Vec<_> = agents.iter().map(|it| listen(&it.swarm)).collect();
    let first = &agents[0].swarm;
    let say = |body: &'static str| Bytes::from_static(body.as_bytes());
    first.publish(&topic(), say("all"), USUAL_HOPS).unwrap();
    first.send(agents[10].node, &topic(), say("to 11"), USUAL_HOPS).unwrap();
    first.send(agents[11].node, &topic(), say("to 12"), USUAL_HOPS).unwrap();
    for (hops, by) in heard_by.iter_mut().take(11).enumerate() {
        let delivery = heard(by).await;
        assert_eq!((usize::from(delivery.hops), &delivery.body[..]), (hops, b"all".as_slice()));
    }
    let directed = heard(&mut heard_by[10]).await;
    assert_eq!((&directed.body[..], directed.directed), (b"to 11".as_slice(), true));
    // What may make one hop more arrives after all that is on its way, on the same links.
    first.publish(&topic(), say("last"), USUAL_HOPS + 1).unwrap();
    let last = heard(&mut heard_by[11]).await;
    assert_eq!((last.hops, &last.body[..]), (11, b"last".as_slice()), "nothing else reached 12");
    for by in heard_by.iter_mut().take(10).skip(1) {
        assert_eq!(&heard(by).await.body[..], b"last", "a directed message is for one alone");
    }
}

#[tokio::test(start_paused = true)]
async fn row_034_six_dials_of_a_dead_node_wait_longer_and_longer() {
    let net = MemoryNet::new();
    let gaps = async |id: u32| {
        let agent = Agent::join(id, in_memory(&net, id), Vec::new(), |_| {});
        let dead = PeerAddr::new(keys(99).node_id());
        let mut dials = Vec::new();
        while dials.len() < 7 {
            match agent.pool.conn(&dead, SOON).await.unwrap_err() {
                DialError::Waiting { retry_in, .. } => tokio::time::advance(retry_in).await,
                _ => dials.push(Instant::now()),
            }
        }
        dials.windows(2).map(|it| it[1] - it[0]).collect::<Vec<_>>()
    };
    let (one, two) = (gaps(1).await, gaps(2).await);
    assert!(one.len() == 6 && one.iter().zip(&two).all(|(a, b)| a != b), "{one:?} {two:?}");
    for gaps in [one, two] {
        let whole = |at: usize| Duration::from_millis(100 << at);
        for (at, gap) in gaps.iter().enumerate() {
            assert!(
                whole(at) / 2 <= *gap && *gap <= whole(at) + Duration::from_millis(2),
                "{gaps:?}"
            );
        }
        assert!(gaps.windows(2).all(|it| it[0] < it[1]), "{gaps:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_035_a_node_that_connects_a_hundred_times_is_listed_and_routable_each_time() {
    let home = Agent::join(0, over_quic(0, Guests::everybody()).await, Vec::new(), |_| {});
    let guest = over_quic(1, Guests::everybody()).await;
    let (node, to) = (keys(1).node_id(), home.addr());
    let mut before: Option<(Conn, Conn)> = None;
    for round in 0..100_u8 {
        let theirs = guest.dial(&to, Protocol::Mesh, SOON).await.unwrap();
        let taken_over = async {
            loop {
                match home.pool.live(node) {
                    Some(ours) if before.as_ref().is_none_or(|it| !ours.is_same(&it.1)) => {
                        return ours;
                    }
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        let ours = timeout(SOON, taken_over).await.expect("the new connection is the one in use");
        assert_eq!(home.pool.connected().iter().map(Conn::peer).collect::<Vec<_>>(), [node]);
        let mut stream = ours.open(SOON).await.unwrap();
        stream.send.write_all(&[round]).await.unwrap();
        let mut accepted = timeout(SOON, theirs.accept()).await.unwrap().unwrap();
        assert_eq!(accepted.recv.read_u8().await.unwrap(), round);
        // The late news of the old one's end does not lose the new one.
        if let Some((old, old_ours)) = before.replace((theirs, ours)) {
            old.close(CloseReason::Done);
            drop(timeout(SOON, old_ours.closed()).await.expect("the old one ends"));
            home.pool.ended(&old_ours);
        }
        assert_eq!(home.pool.connected().len(), 1, "round {round}");
    }
}
