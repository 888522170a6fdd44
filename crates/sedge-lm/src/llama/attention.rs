//! What each token sees of those before it.
//!
//! Queries of all heads that share keys are computed together, so that keys and values are read once
//! for all of them.

use super::{Disjoint, Shape};
use crate::kernels::{Chosen, LANES, QUERIES};
use crate::maths::{self, Rotary};
use crate::pool::Pool;

/// Keys and values of one layer, each key-value head by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    heads: Vec<HeadMemory>,
}

#[derive(Debug, Clone, Default)]
struct HeadMemory {
    /// Blocks of sixteen tokens: number `d` of a block's token `k` lies at `d · 16 + k`, so that
    /// sixteen scores come without a horizontal sum.
    keys: Vec<f32>,
    /// One row per token.
    values: Vec<f32>,
}

impl Remembered {
    pub(super) fn new(kv_heads: usize) -> Self {
        Self { heads: vec![HeadMemory::default(); kv_heads] }
    }

    /// Adds the keys and values of tokens from position `start` on.
    pub(super) fn extend(&mut self, start: usize, head: usize, keys: &[f32], values: &[f32]) {
        let kv = self.heads.len() * head;
        let length = start + keys.len() / kv;
        for (at, memory) in self.heads.iter_mut().enumerate() {
            memory.keys.resize(length.div_ceil(LANES) * LANES * head, 0.0);
            for (position, key) in (start..).zip(keys.chunks_exact(kv)) {
                let block = &mut memory.keys[position / LANES * LANES * head..][..LANES * head];
                let key = &key[at * head..][..head];
                for (number, lanes) in key.iter().zip(block.chunks_exact_mut(LANES)) {
                    lanes[position % LANES] = *number;
                }
            }
            for value in values.chunks_exact(kv) {
                memory.values.extend_from_slice(&value[at * head..][..head]);
            }
        }
    }

    /// Forgets all but the first `length` tokens.
    pub(super) fn truncate(&mut self, length: usize, head: usize) {
        for memory in &mut self.heads {
            memory.keys.truncate(length.div_ceil(LANES) * LANES * head);
            memory.values.truncate(length * head);
        }
    }
}

/// What every head of a batch needs.
pub(super) struct Attention<'a> {
    pub(super) remembered: &'a Remembered,
    pub(super) rotary: &'a Rotary,
    pub(super) kernel: Chosen,
    pub(super) shape: Shape,
    /// The position of the batch's first token.
    pub(super) start: usize,
}

impl Attention<'_> {
    /// Mixes the values that each head of each token attends to.
    pub(super) fn run(&self, pool: &mut Pool, queries: &[f32], mixed: &mut [f32]) {
        let Shape { heads, kv_heads, head, .. } = self.shape;
        let group = heads / kv_heads * head;
        let pieces = queries.len() / group;
        let out = Disjoint::new(mixed);
        pool.run(pieces, (pieces / 32).max(1), &|range| {
            let mut work = Work::default();
            for piece in range {
                let from = piece * group;
                self.group(piece, &queries[from..][..group], out.slice(from, group), &mut work);
            }
        });
    }

    /// Does it for the heads of one token that share keys: piece `token · kv_heads + head`.
    fn group(&self, piece: usize, queries: &[f32], into: &mut [f32], work: &mut Work) {
        let Shape { kv_heads, head, .. } = self.shape;
        let (token, at) = (piece / kv_heads, piece % kv_heads);
        let memory = &self.remembered.heads[at];
        let position = self.start + token;
        let seen = position + 1;
        let blocks = seen.div_ceil(LANES);
        let scale = 1.0 / (head as f32).sqrt();
        let keys = &memory.keys[..blocks * LANES * head];
        let values = &memory.values[..seen * head];
        for (queries, into) in queries.chunks(QUERIES * head).zip(into.chunks_mut(QUERIES * head)) {
            let count = queries.len() / head;
            work.turned.clear();
            work.turned.extend_from_slice(queries);
            for query in work.turned.chunks_exact_mut(head) {
                self.rotary.turn(query, position);
                query.iter_mut().for_each(|it| *it *= scale);
            }
            work.scores.resize(count * blocks * LANES, 0.0);
            self.kernel.scores(&work.turned, head, keys, &mut work.scores);
            for scores in work.scores.chunks_exact_mut(blocks * LANES) {
                maths::softmax(self.kernel, &mut scores[..seen]);
            }
            self.kernel.mix(values, head, &work.scores, into);
        }
    }
}

/// Room that is used again and again.
#[derive(Default)]
struct Work {
    turned: Vec<f32>,
    scores: Vec<f32>,
}
