//! Sessions: a folder on this node that several runs share, and files up and down.
//!
//! A session lives until it is closed or the node stops. Its id cannot be guessed, and only the node
//! that asked for it may use it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sedge_base::{ByteSize, ErrorKind, NodeId};
use sedge_capability::{
    Budgets, Capability, Descriptor, End, Failure, Idempotence, Kind, Outcome, Task, Usage,
};
use sedge_sandbox::{Folder, FolderError, Limits};
use sedge_trust::random_bytes;
use sedge_trust::receipt::Rung;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::code::language::Language;

/// The name of the capability.
pub const SESSION: &str = "code:session";
/// The most sessions at the same time: each may take as much room as one run.
const MOST_SESSIONS: usize = 32;
/// The largest file that goes up or down.
const MOST_FILE: ByteSize = ByteSize::from_mib(8);

/// What somebody wants of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum SessionAsk {
    /// A new one.
    Open {},
    /// A file written.
    Put {
        /// Which session.
        session_id: String,
        /// Where in its folder.
        path: String,
        /// What, in base64.
        content: String,
    },
    /// A file read.
    Get {
        /// Which session.
        session_id: String,
        /// Where in its folder.
        path: String,
    },
    /// All files named.
    List {
        /// Which session.
        session_id: String,
    },
    /// An end of it, and of its files.
    Close {
        /// Which session.
        session_id: String,
    },
}

