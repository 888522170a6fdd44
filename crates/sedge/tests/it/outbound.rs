//! Requests that functions send: where they may go, and what the host adds on their way.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use crate::machine::{Machine, PATIENCE, until};

/// The component that answers HTTP requests.
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/web.wasm");
pub(crate) const SECRET: &str = "v3ry-s3cret-t0ken";
/// Every detail of all that a request passes; the Wasm compiler alone says no more than usual.
const LOG: &str = "trace,cranelift=info,cranelift_codegen=info,wasmtime=info,regalloc2=info";

/// A server that tells what it was sent: `/echo` answers with the authorization that it got, `/moved`
/// with another place, and everything else with `hello`.
pub(crate) struct Server {
    address: SocketAddr,
    told: mpsc::Receiver<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let (mut request, mut line) = (String::new(), String::new());
                while reader.read_line(&mut line).is_ok_and(|it| it > 2) {
                    request.push_str(&line);
                    line.clear();
                }
                drop(reader.get_mut().write_all(answer(&request).as_bytes()));
                if tell.send(request).is_err() {
                    return;
                }
            }
        });
        Self { address, told }
    }

    pub(crate) fn place(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the request that it got.
    #[track_caller]
    pub(crate) fn request(&self) -> String {
        self.told.recv_timeout(PATIENCE).unwrap()
    }

    /// Asserts that nobody has asked it. Whoever was to ask has ended, so nothing is on its way.
    #[track_caller]
    fn was_not_asked(&self) {
        assert_eq!(self.told.try_recv().ok(), None);
    }
}

