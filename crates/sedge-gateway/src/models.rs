//! The model files of this machine: which are here, which can be had.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sedge_base::{ByteSize, Cancel, ContentId, ErrorKind};
use sedge_capability::Kind;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError, Facts, Preset};
use crate::fetch::{self, FetchError, OnProgress};
use crate::shelf::{self, Shelf};
use crate::sources::SourceSettings;

/// The longest index that is read, in bytes; an entry has about two hundred.
const INDEX_LIMIT: u64 = 4 << 20;

/// The model files of this machine.
#[derive(Debug, Clone)]
pub struct Models {
    folder: PathBuf,
    shelf: Shelf,
    settings: SourceSettings,
    catalog: Catalog,
}

/// A model whose file is here and was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Installed {
    /// The name that people and configs use.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// The SHA-256 of its file.
    pub content: ContentId,
    /// The length of its file.
    pub size: ByteSize,
    /// Where its file is.
    pub path: PathBuf,
    /// What its file would tell, for known models.
    pub facts: Option<Facts>,
    /// How it answers when the caller leaves that open.
    pub preset: Preset,
}

/// A model that a person brought: one entry of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    id: String,
    kind: Kind,
    content: ContentId,
    size: u64,
}

/// Why a model is not here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// Neither the built-in list nor the person's own models have that name.
    #[error("there is no model `{id}`")]
    Unknown {
        /// The name.
        id: String,
    },
    /// A model that a person brought is not on the shelf any more.
    #[error("the file of `{id}` is gone or changed; add it again")]
    Gone {
        /// The name.
        id: String,
    },
    /// The index of own models cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Its file cannot be brought here.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl EnsureError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } | Self::Gone { .. } => ErrorKind::NotFound,
            Self::Index(err) => err.kind(),
            Self::Fetch(err) => err.kind(),
        }
    }
}

/// Why the index of own models cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file cannot be read or written.
    #[error("cannot use `{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is not an index.
    #[error("`{path}` is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, if it was read.
        source: Option<serde_json::Error>,
    },
}

impl IndexError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { .. } => ErrorKind::Internal,
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}

/// Why a person's own file was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It cannot be read or copied.
    #[error("cannot take `{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is not a model file that the engine reads.
    #[error("`{path}` is not a GGUF file")]
    Format {
        /// Which file.
        path: PathBuf,
    },
    /// Its name has nothing that a model's name may have.
    #[error("`{path}` has no name that a model can have")]
    Name {
        /// Which file.
        path: PathBuf,
    },
    /// Another model has that name.
    #[error("there is another model `{id}`")]
    Taken {
        /// The name.
        id: String,
    },
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl AddError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::File { .. } => ErrorKind::Internal,
            Self::Format { .. } | Self::Name { .. } => ErrorKind::Invalid,
            Self::Taken { .. } => ErrorKind::Conflict,
            Self::Index(err) => err.kind(),
        }
    }
}

impl Models {
    /// Opens the folder with the built-in list; nothing is made or read yet.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] when the program was built with a broken list.
    pub fn open(folder: &Path, settings: SourceSettings) -> Result<Self, CatalogError> {
        Ok(Self::with_catalog(folder, settings, Catalog::builtin()?))
    }

    /// Opens the folder with another list.
    pub fn with_catalog(folder: &Path, settings: SourceSettings, catalog: Catalog) -> Self {
        Self { folder: folder.to_owned(), shelf: Shelf::new(folder), settings, catalog }
    }

    /// Returns the list of known models.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the folder with all model files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns every model whose file is here.
    ///
    /// # Errors
    ///
    /// [`IndexError`] when the index of own models cannot be read.
    pub fn installed(&self) -> Result<Vec<Installed>, IndexError> {
        let known = self.catalog.models().iter().map(|it| Own {
            id: it.id.clone(),
            kind: it.kind,
            content: it.sha256,
            size: it.size,
        });
        Ok(known.chain(self.own()?).filter_map(|it| self.on_shelf(it)).collect())
    }

    /// Returns the model of that name if its file is here; cheap enough to ask often.
    ///
    /// # Errors
    ///
    /// [`IndexError`] when the index of own models cannot be read.
    pub fn find(&self, id: &str) -> Result<Option<Installed>, IndexError> {
        Ok(self.installed()?.into_iter().find(|it| it.id == id))
    }

