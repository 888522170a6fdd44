//! A node behind its doors, and a client that sends exactly what a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::TaskScope;
use sedge_node::{Config, Home, Node, StartOptions};
use sedge_server::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A running node with a tiny random model and its doors.
pub(crate) struct Doors {
    pub(crate) node: Arc<Node>,
    pub(crate) server: Server,
    scope: TaskScope,
    _folder: TempDir,
}

/// A request as a test writes it.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Doors {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("tiny.gguf");
        std::fs::write(&model, sedge_lm::testing::tiny_model(7)).unwrap();
        let text = format!(
            "[node]\nlisten = \"127.0.0.1:0\"\n[gateway]\nchat = {:?}\nembedding = \"none\"\nthreads = 1\n",
            model.display().to_string()
        );
        let home = Home::open(&folder.path().join("home")).unwrap();
        let config = Config::parse(&text, "test").unwrap();
        let models = Some(folder.path().join("models"));
        let options =
            StartOptions { name: Some("alone".to_owned()), models, ..StartOptions::default() };
        let node = Node::start(home, config, options).await.unwrap();
        let scope = TaskScope::new();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, Arc::clone(&node), &scope).await.unwrap();
        Self { node, server, scope, _folder: folder }
    }

    pub(crate) async fn close(self) {
        self.node.shutdown().await;
        self.scope.shutdown(Duration::from_secs(5)).await.unwrap();
    }

    pub(crate) fn keyed<'a>(
        &self,
        method: &'a str,
        path: &'a str,
        body: impl Into<Vec<u8>>,
    ) -> Request<'a> {
        let key = format!("Bearer {}", self.node.api_key().reveal());
        Request { method, path, headers: vec![("authorization", key)], body: body.into() }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(self.keyed("GET", path, "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.send(self.keyed("POST", path, body.to_string())).await
    }

    /// Sends a request and leaves the connection open.
    pub(crate) async fn begin(&self, request: Request<'_>) -> TcpStream {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let Request { method, path, headers, body } = request;
        let mut head = format!("{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {}\r\n", self.server.address()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses early may not read the body.
        drop(stream.write_all(&body).await);
        stream
    }

    pub(crate) async fn send(&self, mut request: Request<'_>) -> Response {
        request.headers.push(("connection", "close".to_owned()));
        let mut stream = self.begin(request).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Response::parse(&bytes)
    }
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|it| it.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut response = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunk(&response.body);
        }
        response
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns what the events of a stream carry.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = str::from_utf8(&self.body).unwrap();
        text.split_terminator("\n\n")
            .map(|it| it.strip_prefix("data: ").unwrap().to_owned())
            .collect()
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|it| it == b"\r\n") {
        let length = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 4 + length..];
        if length == 0 {
            break;
        }
    }
    whole
}
