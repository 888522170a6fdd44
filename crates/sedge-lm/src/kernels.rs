//! The hot loops: tiles of weights times rows of activations, and what attention does.
//!
//! Invariant: every kernel gives the same bits. Integer sums are exact; each block then adds
//! `scale · activation scale · sum` and, in 4-bit tiles, `minimum · activation sum` with one fused
//! multiply-add each, block after block in order. Scores and mixtures are chains of fused
//! multiply-adds from zero, number after number and token after token. Everything else is plain
//! Rust that is compiled for each kernel's registers (`widened!`), whose lanes are independent.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::activations::{Panel, WORDS};
use crate::tiles::{Bits, COLUMNS, ROWS};

/// Tokens of a block of keys, and lanes of a sum: the order of additions is fixed by this number,
/// not by the processor.
pub(crate) const LANES: usize = 16;
/// Adding this to a float leaves the nearest whole number, ties to even, in its lowest bits.
const MAGIC: f32 = 12_582_912.0;
/// The most queries that attention takes at once.
pub(crate) const QUERIES: usize = 4;

/// Which kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kernel {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// AVX-512 with VNNI (Intel since 2019, AMD since 2022).
    Avx512Vnni,
    /// AVX2 with FMA and F16C (since about 2013).
    Avx2,
    /// Plain Rust, for every processor and for tests.
    Scalar,
}

impl Kernel {
    /// Every kernel, the fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512Vnni, Self::Avx2, Self::Scalar];

    /// Returns the name that people know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx2 => "avx2",
            Self::Scalar => "scalar",
        }
    }

    /// Returns whether this processor has what the kernel needs.
    pub fn is_here(self) -> bool {
        match self {
            Self::Auto | Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Vnni | Self::Avx2 => false,
        }
    }

    /// Returns the kernel itself, with the automatic choice made; `None` when it is not here.
    pub fn resolve(self) -> Option<Self> {
        match self {
            Self::Auto => Self::ALL.into_iter().find(|it| it.is_here()),
            kernel => kernel.is_here().then_some(kernel),
        }
    }
}

/// A kernel that was found to be here. Only [`Kernel::resolve`] leads to one that needs special
/// instructions, which is what makes calling it sound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chosen(Kernel);

impl Chosen {
    pub(crate) fn new(kernel: Kernel) -> Option<Self> {
        kernel.resolve().map(Self)
    }

    pub(crate) const fn kernel(self) -> Kernel {
        self.0
    }

    /// Brings values to eight bits, as row `row` of a panel with `rows`: `value ≈ scale · number`.
    /// There are as many values as the panel has columns.
    pub(crate) fn quantise(self, values: &[f32], words: &mut [i32], rows: usize, row: usize) {
        let blocks = values.len() / COLUMNS;
        assert!(values.len() == blocks * COLUMNS && row < rows, "whole blocks, and a row of them");
        assert_eq!(words.len(), blocks * rows * WORDS, "a panel");
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => avx512::quantise(values, words, rows, row),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::quantise(values, words, rows, row),
            _ => scalar::quantise(values, words, rows, row),
        }
    }

    /// Multiplies one strip with a panel: `out[m][r]` is row `r` of the strip times row `m`.
    pub(crate) fn strip(self, bits: Bits, strip: &[u8], panel: Panel<'_>, out: &mut [[f32; ROWS]]) {
        assert_eq!(strip.len(), panel.blocks * bits.tile(), "a strip has a tile for each block");
        assert!(panel.is_whole() && panel.rows == out.len(), "one result for each row");
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => avx512::strip(bits, strip, panel, out),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::strip(bits, strip, panel, out),
            _ => scalar::strip(bits, strip, panel, out),
        }
    }

    /// Multiplies up to four queries of `head` numbers with blocks of sixteen keys: number `d` of
    /// key `k` of a block lies at `d · 16 + k`. `out` has all scores of the first query, then those
    /// of the next.
    pub(crate) fn scores(self, queries: &[f32], head: usize, keys: &[f32], out: &mut [f32]) {
        let (count, blocks) = (queries.len() / head, keys.len() / (head * LANES));
        assert!((1..=QUERIES).contains(&count) && queries.len() == count * head);
        assert!(keys.len() == blocks * head * LANES && out.len() == count * blocks * LANES);
        let mut scores = Scores { head, count, blocks, queries, keys, out };
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => avx512::scores(&mut scores),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::scores(&mut scores),
            _ => scalar::scores(&mut scores),
        }
    }

    /// Adds up rows of `head` values by the shares that up to four queries have in them; `shares`
    /// has those of the first query, then those of the next, each at least one for each row.
    pub(crate) fn mix(self, values: &[f32], head: usize, shares: &[f32], out: &mut [f32]) {
        let count = out.len() / head;
        assert!((1..=QUERIES).contains(&count) && out.len() == count * head);
        let stride = shares.len() / count;
        assert!(shares.len() == count * stride && values.len() <= stride * head);
        let mut mix = Mix { head, count, stride, values, shares, out };
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => avx512::mix(&mut mix),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::mix(&mut mix),
            _ => scalar::mix(&mut mix),
        }
    }
}

/// How a block of activations is scaled.
struct Scale {
    scale: f32,
    inverse: f32,
}

impl Scale {
    /// Takes the largest magnitude of the block, as the bits of a float without its sign: these are
    /// ordered as the floats are.
    fn new(most: u32) -> Self {
        let most = f32::from_bits(most);
        let scale = most / 127.0;
        Self { scale, inverse: if scale > 0.0 { 127.0 / most } else { 0.0 } }
    }

    /// Writes what stands beside the numbers of row `row`, which add up to `sum`.
    fn write(&self, words: &mut [i32], rows: usize, row: usize, sum: i32) {
        words[rows * 8 + row] = self.scale.to_bits().cast_signed();
        words[rows * 9 + row] = (self.scale * sum as f32).to_bits().cast_signed();
        words[rows * 10 + row] = -128 * sum;
    }
}

/// See [`Chosen::scores`], which checks the lengths.
struct Scores<'a> {
    head: usize,
    count: usize,
    blocks: usize,
    queries: &'a [f32],
    keys: &'a [f32],
    out: &'a mut [f32],
}

/// See [`Chosen::mix`], which checks the lengths.
struct Mix<'a> {
    head: usize,
    count: usize,
    /// Shares from one query to the next.
    stride: usize,
    values: &'a [f32],
    shares: &'a [f32],
    out: &'a mut [f32],
}

/// Compiles a function for each kernel's registers. The arithmetic stays the same: lanes are
/// independent, and the compiler fuses and reorders nothing.
macro_rules! widened {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name(kernel: $crate::kernels::Chosen, $($arg: $type),*) {
            #[inline(always)]
            fn plain($($arg: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn widest($($arg: $type),*) { plain($($arg),*) }
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $type),*) { plain($($arg),*) }
                #[expect(unsafe_code, reason = "the kernel was found to be here")]
                match kernel.kernel() {
                    // SAFETY: the function needs what `Kernel::is_here` asked the processor for;
                    // it is safe code otherwise.
                    $crate::kernels::Kernel::Avx512Vnni => return unsafe { widest($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::Kernel::Avx2 => return unsafe { wide($($arg),*) },
                    _ => {}
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _one_for_all = kernel;
            plain($($arg),*)
        }
    };
}
pub(crate) use widened;

#[cfg(test)]
mod tests;
