//! What stands between a guest and the machine: a memory meter and a deadline.

use sedge_base::ByteSize;
use tokio::time::Instant;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::limits::Limits;

/// The memory meter and the deadline of one instance.
#[derive(Debug)]
pub(crate) struct Guard {
    limit: usize,
    used: usize,
    before: usize,
    peak: usize,
    refused: bool,
    deadline: Instant,
    late: bool,
}

/// A store's state that has a [`Guard`].
pub(crate) trait Guarded: Send + 'static {
    /// Returns the guard.
    fn guard(&mut self) -> &mut Guard;
}

/// Elements in all tables of one instance: function pointers, mostly.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// Core instances that one component may consist of; the largest seen has 13.
pub(crate) const CORE_INSTANCES: usize = 64;
/// Memories that one component may have.
pub(crate) const MEMORIES: usize = 8;
/// Tables that one component may have.
pub(crate) const TABLES: usize = 32;

impl Guard {
    /// Makes the guard of an instance that is about to start.
    pub(crate) fn new(limits: &Limits, deadline: Instant) -> Self {
        Self {
            limit: limits.memory.as_len(),
            used: 0,
            before: 0,
            peak: 0,
            refused: false,
            deadline,
            late: false,
        }
    }

    /// Returns the most memory that the instance had, all its memories together.
    pub(crate) fn peak(&self) -> ByteSize {
        ByteSize::from_bytes(self.peak as u64)
    }

    /// Returns when the instance must have ended.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns whether it was ever refused memory.
    pub(crate) fn was_refused_memory(&self) -> bool {
        self.refused
    }

    /// Returns whether the deadline stopped it.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_sub(current).saturating_add(desired);
        if used > self.limit || maximum.is_some_and(|it| desired > it) {
            self.refused = true;
            return Ok(false);
        }
        (self.before, self.used) = (self.used, used);
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Allowed here, refused below: by the operating system or by the memory's own maximum.
        self.used = self.used.min(self.before);
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// Puts a store under its limits; before this, no guest code can run in it.
///
/// # Errors
///
/// When the engine does not count fuel, which ours does.
pub(crate) fn arm<T: Guarded>(store: &mut Store<T>, limits: &Limits) -> wasmtime::Result<()> {
    store.limiter(|it| it.guard());
    store.set_fuel(limits.fuel)?;
    store.set_hostcall_fuel(limits.memory.as_len());
    // Every tick the guest gives way to others on its thread, or ends.
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        let guard = context.data_mut().guard();
        if Instant::now() < guard.deadline {
            return Ok(UpdateDeadline::Yield(1));
        }
        guard.late = true;
        Ok(UpdateDeadline::Interrupt)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn guard(memory: u64) -> Guard {
        let limits = Limits {
            fuel: 1,
            memory: ByteSize::from_bytes(memory),
            time: Duration::from_secs(1),
            output: ByteSize::from_bytes(1),
        };
        Guard::new(&limits, Instant::now())
    }

    #[tokio::test]
    async fn memories_count_together() {
        let mut guard = guard(100);
        assert!(guard.memory_growing(0, 60, None).unwrap());
        assert!(guard.memory_growing(0, 40, None).unwrap());
        assert!(!guard.was_refused_memory());
        assert!(!guard.memory_growing(40, 41, None).unwrap());
        assert!(guard.was_refused_memory());
        assert_eq!(guard.peak().as_bytes(), 100);
    }

    #[tokio::test]
    async fn what_the_system_refused_is_not_counted() {
        let mut guard = guard(100);
        assert!(guard.memory_growing(0, 60, None).unwrap());
        guard.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(guard.memory_growing(0, 100, None).unwrap());
    }
}