/// One session: its folder, and whose run it is. Two runs at once would read each other's program.
#[derive(Debug)]
pub(crate) struct Session {
    folder: Folder,
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl std::ops::Deref for Session {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

/// Every session of a node.
#[derive(Debug)]
pub(crate) struct Sessions {
    node: NodeId,
    folder: PathBuf,
    open: Mutex<BTreeMap<String, (NodeId, Arc<Session>)>>,
}

impl Sessions {
    /// Makes the sessions of a node; what an earlier start left in the folder is removed.
    pub(crate) fn new(node: NodeId, folder: PathBuf) -> Self {
        // Not there is as good; what cannot be removed makes opening fail.
        drop(fs::remove_dir_all(&folder));
        Self { node, folder, open: Mutex::default() }
    }

    /// Returns the folder of somebody's session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], also when it is somebody else's.
    pub(crate) fn get(&self, id: &str, asker: NodeId) -> Result<Arc<Session>, Failure> {
        let open = self.open();
        match open.get(id).filter(|(owner, _)| *owner == asker) {
            Some((_, folder)) => Ok(Arc::clone(folder)),
            None => {
                let text = "this node has no such session of yours; open one, and name its node";
                Err(Failure::new(ErrorKind::NotFound, "unknown_session", text))
            }
        }
    }

    fn make(&self, asker: NodeId) -> Result<Value, Failure> {
        let mut open = self.open();
        if open.len() >= MOST_SESSIONS {
            let text = format!("{MOST_SESSIONS} sessions are open here; close one");
            return Err(Failure::new(ErrorKind::Exhausted, "too_many_sessions", text));
        }
        let broken = |it: &dyn fmt::Display| Failure::new(ErrorKind::Internal, "no_session", it);
        fs::create_dir_all(&self.folder).map_err(|it| broken(&it))?;
        let chance = random_bytes::<16>().map_err(|it| broken(&it))?;
        let chance: String = chance.iter().map(|it| format!("{it:02x}")).collect();
        let node = self.node.to_string();
        let id = format!("{}-{chance}", node.get(..16).unwrap_or(&node));
        let folder = Folder::create(self.folder.join(&id), Limits::default().files);
        let folder = folder.map_err(refused)?;
        let session = Session { folder, turn: tokio::sync::Mutex::new(()) };
        open.insert(id.clone(), (asker, Arc::new(session)));
        Ok(json!({ "session_id": id }))
    }

    /// Does what is asked for; blocks on the disk.
    fn answer(&self, ask: SessionAsk, asker: NodeId) -> Result<Value, Failure> {
        match ask {
            SessionAsk::Open {} => self.make(asker),
            SessionAsk::Put { session_id, path, content } => {
                let bytes = STANDARD.decode(content).map_err(|it| {
                    let text = format!("the content is not base64: {it}");
                    Failure::new(ErrorKind::Invalid, "invalid_input", text)
                })?;
                if bytes.len() > MOST_FILE.as_len() {
                    let text = format!("a file of a session has at most {MOST_FILE}");
                    return Err(Failure::new(ErrorKind::Exhausted, "file_too_large", text));
                }
                let session = self.get(&session_id, asker)?;
                if Language::all().any(|it| it.facts().file == path) {
                    let text = format!("`{path}` is the name that code runs under: take another");
                    return Err(Failure::new(ErrorKind::Invalid, "reserved_name", text));
                }
                session.put(&path, &bytes).map_err(refused)?;
                Ok(json!({ "path": path, "bytes": bytes.len() }))
            }
            SessionAsk::Get { session_id, path } => {
                let bytes = self.get(&session_id, asker)?.get(&path, MOST_FILE).map_err(refused)?;
                Ok(json!({ "path": path, "bytes": bytes.len(), "content": STANDARD.encode(bytes) }))
            }
            SessionAsk::List { session_id } => {
                let files = self.get(&session_id, asker)?.list().map_err(refused)?;
                Ok(json!({ "files": files }))
            }
            SessionAsk::Close { session_id } => {
                self.get(&session_id, asker)?;
                // The folder goes with the last run that uses it.
                let closed = self.open().remove(&session_id);
                Ok(json!({ "closed": closed.is_some() }))
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, (NodeId, Arc<Session>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(error: FolderError) -> Failure {
    let text = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let code = match error.kind() {
        ErrorKind::NotFound => "unknown_file",
        _ => "session_file",
    };
    Failure::new(error.kind(), code, text)
}

/// The capability of a node's sessions.
pub struct CodeSessions {
    descriptor: Arc<Descriptor>,
    sessions: Arc<Sessions>,
}

impl fmt::Debug for CodeSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CodeSessions").field(&self.sessions).finish()
    }
}

impl CodeSessions {
    /// Makes the capability; `None` if its name were none, which it is not.
    pub(crate) fn new(sessions: Arc<Sessions>) -> Option<Self> {
        let text = json!({ "type": "string" });
        let descriptor = Descriptor {
            name: SESSION.parse().ok()?,
            kind: Kind::Sandbox,
            summary: "opens and closes a folder that runs of code share, and moves its files"
                .to_owned(),
            input: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["op"],
                "properties": {
                    "op": { "enum": ["open", "put", "get", "list", "close"] },
                    "session_id": text,
                    "path": text,
                    "content": { "type": "string", "contentEncoding": "base64" },
                },
            }),
            output: json!({ "type": "object" }),
            labels: BTreeMap::new(),
            limits: Budgets::default(),
            idempotence: Idempotence::Once,
            rung: Rung::Attested,
            content: None,
        };
        Some(Self { descriptor: Arc::new(descriptor), sessions })
    }
}

#[async_trait]
impl Capability for CodeSessions {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.descriptor)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let began = Instant::now();
        let ask: SessionAsk = serde_json::from_slice(&task.input)
            .map_err(|it| Failure::new(ErrorKind::Invalid, "invalid_input", it))?;
        if task.budgets.time_ms == Some(0) {
            let text = "there is no time for it";
            return Err(Failure::new(ErrorKind::Timeout, "timeout", text));
        }
        let sessions = Arc::clone(&self.sessions);
        let broken = |it: &dyn fmt::Display| Failure::new(ErrorKind::Internal, "no_session", it);
        let answered = tokio::task::spawn_blocking(move || sessions.answer(ask, task.requester));
        let answer = answered.await.map_err(|it| broken(&it))??;
        let output = Bytes::from(serde_json::to_vec(&answer).map_err(|it| broken(&it))?);
        let usage = Usage {
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            output_bytes: output.len() as u64,
            ..Usage::default()
        };
        Ok(Outcome::ready(output, End::success(usage)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sessions() -> (tempfile::TempDir, Sessions) {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(NodeId::from_bytes([7; 32]), folder.path().join("sessions"));
        (folder, sessions)
    }

    #[test]
    fn a_session_is_its_asker_s_alone_and_ends() {
        let (_folder, sessions) = sessions();
        let (one, two) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let made = sessions.answer(SessionAsk::Open {}, one).unwrap();
        let id = made["session_id"].as_str().unwrap();
        let path = sessions.get(id, one).unwrap().path().to_owned();
        assert_eq!(sessions.get(id, two).unwrap_err().kind, ErrorKind::NotFound);
        let close = || SessionAsk::Close { session_id: id.to_owned() };
        assert!(sessions.answer(close(), two).is_err() && path.exists());
        sessions.answer(close(), one).unwrap();
        assert!(!path.exists() && sessions.get(id, one).is_err());
    }

    #[test]
    fn a_file_of_a_session_is_not_lost_to_the_code_that_runs_in_it() {
        let (_folder, sessions) = sessions();
        let one = NodeId::from_bytes([1; 32]);
        let made = sessions.answer(SessionAsk::Open {}, one).unwrap();
        let put = |path: &str| {
            let session_id = made["session_id"].as_str().unwrap().to_owned();
            let put = SessionAsk::Put { session_id, path: path.to_owned(), content: String::new() };
            sessions.answer(put, one)
        };
        assert_eq!(put("main.py").unwrap_err().code, "reserved_name");
        put("data/main.py").unwrap();
    }

    #[test]
    fn there_are_not_more_than_the_node_has_room_for() {
        let (_folder, sessions) = sessions();
        let one = NodeId::from_bytes([1; 32]);
        for _ in 0..MOST_SESSIONS {
            sessions.make(one).unwrap();
        }
        assert_eq!(sessions.make(one).unwrap_err().kind, ErrorKind::Exhausted);
    }

    proptest! {
        #[test]
        fn any_input_is_refused_or_understood(text: String) {
            let (_folder, sessions) = sessions();
            if let Ok(ask) = serde_json::from_str::<SessionAsk>(&text) {
                drop(sessions.answer(ask, NodeId::from_bytes([1; 32])));
            }
        }
    }
}
