//! What somebody without rights can do to a running node: nothing.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{NodeId, Secret};
use sedge_net::{
    Admission, Conn, DialError, Frame, FrameReader, FrameWriter, PeerAddr, Protocol, Quic,
    QuicOptions, Transport,
};
use sedge_trust::{Identity, Owner};
use serde_json::{Value, json};

use crate::machine::{Machine, PATIENCE, UPPER};

#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

/// Opens an end with a key of one's own choice.
pub(crate) async fn end(identity: &Identity) -> Quic {
    let any = "127.0.0.1:0".parse().unwrap();
    let options = QuicOptions::new(Secret::new(*identity.signing_seed()), vec![any]);
    Quic::bind(options, Arc::new(Everybody)).await.unwrap()
}

pub(crate) fn place(machine: &Machine) -> PeerAddr {
    let at = machine.json(&["status"])["mesh"][0].as_str().unwrap().parse().unwrap();
    PeerAddr::new(machine.id().parse().unwrap()).with(at)
}

/// Sends frames on a stream of their own; returns the kind and text of the answer, if there is one.
pub(crate) async fn say(conn: &Conn, frames: &[Frame]) -> Option<(u8, Value)> {
    let stream = conn.open(PATIENCE).await.unwrap();
    let mut writer = FrameWriter::new(stream.send);
    for frame in frames {
        writer.write(frame).await.unwrap();
    }
    let mut reader = FrameReader::new(stream.recv);
    let answer = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().ok()??;
    Some((answer.kind, answer.parse().unwrap_or_default()))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

const KNOCK: u8 = 20;
const ANSWER: u8 = 22;
const WELCOME: u8 = 24;
pub(crate) const REQUEST: u8 = 1;
const DATA: u8 = 2;
pub(crate) const REPLY: u8 = 3;
const END: u8 = 4;
pub(crate) const REFUSED: u8 = 5;

#[test]
fn a_valid_but_unknown_key_gets_no_connection() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let before = one.json(&["nodes"]).as_array().unwrap().len();
    runtime().block_on(async {
        let stranger = end(&Identity::generate().unwrap()).await;
        for protocol in [Protocol::Mesh, Protocol::Pair] {
            let refused = stranger.dial(&place(&one), protocol, Duration::from_secs(10)).await;
            let error = refused.map(drop).unwrap_err();
            let refused = matches!(error, DialError::Refused { .. } | DialError::NotSpoken { .. });
            assert!(refused, "{protocol:?}: {error:?}");
        }
        stranger.close(PATIENCE).await;
    });
    assert_eq!(one.json(&["nodes"]).as_array().unwrap().len(), before);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "two"]);
    one.until_offered("fn-1", "two");
    assert_eq!(one.json(&["call", "fn-1", "--input", "ok"])["output"], "OK");
}

#[test]
fn nonsense_at_an_open_door_changes_nothing() {
    let mut one = Machine::new("one", vec!["--no-model"]);
    one.write_config("[admission]\nmodes = ['tofu']\n");
    one.start();
    let key = "ab".repeat(32);
    let knock = json!({"name": "edge", "session_key": key, "addresses": [], "nonce": key});
    let mut unnamed = knock.clone();
    unnamed["name"] = "a b\u{0}".into();
    let mut unknown = knock.clone();
    unknown["admit_me"] = true.into();
    runtime().block_on(async {
        let stranger = end(&Identity::generate().unwrap()).await;
        let frames = |all: &[(u8, Vec<u8>)]| -> Vec<Frame> {
            all.iter().map(|(kind, it)| Frame::new(*kind, it.clone())).collect()
        };
        let bytes = |it: &Value| serde_json::to_vec(it).unwrap();
        for said in [
            frames(&[(KNOCK, b"{".to_vec())]),
            frames(&[(KNOCK, bytes(&unnamed))]),
            frames(&[(KNOCK, bytes(&unknown))]),
            frames(&[(KNOCK, bytes(&knock)), (ANSWER, b"[]".to_vec())]),
            frames(&[(KNOCK, bytes(&knock)), (KNOCK, bytes(&knock))]),
            frames(&[(WELCOME, bytes(&knock))]),
            frames(&[(200, vec![0; 1000])]),
        ] {
            let place = place(&one);
            let conn = stranger.dial(&place, Protocol::Pair, PATIENCE).await.unwrap();
            say(&conn, &said).await;
            conn.close(sedge_net::CloseReason::Done);
        }
        stranger.close(PATIENCE).await;
    });
    let admission = one.json(&["admission", "list"]);
    assert_eq!(admission["pending"], json!([]), "{admission}");
    assert_eq!(one.json(&["status"])["members"], 1);
}

