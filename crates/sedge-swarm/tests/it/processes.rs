//! Another process for a test: this test program starts itself and is told who to be.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::{document, messages};

/// Long enough for a busy machine; nothing waits that long when it works.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What both processes of a test know.
pub(crate) const SWARM_KEY: [u8; 32] = [7; 32];

/// The other process, ended when this is dropped: its input ends.
pub(crate) struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts this program as another process, which runs nothing but [`other_process`].
    pub(crate) fn start(order: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::other_process", "--nocapture", order])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Waits for a line that begins like this, and returns the rest.
    pub(crate) fn says(&mut self, beginning: &str) -> String {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        lines.find_map(|it| it.strip_prefix(beginning).map(str::to_owned)).unwrap()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// Says something to the process that started this one.
#[expect(clippy::print_stdout, reason = "what the parent reads")]
pub(crate) fn say(text: &str) {
    println!("\n{text}");
}

/// Waits until the process that started this one has finished or is gone.
pub(crate) async fn end() {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    drop(line.await);
}

/// The part that the other process runs; without an order, as in a usual run, it is nobody.
#[test]
fn other_process() {
    let orders: Vec<String> = std::env::args().collect();
    let ordered = |name: &str| orders.iter().any(|it| it == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if ordered(document::WORKER) {
            document::worker().await;
        } else if ordered(messages::AGENT) {
            messages::agent().await;
        }
    });
}