    /// Returns what the model of that name is for, or `None` when there is no such model; its file
    /// need not be here.
    ///
    /// # Errors
    ///
    /// [`IndexError`] when the index of own models cannot be read.
    pub fn kind_of(&self, id: &str) -> Result<Option<Kind>, IndexError> {
        if let Some(known) = self.catalog.find(id) {
            return Ok(Some(known.kind));
        }
        Ok(self.own()?.into_iter().find(|it| it.id == id).map(|it| it.kind))
    }

    fn on_shelf(&self, own: Own) -> Option<Installed> {
        let Own { id, kind, content, size } = own;
        let path = self.shelf.find(content, size)?;
        let known = self.catalog.find(&id);
        Some(Installed {
            facts: known.and_then(|it| it.facts.clone()),
            preset: known.map_or_else(Preset::default, |it| it.preset),
            size: ByteSize::from_bytes(size),
            id,
            kind,
            content,
            path,
        })
    }

    /// Brings a model's file here unless it is, and returns it.
    ///
    /// Blocks until the file is here; run it on a thread that may block. `cancel` stops it within
    /// a moment, or within the source's stall time while a server is silent.
    ///
    /// # Errors
    ///
    /// [`EnsureError`]; bytes of an interrupted download stay for the next call.
    pub fn ensure(
        &self,
        id: &str,
        cancel: &Cancel,
        report: &mut OnProgress<'_>,
    ) -> Result<Installed, EnsureError> {
        if let Some(model) = self.catalog.find(id) {
            let path = fetch::fetch(model, &self.shelf, &self.settings, cancel, report)?;
            return Ok(Installed {
                id: model.id.clone(),
                kind: model.kind,
                content: model.sha256,
                size: ByteSize::from_bytes(model.size),
                path,
                facts: model.facts.clone(),
                preset: model.preset,
            });
        }
        match self.own()?.into_iter().find(|it| it.id == id) {
            Some(own) => self.on_shelf(own).ok_or_else(|| EnsureError::Gone { id: id.to_owned() }),
            None => Err(EnsureError::Unknown { id: id.to_owned() }),
        }
    }

    /// Takes a person's own GGUF file for conversations: hashes it, puts it on the shelf (without
    /// a copy where the file system can share it) and notes its name. Blocks.
    ///
    /// Taking the same file again changes nothing.
    ///
    /// # Errors
    ///
    /// [`AddError`].
    pub fn add_file(&self, path: &Path) -> Result<Installed, AddError> {
        let file = |source| AddError::File { path: path.to_owned(), source };
        let id = name_of(path).ok_or_else(|| AddError::Name { path: path.to_owned() })?;
        let mut magic = [0; 4];
        io::Read::read_exact(&mut fs::File::open(path).map_err(file)?, &mut magic).map_err(file)?;
        if &magic != b"GGUF" {
            return Err(AddError::Format { path: path.to_owned() });
        }
        let mut all = self.own()?;
        let meta = fs::metadata(path).map_err(file)?;
        if let Some(taken) = self.taken_before(&all, &id, &meta) {
            return Ok(taken);
        }
        let size = meta.len();
        let content = shelf::hash(path).map_err(file)?;
        let own = Own { id, kind: Kind::Chat, content, size };
        let known = self.catalog.find(&own.id).map(|it| it.sha256);
        let before = all.iter().find(|it| it.id == own.id).map(|it| it.content);
        if known.or(before).is_some_and(|it| it != content) {
            return Err(AddError::Taken { id: own.id });
        }
        self.take(path, content).map_err(file)?;
        if known.is_none() && before.is_none() {
            all.push(own.clone());
            self.write_index(&all)?;
        }
        self.on_shelf(own).ok_or_else(|| file(io::Error::other("it changed while it was taken")))
    }

    /// Returns the model of that name if the file on the shelf is this very file, shared by both
    /// names, and unchanged since it was checked.
    fn taken_before(&self, all: &[Own], id: &str, meta: &fs::Metadata) -> Option<Installed> {
        let own = all.iter().find(|it| it.id == id && it.size == meta.len())?;
        let installed = self.on_shelf(own.clone())?;
        let ours = fs::metadata(&installed.path).ok()?;
        ((meta.dev(), meta.ino()) == (ours.dev(), ours.ino())).then_some(installed)
    }

