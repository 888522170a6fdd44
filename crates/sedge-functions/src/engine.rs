//! The Wasm engine, set up once per node.

use std::fs;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::FunctionsConfig;
use crate::guard;

/// The stack of one guest; host functions that it calls run on the same one.
const STACK: usize = 1 << 20;
/// The part of [`STACK`] that Wasm code may use.
const WASM_STACK: usize = 512 << 10;

/// Makes the engine.
///
/// Every guest is counted by fuel and interrupted by epoch. What could make two machines answer
/// differently (bit patterns of NaN, relaxed vector instructions) is pinned down.
///
/// # Errors
///
/// When the machine cannot reserve the pool's address space.
pub(crate) fn engine(config: &FunctionsConfig) -> wasmtime::Result<Engine> {
    let mut settings = Config::new();
    settings
        .consume_fuel(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .generate_address_map(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK);
    if config.pool > 0 {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(config.pool)
            .total_core_instances(config.pool.saturating_mul(16))
            .total_memories(config.pool)
            .total_tables(config.pool.saturating_mul(4))
            .total_stacks(config.pool)
            .max_core_instances_per_component(guard::CORE_INSTANCES as u32)
            .max_memories_per_component(guard::MEMORIES as u32)
            .max_tables_per_component(guard::TABLES as u32)
            .table_elements(guard::TABLE_ELEMENTS)
            .max_memory_size(config.memory.as_len());
        settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&settings)
}

/// Memory maps of one instance, as measured.
const MAPS_PER_INSTANCE: u32 = 6;
/// Memory maps that the rest of the process keeps.
const MAPS_FOR_OTHERS: u32 = 5000;

/// Returns how many tasks may run at once: what the config says, or less where the pool or the
/// kernel's limit of memory maps ends before it.
pub(crate) fn admission(config: &FunctionsConfig) -> u32 {
    let mut most = config.max_concurrent.get();
    if config.pool > 0 {
        most = most.min(config.pool);
    }
    if let Some(maps) = max_map_count() {
        most = most.min(maps.saturating_sub(MAPS_FOR_OTHERS) / MAPS_PER_INSTANCE);
    }
    most.max(1)
}

/// Returns the kernel's limit of memory maps per process, or `None` where there is none to read.
fn max_map_count() -> Option<u32> {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    Some(text.trim().parse::<u64>().ok()?.try_into().unwrap_or(u32::MAX))
}
