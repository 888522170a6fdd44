//! The machine's own toolchains, contained by `sedge-sandbox`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::ByteSize;
use sedge_sandbox::{Ended as RoomEnded, Launcher, Room, RoomFile, Step};
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

use crate::code::language::{Facts, Language};
use crate::code::tier::{Ended, Job, Missing, Ran, Sandbox, Tier, TierError};

/// How long a toolchain may take to say where it is.
const FOUND_WITHIN: Duration = Duration::from_secs(20);
/// What compilers may have: theirs is not the program's memory.
const BUILD_MEMORY: ByteSize = ByteSize::from_mib(1024);

/// Native programs in a sandbox of the operating system.
#[derive(Debug)]
pub(crate) struct Native {
    launcher: Launcher,
    /// Where toolchains are looked for.
    path: OsString,
    /// Whether this machine can contain anything; asked once.
    layers: OnceCell<Result<(), Missing>>,
    /// The toolchains that were found; what is missing is looked for again.
    found: Mutex<BTreeMap<Language, Toolchain>>,
}

/// Where a toolchain is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Toolchain {
    program: String,
    /// What has to be seen of this machine beside `/usr`.
    see: Vec<PathBuf>,
}

impl Native {
    pub(crate) fn new(launcher: Launcher, path: OsString) -> Self {
        Self { launcher, path, layers: OnceCell::new(), found: Mutex::default() }
    }

    /// Checks once, with a program that does nothing, that every layer of the sandbox is to be had.
    async fn layers(&self) -> Result<(), Missing> {
        let tried = self.layers.get_or_init(|| async {
            let room = Room { steps: vec![Step::run(["/bin/sh", "-c", ":"])], ..Room::default() };
            match self.launcher.run(&room, FOUND_WITHIN).await {
                Ok(_) => Ok(()),
                Err(error) => Err(Missing(error.to_string())),
            }
        });
        tried.await.clone()
    }

    async fn toolchain(&self, language: Language) -> Result<Toolchain, Missing> {
        let mut found = self.found.lock().await;
        if let Some(toolchain) = found.get(&language) {
            return Ok(toolchain.clone());
        }
        let toolchain = find(language.facts(), &self.path).await?;
        found.insert(language, toolchain.clone());
        Ok(toolchain)
    }
}

/// Returns the files on the path that a command may mean.
fn candidates(path: &OsStr, command: &str) -> Vec<PathBuf> {
    let is_program = |it: &PathBuf| {
        it.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|it| it.join(command)).filter(is_program).collect()
}

/// Asks a toolchain of this machine where it is; the first that answers. What runs here is the
/// owner's, outside any sandbox.
async fn find(facts: &Facts, path: &OsStr) -> Result<Toolchain, Missing> {
    let Facts { language, package, .. } = facts;
    let missing =
        || Missing(format!("this machine has no toolchain for {language}: install {package}"));
    let (command, arguments) = facts.find.split_first().ok_or_else(missing)?;
    let mut output = None;
    for program in candidates(path, command) {
        let asked = Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        if let Ok(Ok(said)) = timeout(FOUND_WITHIN, asked).await
            && said.status.success()
        {
            output = Some(said.stdout);
            break;
        }
    }
    let output = output.ok_or_else(missing)?;
    let output = String::from_utf8_lossy(&output);
    let mut lines = output.lines().map(str::trim).filter(|it| it.starts_with('/'));
    let program = Path::new(lines.next().ok_or_else(missing)?);
    let folder = lines.next().map(Path::new);
    let program = if is_of_system(program) {
        program.to_owned()
    } else {
        program.canonicalize().map_err(|_| missing())?
    };
    let see = surroundings(&program, folder, facts.marker);
    let program = program.into_os_string().into_string().map_err(|_| missing())?;
    Ok(Toolchain { program, see })
}

fn is_of_system(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin"].into_iter().any(|it| path.starts_with(it))
}