fn answer(request: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nconnection: close";
    if request.starts_with("GET /moved ") {
        return "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            .to_owned();
    }
    let given = request.lines().find_map(|it| it.strip_prefix("authorization: "));
    let body = match given.filter(|_| request.starts_with("GET /echo ")) {
        Some(given) => format!("you sent {given}"),
        None => "hello".to_owned(),
    };
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A machine whose owner lets functions reach these places of it.
pub(crate) fn machine(places: &[&str]) -> Machine {
    let mut one = Machine::new("one", vec!["--no-model"]);
    one.write_config(&format!("[functions]\nlocal_places = {places:?}\n"));
    one.knows("SEDGE_LOG", LOG);
    one.start();
    one
}

fn log(machine: &Machine) -> String {
    fs::read_to_string(machine.folder().join("log")).unwrap()
}

/// Keeps the secret on a machine; returns whether it was taken.
pub(crate) fn keep(machine: &Machine, place: &str) -> bool {
    let mut command = machine.command(&["secret", "set", "API_TOKEN", "--place", place]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{SECRET}").unwrap();
    child.wait().unwrap().success()
}

/// Asks a function's HTTP side; returns the body.
fn post(machine: &Machine, path: &str, body: &str) -> Vec<u8> {
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let request = ureq::post(format!("http://{api}/fn/web/{path}"));
    let mut response =
        request.header("authorization", format!("Bearer {}", key.trim())).send(body).unwrap();
    response.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap()
}

/// Lets the function ask; returns what it got, in its words.
fn ask(machine: &Machine, server: SocketAddr, path: &str) -> String {
    String::from_utf8(post(machine, "ask", &format!("{server} {path}"))).unwrap()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

/// Asserts that no file below a folder has the secret, but those of the node's secrets.
fn no_file_has_it(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.ends_with("home/secrets") {
            continue;
        }
        match entry.file_type().unwrap() {
            it if it.is_dir() => no_file_has_it(&path),
            it if it.is_file() => assert!(!has(&fs::read(&path).unwrap(), SECRET), "{path:?}"),
            _ => {}
        }
    }
}

#[test]
fn row_265_a_secret_is_added_at_the_host_and_the_guest_never_sees_it() {
    let server = Server::start();
    let (place, address) = (server.place(), server.address);
    let one = machine(&[&place]);
    let header = format!("{place} authorization=Bearer {{API_TOKEN}}");
    let deploy = ["deploy", WEB, "--id", "web", "--allow-host", &place, "--add-header", &header];
    let deploy = [&deploy[..], &["--env", "KNOWN=to-the-guest"]].concat();
    let refusal = |expected: &str| {
        let (_, error) = one.fails(&deploy);
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    };
    refusal("sedge secret set API_TOKEN --place http://127.0.0.1:");
    // A secret goes where it is bound to, whatever a deployment says, and nowhere in the clear.
    assert!(!keep(&one, "http://api.example.com"));
    assert!(keep(&one, "https://api.example.com"));
    refusal("is not for http://127.0.0.1:");
    assert!(keep(&one, &place));
    one.json(&deploy);

    let dump = post(&one, "dump", &format!("{address} /v1/things"));
    let request = server.request();
    assert!(request.starts_with("GET /v1/things HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{request}");
    assert!(!request.contains("of-the-guest"), "its own header is replaced: {request}");
    assert!(dump.len() > 1 << 20, "{} bytes", dump.len());
    assert!(has(&dump, "told: 200 hello"), "it got its answer");
    assert!(has(&dump, "to-the-guest") && has(&dump, "of-the-guest"), "it is its memory");
    assert!(!has(&dump, SECRET) && !has(&dump, "s3cret"), "the secret is in the guest's memory");

    // A server that repeats what it got does not tell the guest either.
    let told = ask(&one, address, "/echo");
    assert!(server.request().contains(SECRET));
    assert!("200 you sent Bearer ".starts_with(&told), "{told}");

    // Nobody else is shown it: no listing, no log down to its last detail, no receipt, no file.
    let listed = one.json(&["secret", "ls"]);
    assert_eq!(listed, serde_json::json!([{ "name": "API_TOKEN", "places": [place] }]));
    one.json(&[
        "receipt",
        "export",
        "chain",
        "--output",
        one.folder().join("chain").to_str().unwrap(),
    ]);
    for said in [&["capabilities"][..], &["status"], &["audit"], &["receipt", "show", "last"]] {
        assert!(!one.json(said).to_string().contains(SECRET), "{said:?}");
    }
    assert!(log(&one).contains("DEBUG"), "the log has every detail");
    no_file_has_it(one.folder());

    // Without its secret nothing is sent.
    one.json(&["secret", "rm", "API_TOKEN"]);
    let told = ask(&one, address, "/v1/things");
    assert!(told.contains("HttpRequestDenied"), "{told}");
    assert!(log(&one).contains("this node has no secret `API_TOKEN`"));
    server.was_not_asked();
}

#[test]
fn a_place_that_was_not_allowed_is_refused_and_named() {
    let (server, other) = (Server::start(), Server::start());
    let one = machine(&[&server.place(), &other.place()]);
    one.json(&["deploy", WEB, "--id", "web", "--allow-host", &server.place()]);
    assert_eq!(ask(&one, server.address, "/"), "200 hello");
    // What its server says of other places is no more than an answer.
    assert_eq!(ask(&one, server.address, "/moved"), "302 ");
    let told = ask(&one, other.address, "/");
    assert!(told.contains("HttpRequestDenied"), "{told}");
    until("the place is named", || {
        let log = log(&one);
        let mut lines = log.lines().filter(|it| it.contains("outbound_refused"));
        lines.any(|it| {
            it.contains(&other.place()) && it.contains("was not deployed with this place")
        })
    });
    other.was_not_asked();
}

#[test]
fn this_machine_is_not_reached_unless_its_owner_names_the_place() {
    let server = Server::start();
    let port = server.address.port();
    let one = machine(&["http://127.0.0.1:1"]);
    let by_name = format!("http://localhost:{port}");
    let deploy = ["deploy", WEB, "--id", "web", "--allow-host", &server.place()];
    one.json(&[&deploy[..], &["--allow-host", &by_name]].concat());
    // By its address, and by a name that resolves to it.
    for target in [format!("127.0.0.1:{port} /"), format!("localhost:{port} /")] {
        let told = String::from_utf8(post(&one, "ask", &target)).unwrap();
        assert!(told.contains("DestinationIpProhibited"), "{target}: {told}");
    }
    assert!(log(&one).contains("`functions.local_places` does not name it"));
    server.was_not_asked();
}
