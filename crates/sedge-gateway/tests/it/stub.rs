//! A provider on loopback whose answers the test decides: a double, and no model.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::Value;

/// What the double was asked.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) path: String,
    /// By their small names.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body, in the pieces in which it is sent.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Whether each piece but the first waits for the test's word.
    pub(crate) waits: bool,
    pub(crate) ending: Ending,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Whole,
    /// The connection is closed in the middle.
    BreaksOff,
    /// Nothing comes any more, and the connection stays.
    Stalls,
}

impl Reply {
    /// A good answer of this media type.
    pub(crate) fn good(media_type: &str, body: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", media_type.to_owned())],
            pieces: vec![body.as_bytes().to_vec()],
            waits: false,
            ending: Ending::Whole,
        }
    }

    /// A no.
    pub(crate) fn no(status: u16, body: &str) -> Self {
        Self { status, ..Self::good("application/json", body) }
    }

    /// The recorded answer of a streaming API, one piece for each event or line.
    pub(crate) fn recorded(body: &str) -> Self {
        let events = body.contains("data:");
        let cut = if events { "\n\n" } else { "\n" };
        let media_type = if events { "text/event-stream" } else { "application/x-ndjson" };
        let pieces = body.split_inclusive(cut).map(|it| it.as_bytes().to_vec()).collect();
        Self { pieces, ..Self::good(media_type, "") }
    }

    pub(crate) fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }
}

/// What the threads of the double share.
struct Shared {
    answer: Box<dyn Fn(&Heard) -> Reply + Send + Sync>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    /// How many pieces may be sent beside the first of each answer.
    words: usize,
    sent: usize,
    stopped: bool,
}

/// A running double; stops when dropped.
pub(crate) struct StubProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl StubProvider {
    /// Starts a double that answers each request so.
    pub(crate) fn start(answer: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { answer: Box::new(answer), state, changed });
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if all.state.lock().unwrap().stopped {
                    return;
                }
                let shared = Arc::clone(&all);
                // A client that hangs up is none of the double's business.
                thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Self { address, shared }
    }

    /// Returns its address without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what it was asked so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.state.lock().unwrap().heard.clone()
    }

    /// Returns how many pieces of answers it has begun to send.
    pub(crate) fn sent(&self) -> usize {
        self.shared.state.lock().unwrap().sent
    }

    /// Lets one more piece be sent.
    pub(crate) fn go_on(&self) {
        self.shared.state.lock().unwrap().words += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for StubProvider {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().stopped = true;
        self.shared.changed.notify_all();
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(heard) = read(&mut reader) {
        shared.state.lock().unwrap().heard.push(heard.clone());
        let reply = (shared.answer)(&heard);
        send(stream, &reply, shared)?;
        if reply.ending != Ending::Whole {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Heard> {
    let mut line = || {
        let mut line = String::new();
        let read = reader.read_line(&mut line).ok().filter(|it| *it > 0);
        read.map(|_| line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let header = line()?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Heard { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn send(mut stream: &TcpStream, reply: &Reply, shared: &Shared) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\ntransfer-encoding: chunked\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    for (at, piece) in reply.pieces.iter().enumerate() {
        let mut state = shared.state.lock().unwrap();
        if reply.waits && at > 0 {
            let waits = |state: &mut State| state.words == 0 && !state.stopped;
            state = shared.changed.wait_while(state, waits).unwrap();
            if state.stopped {
                return Ok(());
            }
            state.words -= 1;
        }
        state.sent += 1;
        drop(state);
        if !piece.is_empty() {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            stream.write_all(&chunk)?;
        }
    }
    match reply.ending {
        Ending::Whole => stream.write_all(b"0\r\n\r\n"),
        Ending::BreaksOff => Ok(()),
        Ending::Stalls => {
            let state = shared.state.lock().unwrap();
            drop(shared.changed.wait_while(state, |it| !it.stopped));
            Ok(())
        }
    }
}
