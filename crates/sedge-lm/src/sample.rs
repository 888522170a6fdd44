//! Logits to a token.
//!
//! Invariant: the same logits, history and seed give the same token on every machine.

use crate::maths::exp;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 always takes the likeliest token; 1 is the model's own spread; higher is wilder.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this share may be taken; 1 is all.
    pub top_p: f32,
    /// Only so many of the likeliest tokens may be taken; 0 is all.
    pub top_k: usize,
    /// Divides the logit of tokens that were used before; 1 changes nothing.
    pub repeat_penalty: f32,
    /// How many of the last tokens count as used before.
    pub repeat_last: usize,
    /// What the random numbers come from.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            repeat_penalty: 1.0,
            repeat_last: 64,
            seed: 0,
        }
    }
}

/// Chooses token after token.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    drawn: u64,
}

impl Sampler {
    /// Makes a sampler at the beginning of its random numbers.
    pub const fn new(sampling: Sampling) -> Self {
        Self { sampling, drawn: 0 }
    }

    /// Chooses a token; `history` is what came before, the newest last. Changes the logits.
    ///
    /// Logits of minus infinity are never taken. `None` when there is no other.
    pub fn pick(&mut self, logits: &mut [f32], history: &[u32]) -> Option<u32> {
        let Sampling { temperature, repeat_penalty, repeat_last, .. } = self.sampling;
        if repeat_penalty != 1.0 {
            penalise(logits, &history[history.len().saturating_sub(repeat_last)..], repeat_penalty);
        }
        if temperature <= 0.0 {
            return likeliest(logits);
        }
        let mut candidates = self.candidates(logits);
        let most = candidates.first()?.1;
        let mut whole = 0.0;
        for (_, value) in &mut candidates {
            *value = exp((*value - most) / temperature);
            whole += *value;
        }
        let mut kept = 0.0;
        let mut count = 0;
        for (_, value) in &candidates {
            kept += value;
            count += 1;
            if kept >= self.sampling.top_p * whole {
                break;
            }
        }
        let mut left = self.draw() * kept;
        for (token, value) in &candidates[..count] {
            left -= value;
            if left < 0.0 {
                return Some(*token);
            }
        }
        candidates[..count].last().map(|(token, _)| *token)
    }

    /// Returns the tokens that may be taken, the likeliest first.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f32)> {
        let finite = (0_u32..).zip(logits.iter().copied()).filter(|(_, it)| it.is_finite());
        let mut all: Vec<(u32, f32)> = finite.collect();
        let order =
            |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0));
        let top = self.sampling.top_k;
        if top > 0 && top < all.len() {
            all.select_nth_unstable_by(top, order);
            all.truncate(top);
        }
        all.sort_unstable_by(order);
        all
    }

    /// Returns the next random number from 0 up to, not including, 1 (splitmix64).
    fn draw(&mut self) -> f32 {
        self.drawn += 1;
        let step = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(self.drawn);
        let mut z = self.sampling.seed.wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1_u64 << 24) as f32
    }
}

fn penalise(logits: &mut [f32], used: &[u32], penalty: f32) {
    let mut seen = used.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// Returns the token with the largest logit, the first of equals.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, logit) in (0_u32..).zip(logits.iter().copied()) {
        if logit > best.map_or(f32::NEG_INFINITY, |it| it.1) {
            best = Some((token, logit));
        }
    }
    best.map(|it| it.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sampling: Sampling, mut logits: Vec<f32>, history: &[u32], expected: &[u32]) {
        let mut sampler = Sampler::new(sampling);
        let picked: Vec<u32> =
            (0..400).filter_map(|_| sampler.pick(&mut logits.clone(), history)).collect();
        let mut kinds = picked.clone();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds, expected);
        let mut again = Sampler::new(sampling);
        assert_eq!(again.pick(&mut logits, history), picked.first().copied());
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        check(Sampling::default(), vec![1.0, 3.0, 3.0, -1.0], &[], &[1]);
    }

    #[test]
    fn nothing_is_taken_when_nothing_is_allowed() {
        check(Sampling::default(), vec![f32::NEG_INFINITY; 3], &[], &[]);
        let warm = Sampling { temperature: 1.0, ..Sampling::default() };
        check(warm, vec![f32::NEG_INFINITY; 3], &[], &[]);
    }

    #[test]
    fn temperature_spreads() {
        let warm = Sampling { temperature: 1.0, seed: 5, ..Sampling::default() };
        check(warm, vec![1.0, 1.0, f32::NEG_INFINITY, 1.0], &[], &[0, 1, 3]);
    }

    #[test]
    fn top_k_and_top_p_narrow() {
        let warm = Sampling { temperature: 1.0, ..Sampling::default() };
        check(Sampling { top_k: 2, ..warm }, vec![1.0, 3.0, 2.9, 0.0], &[], &[1, 2]);
        check(Sampling { top_p: 0.5, ..warm }, vec![1.0, 5.0, 1.0, 1.0], &[], &[1]);
    }

    #[test]
    fn repetition_is_penalised() {
        let sampling = Sampling { repeat_penalty: 2.0, ..Sampling::default() };
        check(sampling, vec![1.5, 2.0, 0.0], &[1], &[0]);
    }
}
