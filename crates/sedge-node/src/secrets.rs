//! Secrets of a node: values that its host adds to what functions send, and that no guest, door or member
//! ever gets.
//!
//! Each is a file of mode 600 in `secrets` of the home, with the places that it may go to, written anew
//! and renamed, so that a crash leaves the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sedge_base::{ErrorKind, Secret};
use sedge_capability::Failure;
use sedge_functions::{
    Bound, LEAST_SECRET, MOST_SECRET, Outbound, Place, Secrets, check_secret_name,
};
use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::node::Node;

/// The folder of them in a home.
const FOLDER: &str = "secrets";
/// The most secrets of a node.
const MOST: usize = 256;
/// The most places of a secret.
const MOST_PLACES: usize = 16;
/// The largest file of a secret, in bytes: a value whose every byte is written as six, and the places.
const LARGEST: u64 = 128 << 10;

/// The folder of a node's secrets.
#[derive(Debug, Clone)]
pub(crate) struct SecretFolder {
    path: PathBuf,
    /// One writer at a time.
    writing: Arc<Mutex<()>>,
}

/// A file in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    places: Vec<Place>,
    value: String,
}

/// What people may know of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// The only places that it is sent to.
    pub places: Vec<Place>,
}

impl SecretFolder {
    pub(crate) fn of(home: &Home) -> Self {
        Self { path: home.path().join(FOLDER), writing: Arc::default() }
    }

