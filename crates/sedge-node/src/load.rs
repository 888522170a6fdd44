//! What this machine has left: measured, never assumed.

use std::sync::{Mutex, PoisonError};

use sedge_base::ByteSize;
use serde::{Deserialize, Serialize};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System,
};

/// A machine's figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Gauges {
    /// Busy share of all processors since the last measurement, in percent.
    pub cpu_percent: f32,
    /// Memory that programs can still get.
    pub free_memory: ByteSize,
    /// Memory in all.
    pub total_memory: ByteSize,
    /// Resident memory of this process.
    pub resident: ByteSize,
}

impl Gauges {
    /// Returns how much of the memory is in use, in percent; 0 when nothing was measured.
    pub fn memory_percent(&self) -> f64 {
        let (free, total) = (self.free_memory.as_bytes(), self.total_memory.as_bytes());
        match total {
            0 => 0.0,
            total => total.saturating_sub(free) as f64 / total as f64 * 100.0,
        }
    }
}

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
