//! Every type of message, delivered to an agent in another process.

use std::sync::Arc;

use async_trait::async_trait;
use sedge_base::ErrorKind;
use sedge_net::PeerAddr;
use sedge_swarm::agent::{Note, TaskHandler, TaskRequest};
use sedge_swarm::prelude::*;
use serde_json::{Value, json};

use crate::processes::{Other, SOON, SWARM_KEY, end, say};

/// What makes the test start the agent process.
pub(crate) const AGENT: &str = "messages-agent";

/// Writes a description in capitals.
#[derive(Debug)]
struct Capitals;

#[async_trait]
impl TaskHandler for Capitals {
    async fn handle(&self, task: TaskRequest) -> std::result::Result<Value, String> {
        match task.task_type.as_str() {
            "capitals" => Ok(json!(task.description.to_uppercase())),
            other => Err(format!("no work of kind {other}")),
        }
    }
}

async fn member(id: &str, priority: u32) -> SwarmAgent {
    let mut config = SwarmConfig::default().with_agent_id(id).with_swarm_key(SWARM_KEY);
    config.priority = Some(priority);
    let agent = SwarmAgent::new(config).await.unwrap();
    agent.set_task_handler(Arc::new(Capitals));
    agent
}

fn task(id: &str, task_type: &str) -> MessagePayload {
    MessagePayload::Task {
        task_id: id.to_owned(),
        task_type: task_type.to_owned(),
        description: "hello".to_owned(),
        parameters: Value::Null,
        priority: 1,
        timeout_ms: 30_000,
    }
}

/// What an agent says about itself, for the other process to look at.
fn state(agent: &SwarmAgent, notes: &[Note]) -> Value {
    let peers = agent.get_peers();
    json!({
        "peers": peers.keys().collect::<Vec<_>>(),
        "pongs": peers.values().map(|it| it.pongs).sum::<u64>(),
        "learned": agent.learned().pattern("theirs", "y").map(|it| it.visits),
        "memories": agent.memories(),
        "coordinator": agent.coordinator().map(|it| it.id),
        "term": agent.term(),
        "notes": notes.iter().map(|it| match it {
            Note::Result { task_id, result, .. } => format!("{task_id}: {result}"),
            Note::Error { kind, message, .. } => format!("{kind:?}: {message}"),
        }).collect::<Vec<_>>(),
    })
}

/// The other process: an agent that says how it is whenever a message was handled.
pub(crate) async fn agent() {
    let agent = member("other", 50).await;
    agent.learn("ours", "x", 1.0).await;
    agent.store_memory("ours", vec![1.0, 0.0]).await.unwrap();
    say(&format!("ready {}", serde_json::to_string(&agent.addr().await.unwrap()).unwrap()));
    let mut notes = Vec::new();
    let tell = async {
        let joined = |it: &SwarmAgent| it.get_peers().contains_key("here").then_some(());
        agent.until(SOON, joined).await.unwrap();
        let given =
            agent.send_message("here", MessageType::BroadcastTask, task("given", "capitals"));
        given.await.unwrap();
        let never = agent.until(SOON * 10, |it| {
            notes.extend(it.take_notes());
            say(&format!("state {}", state(it, &notes)));
            None::<()>
        });
        never.await
    };
    tokio::select! {
        _ = tell => {}
        () = end() => {}
    }
}

/// The other agent, and what it last said about itself.
struct Seen {
    other: Other,
    state: Value,
}

impl Seen {
    /// Waits until the other agent's state has this value.
    fn shows(&mut self, field: &str, wanted: &Value) {
        loop {
            let is = &self.state[field];
            if is == wanted || is.as_array().is_some_and(|it| it.contains(wanted)) {
                return;
            }
            self.state = serde_json::from_str(&self.other.says("state ")).unwrap();
        }
    }
}

/// Waits for a note that fits.
async fn noted(agent: &SwarmAgent, fits: impl Fn(&Note) -> bool) -> Note {
    let found = agent.until(SOON, |it| it.take_notes().into_iter().find(|it| fits(it))).await;
    found.unwrap()
}

fn is_error(note: &Note) -> bool {
    matches!(note, Note::Error { .. })
}

async fn error_kind(agent: &SwarmAgent) -> ErrorKind {
    let kind = |note| match note {
        Note::Error { kind, from, .. } if from == "other" => kind,
        _ => None,
    };
    kind(noted(agent, is_error).await).unwrap()
}

fn request(since_version: u64) -> MessagePayload {
    MessagePayload::Request { since_version, max_entries: 10 }
}

fn election(priority: u32, term: u64) -> MessagePayload {
    MessagePayload::Election { candidate_id: "here".to_owned(), priority, term }
}

async fn join() -> (Seen, SwarmAgent) {
    let mut other = Other::start(AGENT);
    let to: PeerAddr = serde_json::from_str(&other.says("ready ")).unwrap();
    let here = member("here", 60).await;
    here.join(&to).await.unwrap();
    let introduced = here.until(SOON, |it| it.get_peers().contains_key("other").then_some(()));
    introduced.await.unwrap();
    (Seen { other, state: Value::Null }, here)
}

