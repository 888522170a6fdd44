//! Two agents of one swarm in this process, over real sockets.

use std::sync::{Arc, Mutex};

use sedge_base::{ErrorKind, TaskScope};
use sedge_swarm::p2p::envelope::{SignalType, SignalingMessage};
use sedge_swarm::p2p::{Listen, P2PSwarmV2};
use sedge_swarm::prelude::{SwarmAgent, SwarmConfig};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::processes::{SOON, SWARM_KEY};

async fn agent(id: &str, key: [u8; 32]) -> P2PSwarmV2 {
    let mut agent = P2PSwarmV2::new(id, Some(key), vec!["worker".to_owned()]);
    agent.connect().await.unwrap();
    agent
}

async fn pair() -> (P2PSwarmV2, P2PSwarmV2) {
    let (one, two) = (agent("one", SWARM_KEY).await, agent("two", SWARM_KEY).await);
    two.join(&one.addr().unwrap()).await.unwrap();
    assert!(one.wait_for_peer("two", SOON).await);
    (one, two)
}

#[tokio::test]
async fn every_handler_of_a_topic_hears_a_message() {
    let (one, two) = pair().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    for name in ["first", "second"] {
        let heard = Arc::clone(&heard);
        assert!(two.subscribe("chat", move |message| {
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            heard.lock().unwrap().push(format!("{name}: {}: {text}", message.sender_id));
        }));
    }
    let mut after = two.messages("chat", 1).unwrap();
    let id = one.publish("chat", "Hello, swarm!").unwrap();
    assert_eq!(after.recv().await.unwrap().message_id, id);
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard, ["first: one: Hello, swarm!", "second: one: Hello, swarm!"]);
    assert_eq!(one.active_peers(), ["two"]);
}

#[tokio::test]
async fn a_rotation_over_the_network_ends_in_one_new_key() {
    let (one, two) = pair().await;
    let before = one.derive_session_key("two").unwrap();
    assert_eq!(before, two.derive_session_key("one").unwrap());
    let old = one.seal_for("two", b"before").unwrap();
    assert_eq!(one.rotate_session_key("two").await.unwrap(), 1);
    let after = one.derive_session_key("two").unwrap();
    assert_ne!(after, before);
    assert_eq!(two.derive_session_key("one").unwrap(), after);
    assert_eq!(two.open_from("one", &old).unwrap(), b"before", "within the grace time");
    let new = two.seal_for("one", b"after").unwrap();
    assert_eq!((new.epoch, one.open_from("two", &new).unwrap().as_slice()), (1, &b"after"[..]));
    assert_eq!(two.rotate_session_key("one").await.unwrap(), 2);
}

#[tokio::test]
async fn signals_travel_and_are_verified_by_their_recipient() {
    let (one, two) = pair().await;
    let mut signals = two.messages("signaling", 4).unwrap();
    for kind in [SignalType::Offer, SignalType::Answer, SignalType::Ice] {
        let signal = one.create_signaling(kind, "two", "v=0", 30_000).unwrap();
        one.send_signaling(&signal).unwrap();
        let came = signals.recv().await.unwrap();
        let read: SignalingMessage = serde_json::from_slice(&came.payload).unwrap();
        assert_eq!(read, signal);
        assert!(two.verify_signaling(&read));
        assert!(!one.verify_signaling(&read), "it is not for its sender");
    }
    let expired = one.create_signaling(SignalType::Ice, "two", "v=0", 0).unwrap();
    assert!(!two.verify_signaling(&expired));
}

#[tokio::test]
async fn another_swarm_and_a_taken_id_are_refused() {
    let (one, _two) = pair().await;
    let stranger = agent("stranger", [8; 32]).await;
    let refused = stranger.join(&one.addr().unwrap()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    let thief = agent("two", SWARM_KEY).await;
    assert!(thief.join(&one.addr().unwrap()).await.is_err());
    assert_eq!(one.active_peers(), ["two"]);
    assert!(one.status().unwrap().refused >= 2);
}

#[tokio::test]
async fn artifacts_come_under_their_own_name() {
    let (one, two) = pair().await;
    let data = vec![5; 300_000];
    let cid = one.store_artifact(&data, true).unwrap();
    assert_eq!(two.fetch_artifact("one", &cid).await.unwrap(), data);
    assert_eq!(two.retrieve_artifact(&cid).unwrap().unwrap(), data);
    let absent = two.fetch_artifact("one", "local:none").await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    let nobody = two.fetch_artifact("nobody", "local:none").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_was_queued_arrives_before_a_disconnect() {
    let (mut one, two) = pair().await;
    let mut heard = two.messages("chat", 1).unwrap();
    for number in 0..50_u8 {
        one.publish("chat", [number]).unwrap();
    }
    let ((), last) = tokio::join!(one.disconnect(), async {
        let mut last = 0;
        while last < 49 {
            last = heard.recv().await.unwrap().payload[0];
        }
        last
    });
    assert_eq!(last, 49);
    assert!(one.publish("chat", "late").is_err());
    assert_eq!(one.publish("chat", "late").unwrap_err().to_string(), "not connected");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn agents_of_one_machine_meet_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut agents = Vec::new();
    for id in ["one", "two"] {
        let mut agent = P2PSwarmV2::new(id, Some(SWARM_KEY), vec!["worker".to_owned()]);
        agent.listen(Listen::SharedMemory(dir.path().join("nodes")));
        agent.connect().await.unwrap();
        agents.push(agent);
    }
    agents[1].join(&agents[0].addr().unwrap()).await.unwrap();
    let mut heard = agents[1].messages("chat", 1).unwrap();
    assert!(agents[0].wait_for_peer("two", SOON).await);
    agents[0].publish("chat", vec![9; 1 << 20]).unwrap();
    assert_eq!(heard.recv().await.unwrap().payload.len(), 1 << 20);
}

/// A proxy that lets connections through and tells whom each was asked for.
async fn let_through(
    listener: TcpListener,
    asked: mpsc::UnboundedSender<String>,
    scope: TaskScope,
) {
    while let Ok((client, _)) = listener.accept().await {
        let asked = asked.clone();
        scope.spawn("proxied", |_| async move {
            let mut client = BufReader::new(client);
            let (mut first, mut line) = (String::new(), String::new());
            client.read_line(&mut first).await.unwrap();
            while line != "\r\n" {
                line.clear();
                client.read_line(&mut line).await.unwrap();
            }
            let to = first.split(' ').nth(1).unwrap().to_owned();
            let mut server = TcpStream::connect(&to).await.unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            asked.send(to).unwrap();
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        });
    }
}

#[tokio::test]
async fn an_agent_behind_an_http_proxy_joins_through_it() {
    let config = SwarmConfig::default().with_swarm_key(SWARM_KEY);
    let one = SwarmAgent::new(config.clone().with_agent_id("one")).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let (asked, mut whom) = mpsc::unbounded_channel();
    let (scope, inner) = (TaskScope::mortal(), TaskScope::mortal());
    let proxied = inner.clone();
    scope.spawn("proxy", |_| let_through(listener, asked, proxied));
    let two = config.with_agent_id("two").with_proxy(proxy);
    let two = SwarmAgent::new(two).await.unwrap();
    let at = one.addr().await.unwrap().direct[0];
    // Without a key in the address, the listener is asked for it: through the proxy, too.
    two.join_swarm(&format!("wss://{at}")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(whom.recv().await.unwrap(), at.to_string());
    }
    one.leave_swarm().await.unwrap();
    two.leave_swarm().await.unwrap();
    inner.kill().await;
    scope.kill().await;
}
