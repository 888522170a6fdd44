//! Whole quorums on one thread, under paused time, with a network that can be cut.

mod chaos;
mod double;

use sedge_trust::swarm::Role;

use self::double::Cluster;
use super::*;
use crate::message::Granted;

fn append(text: &str) -> Ask {
    Ask::Append { text: text.parse().unwrap() }
}

fn claim(key: &str) -> Ask {
    Ask::Claim { key: key.parse().unwrap(), ttl_ms: 1000 }
}

/// What a claim is made with.
fn fence(granted: Result<Granted, Refusal>) -> u64 {
    match granted {
        Ok(Granted::Claimed(claim)) => claim.fence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn three_voters_agree_on_one_coordinator_and_replace_it() {
    let cluster = Cluster::of(3).await;
    let first = cluster.settled().await;
    let fence_before = fence(cluster.quorum(first.node).ask(claim("a")).await);
    cluster.kill(first.node).await;
    let second = cluster.settled().await;
    assert_ne!(second.node, first.node);
    assert!(second.fence > fence_before);
    for node in cluster.up() {
        let handover = cluster.quorum(node).standing().handover.unwrap();
        assert_eq!((handover.from, handover.to), (first.node, second.node));
        assert!(handover.took_ms.is_some());
    }
    // It comes back with what it promised, and follows.
    cluster.restart(first.node).await;
    cluster.until("it follows", |it| it.quorum(first.node).coordinator() == Some(second)).await;
    let held = cluster.quorum(first.node).ask(claim("a")).await;
    assert_eq!(fence(held), fence_before, "its own claim");
    cluster.check_history();
}

#[tokio::test(start_paused = true)]
async fn row_049_of_two_sides_of_a_split_only_the_majority_commits() {
    let cluster = Cluster::of(5).await;
    let old = cluster.settled().await.node;
    cluster.quorum(old).ask(append("before")).await.unwrap();

    // Two against three; the coordinator is among the two.
    let others: Vec<_> = cluster.up().into_iter().filter(|it| *it != old).collect();
    let (small, large) = ([old, others[0]], &others[1..]);
    cluster.cut(&small);
    // It is not known yet that the others are gone: written, and never confirmed.
    let led = cluster.quorum(old);
    let (early, ()) = tokio::join!(
        led.ask(append("small side")),
        cluster.until("the larger side has a coordinator of its own", |it| {
            large.iter().all(|node| {
                it.quorum(*node).coordinator().is_some_and(|it| large.contains(&it.node))
            })
        }),
    );
    assert_eq!(early, Err(Refusal::Unsure { within_ms: 5000 }));
    for node in small {
        let refused = cluster.quorum(node).ask(append("small side, later")).await;
        assert_eq!(refused, Err(Refusal::NoMajority { voters: 5, needed: 3 }));
        assert_eq!(cluster.quorum(node).ask(Ask::Show).await, refused);
        assert_eq!(cluster.quorum(node).coordinator(), None, "who leads is unknown here");
    }
    for node in large {
        let text = format!("large side {}", node.short());
        cluster.quorum(*node).ask(append(&text)).await.unwrap();
    }

    cluster.heal();
    let expected: Vec<_> = std::iter::once("before".to_owned())
        .chain(large.iter().map(|it| format!("large side {}", it.short())))
        .collect();
    cluster
        .until("all five have the same log", |it| {
            it.up().iter().all(|node| it.records(*node) == expected)
        })
        .await;
    cluster.check_history();
}

#[tokio::test(start_paused = true)]
async fn two_voters_stop_safely_when_one_is_lost() {
    let cluster = Cluster::of(2).await;
    let first = cluster.settled().await.node;
    let other = cluster.up().into_iter().find(|it| *it != first).unwrap();
    cluster.kill(first).await;
    cluster.until("it is unknown who leads", |it| it.quorum(other).coordinator().is_none()).await;
    let refused = cluster.quorum(other).ask(append("a")).await;
    assert_eq!(refused, Err(Refusal::NoMajority { voters: 2, needed: 2 }));
    cluster.restart(first).await;
    cluster.settled().await;
    cluster.quorum(other).ask(append("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn members_that_do_not_vote_ask_the_coordinator_and_refuse_what_only_it_does() {
    let cluster = Cluster::of(3).await;
    let worker = cluster.join(9, &[Role::Executor, Role::Worker]).await;
    let leader = cluster.settled().await;
    assert_eq!(cluster.quorum(worker).coordinator(), Some(leader), "by what voters say");
    assert!(fence(cluster.quorum(worker).ask(claim("a")).await) > leader.fence);
    for asker in cluster.up() {
        let refused = cluster.quorum(asker).ask_of(worker, claim("a")).await;
        let coordinator = Some(leader.node);
        assert_eq!(refused, Err(Refusal::NotCoordinator { coordinator, may: false }));
    }
    // A voter that does not lead says who does, too.
    let follower = cluster.up().into_iter().find(|it| *it != leader.node).unwrap();
    let refused = cluster.quorum(worker).ask_of(follower, claim("b")).await;
    let coordinator = Some(leader.node);
    assert_eq!(refused, Err(Refusal::NotCoordinator { coordinator, may: true }));
    let held = cluster.quorum(follower).ask(claim("a")).await;
    assert!(matches!(held, Err(Refusal::Held(it)) if it.holder == worker));
}

#[tokio::test(start_paused = true)]
async fn voters_are_added_and_removed_by_the_owner() {
    let cluster = Cluster::of(1).await;
    let owner = cluster.settled().await.node;
    let (second, third) = (cluster.idle(2).await, cluster.idle(3).await);
    let refused = cluster.quorum(second).ask(Ask::Add { node: third }).await;
    assert_eq!(refused, Err(Refusal::OwnerOnly));
    for node in [second, third] {
        cluster.quorum(owner).ask(Ask::Add { node }).await.unwrap();
    }
    assert_eq!(cluster.quorum(owner).standing().voters, [owner, second, third]);
    let worker = cluster.join(9, &[Role::Worker]).await;
    let refused = cluster.quorum(owner).ask(Ask::Add { node: worker }).await;
    assert_eq!(refused, Err(Refusal::NoCandidate { node: worker }));

    // Who cannot be reached is not added: it would only make a majority harder to reach.
    let fourth = cluster.idle(4).await;
    cluster.kill(fourth).await;
    let refused = cluster.quorum(owner).ask(Ask::Add { node: fourth }).await;
    assert!(matches!(refused, Err(Refusal::Silent { node, .. }) if node == fourth), "{refused:?}");
    assert_eq!(cluster.quorum(owner).standing().voters.len(), 3);

    cluster.quorum(owner).ask(Ask::Remove { node: second }).await.unwrap();
    assert_eq!(cluster.quorum(owner).standing().voters, [owner, third]);
    let heard = |it: &Cluster| {
        let leader = it.quorum(owner).coordinator();
        !it.quorum(second).standing().votes && it.quorum(second).coordinator() == leader
    };
    cluster.until("the removed one knows, and asks like any member", heard).await;
    let refused = cluster.quorum(owner).ask(Ask::Remove { node: second }).await;
    assert_eq!(refused, Err(Refusal::NoVoter { node: second }));
    cluster.quorum(third).ask(append("still decided")).await.unwrap();

    // The coordinator itself may go; the owner need not vote to say who does.
    cluster.quorum(owner).ask(Ask::Remove { node: owner }).await.unwrap();
    let alone = |it: &Cluster| it.quorum(owner).coordinator().is_some_and(|it| it.node == third);
    cluster.until("the one that is left leads, and all hear of it", alone).await;
    let voters = cluster.quorum(owner).ask(Ask::Add { node: second }).await;
    assert_eq!(voters, Ok(Granted::Voters(vec![second, third])));
    let last = cluster.quorum(third).ask(append("decided by two")).await;
    assert!(matches!(last, Ok(Granted::Appended(ref it)) if it.number == 2), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_swarm_founds_one_quorum_of_those_who_may() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.settled().await.node;
    let again = cluster.quorum(leader).found(BTreeSet::from([leader])).await;
    assert_eq!(again, Err(Refusal::AlreadyFounded));
    // A member that could be one hears that there is a quorum.
    let late = cluster.idle(8).await;
    let second = cluster.quorum(late).found(BTreeSet::from([late])).await;
    assert_eq!(second, Err(Refusal::AlreadyFounded));
    cluster.cut(&[late]);
    let without_me = cluster.quorum(late).found(BTreeSet::from([leader])).await;
    assert_eq!(without_me, Err(Refusal::VoterCount { most: MAX_VOTERS }));
    let worker = cluster.join(9, &[Role::Worker]).await;
    let refused = cluster.quorum(worker).found(BTreeSet::from([worker])).await;
    assert!(refused.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_long_log_becomes_a_snapshot_that_a_late_voter_takes_over() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.settled().await.node;
    let late = cluster.up().into_iter().find(|it| *it != leader).unwrap();
    cluster.kill(late).await;
    for number in 0..700 {
        let text = format!("line {number}");
        cluster.quorum(leader).ask(append(&text)).await.unwrap();
    }
    cluster.restart(late).await;
    cluster
        .until("it has caught up", |it| it.records(late).last().is_some_and(|it| it == "line 699"))
        .await;
    assert_eq!(cluster.records(late), cluster.records(leader));
    // And so does a restart from its disk.
    cluster.kill(late).await;
    cluster.restart(late).await;
    cluster
        .until("it has it again", |it| it.records(late).last().is_some_and(|it| it == "line 699"))
        .await;
    cluster.check_history();
}

#[tokio::test(start_paused = true)]
async fn all_of_it_survives_a_power_cut_of_all() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.settled().await;
    let held = fence(cluster.quorum(leader.node).ask(claim("a")).await);
    cluster.quorum(leader.node).ask(append("one")).await.unwrap();
    let all = cluster.up();
    for node in &all {
        cluster.kill(*node).await;
    }
    for node in &all {
        cluster.restart(*node).await;
    }
    let after = cluster.settled().await;
    // The one that led may go on in its term; another one has a greater fence than all before.
    assert!(after == leader || after.fence > held, "{after:?}");
    assert_eq!(cluster.records(after.node), ["one"]);
    assert_eq!(fence(cluster.quorum(leader.node).ask(claim("a")).await), held);
}

#[tokio::test(start_paused = true)]
async fn another_swarm_is_another_quorum_and_nothing_of_the_first_is_forgotten() {
    let cluster = Cluster::of(1).await;
    let me = cluster.settled().await.node;
    cluster.quorum(me).ask(append("one")).await.unwrap();
    let (quorum, first) = (cluster.quorum(me), cluster.disk(me));
    quorum.turn_to(Arc::new(crate::disk::double::DiskDouble::default())).await.unwrap();
    assert_eq!(quorum.standing().voters, []);
    assert_eq!(quorum.ask(append("two")).await, Err(Refusal::NotFounded));
    quorum.turn_to(first).await.unwrap();
    cluster.settled().await;
    assert_eq!(cluster.records(me), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_one_voter_and_it_goes_on_when_there_is_room() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.settled().await.node;
    let other = cluster.up().into_iter().find(|it| *it != leader).unwrap();
    cluster.fill_disk(other, true);
    cluster.quorum(leader).ask(append("one")).await.unwrap();
    cluster.until("it has stopped", |it| it.quorum(other).standing().stopped.is_some()).await;
    cluster.quorum(leader).ask(append("two")).await.unwrap();
    cluster.fill_disk(other, false);
    cluster.until("it has both", |it| it.records(other) == ["one", "two"]).await;
    cluster.check_history();
}
