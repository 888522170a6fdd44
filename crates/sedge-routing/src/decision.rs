//! The decision, and its explanation.

use std::fmt::Write as _;

use sedge_base::{ByteSize, NodeId};
use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;
use crate::filter::{Rejected, reason_against};
use crate::request::{Candidate, Load, Path, Request};
use crate::strategies::{Strategy, Turn};

/// A node that may run the task, with the numbers that its place depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored {
    /// The node.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// What the strategy says, in its own unit; the lowest wins.
    pub score: u64,
    /// The expected time to answer.
    pub estimate: Estimate,
    /// The tasks of this capability there.
    pub load: Load,
    /// The tasks of the whole node.
    pub node_load: Load,
    /// Memory that nobody uses.
    pub free_memory: ByteSize,
    /// How busy its processors are, 0 to 100.
    pub cpu_percent: u8,
    /// The way there and back, in microseconds; `None` when it was never measured.
    pub rtt_us: Option<u64>,
    /// What lies between; `None` while there is no connection, and for the deciding node.
    #[serde(default)]
    pub path: Option<Path>,
    /// Measured speed of a model, rounded.
    pub tokens_per_second: Option<u64>,
    /// Whether the module is compiled or the model is in memory.
    pub ready: bool,
}

/// Which node runs a task, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What was wanted.
    pub request: Request,
    /// How the candidates were put in order.
    pub strategy: Strategy,
    /// Who runs it; `None` when nobody may.
    pub winner: Option<NodeId>,
    /// Everybody who may, best first.
    pub ranked: Vec<Scored>,
    /// Everybody who may not, by node id.
    pub rejected: Vec<Rejected>,
}

/// Picks the node that runs a task.
///
/// The same facts give the same decision, in whatever order the candidates come; `seed` matters to
/// [`Strategy::RoundRobin`] and [`Strategy::Random`] only.
pub fn decide(
    request: &Request,
    candidates: &[Candidate],
    strategy: Strategy,
    seed: u64,
) -> Decision {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by_key(|it| it.node);
    let (mut fit, mut rejected) = (Vec::new(), Vec::new());
    for candidate in sorted {
        match reason_against(request, candidate) {
            None => fit.push(candidate),
            Some(reason) => {
                let (node, name) = (candidate.node, candidate.name.clone());
                rejected.push(Rejected { node, name, reason });
            }
        }
    }
    let count = fit.len() as u64;
    let score = |(place, candidate): (u64, &Candidate)| {
        let estimate = Estimate::of(request, candidate);
        let score = strategy.score(&Turn { candidate, estimate, place, count, seed });
        scored(candidate, score, estimate)
    };
    let mut ranked: Vec<_> = (0..).zip(fit).map(score).collect();
    ranked.sort_by_key(|it| (it.score, it.node));
    let winner = ranked.first().map(|it| it.node);
    Decision { request: request.clone(), strategy, winner, ranked, rejected }
}

fn scored(candidate: &Candidate, score: u64, estimate: Estimate) -> Scored {
    let whole = |it: f64| it.round().clamp(0.0, 1e9) as u64;
    Scored {
        node: candidate.node,
        name: candidate.name.clone(),
        score,
        estimate,
        load: candidate.load,
        node_load: candidate.node_load,
        free_memory: candidate.free_memory,
        cpu_percent: candidate.cpu_percent.round().clamp(0.0, 100.0) as u8,
        rtt_us: candidate.rtt.map(|it| whole(it.as_secs_f64() * 1e6)),
        path: candidate.path,
        tokens_per_second: candidate.tokens_per_second.map(whole),
        ready: candidate.ready,
    }
}

impl Decision {
    /// Explains the decision to people: a line for the winner, one for each loser with its numbers,
    /// one for each rejected node with its reason.
    pub fn words(&self) -> String {
        let Self { request, strategy, ranked, rejected, .. } = self;
        let (name, strategy) = (&request.capability, strategy.name());
        let mut text = match ranked.as_slice() {
            [] if rejected.is_empty() => format!("nobody offers `{name}`"),
            [] => format!("nobody can run `{name}` now"),
            [only] if request.pinned.is_some() => {
                format!("`{name}` runs on {}, which was asked for", only.name)
            }
            [only] => format!("`{name}` runs on {}, the only one that can", only.name),
            [first, others @ ..] => {
                format!(
                    "`{name}` runs on {}, first of {} by {strategy}",
                    first.name,
                    others.len() + 1
                )
            }
        };
        for (place, it) in (1_usize..).zip(ranked) {
            let line = line(it);
            // Writing to a text cannot fail.
            write!(text, "\n  {place}. {}: {line}", it.name).unwrap_or_default();
        }
        for it in rejected {
            write!(text, "\n  -  {}: {}", it.name, it.reason).unwrap_or_default();
        }
        text
    }
}

fn line(it: &Scored) -> String {
    let Estimate { queue_us, distance_us, start_us, work_us, late_us } = it.estimate;
    let mut text = format!(
        "expected {} = queue {} + distance {} + start {} + work {}",
        ms(it.estimate.total_us()),
        ms(queue_us),
        ms(distance_us),
        ms(start_us),
        ms(work_us)
    );
    if late_us > 0 {
        text.push_str(&format!(" + late {} as measured", ms(late_us)));
    }
    let limit = |load: Load| match load.limit {
        0 => String::new(),
        limit => format!(" of {limit}"),
    };
    let (tasks, all) = (it.load.in_flight(), it.node_load.in_flight());
    let facts = format!(
        "; {tasks}{} tasks here, {all}{} in all, CPU {} %, {} free",
        limit(it.load),
        limit(it.node_load),
        it.cpu_percent,
        it.free_memory
    );
    text.push_str(&facts);
    if let Some(speed) = it.tokens_per_second {
        text.push_str(&format!(", {speed} tokens/s"));
    }
    if let Some(path) = it.path {
        text.push_str(&format!(", path {}", path.name()));
    }
    text.push_str(if it.ready { ", ready" } else { ", not ready" });
    text
}

/// Writes microseconds as milliseconds with one decimal.
fn ms(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

#[cfg(test)]
mod tests;
