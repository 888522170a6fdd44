//! What this node has seen of the others' answers: how much later they came than what each node says
//! of itself let expect.
//!
//! A node is believed until it was seen to be slower; then what was seen counts, and is forgotten by
//! half every minute, so that a machine that was busy once is tried again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sedge_base::NodeId;
use sedge_capability::Name;
use tokio::time::Instant;

/// So much later than expected is nobody's fault: a cold cache, a busy moment.
const LENIENCE: Duration = Duration::from_millis(500);
/// The work of a task is guessed; so many times the guess is not late.
const GUESS: u32 = 3;
/// What was seen counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// Less than this is not worth a word.
const LEAST: Duration = Duration::from_millis(1);
/// Capabilities of nodes of which something is known; the one that was seen longest ago goes.
const MOST: usize = 4096;
/// A node whose answers are later than this, while another's are not, is reported.
const REPORTED: Duration = Duration::from_secs(1);

type Key = (NodeId, Name);

#[derive(Debug, Clone, Copy)]
struct Figure {
    late: Duration,
    at: Instant,
}

impl Figure {
    fn now(&self) -> Duration {
        let age = self.at.elapsed().as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.late.mul_f64(0.5_f64.powf(age))
    }
}

/// How late the answers of each node were, by capability.
#[derive(Debug, Default)]
pub struct Learned(Mutex<BTreeMap<Key, Figure>>);

impl Learned {
    fn figures(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Figure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, key: Key, took: Duration, expected: Duration) {
        let late = took.saturating_sub(expected * GUESS + LENIENCE);
        let mut figures = self.figures();
        let late = figures.get(&key).map_or(late, |it| (it.now() + late) / 2);
        figures.insert(key, Figure { late, at: Instant::now() });
        if figures.len() > MOST {
            let oldest = figures.iter().min_by_key(|(_, it)| it.at).map(|(key, _)| key.clone());
            oldest.map(|it| figures.remove(&it));
        }
    }

    /// Returns by how much a node's answers were later than expected, of late.
    pub fn late_by(&self, node: NodeId, name: &Name) -> Option<Duration> {
        let late = self.figures().get(&(node, name.clone())).map(Figure::now);
        late.filter(|it| *it >= LEAST)
    }

    /// Returns nodes whose answers came much later than they let expect, while another node's to the
    /// same capability did not: which one, which capability, how late.
    pub fn slower_than_said(&self) -> Vec<(NodeId, Name, Duration)> {
        let figures = self.figures();
        let late: BTreeMap<_, _> = figures.iter().map(|(key, it)| (key, it.now())).collect();
        let better = |name: &Name, than: Duration| {
            late.iter().any(|((_, other), late)| other == name && *late * 4 <= than)
        };
        let slow =
            late.iter().filter(|((_, name), late)| **late >= REPORTED && better(name, **late));
        slow.map(|((node, name), late)| (*node, name.clone(), *late)).collect()
    }

    /// Watches one task from now on until the first sign of its answer.
    pub fn watch(self: &Arc<Self>, key: Key, expected: Duration) -> Watch {
        Watch { learned: Arc::clone(self), key: Some(key), expected, began: Instant::now() }
    }
}

/// A task whose answer is waited for; when it is dropped, its time is noted.
#[derive(Debug)]
pub struct Watch {
    learned: Arc<Learned>,
    key: Option<Key>,
    expected: Duration,
    began: Instant,
}

impl Watch {
    /// Notes nothing: the task never began.
    pub fn forget(mut self) {
        self.key = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.learned.note(key, self.began.elapsed(), self.expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: NodeId = NodeId::from_bytes([1; 32]);
    const QUICK: NodeId = NodeId::from_bytes([2; 32]);

    fn name() -> Name {
        "fn-1".parse().unwrap()
    }

    async fn answered(learned: &Arc<Learned>, node: NodeId, took: Duration) {
        let watch = learned.watch((node, name()), Duration::from_millis(5));
        tokio::time::advance(took).await;
        drop(watch);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_one_is_told_from_the_quick_one_and_forgiven_later() {
        let learned = Arc::new(Learned::default());
        answered(&learned, SLOW, Duration::from_secs(3)).await;
        assert!(learned.slower_than_said().is_empty(), "all may be slow: nobody to compare with");
        answered(&learned, QUICK, Duration::from_millis(400)).await;
        assert_eq!(learned.late_by(QUICK, &name()), None);
        let late = learned.late_by(SLOW, &name()).unwrap();
        assert!(late > Duration::from_secs(2), "{late:?}");
        let told = learned.slower_than_said();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, &told[0].1), (SLOW, &name()));
        tokio::time::advance(HALF_LIFE).await;
        assert!(learned.late_by(SLOW, &name()).unwrap() < late.mul_f64(0.51));
        tokio::time::advance(HALF_LIFE * 20).await;
        assert_eq!(learned.late_by(SLOW, &name()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_never_began_teaches_nothing() {
        let learned = Arc::new(Learned::default());
        let watch = learned.watch((SLOW, name()), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(9)).await;
        watch.forget();
        assert_eq!(learned.late_by(SLOW, &name()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_kept_than_fits() {
        let learned = Learned::default();
        for number in 0..MOST + 10 {
            let name = format!("fn-{number}").parse().unwrap();
            learned.note((SLOW, name), Duration::from_secs(9), Duration::ZERO);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(learned.figures().len(), MOST);
        assert!(learned.late_by(SLOW, &"fn-0".parse().unwrap()).is_none(), "the oldest went");
    }
}
