//! Where a store does its work: on threads of the machine, or in line in a simulation.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sedge_base::Dice;
use tokio::task::{JoinError, spawn_blocking};

/// Where a store does its work.
#[derive(Debug, Clone, Default)]
pub enum Disk {
    /// On threads beside the runtime: one that writes, a few that read.
    #[default]
    Machine,
    /// In line, on the runtime's own thread, as slow and as full as the double says.
    Double(Arc<DiskDouble>),
}

impl Disk {
    /// Does work that may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::Machine => spawn_blocking(work).await,
            Self::Double(double) => {
                double.pause().await;
                Ok(work())
            }
        }
    }

    /// Returns whether writes fail because the double says that the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Machine => false,
            Self::Double(double) => double.full.load(Ordering::SeqCst),
        }
    }
}

/// The double of a disk for simulations. The database and the files are real; the work on them is
/// done in line, so that a run depends on no thread of the machine, and the waiting is in the
/// runtime's time, which a simulation pauses.
///
/// What was acknowledged is in the files. A future that is dropped while it waits for the double may
/// have written or not, as in a crash.
#[derive(Debug)]
pub struct DiskDouble {
    dice: Mutex<Dice>,
    slowest_us: AtomicU64,
    full: AtomicBool,
}

impl DiskDouble {
    /// Makes a fast disk with room on it.
    pub const fn new(dice: Dice) -> Self {
        Self { dice: Mutex::new(dice), slowest_us: AtomicU64::new(0), full: AtomicBool::new(false) }
    }

    /// Lets every step on the disk wait between nothing and `slowest`: each write before it is done
    /// and again before it is acknowledged, each read once.
    pub fn set_slowest(&self, slowest: Duration) {
        let micros = u64::try_from(slowest.as_micros()).unwrap_or(u64::MAX);
        self.slowest_us.store(micros, Ordering::SeqCst);
    }

    /// Lets every write fail as on a full disk, or no longer.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Waits as long as the disk takes for a step.
    pub(crate) async fn pause(&self) {
        let slowest = Duration::from_micros(self.slowest_us.load(Ordering::SeqCst));
        if slowest.is_zero() {
            return tokio::task::yield_now().await;
        }
        let wait = self.dice.lock().unwrap_or_else(PoisonError::into_inner).up_to(slowest);
        tokio::time::sleep(wait).await;
    }
}
