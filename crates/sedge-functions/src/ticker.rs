//! The clock that interrupts guests.
//!
//! A thread of its own and no future: where guests hold every thread of the runtime, a future would
//! wait for the very guests that it is to interrupt. It sleeps while no guest runs, and ends when
//! the engine is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// How often a running guest is asked to give way, and how late a deadline may be noticed.
const TICK: Duration = Duration::from_millis(10);
/// Ticks without a guest before the thread sleeps: waking it costs more than a few idle ticks.
const IDLE_TICKS: u32 = 100;
/// How long the sleeping thread may take to notice that the engine is gone.
const NAP: Duration = Duration::from_secs(1);

/// The thread that moves an engine's epoch while guests run.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
}

/// A guest runs as long as this lives.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.weak(), Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("sedge-epoch".to_owned())
            .stack_size(64 << 10)
            .spawn(move || tick(&engine, &seen))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Keeps the epoch moving until the answer is dropped.
    pub(crate) fn run(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    while let Some(engine) = engine.upgrade() {
        if shared.running.load(Ordering::SeqCst) > 0 {
            engine.increment_epoch();
            idle = 0;
        } else {
            idle += 1;
        }
        drop(engine);
        if idle < IDLE_TICKS {
            thread::sleep(TICK);
            continue;
        }
        // Whoever comes after this store sees it and wakes us; whoever came before is seen here.
        shared.asleep.store(true, Ordering::SeqCst);
        if shared.running.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(NAP);
        }
        shared.asleep.store(false, Ordering::SeqCst);
    }
}