// Waiting for a line of the other process holds one thread up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_029_every_message_type_has_its_effect_in_another_process() {
    // Join: in the other's peer list, and it introduces itself.
    let (mut other, here) = join().await;
    other.shows("peers", &json!("here"));
    // The other gave us work when we joined; our TaskResult arrives there.
    other.shows("notes", &json!("given: \"HELLO\""));

    // Ping is answered by Pong; Pong is counted.
    here.send_message("other", MessageType::Ping, MessagePayload::Empty).await.unwrap();
    let pongs =
        |it: &SwarmAgent| it.get_peers().get("other").filter(|it| it.pongs == 1).map(|_| ());
    here.until(SOON, pongs).await.unwrap();
    here.send_message("other", MessageType::Pong, MessagePayload::Empty).await.unwrap();
    other.shows("pongs", &json!(1));

    // SyncPatterns is merged, RequestPatterns answered.
    here.learn("theirs", "y", 1.0).await;
    here.sync_patterns().await.unwrap();
    other.shows("learned", &json!(1));
    here.request_patterns_from("other", 0).await.unwrap();
    let learned = here.until(SOON, |it| it.learned().pattern("ours", "x")).await.unwrap();
    assert_eq!(learned.visits, 1);

    // SyncMemories is merged, RequestMemories answered.
    here.store_memory("theirs", vec![0.0, 1.0]).await.unwrap();
    here.sync_memories().await.unwrap();
    other.shows("memories", &json!(2));
    here.send_message("other", MessageType::RequestMemories, request(0)).await.unwrap();
    here.until(SOON, |it| (it.memories() == 2).then_some(())).await.unwrap();
    assert_eq!(here.search_memory(&[1.0, 0.0], 1).await[0].0, "ours");

    // BroadcastTask is done and answered by TaskResult.
    here.broadcast(MessageType::BroadcastTask, task("work", "capitals")).await.unwrap();
    let note = noted(&here, |it| matches!(it, Note::Result { .. })).await;
    let Note::Result { from, task_id, success, result, .. } = note else { panic!("{note:?}") };
    assert_eq!((from.as_str(), task_id.as_str(), success), ("other", "work", true));
    assert_eq!(result, "HELLO");

    // Election: the other is better than priority 1, and says so in the same term.
    here.send_message("other", MessageType::Election, election(1, 1)).await.unwrap();
    here.until(SOON, |it| (it.term() == 1).then_some(())).await.unwrap();
    other.shows("term", &json!(1));
    // Coordinator: acknowledged; an earlier term is refused.
    here.send_message("other", MessageType::Coordinator, election(60, 2)).await.unwrap();
    other.shows("coordinator", &json!("here"));
    here.send_message("other", MessageType::Coordinator, election(60, 1)).await.unwrap();
    assert_eq!(error_kind(&here).await, ErrorKind::Conflict);

    // Error: kept with its kind.
    let error = MessagePayload::Error { code: "denied".to_owned(), message: "no".to_owned() };
    here.send_message("other", MessageType::Error, error).await.unwrap();
    other.shows("notes", &json!("Some(Denied): no"));

    // Leave: gone from the peer list, and no longer the coordinator.
    here.leave_swarm().await.unwrap();
    other.shows("peers", &json!([]));
    assert_eq!(other.state["coordinator"], Value::Null);
}

// Waiting for a line of the other process holds one thread up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_may_not_do_is_answered_by_a_typed_error() {
    let (_other, here) = join().await;
    for message_type in MessageType::ALL {
        let raw = MessagePayload::Raw { bytes: vec![1, 2, 3] };
        here.send_message("other", message_type, raw).await.unwrap();
        if message_type != MessageType::Error {
            assert_eq!(error_kind(&here).await, ErrorKind::Invalid, "{message_type:?}");
        }
    }
    let state =
        |state: &[u8], compressed| MessagePayload::Patterns { state: state.to_vec(), compressed };
    let result = MessagePayload::TaskResult {
        task_id: "never given".to_owned(),
        success: true,
        result: Value::Null,
        execution_time_ms: 1,
    };
    let entries = MessagePayload::Memories { entries: b"[]".to_vec(), count: 1 };
    let stranger = br#"{"agent_id":"somebody","patterns":{},"version":1,"timestamp":1}"#;
    let somebody = MessagePayload::Election { candidate_id: "x".to_owned(), priority: 9, term: 1 };
    for (message_type, payload, expected) in [
        (MessageType::SyncPatterns, state(b"garbage", true), ErrorKind::Exhausted),
        (MessageType::SyncPatterns, state(b"garbage", false), ErrorKind::Invalid),
        (MessageType::SyncPatterns, state(stranger, false), ErrorKind::Denied),
        (MessageType::SyncMemories, entries, ErrorKind::Invalid),
        (MessageType::TaskResult, result, ErrorKind::NotFound),
        (MessageType::Election, somebody, ErrorKind::Denied),
        (MessageType::Coordinator, election(1, u64::MAX), ErrorKind::Conflict),
    ] {
        here.send_message("other", message_type, payload).await.unwrap();
        assert_eq!(error_kind(&here).await, expected, "{message_type:?}");
    }
    // Work that is not done is told as such.
    here.broadcast(MessageType::BroadcastTask, task("odd", "juggling")).await.unwrap();
    let note = noted(&here, |it| matches!(it, Note::Result { .. })).await;
    let Note::Result { success, result, .. } = note else { panic!("{note:?}") };
    assert_eq!((success, result), (false, json!("no work of kind juggling")));
}