/// Returns what has to be seen so that a program runs: nothing if it belongs to the system, its
/// installation if that is surely nothing else, and otherwise its file alone.
fn surroundings(program: &Path, folder: Option<&Path>, marker: &str) -> Vec<PathBuf> {
    let mut see = Vec::new();
    let folder = folder.and_then(|it| it.canonicalize().ok());
    let own = folder.filter(|it| {
        let deep = it.components().count() > 2;
        deep && !marker.is_empty() && it.join(marker).exists() && program.starts_with(it)
    });
    if program.starts_with("/nix/store") {
        see.push(PathBuf::from("/nix/store"));
    } else if !is_of_system(program) {
        see.push(own.unwrap_or_else(|| program.to_owned()));
    }
    if marker == "lib/modules" {
        // Debian keeps the configuration of Java there and links to it.
        let entries = std::fs::read_dir("/etc").into_iter().flatten().flatten();
        see.extend(entries.map(|it| it.path()).filter(|it| {
            it.file_name().is_some_and(|it| it.to_string_lossy().starts_with("java-"))
        }));
    }
    see
}

fn room(job: &Job, toolchain: Toolchain) -> Room {
    let facts = job.language.facts();
    let folder = Path::new(&toolchain.program).parent().unwrap_or(Path::new("/usr/bin"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display());
    let argv = |words: &[&str]| {
        words.iter().map(|it| it.replace("{}", &toolchain.program)).collect::<Vec<_>>()
    };
    let mut steps = Vec::new();
    if !facts.build.is_empty() {
        steps.push(Step { argv: argv(facts.build), memory: BUILD_MEMORY });
    }
    steps.push(Step { argv: argv(facts.run), memory: job.memory });
    let env = [
        ("PATH", path.as_str()),
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("GOCACHE", "/tmp/go"),
        ("GOTOOLCHAIN", "local"),
        ("PYTHONPATH", "/code/.packages"),
    ];
    Room {
        files: vec![RoomFile { name: facts.file.to_owned(), text: job.code.clone() }],
        see: toolchain.see.clone(),
        work: job.session.as_ref().map(|it| it.path().to_owned()),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        stdin: job.stdin.clone(),
        steps,
        ..Room::default()
    }
}

#[async_trait]
impl Sandbox for Native {
    fn tier(&self) -> Tier {
        Tier::Native
    }

    fn offers(&self, language: Language) -> bool {
        let mut commands = language.facts().commands.iter();
        cfg!(target_os = "linux") && commands.any(|it| !candidates(&self.path, it).is_empty())
    }

    async fn ready(&self, job: &Job) -> Result<(), Missing> {
        self.toolchain(job.language).await?;
        self.layers().await
    }

    async fn run(&self, job: &Job) -> Result<Ran, TierError> {
        self.layers().await?;
        let room = room(job, self.toolchain(job.language).await?);
        let last = room.steps.len() - 1;
        let ran = self.launcher.run(&room, job.time).await?;
        let stopped = |what: String| Ended::Stopped(what);
        let ended = match ran.ended {
            RoomEnded::Exited { step, code } if step == last => Ended::Exited(code),
            RoomEnded::Exited { code, .. } => {
                stopped(format!("it does not compile: the compiler ended with {code}"))
            }
            RoomEnded::Signalled { signal, .. } => stopped(format!("signal {signal} ended it")),
            RoomEnded::OutOfMemory { limit } => {
                stopped(format!("it needs more memory than its {limit}"))
            }
            RoomEnded::OutOfRoom { limit } => {
                stopped(format!("the session's files take more than their {limit}"))
            }
            RoomEnded::Flooded { limit } => stopped(format!("it wrote more than {limit}")),
            RoomEnded::TimedOut => Ended::TimedOut,
        };
        let peak_memory = Some(ran.peak_memory).filter(|it| it.as_bytes() > 0);
        Ok(Ran { ended, stdout: ran.stdout, stderr: ran.stderr, peak_memory, took: ran.took })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_toolchain_of_the_system_needs_nothing_beside_it() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        let bash = find(Language::Bash.facts(), path).await.unwrap();
        assert_eq!((Path::new(&bash.program).is_absolute(), bash.see), (true, Vec::new()));
        let none = find(Language::Bash.facts(), OsStr::new("/nowhere")).await.unwrap_err();
        assert_eq!(none.0, "this machine has no toolchain for bash: install bash");
    }

    #[test]
    fn a_folder_is_shown_only_when_it_is_an_installation() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let program = home.join("bin/python3");
        let alone = vec![program.clone()];
        assert_eq!(surroundings(&program, Some(&home), "lib/python3"), alone);
        assert_eq!(surroundings(&program, Some(Path::new("/")), "usr"), alone);
        std::fs::create_dir_all(home.join("lib/python3")).unwrap();
        assert_eq!(surroundings(&program, Some(&home), "lib/python3"), vec![home]);
    }
}
