//! What this machine has left: measured, never assumed.

use std::sync::{Mutex, PoisonError};

use sedge_base::ByteSize;
use sedge_members::Gauges;
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System,
};

/// Reads the machine's figures, or repeats those that it was given.
#[derive(Debug)]
pub(crate) struct Meter {
    system: Mutex<Option<System>>,
    /// What is said when there is no system to ask.
    given: Gauges,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        // A system that tells nothing leaves every figure at zero.
        let system = Mutex::new(System::new_with_specifics(what).ok());
        Self { system, given: Gauges::default() }
    }

    /// Makes a meter that says the same every time: that of a simulation's machine.
    pub(crate) const fn given(given: Gauges) -> Self {
        Self { system: Mutex::new(None), given }
    }

    /// Measures now. The busy share covers the time since the last call; the first one after the
    /// start says 0.
    pub(crate) fn read(&self) -> Gauges {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(system) = system.as_mut() else { return self.given };
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let resident = sysinfo::get_current_pid().ok().and_then(|pid| {
            system.refresh_processes_specifics(
                ProcessesToUpdate::Some(&[pid]),
                false,
                ProcessRefreshKind::nothing().with_memory(),
            );
            system.process(pid).map(sysinfo::Process::memory)
        });
        Gauges {
            cpu_percent: system.global_cpu_usage(),
            free_memory: ByteSize::from_bytes(system.available_memory()),
            total_memory: ByteSize::from_bytes(system.total_memory()),
            resident: ByteSize::from_bytes(resident.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_this_machine() {
        let gauges = Meter::new().read();
        assert!(gauges.total_memory > gauges.free_memory);
        assert!(gauges.resident > ByteSize::from_mib(1));
    }
}
