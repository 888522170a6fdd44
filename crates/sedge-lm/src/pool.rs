//! Threads that wait for short pieces of work: a bounded spin, then asleep.
//!
//! Invariant: what is computed does not depend on how many threads there are; pieces are independent
//! and each is done once.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How often a waiting thread looks before it falls asleep: some tens of microseconds, about as long
/// as the gap between two steps of one layer.
const SPINS: u32 = 4_000;

/// Work on pieces `range` of the whole.
type Work<'a> = dyn Fn(Range<usize>) + Sync + 'a;

/// A few threads, and the caller as one more.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Grows with every job; a worker that sees a new number takes part.
    epoch: AtomicU64,
    job: Mutex<Option<Job>>,
    woken: Condvar,
    sleeping: AtomicUsize,
    /// The next piece that nobody has taken.
    next: AtomicUsize,
    /// Workers that are not done with the current job.
    busy: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    pieces: usize,
    step: usize,
}

#[expect(unsafe_code, reason = "the pointer leads to a closure that all threads may call")]
// SAFETY: `Work` is `Sync`, so a shared reference to it may be used from any thread; `run` keeps it
// alive until every worker is done.
unsafe impl Send for Job {}

impl Pool {
    /// Makes a pool in which `threads` work at once, the caller of [`Pool::run`] included.
    pub(crate) fn new(threads: NonZeroUsize) -> Self {
        let shared = Arc::new(Shared {
            epoch: AtomicU64::new(0),
            job: Mutex::new(None),
            woken: Condvar::new(),
            sleeping: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        });
        let spawn = |number| {
            let shared = Arc::clone(&shared);
            let name = format!("sedge-lm-{number}");
            // A machine that gives no thread still computes, with fewer.
            std::thread::Builder::new().name(name).spawn(move || shared.wait_for_work()).ok()
        };
        let threads = (1..threads.get()).filter_map(spawn).collect();
        Self { shared, threads }
    }

    /// Does `work` on every piece of `0..pieces`, `step` neighbours at a time, and returns when all
    /// are done. One caller at a time, which `&mut` says.
    pub(crate) fn run(&mut self, pieces: usize, step: usize, work: &Work<'_>) {
        if self.threads.is_empty() || pieces <= step {
            return work(0..pieces);
        }
        let shared = &*self.shared;
        #[expect(unsafe_code, reason = "workers outlive the borrow in type, not in fact")]
        // SAFETY: only the lifetime changes. No worker touches the closure after `busy` reached
        // zero, and this function does not return before, not even by a panic (see `Finish`).
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        let job = Job { work, pieces, step };
        shared.next.store(0, Ordering::Relaxed);
        shared.busy.store(self.threads.len(), Ordering::Relaxed);
        *shared.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            let _job = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            shared.woken.notify_all();
        }
        {
            let _finish = Finish(shared);
            shared.take_part(job);
        }
        assert!(!shared.panicked.swap(false, Ordering::SeqCst), "a worker panicked");
    }
}

/// Waits until the workers are done, whatever happens to the caller.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut spins = 0_u32;
        while self.0.busy.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        {
            let _job = self.shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.woken.notify_all();
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn wait_for_work(&self) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            while self.epoch.load(Ordering::SeqCst) == seen {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                    continue;
                }
                let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner);
                self.sleeping.fetch_add(1, Ordering::SeqCst);
                while self.epoch.load(Ordering::SeqCst) == seen {
                    job = self.woken.wait(job).unwrap_or_else(PoisonError::into_inner);
                }
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
            }
            // A job ends only after every worker took part, so no number is ever skipped.
            seen += 1;
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let job = *self.job.lock().unwrap_or_else(PoisonError::into_inner);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if let Some(job) = job {
                    self.take_part(job);
                }
            }));
            if done.is_err() {
                self.panicked.store(true, Ordering::SeqCst);
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    fn take_part(&self, job: Job) {
        #[expect(unsafe_code, reason = "the closure is alive while a worker is busy")]
        // SAFETY: `run` does not return before this worker says that it is done.
        let work = unsafe { &*job.work };
        loop {
            let from = self.next.fetch_add(job.step, Ordering::Relaxed);
            if from >= job.pieces {
                return;
            }
            work(from..(from + job.step).min(job.pieces));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for threads in 1..4 {
            let mut pool = Pool::new(NonZeroUsize::new(threads).unwrap());
            for pieces in [0, 1, 7, 64, 1000] {
                let done: Vec<_> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                pool.run(pieces, 3, &|range| {
                    for piece in range {
                        done[piece].fetch_add(1, Ordering::Relaxed);
                    }
                });
                assert!(done.iter().all(|it| it.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(NonZeroUsize::new(2).unwrap());
        let wrong = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(100, 1, &|range| assert!(range.start != 50, "piece 50"));
        }));
        assert!(wrong.is_err());
        let done = AtomicUsize::new(0);
        pool.run(100, 1, &|range| {
            done.fetch_add(range.len(), Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 100);
    }
}
