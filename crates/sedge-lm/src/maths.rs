//! Floating-point steps that give the same bits on every machine.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds alike
//! everywhere, and always in one order: sums run over sixteen lanes that are added up as a tree. No
//! function of a system library takes part.

/// Lanes of a sum; the order of additions is fixed by this number, not by the processor.
pub(crate) const LANES: usize = 16;

/// Compiles a function for wider registers too. The arithmetic stays the same: lanes are
/// independent, and the compiler fuses and reorders nothing.
macro_rules! widened {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $type),*) $(-> $ret)? { plain($($arg),*) }
                if is_x86_feature_detected!("avx2") {
                    #[expect(unsafe_code, reason = "the processor was asked on the line above")]
                    // SAFETY: the function needs AVX2, which is here; it is safe code otherwise.
                    return unsafe { wide($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

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

widened! {
    /// Returns the sum of products; the slices are equally long.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
        for (a, b) in a_chunks.zip(b_chunks) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            lanes[lane] += a * b;
        }
        tree(lanes)
    }
}

widened! {
    /// Multiplies one query with sixteen keys: `keys[d · 16 + k]` is number `d` of key `k`.
    fn scores(query: &[f32], keys: &[f32], into: &mut [f32; LANES]) {
        let mut lanes = [0.0; LANES];
        for (number, keys) in query.iter().zip(keys.chunks_exact(LANES)) {
            for lane in 0..LANES {
                lanes[lane] += number * keys[lane];
            }
        }
        *into = lanes;
    }
}

widened! {
    /// Adds up rows of `stride` numbers by their shares: `into` is the sum of `share · row`, from
    /// the beginning of each row.
    fn mix(rows: &[f32], stride: usize, shares: &[f32], into: &mut [f32]) {
        for (at, into) in into.chunks_mut(LANES).enumerate() {
            let mut lanes = [0.0; LANES];
            let width = into.len();
            for (share, row) in shares.iter().zip(rows.chunks(stride)) {
                let row = &row[at * LANES..][..width];
                if let Ok(row) = <&[f32; LANES]>::try_from(row) {
                    for lane in 0..LANES {
                        lanes[lane] += share * row[lane];
                    }
                } else {
                    for (lane, number) in lanes.iter_mut().zip(row) {
                        *lane += share * number;
                    }
                }
            }
            into.copy_from_slice(&lanes[..width]);
        }
    }
}

/// Adds `from` to `into`.
pub(crate) fn add(into: &mut [f32], from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

/// Root-mean-square normalisation (arXiv 1910.07467): `into = values / rms(values) · weights`.
pub(crate) fn rms_norm(values: &[f32], weights: &[f32], epsilon: f32, into: &mut [f32]) {
    let mean = dot(values, values) / values.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    for ((into, value), weight) in into.iter_mut().zip(values).zip(weights) {
        *into = value * scale * weight;
    }
}

/// Returns e to the power of `x`: 0 below −87, and the largest power that is finite above 88.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    // x = n · ln 2 + r with a whole n and |r| at most ln 2 / 2; ln 2 comes in two parts.
    let n = (x * std::f32::consts::LOG2_E + MAGIC) - MAGIC;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    // The Taylor series to the seventh power is within two units in the last place there.
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + factor;
    }
    sum * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

widened! {
    /// Turns scores into shares that add up to one (softmax).
    fn softmax(scores: &mut [f32]) {
        let most = scores.iter().fold(f32::NEG_INFINITY, |most, it| if *it > most { *it } else { most });
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
        softmax(&mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
