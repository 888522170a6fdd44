//! A member that turns against the others: it lies about its load, takes tasks and never answers,
//! answers without proof, floods, and repeats what it said.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sedge_base::{Dice, NodeId, TaskScope};
use sedge_net::{
    Admission, Conn, Frame, FrameReader, FrameWriter, PeerAddr, Protocol, SendStream, Transport,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::net::{SimEnd, SimNet};

const REQUEST: u8 = 1;
const DATA: u8 = 2;
const REPLY: u8 = 3;
const END: u8 = 4;
const RECEIPT: u8 = 6;

/// How long it waits between two attacks, at most.
const PAUSE: Duration = Duration::from_millis(800);
const DIALS_WITHIN: Duration = Duration::from_secs(1);
const OPENS_WITHIN: Duration = Duration::from_secs(1);
/// Streams that it opens at once.
const FLOOD: usize = 300;

#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

/// A hostile member; it holds the keys of a machine that was admitted.
#[derive(Debug)]
pub(crate) struct Hostile {
    scope: TaskScope,
}

/// What its futures share.
#[derive(Debug)]
struct Shared {
    end: SimEnd,
    dice: Mutex<Dice>,
    /// The last advert that it heard, to lie with.
    heard: Mutex<Option<Value>>,
}

impl Shared {
    fn dice(&self) -> Dice {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Returns an advert of somebody who offers everything and has nothing to do.
    fn lie(&self) -> Value {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut lie = heard.unwrap_or_else(|| json!({}));
        if let Some(fields) = lie.as_object_mut() {
            fields.remove("op");
            fields.insert("running".to_owned(), json!(0));
            fields.insert("limit".to_owned(), json!(u32::MAX));
            if let Some(gauges) = fields.get_mut("gauges").and_then(Value::as_object_mut) {
                gauges.insert("cpu_percent".to_owned(), json!(0.0));
                gauges.insert("free_memory".to_owned(), json!(1_u64 << 50));
            }
        }
        lie
    }
}

impl Hostile {
    /// Puts the member on the network and lets it attack.
    pub(crate) fn begin(net: &SimNet, id: NodeId, victims: Vec<NodeId>, dice: Dice) -> Self {
        let scope = TaskScope::mortal();
        let end = net.attach(id, &Protocol::ALL, Arc::new(Everybody));
        let shared = Shared { end, dice: Mutex::new(dice), heard: Mutex::default() };
        let shared = Arc::new(shared);
        let (serving, serving_scope) = (Arc::clone(&shared), scope.clone());
        scope.spawn("hostile acceptor", async move |_| {
            while let Some(conn) = serving.end.accept().await {
                serve(&serving, &serving_scope, conn);
            }
        });
        for victim in victims {
            let (shared, scope) = (Arc::clone(&shared), scope.clone());
            scope.clone().spawn("attacker", async move |_| {
                let mut dice = shared.dice();
                loop {
                    tokio::time::sleep(dice.up_to(PAUSE)).await;
                    let to = PeerAddr::new(victim);
                    let dialled = shared.end.dial(&to, Protocol::Mesh, DIALS_WITHIN).await;
                    if let Ok(conn) = dialled {
                        serve(&shared, &scope, conn.clone());
                        for _ in 0..4 {
                            attack(&shared, &conn, &mut dice).await;
                        }
                    }
                }
            });
        }
        Self { scope }
    }

    /// Ends it.
    pub(crate) async fn stop(&self) {
        self.scope.kill().await;
    }
}

/// Does one bad thing on a connection; whatever comes of it is fine with a liar.
async fn attack(shared: &Shared, conn: &Conn, dice: &mut Dice) {
    let Ok(stream) = conn.open(OPENS_WITHIN).await else { return };
    let mut writer = FrameWriter::new(stream.send);
    let task = json!({
        "op": "run", "task": format!("hostile-{}", dice.below(3)), "capability": "once",
        "media": "plain", "budgets": {}, "deadline": 0, "priority": 255, "length": 8,
    });
    match dice.below(7) {
        0 => {
            // Garbage, without a frame.
            let bytes: Vec<u8> = (0..64).map(|_| dice.roll().to_le_bytes()[0]).collect();
            let mut raw = writer.into_inner();
            drop(raw.write_all(&bytes).await);
        }
        1 => {
            // A frame that says that it is very long.
            let mut raw = writer.into_inner();
            drop(raw.write_all(&[REQUEST, 0xff, 0xff, 0xff, 0xff, b'{']).await);
        }
        2 => {
            let mut lie = shared.lie();
            if let Some(fields) = lie.as_object_mut() {
                fields.insert("op".to_owned(), json!("advert"));
            }
            send(&mut writer, REQUEST, &lie).await;
        }
        3 => {
            let roster =
                json!({ "op": "roster", "members": [{ "membership": {}, "addresses": [] }] });
            send(&mut writer, REQUEST, &roster).await;
        }
        4 => {
            // The same task over and over, never countersigned.
            send(&mut writer, REQUEST, &task).await;
            drop(writer.write(&Frame::new(DATA, &b"9 1 1 0 "[..7])).await);
            let mut reader = FrameReader::new(stream.recv);
            drop(tokio::time::timeout(PAUSE, reader.next()).await);
        }
        5 => {
            // A receipt that nobody asked for.
            send(&mut writer, RECEIPT, &json!({ "body": {} })).await;
        }
        _ => {
            let mut held = Vec::new();
            for _ in 0..FLOOD {
                match conn.open(Duration::from_millis(10)).await {
                    Ok(stream) => held.push(stream),
                    Err(_) => break,
                }
            }
            tokio::time::sleep(dice.up_to(PAUSE)).await;
        }
    }
}

async fn send(writer: &mut FrameWriter<SendStream>, kind: u8, value: &Value) {
    if let Ok(frame) = Frame::json(kind, value) {
        drop(writer.write(&frame).await);
    }
}

/// Answers whatever a victim asks on a connection.
fn serve(shared: &Arc<Shared>, scope: &TaskScope, conn: Conn) {
    let (shared, inner) = (Arc::clone(shared), scope.clone());
    scope.spawn("hostile server", async move |_| {
        while let Ok(stream) = conn.accept().await {
            let shared = Arc::clone(&shared);
            inner.spawn("hostile stream", async move |_| {
                let mut dice = shared.dice();
                let mut reader = FrameReader::new(stream.recv);
                let mut writer = FrameWriter::new(stream.send);
                let Ok(Some(frame)) = reader.next().await else { return };
                let Ok(asked) = frame.parse::<Value>() else { return };
                match asked.get("op").and_then(Value::as_str) {
                    Some("advert") => {
                        *shared.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
                        send(&mut writer, REPLY, &shared.lie()).await;
                        drop(writer.into_inner().finish().await);
                    }
                    Some("run") => cheat(&mut writer, &mut dice).await,
                    _ => std::future::pending().await,
                }
            });
        }
    });
}

/// Takes a task and does not do it.
async fn cheat(writer: &mut FrameWriter<SendStream>, dice: &mut Dice) {
    let usage = serde_json::to_value(sedge_capability::Usage::default()).unwrap_or_default();
    match dice.below(4) {
        // Silence.
        0 => std::future::pending().await,
        // A piece, then silence.
        1 => {
            drop(writer.write(&Frame::new(DATA, &b"[0:0]"[..])).await);
            std::future::pending::<()>().await;
        }
        // Success, without a receipt.
        2 => send(writer, END, &json!({ "status": "Success", "usage": usage })).await,
        // Nothing that anybody understands.
        _ => send(writer, END, &json!({ "status": 7 })).await,
    }
}
