//! A web server on loopback whose answers the test decides.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The path.
    pub(crate) path: String,
    /// The first byte of its `Range`, if it has one.
    pub(crate) from: Option<usize>,
    /// Its `Authorization`, if it has one.
    pub(crate) authorization: Option<String>,
}

/// What the server says.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status line's number.
    pub(crate) status: u16,
    /// More headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The whole body that its `Content-Length` promises.
    pub(crate) body: Vec<u8>,
    /// How many bytes of it are really sent before the connection is closed.
    pub(crate) sent: usize,
}

impl Answer {
    /// A body with status 200.
    pub(crate) fn whole(body: &[u8]) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_vec(), sent: body.len() }
    }

    /// An empty body with a status.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), sent: 0 }
    }

    /// What an honest server says to a request for a file.
    pub(crate) fn honest(file: &[u8], request: &Request) -> Self {
        let Some(from) = request.from else { return Self::whole(file) };
        if from >= file.len() {
            return Self::status(416);
        }
        let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
        let part = Self::whole(&file[from..]);
        Self { status: 206, headers: vec![("Content-Range", range)], ..part }
    }

    /// The same, but the connection breaks after `sent` bytes of the body.
    pub(crate) fn broken_after(self, sent: usize) -> Self {
        Self { sent: sent.min(self.body.len()), ..self }
    }
}

/// A running server; stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    sent: Arc<Mutex<usize>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server; `answer` gets each request and how many there were before it.
    pub(crate) fn start(
        answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (all, bytes, ended) = (requests.clone(), sent.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let Some(request) = read(&stream) else { continue };
                let before = {
                    let mut all = all.lock().unwrap();
                    all.push(request.clone());
                    all.len() - 1
                };
                *bytes.lock().unwrap() += write(stream, &answer(before, &request));
            }
        });
        Self { address, requests, sent, stop, thread: Some(thread) }
    }

    /// Returns its address without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns how many bytes of bodies it sent.
    pub(crate) fn sent(&self) -> usize {
        *self.sent.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, from: None, authorization: None };
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            return Some(request);
        }
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.from = value.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok();
            }
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    None
}

/// Sends the answer; returns how many bytes of the body went out.
fn write(mut stream: TcpStream, answer: &Answer) -> usize {
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = &answer.body[..answer.sent];
    // A client that hung up got less; such tests do not count.
    match stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)) {
        Ok(()) => body.len(),
        Err(_) => 0,
    }
}