    fn take(&self, path: &Path, content: ContentId) -> io::Result<()> {
        self.shelf.make()?;
        let part = self.shelf.own_part(content);
        remove(&part)?;
        // A link to a symbolic link would be one itself.
        if fs::hard_link(fs::canonicalize(path)?, &part).is_err() {
            fs::copy(path, &part)?;
            fs::File::open(&part)?.sync_all()?;
            if shelf::hash(&part)? != content {
                remove(&part)?;
                return Err(io::Error::other("it changed while it was copied"));
            }
        }
        self.shelf.put(&part, content)?;
        // Renaming does nothing when both names are one file already.
        remove(&part)
    }

    fn index(&self) -> PathBuf {
        self.folder.join("own.json")
    }

    fn own(&self) -> Result<Vec<Own>, IndexError> {
        let path = self.index();
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.len() > INDEX_LIMIT => {
                return Err(IndexError::Damaged { path, source: None });
            }
            Ok(_) => fs::read(&path),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => Err(err),
        };
        match text {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| IndexError::Damaged { path, source: Some(source) }),
            Err(source) => Err(IndexError::File { path, source }),
        }
    }

    fn write_index(&self, all: &[Own]) -> Result<(), IndexError> {
        let path = self.index();
        let written = serde_json::to_vec_pretty(all).map_err(io::Error::from);
        written
            .and_then(|it| shelf::replace(&path, &it))
            .map_err(|source| IndexError::File { path, source })
    }
}

/// Removes a file that may be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// Turns a file's name into a model's: lower case, with what a name may not have left out.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let allowed = |it: &char| it.is_ascii_alphanumeric() || "._-".contains(*it);
    let name: String = stem.chars().filter(allowed).take(128).collect();
    let name = name.trim_start_matches(['.', '_', '-']).to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> (tempfile::TempDir, Models) {
        let folder = tempfile::tempdir().unwrap();
        let models =
            Models::open(&folder.path().join("models"), SourceSettings::default()).unwrap();
        (folder, models)
    }

    #[test]
    fn an_own_file_is_taken_once_and_found() {
        let (folder, models) = models();
        let path = folder.path().join("My Model.gguf");
        fs::write(&path, b"GGUF and more").unwrap();
        let added = models.add_file(&path).unwrap();
        assert_eq!(added.id, "mymodel");
        assert_eq!(added.content, ContentId::of(b"GGUF and more"));
        assert_eq!(models.add_file(&path).unwrap(), added);
        assert_eq!(models.installed().unwrap(), vec![added.clone()]);
        let ensured = models.ensure("mymodel", &Cancel::new(), &mut |_| {}).unwrap();
        assert_eq!(ensured, added);
    }

    #[test]
    fn one_file_under_two_names_is_kept_once() {
        let (folder, models) = models();
        let (path, link) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
        fs::write(&path, b"GGUF").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (one, other) = (models.add_file(&path).unwrap(), models.add_file(&link).unwrap());
        assert_eq!((one.path.clone(), other.id.as_str()), (other.path, "b"));
        assert!(fs::symlink_metadata(&one.path).unwrap().is_file());
        let names = fs::read_dir(one.path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 2, "the file and its stamp");
    }

    #[test]
    fn an_own_file_that_changed_is_not_believed() {
        let (folder, models) = models();
        let path = folder.path().join("own.gguf");
        fs::write(&path, b"GGUF 1").unwrap();
        let added = models.add_file(&path).unwrap();
        fs::write(&added.path, b"GGUF another").unwrap();
        let err = models.ensure("own", &Cancel::new(), &mut |_| {}).unwrap_err();
        assert!(matches!(err, EnsureError::Gone { .. }));
    }

    #[test]
    fn wrong_files_are_refused() {
        let (folder, models) = models();
        let path = folder.path().join("page.gguf");
        fs::write(&path, b"<html>").unwrap();
        assert!(matches!(models.add_file(&path), Err(AddError::Format { .. })));
        let missing = models.add_file(&folder.path().join("none.gguf")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let known = folder.path().join("smollm2-135m-instruct.gguf");
        fs::write(&known, b"GGUF").unwrap();
        assert_eq!(models.add_file(&known).unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn an_unknown_model_is_named() {
        let (_folder, models) = models();
        let err = models.ensure("gpt-99", &Cancel::new(), &mut |_| {}).unwrap_err();
        assert_eq!(
            (err.kind(), err.to_string().as_str()),
            (ErrorKind::NotFound, "there is no model `gpt-99`")
        );
    }

    #[test]
    fn a_damaged_index_is_refused() {
        let (_folder, models) = models();
        fs::create_dir_all(models.folder()).unwrap();
        fs::write(models.index(), b"{").unwrap();
        assert_eq!(models.installed().unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
