//! Floating-point steps that give the same bits on every machine.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds alike
//! everywhere, and always in one order: sums run over sixteen lanes that are added up as a tree. No
//! function of a system library takes part. A change that gives other bits needs another
//! [`crate::ARITHMETIC`].

use crate::kernels::{LANES, widened};

#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Returns the sum of squares.
#[inline(always)]
fn squares(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane] * chunk[lane];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value * value;
    }
    tree(lanes)
}

/// Adds `from` to `into`.
pub(crate) fn add(into: &mut [f32], from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

widened! {
    /// Root-mean-square normalisation (arXiv 1910.07467): `into = values / rms(values) · weights`.
    fn rms_norm(values: &[f32], weights: &[f32], epsilon: f32, into: &mut [f32]) {
        let mean = squares(values) / values.len() as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for ((into, value), weight) in into.iter_mut().zip(values).zip(weights) {
            *into = value * scale * weight;
        }
    }
}

/// Returns e to the power of `x`: 0 below −87, and the largest power that is finite above 88.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    // x = n · ln 2 + r with a whole n and |r| at most ln 2 / 2; ln 2 comes in two parts.
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    // The Taylor series to the seventh power is within two units in the last place there.
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + factor;
    }
    // The lowest bits of `shifted` count from 2^22 on what n is.
    sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

widened! {
    /// Turns scores into shares that add up to one (softmax).
    fn softmax(scores: &mut [f32]) {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let chunks = scores.chunks_exact(LANES);
        for (lane, score) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane = *score;
        }
        for chunk in chunks {
            for lane in 0..LANES {
                lanes[lane] = larger(lanes[lane], chunk[lane]);
            }
        }
        let most = lanes.into_iter().fold(f32::NEG_INFINITY, larger);
        for score in scores.iter_mut() {
            *score = exp(*score - most);
        }
        let mut lanes = [0.0; LANES];
        let chunks = scores.chunks_exact(LANES);
        for (lane, score) in chunks.remainder().iter().enumerate() {
            lanes[lane] += score;
        }
        for chunk in chunks {
            for lane in 0..LANES {
                lanes[lane] += chunk[lane];
            }
        }
        let whole = 1.0 / tree(lanes);
        for score in scores {
            *score *= whole;
        }
    }
}

widened! {
    /// The gate of a feed-forward layer (SwiGLU, arXiv 2002.05202): `gate = gate · σ(gate) · up`.
    fn gate(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}

/// Sines and cosines for rotary positions (arXiv 2104.09864), computed as needed and kept.
#[derive(Debug)]
pub(crate) struct Rotary {
    /// The angle per position of each pair.
    steps: Vec<f64>,
    /// For each position, cosine and sine of each pair.
    table: Vec<(f32, f32)>,
}

impl Rotary {
    /// Makes the table for heads of `width` numbers: pair `i` turns by `base^(−2i / width)`.
    pub(crate) fn new(width: usize, base: f64) -> Self {
        let pairs = width / 2;
        let ratio = root(1.0 / base, pairs);
        let mut steps = Vec::with_capacity(pairs);
        let mut step = 1.0;
        for _ in 0..pairs {
            steps.push(step);
            step *= ratio;
        }
        Self { steps, table: Vec::new() }
    }

    /// Makes sure that the table reaches to `positions`.
    pub(crate) fn reach(&mut self, positions: usize) {
        let mut position = self.table.len() / self.steps.len().max(1);
        while position < positions {
            for step in &self.steps {
                self.table.push(cos_sin(position as f64 * step));
            }
            position += 1;
        }
    }

    /// Turns neighbouring pairs of a head to their position, which the table must reach.
    pub(crate) fn turn(&self, head: &mut [f32], position: usize) {
        let row = &self.table[position * self.steps.len()..][..self.steps.len()];
        for (pair, (cos, sin)) in head.chunks_exact_mut(2).zip(row) {
            let (x, y) = (pair[0], pair[1]);
            pair[0] = x * cos - y * sin;
            pair[1] = x * sin + y * cos;
        }
    }
}

/// Returns the `n`-th root of a positive number by Newton's method.
fn root(value: f64, n: usize) -> f64 {
    let n_float = n as f64;
    let mut guess = 1.0_f64;
    for _ in 0..4096 {
        let mut power = 1.0;
        for _ in 1..n {
            power *= guess;
        }
        let next = guess - (guess - value / power) / n_float;
        if next == guess {
            break;
        }
        guess = next;
    }
    guess
}

/// Returns cosine and sine of an angle that is not negative.
fn cos_sin(angle: f64) -> (f32, f32) {
    const QUARTER: f64 = std::f64::consts::FRAC_PI_2;
    let turns = (angle / QUARTER + 0.5).floor();
    let r = angle - turns * QUARTER;
    let square = r * r;
    let (mut cos, mut sin) = (0.0, 0.0);
    for k in (1..=10_u32).rev() {
        let k = f64::from(k);
        cos = (cos + 1.0) * -square / ((2.0 * k) * (2.0 * k - 1.0));
        sin = (sin + 1.0) * -square / ((2.0 * k) * (2.0 * k + 1.0));
    }
    let (cos, sin) = (1.0 + cos, r * (1.0 + sin));
    let (cos, sin) = match turns as u64 % 4 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    };
    (cos as f32, sin as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Chosen, Kernel};

    #[test]
    fn powers_are_near() {
        for step in -870..=880 {
            let x = step as f32 / 10.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 1e-6, "{x}: {error}");
        }
    }

    #[test]
    fn angles_are_near() {
        for step in 0..20_000 {
            let angle = f64::from(step) * 0.37;
            let (cos, sin) = cos_sin(angle);
            assert!((f64::from(cos) - angle.cos()).abs() < 1e-6, "{angle}");
            assert!((f64::from(sin) - angle.sin()).abs() < 1e-6, "{angle}");
        }
    }

    #[test]
    fn rotary_steps_are_powers() {
        let rotary = Rotary::new(64, 100_000.0);
        for (pair, step) in rotary.steps.iter().enumerate() {
            let expected = 100_000_f64.powf(-2.0 * pair as f64 / 64.0);
            assert!((step / expected - 1.0).abs() < 1e-12, "{pair}");
        }
    }

    #[test]
    fn shares_add_up() {
        let mut scores: Vec<f32> = (0..37).map(|it| (it as f32 * 0.7) % 5.0).collect();
        softmax(Chosen::new(Kernel::Auto).unwrap(), &mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
