//! Real processes, run as an edge runs them.

use sedge_base::{Clock, ErrorKind};
use sedge_trust::Owner;

use super::*;

const TOOLS: &str = "
[[tool]]
name = 'echo'
command = ['cat']
approval = false
[[tool]]
name = 'guarded'
command = ['cat']
[[tool]]
name = 'fail'
command = ['sh', '-c', 'echo no film >&2; exit 3']
approval = false
[[tool]]
name = 'long'
command = ['sh', '-c', 'yes']
approval = false
[[tool]]
name = 'children'
command = ['sh', '-c', 'cat > /dev/null; sleep 3600 & echo $! > \"$0\"; wait', 'PIDFILE']
approval = false
[[tool]]
name = 'missing'
command = ['/nowhere/at/all']
approval = false
";

fn program(folder: &tempfile::TempDir) -> Program {
    let pids = folder.path().join("pid").display().to_string();
    let tools = ToolsFile::parse(&TOOLS.replace("PIDFILE", &pids)).unwrap();
    let owner = Owner::from_seed(&[1; 32]).public_key();
    let edge = "kitchen".parse().unwrap();
    let guard = Guard::open(&folder.path().join("used"), owner, edge, Clock::machine()).unwrap();
    Program::new(tools, guard)
}

fn request(tool: &str) -> ToolRequest {
    ToolRequest {
        execution: "t-1".to_owned(),
        tool: tool.to_owned(),
        input: "{\"a\": 1}".to_owned(),
        timeout: Duration::from_secs(30),
        approval: None,
    }
}

#[tokio::test]
async fn a_command_answers_fails_or_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(&folder);
    let run = async |tool: &str| program.run(request(tool), &Cancel::new()).await;
    let said = run("echo").await;
    assert_eq!((said.content.as_str(), said.failed), ("{\"a\": 1}", false));
    let said = run("fail").await;
    assert_eq!(
        (said.content.as_str(), said.details.as_str()),
        ("the command failed: exit status: 3", "no film")
    );
    assert_eq!(run("nothing").await.content, "this edge has no tool `nothing`");
    assert_eq!(run("missing").await.content, "the command does not start");
    let said = run("guarded").await;
    let expected =
        ("this edge refuses to run `guarded`", "no signed approval came with the request");
    assert_eq!((said.content.as_str(), said.details.as_str()), expected);
    assert!(said.failed);
    let announced = program.announced("1");
    let asks: Vec<_> = announced.tools.iter().filter(|it| it.requires_approval).collect();
    assert_eq!((asks.len(), asks[0].name.as_str()), (1, "guarded"));
    assert_eq!(GuardRefused::Stopping.kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn who_takes_too_long_dies_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(&folder);
    let brief = ToolRequest { timeout: Duration::from_millis(500), ..request("long") };
    let said = program.run(brief, &Cancel::new()).await;
    assert_eq!(said.content, "the command did not end within 500ms");

    let cancel = Cancel::new();
    let pid = folder.path().join("pid");
    let started = async {
        // Bounded by the run itself: its end ends the wait.
        loop {
            let text = tokio::fs::read_to_string(&pid).await.unwrap_or_default();
            if let Some(pid) = text.strip_suffix('\n') {
                break pid.parse::<i32>().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let asked = program.run(request("children"), &cancel);
    let stop = async {
        let pid = started.await;
        cancel.cancel();
        pid
    };
    let (said, pid) = tokio::join!(asked, stop);
    assert_eq!(said.content, "the run was cancelled");
    let alive = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "))
    };
    let gone = async {
        while alive() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), gone).await;
    assert!(waited.is_ok(), "what a command started outlives it");
}
