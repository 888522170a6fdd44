//! The store: one writer, a few readers, typed areas.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use sedge_base::SwarmId;

use crate::admission::Admissions;
use crate::approvals::Approvals;
use crate::artifacts::{self, Artifacts, Rack, TidyError};
use crate::audit::Audit;
use crate::blobs::{Blobs, Shelf};
use crate::calls::Calls;
use crate::checkpoints::Checkpoints;
use crate::databases::{self, Database, DatabaseError};
use crate::decisions::Decisions;
use crate::deployments::Deployments;
use crate::disk::Disk;
use crate::events::{self, Metrics};
use crate::fault::Fault;
use crate::graph::GraphArea;
use crate::inputs::Inputs;
use crate::key_values::{self, KeyValues};
use crate::members::Members;
use crate::open::{self, OpenError};
use crate::plans::Plans;
use crate::quorum::Quorum;
use crate::reader::Readers;
use crate::receipts::Receipts;
use crate::revocations::Revocations;
use crate::settings::Settings;
use crate::writer::{Message, Writer};

/// A node's durable state; cheap to clone, every clone is the same store.
///
/// # Cancel safety
///
/// Of every operation: dropping its future before the write is queued writes nothing; after that
/// the write happens or not as if the future had stayed, and only its answer is missed.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    disk: Disk,
    writer: Writer,
    readers: Readers,
    shelf: Arc<Shelf>,
    rack: Arc<Rack>,
    metrics: Arc<Metrics>,
    /// Keeps other processes out for as long as the store lives.
    _lock: File,
}

/// What was forgotten of an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many keys.
    pub keys: u64,
    /// How many databases.
    pub databases: u64,
}

