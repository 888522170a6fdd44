//! Faults of a home, found without its node.

use std::fs::{self, File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sedge_trust::swarm::OWNER_FILE;
use sedge_trust::{IDENTITY_FILE, Identity, KeyFileError, Owner};

use super::Finding;
use crate::config::Config;
use crate::home::{Home, HomeError};
use crate::node::with_source;

/// What every SQLite database begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Examines a home, whether its node runs or not; changes nothing.
pub fn examine_home(path: &Path) -> Vec<Finding> {
    let shown = path.display().to_string();
    let Ok(found) = fs::metadata(path) else {
        let missing = Finding::new("home_missing", shown, "there is no node's home yet");
        return vec![missing.next("`sedge up` makes it")];
    };
    if !found.is_dir() {
        let text = "the home is no folder";
        return vec![
            Finding::new("home_no_folder", shown, text).next("name a folder: `--home DIR`"),
        ];
    }
    let mut findings = Vec::new();
    findings.extend(open_to_others("home_open", path, &found));
    if let Err(error) = Config::read(&path.join("config.toml")) {
        let text = with_source(&error);
        let step = "correct the file; the node does not start with it";
        findings.push(Finding::new("config_wrong", "config.toml", text).next(step));
    }
    let identity = path.join(IDENTITY_FILE);
    if identity.exists()
        && let Err(error) = Identity::load(path)
    {
        findings.push(key("identity", IDENTITY_FILE, &identity, &error));
    }
    let owner = path.join(OWNER_FILE);
    if owner.exists()
        && let Err(error) = Owner::load(path)
    {
        findings.push(key("owner_key", OWNER_FILE, &owner, &error));
    }
    findings.extend(api_key(path));
    findings.extend(database(&path.join("sedge.db")));
    findings.extend(running(path));
    findings
}

fn open_to_others(code: &'static str, path: &Path, found: &Metadata) -> Option<Finding> {
    let mode = found.mode() & 0o777;
    let step = format!("chmod go-rwx {}", path.display());
    let text = format!("others can look into it: its mode is {mode:o}");
    (mode & 0o077 != 0).then(|| Finding::new(code, path.display().to_string(), text).next(step))
}

fn key(what: &str, file: &str, path: &Path, error: &KeyFileError) -> Finding {
    let open = matches!(error, KeyFileError::Mode { .. });
    let (code, step) = match (what, open) {
        ("identity", true) => ("identity_open", format!("chmod 600 {}", path.display())),
        ("identity", false) => ("identity_damaged", restore(path)),
        (_, true) => ("owner_key_open", format!("chmod 600 {}", path.display())),
        (_, false) => ("owner_key_damaged", restore(path)),
    };
    Finding::new(code, file, with_source(error)).next(step)
}

fn restore(path: &Path) -> String {
    format!("restore {} from a backup; it is never replaced", path.display())
}

fn api_key(home: &Path) -> Option<Finding> {
    let path = Home::api_key_path_in(home);
    if !path.exists() {
        return None;
    }
    let error = Home::read_api_key(home).err()?;
    let code = match error {
        HomeError::Open { .. } => "api_key_open",
        _ => "api_key_damaged",
    };
    let step = error.hint().unwrap_or_else(|| "remove it: the next start makes another".to_owned());
    Some(Finding::new(code, "api.key", with_source(&error)).next(step))
}

fn database(path: &Path) -> Option<Finding> {
    use std::io::Read;

    let found = fs::metadata(path).ok()?;
    if let Some(open) = open_to_others("database_open", path, &found) {
        return Some(open);
    }
    let mut head = Vec::new();
    let file = File::open(path).ok()?;
    file.take(SQLITE.len() as u64).read_to_end(&mut head).ok()?;
    // A database that was never written to is empty.
    (!head.is_empty() && head != SQLITE).then(|| {
        let text = "the file is no database any more";
        Finding::new("database_damaged", "sedge.db", text).next(restore(path))
    })
}

/// Tells whether a node runs here, by its lock and by what it announced.
fn running(home: &Path) -> Option<Finding> {
    let held = File::open(home.join("run/lock"))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    let said = Home::running(home);
    let named = home.display();
    match (held, said) {
        (_, Err(error)) => Some(
            Finding::new("run_file_damaged", "run/node.json", with_source(&error))
                .next("stop the node by its process id, then `sedge up`"),
        ),
        (true, Ok(Some(_))) => None,
        (true, Ok(None)) => Some(
            Finding::new(
                "no_address",
                "run/node.json",
                "a node runs here, but its address is gone",
            )
            .next("it may be starting; otherwise stop it by its process id, then `sedge up`"),
        ),
        (false, Ok(Some(it))) => Some(
            Finding::new(
                "node_died",
                "run/node.json",
                format!("process {} is gone and said no goodbye", it.pid),
            )
            .next("`sedge up` starts it anew; nothing acknowledged is lost"),
        ),
        (false, Ok(None)) => Some(
            Finding::new("not_running", named.to_string(), "no node runs in this home")
                .next("sedge up"),
        ),
    }
}
