//! A member that turns against the others, at nodes that run: it takes as much as it can get, and
//! nothing else suffers.

use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_net::{
    CloseReason, Conn, ConnError, DialError, Frame, FrameReader, FrameWriter, Protocol, Quic,
    Transport,
};
use sedge_trust::Identity;
use serde_json::{Value, json};

use crate::machine::{Machine, PATIENCE, UPPER, until};
use crate::strangers::{REFUSED, REPLY, REQUEST, end, place, request, runtime, say};

/// A machine with this `[mesh]`, an honest member that has a function, and the keys of a third one
/// that has turned.
fn swarm(mesh: &str) -> (Machine, Machine, Identity) {
    let mut one = Machine::new("one", vec!["--no-model"]);
    one.write_config(&format!("[mesh]\n{mesh}\n"));
    one.start();
    let (mut turned, honest) = (Machine::up("turned"), Machine::up("honest"));
    one.pair(&turned);
    one.pair(&honest);
    honest.json(&["deploy", UPPER, "--id", "upper"]);
    one.until_offered("upper", "honest");
    turned.kill();
    let identity = Identity::load_or_create(&turned.home()).unwrap();
    until("it is missed", || one.json(&["node", "show", "turned"])["status"] == "offline");
    (one, honest, identity)
}

#[track_caller]
fn honest_work_goes_on(one: &Machine, honest: &Machine) {
    for machine in [one, honest] {
        assert_eq!(machine.json(&["call", "upper", "--input", "on"])["output"], "ON");
    }
    assert_eq!(one.json(&["node", "show", "honest"])["status"], "online");
}

async fn dial(turned: &Quic, one: &Machine) -> Result<Conn, DialError> {
    turned.dial(&place(one), Protocol::Mesh, Duration::from_secs(10)).await
}