impl Store {
    /// Opens the database at `path`, or makes it (mode 600), and the folders `blobs` and
    /// `artifacts` beside it.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a file that is damaged, foreign, of a newer program or in use stays untouched.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_on(path, Disk::Machine).await
    }

    /// Opens the database as [`Store::open`] does, on the machine's disk or on the double of one.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn open_on(path: &Path, disk: Disk) -> Result<Self, OpenError> {
        let path = path.to_owned();
        let failed = OpenError::Io {
            path: path.clone(),
            source: std::io::Error::other("the runtime is shutting down"),
        };
        let opened_on = disk.clone();
        disk.run(move || Self::open_blocking(path, opened_on)).await.unwrap_or(Err(failed))
    }

    fn open_blocking(path: PathBuf, disk: Disk) -> Result<Self, OpenError> {
        let opened = open::open(&path)?;
        let folder = path.with_file_name("blobs");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        let shelf = Arc::new(Shelf::open(&folder).map_err(io(&folder))?);
        let folder = path.with_file_name("artifacts");
        let rack = Arc::new(Rack::open(&folder).map_err(io(&folder))?);
        artifacts::tidy(&opened.database, &rack).map_err(|error| match error {
            TidyError::Io(source) => OpenError::Io { path: folder, source },
            TidyError::Store(source) => OpenError::Artifacts { path: path.clone(), source },
        })?;
        let metrics = Arc::new(Metrics::default());
        let writer =
            Writer::start(opened.database, Arc::clone(&metrics), &disk).map_err(io(&path))?;
        events::Opened { path: &path, schema: opened.schema }.emit();
        let readers = Readers::new(&path, disk.clone());
        let inner = Inner { path, disk, writer, readers, shelf, rack, metrics, _lock: opened.lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns where the database is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns the counters since the store was opened.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Returns the receipts of tasks.
    pub const fn receipts(&self) -> Receipts<'_> {
        Receipts(self)
    }

    /// Returns what people are asked to approve.
    pub const fn approvals(&self) -> Approvals<'_> {
        Approvals(self)
    }

    /// Returns what is deployed here.
    pub const fn deployments(&self) -> Deployments<'_> {
        Deployments(self)
    }

    /// Returns content by its id.
    pub const fn blobs(&self) -> Blobs<'_> {
        Blobs(self)
    }

    /// Returns the newest checkpoint of each node's chain.
    pub const fn checkpoints(&self) -> Checkpoints<'_> {
        Checkpoints(self)
    }

    /// Returns the graph that members share.
    pub const fn graph(&self) -> GraphArea<'_> {
        GraphArea(self)
    }

    /// Returns inputs of tasks that can be run again.
    pub const fn inputs(&self) -> Inputs<'_> {
        Inputs(self)
    }

    /// Returns artifacts by their id.
    pub const fn artifacts(&self) -> Artifacts<'_> {
        Artifacts(self)
    }

    /// Returns the members of the swarm.
    pub const fn members(&self) -> Members<'_> {
        Members(self)
    }

    /// Returns what the owner of the swarm took back.
    pub const fn revocations(&self) -> Revocations<'_> {
        Revocations(self)
    }

    /// Returns the counts of calls by token.
    pub const fn calls(&self) -> Calls<'_> {
        Calls(self)
    }

    /// Returns what this node has promised to the quorum of a swarm.
    pub const fn quorum(&self, swarm: SwarmId) -> Quorum<'_> {
        Quorum { store: self, swarm }
    }

    /// Returns what is remembered about nodes that asked to be admitted.
    pub const fn admissions(&self) -> Admissions<'_> {
        Admissions(self)
    }

    /// Returns the audit, which is only ever added to.
    pub const fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// Returns what the node means to do: schedules, rollouts, batches of tasks.
    pub const fn plans(&self) -> Plans<'_> {
        Plans(self)
    }

    /// Returns the last routing decisions.
    pub const fn decisions(&self) -> Decisions<'_> {
        Decisions(self)
    }

    /// Returns the keys and values that an application has under a label.
    pub fn key_values(&self, app: &str, label: &str) -> KeyValues {
        KeyValues::new(self.clone(), app.to_owned(), label.to_owned())
    }

    /// Opens the database that an application has under a label, or makes it (mode 600): a file of its own
    /// in the folder `databases` beside this one's.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the names cannot be a file's, or the file cannot be used.
    pub async fn database(&self, app: &str, label: &str) -> Result<Database, DatabaseError> {
        let path = databases::path(&self.inner.path, app, label)?;
        let disk = self.inner.disk.clone();
        let opened = disk.clone().run(move || databases::open(&path, disk)).await;
        opened.unwrap_or(Err(DatabaseError::Closed))
    }

    /// Forgets everything that an application has kept: its keys, and its databases.
    ///
    /// Calls that are under way may keep something again.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the name cannot be an application's, or a file cannot be removed.
    pub async fn forget_app(&self, app: &str) -> Result<Forgotten, DatabaseError> {
        databases::path(&self.inner.path, app, "label")?;
        let (name, path) = (app.to_owned(), self.inner.path.clone());
        let keys = self.write(move |database| key_values::forget(database, &name)).await;
        let keys = keys.map_err(|it: Fault| DatabaseError::Database { reason: it.to_string() })?;
        let name = app.to_owned();
        let removed = self.inner.disk.clone().run(move || databases::forget(&path, &name)).await;
        let databases = removed.unwrap_or(Err(DatabaseError::Closed))?;
        Ok(Forgotten { keys, databases })
    }

    /// Returns small settings by key.
    pub const fn settings(&self) -> Settings<'_> {
        Settings(self)
    }

    /// Reads the whole database and returns what is wrong with it, up to 100 findings; empty is
    /// well. Takes time in proportion to the file.
    ///
    /// # Errors
    ///
    /// [`Fault`] when it cannot even be read.
    pub async fn integrity_check(&self) -> Result<Vec<String>, Fault> {
        let check = |database: &Connection| {
            let mut statement = database.prepare("PRAGMA integrity_check(100)")?;
            let found = statement.query_map([], |row| row.get::<_, String>(0))?;
            let found = found.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, Fault>(found.into_iter().filter(|it| it != "ok").collect())
        };
        self.read(check).await
    }

    /// Finishes what waits, moves the log into the file and closes it; later operations of every
    /// clone fail with [`Fault::Closed`].
    ///
    /// # Errors
    ///
    /// [`Fault`] when the log could not be moved; what was acknowledged is safe all the same.
    pub async fn close(&self) -> Result<(), Fault> {
        self.inner.readers.close().await;
        let (message, closed) = Message::close();
        self.inner.writer.send(message).await?;
        closed.await.map_err(|_| Fault::Closed)?
    }

    /// Does `work` in the next group; returns after the commit.
    pub(crate) async fn write<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (message, done) = Message::write(work);
        self.inner.writer.send(message).await?;
        done.await.unwrap_or_else(|_| Err(Fault::Closed.into()))
    }

    /// Does `work` in the same group as the next write, without waiting for it; [`Store::settle`]
    /// waits. A crash before that loses it, and a failure of its own is nobody's.
    pub(crate) async fn write_along<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<(), Fault> {
        let (message, _) = Message::write(work);
        self.inner.writer.send_along(message).await
    }

    /// Returns after everything was written that was handed over before.
    pub(crate) async fn settle(&self) -> Result<(), Fault> {
        self.inner.writer.settle().await
    }

    /// Runs `work` on a read-only connection.
    pub(crate) async fn read<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        self.inner.readers.read(work).await
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.inner.shelf)
    }

    pub(crate) fn rack(&self) -> Arc<Rack> {
        Arc::clone(&self.inner.rack)
    }
}

#[cfg(test)]
mod tests;
