//! An edge that lives in the test: its link is at hand, its tools are run.

use sedge_base::{Cancel, Clock, NodeId, Timestamp};
use sedge_capability::conformance::{self, Sample};
use sedge_capability::{Event, Handle, Media};

use sedge_trust::approval::{Approver, Decision, Question};
use sedge_trust::{Nonce, Owner};

use super::*;
use crate::{
    Announced, AnnouncedTool, Down, EdgeMetrics, Edges, EdgesConfig, Given, Link, Registration,
};

fn edges() -> Edges {
    let clock = Clock::manual(Timestamp::from_millis(1_000));
    Edges::new(EdgesConfig { most: 2, ..EdgesConfig::default() }, clock, &TaskScope::new())
}

fn announced(id: &str) -> Registration {
    let tool = |name: &str, requires_approval, seconds| AnnouncedTool {
        name: name.to_owned(),
        requires_approval,
        timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
        ..AnnouncedTool::default()
    };
    let tools = vec![tool("echo", false, 0), tool("camera", true, 0), tool("slow", false, 20)];
    Registration::try_from(Announced { id: id.to_owned(), tools, ..Announced::default() }).unwrap()
}

fn task(id: &str, time: Option<u64>) -> Task {
    Task {
        id: id.parse().unwrap(),
        capability: "edge:x.y".parse().unwrap(),
        input: Bytes::from_static(b"{}"),
        media: Media::Plain,
        budgets: Budgets { time_ms: time, ..Budgets::default() },
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    }
}

fn tool(link: &Link, name: &str) -> Handle {
    let wanted = |it: &Handle| it.descriptor().labels.get("tool").is_some_and(|it| it == name);
    link.capabilities().into_iter().find(wanted).unwrap()
}