    fn list(&self) -> io::Result<Vec<SecretView>> {
        let inside = match fs::read_dir(&self.path) {
            Ok(inside) => inside,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = inside.flatten().filter_map(|it| it.file_name().into_string().ok());
        let view = |name: String| Some(SecretView { places: self.read(&name)?.places, name });
        let mut all: Vec<SecretView> = names.filter_map(view).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Returns a secret; `None` when there is none, or its file is damaged.
    fn read(&self, name: &str) -> Option<Kept> {
        check_secret_name(name).ok()?;
        let mut bytes = Vec::new();
        File::open(self.path.join(name)).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps a secret; returns whether there was room for it.
    fn set(&self, name: &str, kept: &Kept) -> io::Result<bool> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.join(name);
        if !path.exists() && self.list()?.len() >= MOST {
            return Ok(false);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let new = self.path.join(format!("{name}.new"));
        drop(fs::remove_file(&new));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.path)?.sync_all()?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> io::Result<bool> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(self.path.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Secrets for SecretFolder {
    fn get(&self, name: &str) -> Option<Bound> {
        let Kept { places, value } = self.read(name)?;
        Some(Bound { value: Secret::new(value), places })
    }
}

fn failed(error: &io::Error) -> Failure {
    let text = format!("the folder of secrets cannot be used: {error}");
    Failure::new(ErrorKind::Internal, "secrets_folder", text)
}

fn wrong(text: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Invalid, "bad_secret", text)
}

fn named(name: &str) -> Result<(), Failure> {
    check_secret_name(name).map_err(wrong)
}

/// Checks a value and where it may go; says nothing of the value.
fn check(value: &str, places: &[Place]) -> Result<(), Failure> {
    let fits = (LEAST_SECRET..=MOST_SECRET).contains(&value.len());
    // As a header's value has it, and not at its ends, where servers cut.
    let visible = value.bytes().all(|it| it == b' ' || it.is_ascii_graphic());
    if !fits || !visible || value.trim() != value {
        let sizes = format!("{LEAST_SECRET} to {MOST_SECRET}");
        return Err(wrong(format_args!(
            "a secret has {sizes} visible ASCII characters in one line"
        )));
    }
    if places.is_empty() || places.len() > MOST_PLACES {
        return Err(wrong(format_args!("a secret is for 1 to {MOST_PLACES} places")));
    }
    match places.iter().find(|it| !it.is_private()) {
        None => Ok(()),
        Some(place) => Err(wrong(format_args!(
            "{place} is no place for secrets: they go over https, or stay on this machine"
        ))),
    }
}

impl Node {
    /// Returns the names of this node's secrets, in order, and where they may go; their values stay where
    /// they are.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the folder cannot be read.
    pub async fn secrets(&self) -> Result<Vec<SecretView>, Failure> {
        self.in_folder(|it| it.list()).await
    }

    /// Keeps a secret for these places alone, or another value for it; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name, a value or places that none are, [`ErrorKind::Exhausted`] when
    /// there are too many.
    pub async fn set_secret(
        &self,
        name: &str,
        value: Secret<String>,
        places: Vec<Place>,
    ) -> Result<(), Failure> {
        named(name)?;
        check(value.reveal(), &places)?;
        let (name, kept) = (name.to_owned(), Kept { places, value: value.reveal().clone() });
        if self.in_folder(move |it| it.set(&name, &kept)).await? {
            return Ok(());
        }
        let text = format!("this node has {MOST} secrets already");
        Err(Failure::new(ErrorKind::Exhausted, "too_many_secrets", text))
    }

    /// Forgets a secret; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name that none is.
    pub async fn remove_secret(&self, name: &str) -> Result<bool, Failure> {
        named(name)?;
        let name = name.to_owned();
        self.in_folder(move |it| it.remove(&name)).await
    }

    async fn in_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SecretFolder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let folder = self.secrets.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.unwrap_or_else(|it| Err(io::Error::other(it))).map_err(|it| failed(&it))
    }

    /// Checks that this node has what a function's requests need, for the places that they go to.
    pub(crate) fn has_secrets(&self, outbound: &Outbound) -> Result<(), Failure> {
        let needs = outbound.headers.iter().flat_map(|it| it.secrets().map(move |name| (name, it)));
        for (name, header) in needs {
            let (node, place) = (&self.name, header.place());
            let Some(bound) = self.secrets.get(name) else {
                let text = format!(
                    "node {node} has no secret `{name}`; there: `sedge secret set {name} --place {place}`"
                );
                return Err(Failure::new(ErrorKind::NotFound, "missing_secret", text));
            };
            if !bound.places.iter().any(|it| it.contains(place)) {
                let text = format!("the secret `{name}` of node {node} is not for {place}");
                return Err(Failure::new(ErrorKind::Denied, "secret_elsewhere", text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[test]
    fn a_secret_is_kept_in_a_private_file_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = SecretFolder { path: dir.path().join("secrets"), writing: Arc::default() };
        assert_eq!(folder.list().unwrap(), []);
        let kept = |value: &str| Kept { places: vec![place("https://a")], value: value.to_owned() };
        assert!(folder.set("KEY", &kept("one")).unwrap());
        assert!(folder.set("KEY", &kept("two")).unwrap());
        assert_eq!(folder.get("KEY").unwrap().value.reveal(), "two");
        for (path, mode) in [("secrets", 0o700), ("secrets/KEY", 0o600)] {
            assert_eq!(fs::metadata(dir.path().join(path)).unwrap().mode() & 0o777, mode);
        }
        assert!(folder.get("../secrets/KEY").is_none());
        let view = SecretView { name: "KEY".to_owned(), places: vec![place("https://a")] };
        assert_eq!(folder.list().unwrap(), [view]);
        assert!(folder.remove("KEY").unwrap() && !folder.remove("KEY").unwrap());
        assert!(folder.get("KEY").is_none());
    }

    #[track_caller]
    fn refused(value: &str, places: &[&str], expected: &str) {
        let places: Vec<Place> = places.iter().map(|it| place(it)).collect();
        assert_eq!(check(value, &places).unwrap_err().message, expected);
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_repeated() {
        let line = "a secret has 8 to 16384 visible ASCII characters in one line";
        for value in ["", "short", "two\nlines!", "at the end ", "not-äscii"] {
            refused(value, &["https://a"], line);
        }
        refused(&"x".repeat(16385), &["https://a"], line);
        refused("long-enough", &[], "a secret is for 1 to 16 places");
        refused(
            "long-enough",
            &["https://a", "http://a"],
            "http://a is no place for secrets: they go over https, or stay on this machine",
        );
    }
}
