//! A machine of its own: a home in a temporary folder, a node process, a command line.

use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything on this machine may take; only a broken test takes as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const UPPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/upper.wasm");
pub(crate) const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/probe.wasm");

/// A machine: its node is killed when it is dropped.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    arguments: Vec<&'static str>,
    /// Whether the configuration says where the mesh listens.
    configured: bool,
    /// The size of the disk that the home lies on, when it has one of its own, such as `8m`.
    disk: Option<&'static str>,
    /// What the node's environment has beside what every one has, or in its place.
    environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
    /// What the node said when it was ready.
    pub(crate) ready: Value,
    folder: TempDir,
}

impl Machine {
    /// A machine whose node is up and offers no models.
    pub(crate) fn up(name: &'static str) -> Self {
        let mut machine = Self::new(name, vec!["--no-model"]);
        machine.start();
        machine
    }

    /// A machine whose node is up and offers a tiny random model.
    pub(crate) fn up_with_model(name: &'static str) -> Self {
        let mut machine = Self::new(name, Vec::new());
        let model = machine.folder.path().join("tiny.gguf");
        fs::write(&model, sedge_lm::testing::tiny_model(7)).unwrap();
        let path = model.display().to_string();
        machine.write_config(&format!(
            "[gateway]\nchat = {path:?}\nembedding = \"none\"\nthreads = 1\n"
        ));
        machine.start();
        machine
    }

    /// A machine whose home lies on a small disk of its own: a file system in memory that only the
    /// node's process sees. Needs a kernel that lets everybody make namespaces, or root.
    pub(crate) fn up_on_a_disk_of(name: &'static str, size: &'static str) -> Self {
        let mut machine = Self::new(name, vec!["--no-model"]);
        machine.disk = Some(size);
        machine.start();
        machine
    }

    /// A machine whose node was never started.
    pub(crate) fn new(name: &'static str, arguments: Vec<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        DirBuilder::new().mode(0o700).create(folder.path().join("home")).unwrap();
        Self {
            name,
            arguments,
            configured: false,
            disk: None,
            environment: Vec::new(),
            child: None,
            ready: Value::Null,
            folder,
        }
    }

    pub(crate) fn home(&self) -> PathBuf {
        let home = self.folder.path().join("home");
        match (&self.child, self.disk) {
            // As the node's process sees it.
            (Some(child), Some(_)) => {
                let seen = format!("/proc/{}/root", child.id());
                PathBuf::from(seen).join(home.strip_prefix("/").unwrap())
            }
            _ => home,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.home().join("config.toml"), text).unwrap();
    }

    /// Lets the configuration say where the mesh listens.
    pub(crate) fn listens_as_configured(&mut self) {
        self.configured = true;
    }

    /// Lets the machine have no programs but those of a folder.
    pub(crate) fn sees_only(&mut self, folder: &Path) {
        self.environment.push(("PATH", folder.to_owned()));
    }

    /// Lets the node's environment have a variable.
    pub(crate) fn knows(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.into()));
    }

    /// Starts the node and waits until it says that it is ready.
    pub(crate) fn start(&mut self) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut child = self
            .node_command(&["up", "--json", "--name", self.name, "--api", "127.0.0.1:0"])
            .args(if self.configured { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        self.child = Some(child);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            sender.send(line)
        });
        let line = receiver.recv_timeout(PATIENCE).unwrap_or_default();
        self.ready = serde_json::from_str(&line).unwrap_or(Value::Null);
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert_eq!(self.ready["ready"], true, "{}: {line}{}", self.name, log());
    }

    /// Ends the node as a power cut does: `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until the node has ended by itself; returns its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        until("the node has ended", || child.try_wait().unwrap().is_some());
        child.wait().unwrap().code()
    }

    /// Returns the number of the node's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Returns the id of the node.
    pub(crate) fn id(&self) -> String {
        self.ready["status"]["id"].as_str().unwrap().to_owned()
    }

    /// Returns a command of the program in this machine's home and in no other environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command.env("SEDGE_HOME", self.home()).env("SEDGE_CACHE", self.folder.path().join("cache"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Returns the command that starts the node, on the disk that it shall have.
    fn node_command(&self, arguments: &[&str]) -> Command {
        let Some(size) = self.disk else { return self.command(arguments) };
        let plain = self.command(arguments);
        let mount = format!("mount -t tmpfs -o size={size},mode=700 none \"$0\" && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &mount]).arg(self.home());
        command.arg(plain.get_program()).args(plain.get_args()).env_clear().stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it says as JSON, the last line of it.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let (output, value) = self.told(arguments);
        assert!(output.status.success(), "{}: {arguments:?}: {value}", self.name);
        value
    }

    /// Runs a command that must fail; returns its exit code and the error.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, Value) {
        let (output, value) = self.told(arguments);
        assert!(!output.status.success(), "{}: {arguments:?}: {value}", self.name);
        (output.status.code().unwrap(), value["error"].clone())
    }

    fn told(&self, arguments: &[&str]) -> (Output, Value) {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let value = text.lines().last().map_or(Value::Null, |it| serde_json::from_str(it).unwrap());
        (output, value)
    }

    /// Posts a record to the API; returns the answer, which must be a good one.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let api = self.ready["api"].as_str().unwrap();
        let key = fs::read_to_string(self.home().join("api.key")).unwrap();
        let mut response = ureq::post(format!("http://{api}/api/v1/{path}"))
            .header("authorization", format!("Bearer {}", key.trim()))
            .send(body.to_string())
            .unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Makes the other machine a member of this one's swarm.
    pub(crate) fn pair(&self, other: &Self) {
        let invitation = self.json(&["invite", "--no-wait"]);
        let code = invitation["code"].as_str().unwrap();
        let at = invitation["addresses"][0].as_str().unwrap();
        let joined = other.json(&["join", code, "--at", at]);
        assert_eq!(joined["inviter_name"], self.name);
        for machine in [self, other] {
            until("both list each other online", || {
                let nodes = machine.json(&["nodes"]);
                let nodes = nodes.as_array().unwrap();
                nodes.len() >= 2 && nodes.iter().all(|it| it["status"] == "online")
            });
        }
    }

    /// Waits until this machine knows that a node offers a capability.
    pub(crate) fn until_offered(&self, name: &str, node: &str) {
        until("the offer is known", || {
            let offers = self.json(&["capabilities"]);
            let mut offers = offers.as_array().unwrap().iter();
            offers.any(|it| it["name"] == name && it["node_name"] == node)
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Returns a command of the program without any environment but the path.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sedge"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Returns the Python that has what the tests ask of it.
#[expect(clippy::disallowed_methods, reason = "a test takes its Python from the environment")]
pub(crate) fn python() -> String {
    std::env::var("SEDGE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Waits until something is true; a test fails when it does not come true.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = now() + PATIENCE;
    while !holds() {
        assert!(now() < end, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes run in real time")]
fn now() -> Instant {
    Instant::now()
}
