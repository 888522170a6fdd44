//! What a machine has left, as its node measured it.

use sedge_base::ByteSize;
use serde::{Deserialize, Serialize};

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
