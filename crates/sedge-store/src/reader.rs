//! A few read-only connections, used on blocking threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::disk::Disk;
use crate::fault::Fault;
use crate::open;

/// How many reads run at once: more only compete for the same disk.
const MOST: usize = 4;

/// Read-only connections, opened when first needed and kept.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    disk: Disk,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(path: &Path, disk: Disk) -> Self {
        let places = Arc::new(Semaphore::new(MOST));
        Self { path: path.to_owned(), disk, places, idle: Arc::default() }
    }

    /// Runs `work` on a connection of the pool.
    pub(crate) async fn read<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| Fault::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let reading = self.disk.run(move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let database = match kept {
                Some(database) => database,
                None => connect(&path).map_err(Fault::from)?,
            };
            let result = work(&database);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(database);
            drop(place);
            result
        });
        // The runtime is shutting down, or a query panicked: there is no answer either way.
        reading.await.unwrap_or_else(|_| Err(Fault::Closed.into()))
    }

    /// Refuses new reads, waits for running ones, closes the connections.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(MOST).unwrap_or(u32::MAX);
        if let Ok(every_place) = self.places.acquire_many(all).await {
            self.places.close();
            drop(every_place);
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    open::set_up(&database)?;
    Ok(database)
}