#[test]
fn a_member_that_forges_records_or_speaks_nonsense_changes_nothing() {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let nodes = |machine: &Machine| -> Vec<Value> {
        let nodes = machine.json(&["nodes"]);
        nodes.as_array().unwrap().iter().map(|it| it["id"].clone()).collect()
    };
    let before = nodes(&one);
    let place = place(&one);
    two.kill();
    let identity = Identity::load_or_create(&two.home()).unwrap();
    runtime().block_on(async {
        let turned = end(&identity).await;
        let conn = turned.dial(&place, Protocol::Mesh, PATIENCE).await.unwrap();

        let (kind, roster) = say(&conn, &[request(&json!({"op": "roster", "members": []}))])
            .await
            .expect("a member gets an answer");
        assert_eq!(kind, REPLY, "{roster}");
        let honest = roster["members"][0]["membership"].clone();
        let friend = Identity::generate().unwrap();
        let impostor = Owner::generate().unwrap();
        let mut forged = honest.clone();
        forged["member"]["node_id"] = friend.node_id().to_string().into();
        let mut renamed = honest.clone();
        renamed["member"]["name"] = "somebody else".into();
        let mut own = honest.clone();
        own["member"]["node_id"] = friend.node_id().to_string().into();
        own["member"]["swarm_id"] = impostor.swarm_id().to_string().into();
        for membership in [forged, renamed, own] {
            let members = json!([{"membership": membership, "addresses": []}]);
            let asked = request(&json!({"op": "roster", "members": members}));
            let (kind, said) = say(&conn, &[asked]).await.expect("a refusal");
            assert_eq!(kind, REFUSED, "{said}");
        }
        for nonsense in [
            Frame::new(REQUEST, b"{".to_vec()),
            Frame::new(REQUEST, br#"{"op":"own_everything"}"#.to_vec()),
            Frame::new(200, vec![0; 1000]),
            Frame::new(REPLY, b"{}".to_vec()),
        ] {
            let answer = say(&conn, &[nonsense]).await;
            assert!(answer.as_ref().is_none_or(|(kind, _)| *kind == REFUSED), "{answer:?}");
        }
        conn.close(sedge_net::CloseReason::Done);
        turned.close(PATIENCE).await;
    });
    assert_eq!(nodes(&one), before);
    two.start();
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "all"]);
    assert_eq!(one.json(&["call", "fn-1", "--on", "one", "--input", "ok"])["output"], "OK");
}

/// Answers as a member would, until it is asked to run a task: then it sends an output of its own and
/// another node's receipt.
async fn answer_for_another(conn: &Conn, receipt: &Value) {
    loop {
        let stream = conn.accept().await.unwrap();
        let mut writer = FrameWriter::new(stream.send);
        let mut reader = FrameReader::new(stream.recv);
        // It has no swarm layer: those streams end.
        let Ok(asked) = reader.next().await.unwrap().unwrap().parse::<Value>() else { continue };
        match asked["op"].as_str().unwrap() {
            "advert" => {
                // What the other one offers, this one says that it offers, too.
                let mut advert = asked;
                advert["name"] = "two".into();
                advert["checkpoint"] = Value::Null;
                writer.write(&Frame::json(REPLY, &advert).unwrap()).await.unwrap();
            }
            "run" => {
                let input = reader.next().await.unwrap().unwrap();
                assert_eq!((input.kind, &input.payload[..]), (DATA, b"a task for two".as_slice()));
                writer.write(&Frame::new(DATA, b"A TASK FOR TWO".to_vec())).await.unwrap();
                let usage = serde_json::to_value(sedge_capability::Usage::default()).unwrap();
                let end = json!({"status": "Success", "usage": usage, "receipt": receipt});
                writer.write(&Frame::json(END, &end).unwrap()).await.unwrap();
                writer.into_inner().finish().await.unwrap();
                return;
            }
            _ => {
                let no = json!({"kind": "denied", "code": "no", "message": "no"});
                writer.write(&Frame::json(REFUSED, &no).unwrap()).await.unwrap();
            }
        }
        writer.into_inner().finish().await.unwrap();
    }
}

#[test]
fn row_208_a_result_for_another_node_is_refused_and_audited() {
    let (one, mut two, three) = (Machine::up("one"), Machine::up("two"), Machine::up("three"));
    one.pair(&two);
    one.pair(&three);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "all"]);
    one.until_offered("fn-1", "three");
    let honest = one.json(&["call", "fn-1", "--on", "three", "--input", "a task for two"]);
    assert_eq!(honest["output"], "A TASK FOR TWO");
    let receipt = one.json(&["receipt", "show", "last"]);
    assert_eq!(receipt["body"]["executor"], three.id());
    let before = one.json(&["status"])["receipts"].clone();

    let place = place(&one);
    two.kill();
    let identity = Identity::load_or_create(&two.home()).unwrap();
    let (forged, asked) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let forged = forged;
            runtime().block_on(async {
                let turned = end(&identity).await;
                let conn = turned.dial(&place, Protocol::Mesh, PATIENCE).await.unwrap();
                forged.send(()).unwrap();
                answer_for_another(&conn, &receipt).await;
                // Until the other side has read it and has said no.
                conn.closed().await;
                turned.close(PATIENCE).await;
            });
        });
        asked.recv_timeout(PATIENCE).unwrap();
        one.until_offered("fn-1", "two");
        let (exit, error) =
            one.fails(&["call", "fn-1", "--on", "two", "--input", "a task for two"]);
        assert_eq!((exit, &error["code"]), (13, &"unproven".into()), "{error}");
        let trail = one.json(&["audit"]);
        let entries = trail["entries"].as_array().unwrap().clone();
        let mut refused = entries.iter().filter(|it| it["kind"] == "receipt.refused");
        let entry = refused.next().expect("an entry in the audit");
        assert_eq!(entry["subject"], two.id(), "{entry}");
        assert_eq!(entry["detail"]["executor_named"], three.id(), "{entry}");
        assert!(refused.next().is_none(), "once");
        assert_eq!(one.json(&["status"])["receipts"], before, "no receipt of it is kept");
        one.json(&["revoke", "two"]);
    });
    assert_eq!(one.json(&["call", "fn-1", "--on", "three", "--input", "ok"])["output"], "OK");
}

pub(crate) fn request(value: &Value) -> Frame {
    Frame::json(REQUEST, value).unwrap()
}