/// Dials until there is room.
async fn dial_in(turned: &Quic, one: &Machine) -> Conn {
    for _ in 0..1000 {
        match dial(turned, one).await {
            Ok(conn) => return conn,
            Err(DialError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never room");
}

#[test]
fn a_node_that_is_full_says_so_and_takes_the_next_when_there_is_room() {
    let (one, honest, identity) = swarm("max_connections = 2");
    runtime().block_on(async {
        let turned = end(&identity).await;
        let mut held = vec![dial_in(&turned, &one).await];
        let full = loop {
            match dial(&turned, &one).await {
                Ok(conn) => held.push(conn),
                Err(error) => break error,
            }
            assert!(held.len() <= 2, "the limit does not hold");
        };
        assert!(matches!(full, DialError::Full { .. }), "{full:?}");
        assert_eq!(full.kind(), ErrorKind::Exhausted, "not as if it were away");
        honest_work_goes_on(&one, &honest);
        for conn in held {
            conn.close(CloseReason::Done);
        }
        drop(dial_in(&turned, &one).await);
        turned.close(PATIENCE).await;
    });
}

#[test]
fn one_member_gets_so_many_streams_and_no_more() {
    let (one, honest, identity) = swarm("max_streams = 8");
    runtime().block_on(async {
        let turned = end(&identity).await;
        let conn = dial(&turned, &one).await.unwrap();
        let mut held = Vec::new();
        let refused = loop {
            match conn.open(Duration::from_millis(500)).await {
                Ok(mut stream) => {
                    // What was not begun is no stream to the other side.
                    tokio::io::AsyncWriteExt::write_all(&mut stream.send, &[REQUEST])
                        .await
                        .unwrap();
                    held.push(stream);
                }
                Err(error) => break error,
            }
            assert!(held.len() <= 8, "the limit does not hold");
        };
        assert!(matches!(refused, ConnError::Busy { .. }), "{refused:?}");
        assert_eq!(held.len(), 8);
        honest_work_goes_on(&one, &honest);
        turned.close(PATIENCE).await;
    });
}

/// Reads the advert that a machine sends over a connection that it was dialled by.
async fn advert_of(conn: &Conn) -> Value {
    let (asked, stream) = loop {
        let stream = tokio::time::timeout(PATIENCE, conn.accept()).await.unwrap().unwrap();
        let asked = FrameReader::new(stream.recv).next().await.unwrap().unwrap();
        // It has no swarm layer: those streams end.
        if let Ok(asked) = asked.parse::<Value>() {
            break (asked, stream.send);
        }
    };
    assert_eq!(asked["op"], "advert", "{asked}");
    let mut writer = FrameWriter::new(stream);
    writer.write(&Frame::json(REPLY, &asked).unwrap()).await.unwrap();
    writer.into_inner().finish().await.unwrap();
    asked
}

#[test]
fn whoever_tells_too_often_is_refused_and_changes_nothing() {
    let (one, honest, identity) = swarm("gossip_per_second = 5\naddresses_per_member = 4");
    runtime().block_on(async {
        let turned = end(&identity).await;
        let conn = dial(&turned, &one).await.unwrap();
        let mut advert = advert_of(&conn).await;
        advert["addresses"] = (1..500).map(|it| json!(format!("10.1.1.1:{it}"))).collect();
        let (mut told, mut refused) = (0, 0);
        for number in 0..200 {
            advert["running"] = number.into();
            let (kind, said) = say(&conn, &[request(&advert)]).await.expect("an answer");
            match kind {
                REPLY => told += 1,
                REFUSED => {
                    assert_eq!(
                        (&said["kind"], &said["code"]),
                        (&json!("exhausted"), &json!("too_often"))
                    );
                    refused += 1;
                }
                other => panic!("{other}: {said}"),
            }
        }
        assert!(told >= 20 && refused > 0, "{told} told, {refused} refused");
        let known = one.json(&["node", "show", "turned"]);
        assert_eq!(known["addresses"].as_array().unwrap().len(), 4, "{known}");
        // What it says of where others are counts as little.
        let honest_at = one.json(&["node", "show", "honest"])["addresses"].clone();
        honest_work_goes_on(&one, &honest);
        assert_eq!(one.json(&["node", "show", "honest"])["addresses"], honest_at);
        turned.close(PATIENCE).await;
    });
}

/// Open files and threads of a machine's node.
fn held_by(machine: &Machine) -> [usize; 2] {
    let pid = machine.pid();
    ["fd", "task"].map(|it| std::fs::read_dir(format!("/proc/{pid}/{it}")).unwrap().count())
}

#[test]
fn a_hundred_connections_of_one_key_leave_the_newest_and_nothing_else() {
    let (one, honest, identity) = swarm("");
    honest_work_goes_on(&one, &honest);
    let resident = |of: &Machine| of.json(&["status"])["resident"].as_u64().unwrap();
    let (before, memory) = (held_by(&one), resident(&one));
    runtime().block_on(async {
        let turned = end(&identity).await;
        let (mut all, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let conn = dial(&turned, &one).await.unwrap();
            // Each carries something, so that it is not closed for being idle.
            let mut stream = conn.open(PATIENCE).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream.send, &[REQUEST]).await.unwrap();
            all.push(conn);
            streams.push(stream);
        }
        let open = || all.iter().filter(|it: &&Conn| it.is_open()).count();
        let end = tokio::time::Instant::now() + PATIENCE;
        while open() > 5 {
            assert!(tokio::time::Instant::now() < end, "{} are open", open());
            tokio::task::yield_now().await;
        }
        // The newest is the one that is used: the other side's next advert comes over it.
        let newest = all.last().unwrap();
        assert!(newest.is_open());
        advert_of(newest).await;
        assert!(newest.is_open(), "the end of an older one does not end it");
        honest_work_goes_on(&one, &honest);
        turned.close(PATIENCE).await;
    });
    until("it is missed", || one.json(&["node", "show", "turned"])["status"] == "offline");
    until("its files are closed", || held_by(&one)[0] <= before[0] + 8);
    let after = held_by(&one);
    assert!(after[1] <= before[1] + 8, "threads: {before:?}, then {after:?}");
    let grown = resident(&one).saturating_sub(memory);
    assert!(grown < 64 << 20, "{grown} bytes more in memory");
    honest_work_goes_on(&one, &honest);
}