async fn asked(link: &mut Link) -> ToolRequest {
    match link.next().await {
        Some(Down::Run(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn answer(request: ToolRequest) -> ToolResult {
    ToolResult { execution: request.execution, content: request.input, ..ToolResult::default() }
}

#[tokio::test]
async fn a_tool_keeps_the_contract() {
    let mut link = edges().connect(announced("kitchen")).unwrap();
    let handle = tool(&link, "echo");
    let stop = Cancel::new();
    let edge = async {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                down = link.next() => if let Some(Down::Run(request)) = down {
                    link.result(answer(request));
                },
            }
        }
    };
    let sample = Sample { good: Bytes::from_static(b"{\"a\":1}"), bad: None };
    let check = async {
        let checked = conformance::check(handle, sample).await;
        stop.cancel();
        checked
    };
    let (checked, ()) = tokio::join!(check, edge);
    assert_eq!(checked, Ok(()));
}

#[tokio::test]
async fn a_result_counts_only_over_the_link_that_was_asked() {
    let edges = edges();
    let mut kitchen = edges.connect(announced("kitchen")).unwrap();
    let garden = edges.connect(announced("garden")).unwrap();
    let outcome = tool(&kitchen, "echo").run(task("t-1", None)).await.unwrap();
    let request = asked(&mut kitchen).await;
    let forged = ToolResult { content: "forged".to_owned(), ..answer(request.clone()) };
    assert_eq!(garden.result(forged), Given::Foreign(kitchen.id().clone()));
    assert_eq!(kitchen.result(answer(request.clone())), Given::Taken);
    assert_eq!(kitchen.result(answer(request)), Given::Unasked, "once");
    let (output, end) = outcome.collect().await;
    assert_eq!((output.as_slice(), end.failure), (b"{}".as_slice(), None));
}

#[tokio::test]
async fn a_new_link_takes_the_place_of_the_old_one_and_stays() {
    let edges = edges();
    let mut old = edges.connect(announced("kitchen")).unwrap();
    let outcome = tool(&old, "echo").run(task("t-1", None)).await.unwrap();
    let mut new = edges.connect(announced("kitchen")).unwrap();
    assert_eq!(old.next().await, None, "the old link hears that it is over");
    let (_, end) = outcome.collect().await;
    assert_eq!(end.failure.map(|it| it.kind), Some(ErrorKind::Unavailable));
    let stale = tool(&old, "echo");
    assert!(!old.end(), "the edge is still connected");
    drop(old);
    assert_eq!(edges.list(0, 10).1, 1);
    let refused = stale.run(task("t-2", None)).await.unwrap_err();
    assert_eq!(refused.code, "edge_gone");
    let outcome = tool(&new, "echo").run(task("t-3", None)).await.unwrap();
    let request = asked(&mut new).await;
    new.result(answer(request));
    assert_eq!(outcome.collect().await.1.failure, None);
    drop(new);
    assert_eq!(edges.list(0, 10).1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_edge_is_let_go() {
    let edges = edges();
    let mut link = edges.connect(announced("kitchen")).unwrap();
    let begun = Instant::now();
    tokio::time::advance(Duration::from_secs(60)).await;
    link.heard();
    link.measured(EdgeMetrics { active_tools: 3, ..EdgeMetrics::default() });
    assert_eq!(edges.list(0, 1).0[0].metrics.map(|it| it.active_tools), Some(3));
    assert_eq!(link.next().await, None);
    assert_eq!(begun.elapsed(), Duration::from_secs(150));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_cancelled_by_name() {
    let mut link = edges().connect(announced("kitchen")).unwrap();
    for (id, name, time, seconds) in
        [("t-1", "slow", None, 20), ("t-2", "echo", None, 60), ("t-3", "slow", Some(5_000), 5)]
    {
        let begun = Instant::now();
        let outcome = tool(&link, name).run(task(id, time)).await.unwrap();
        assert_eq!(asked(&mut link).await.timeout, Duration::from_secs(seconds));
        let (_, end) = outcome.collect().await;
        assert_eq!((end.status, begun.elapsed()), (Status::Timeout, Duration::from_secs(seconds)));
        let told = Down::Cancel { execution: id.to_owned(), reason: "timeout" };
        assert_eq!(link.next().await, Some(told));
        link.heard();
    }
}

#[tokio::test]
async fn a_caller_that_leaves_stops_the_run() {
    let mut link = edges().connect(announced("kitchen")).unwrap();
    let mut outcome = tool(&link, "echo").run(task("t-1", None)).await.unwrap();
    let request = asked(&mut link).await;
    tokio::select! {
        biased;
        event = outcome.next() => panic!("nobody answered: {event:?}"),
        () = std::future::ready(()) => {}
    }
    drop::<Outcome>(outcome);
    let told = Down::Cancel { execution: "t-1".to_owned(), reason: "context cancelled" };
    assert_eq!(link.next().await, Some(told));
    assert_eq!(link.result(answer(request)), Given::Unasked);
}

#[tokio::test]
async fn limits_are_limits() {
    let edges = edges();
    let link = edges.connect(announced("kitchen")).unwrap();
    let refused = tool(&link, "camera").run(task("t-0", None)).await.unwrap_err();
    assert_eq!((refused.kind, &*refused.code), (ErrorKind::Denied, "needs_approval"));
    let mut running = Vec::new();
    for id in 0..10 {
        running.push(tool(&link, "echo").run(task(&format!("t-{id}"), None)).await.unwrap());
    }
    let refused = tool(&link, "echo").run(task("t-10", None)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Exhausted);
    let _garden = edges.connect(announced("garden")).unwrap();
    assert_eq!(edges.connect(announced("attic")).unwrap_err().kind(), ErrorKind::Exhausted);
    assert!(edges.connect(announced("garden")).is_ok(), "who is there may come again");
}

/// Edges whose people are played by the test.
fn watched() -> (Edges, mpsc::Receiver<Wish>) {
    let clock = Clock::manual(Timestamp::from_millis(1_000));
    let (sender, wishes) = mpsc::channel(1);
    (Edges::asking(EdgesConfig::default(), clock, &TaskScope::new(), sender), wishes)
}

#[tokio::test]
async fn a_tool_that_asks_for_approval_runs_with_it_and_with_what_was_approved() {
    let (edges, mut wishes) = watched();
    let mut link = edges.connect(announced("kitchen")).unwrap();
    let camera = tool(&link, "camera");
    let task = Task { input: Bytes::from_static(b" {\"b\":1.0,\"a\":2}"), ..task("t-1", None) };
    let owner = Owner::from_seed(&[1; 32]);
    let person = async {
        let wish = wishes.recv().await.unwrap();
        let question = Question {
            swarm_id: owner.swarm_id(),
            runs_on: wish.edge.right(),
            capability: wish.capability.to_string(),
            arguments: wish.arguments_id,
            asked_by: wish.asked_by,
            nonce: Nonce::from_bytes([1; 16]),
        };
        let now = Timestamp::from_millis(1_000);
        let said = Approver::Owner(&owner).decide(question, Decision::Granted, now).unwrap();
        wish.answer.send(Ok(said.clone())).unwrap();
        said
    };
    let (outcome, said) = tokio::join!(camera.run(task.clone()), person);
    let request = asked(&mut link).await;
    assert_eq!(request.input, r#"{"a":2,"b":1}"#);
    assert_eq!(request.approval.as_deref().map(str::as_bytes), said.to_bytes().ok().as_deref());
    link.result(answer(request));
    let (_, end) = outcome.unwrap().collect().await;
    assert_eq!(end.detail["approval"]["approver"], owner.public_key().to_string());

    // A no is handed on; of arguments that nobody can read, nobody is asked.
    let no = || Failure::new(ErrorKind::Denied, "approval_refused", "no");
    let person = async { wishes.recv().await.unwrap().answer.send(Err(no())).unwrap() };
    let (refused, ()) = tokio::join!(camera.run(task.clone()), person);
    assert_eq!(refused.unwrap_err(), no());
    let unreadable = Task { input: Bytes::from_static(b"{"), ..task };
    assert_eq!(camera.run(unreadable).await.unwrap_err().code, "invalid_input");
    drop(wishes);
}

#[tokio::test]
async fn a_failed_tool_says_why_and_artifacts_have_a_limit() {
    let mut link = edges().connect(announced("kitchen")).unwrap();
    let mut run = async |result: fn(ToolResult) -> ToolResult| {
        let mut outcome = tool(&link, "echo").run(task("t-1", None)).await.unwrap();
        let request = asked(&mut link).await;
        link.result(result(answer(request)));
        loop {
            if let Some(Event::End(end)) = outcome.next().await {
                break end;
            }
        }
    };
    let end = run(|it| ToolResult { failed: true, details: "no film".to_owned(), ..it }).await;
    assert_eq!(end.failure.unwrap().message, "{}: no film");
    let end = run(|it| ToolResult {
        artifacts: vec![Artifact { data: vec![1; 3], ..Artifact::default() }],
        ..it
    })
    .await;
    assert_eq!(end.detail["artifacts"][0]["data"], "AQEB");
    let end = run(|it| ToolResult {
        artifacts: vec![Artifact { data: vec![1; CARRIED + 1], ..Artifact::default() }],
        ..it
    })
    .await;
    assert_eq!(end.failure.unwrap().code, "artifacts_too_large");
}
