//! The one hot loop: tiles of weights times rows of activations.
//!
//! Invariant: every kernel gives the same bits. Integer sums are exact; each block then adds
//! `scale · activation scale · sum` and, in 4-bit tiles, `minimum · activation sum` with one fused
//! multiply-add each, block after block in order.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::tiles::{Activations, Bits, ROWS};

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
            Self::Auto => {
                [Self::Avx512Vnni, Self::Avx2, Self::Scalar].into_iter().find(|it| it.is_here())
            }
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

    /// Multiplies one strip with some rows of activations: `out[m][r]` is row `r` of the strip
    /// times `rows[m]`.
    pub(crate) fn strip(
        self,
        bits: Bits,
        strip: &[u8],
        rows: &[Activations],
        out: &mut [[f32; ROWS]],
    ) {
        let blocks = strip.len() / bits.tile();
        assert_eq!(strip.len(), blocks * bits.tile(), "a strip is whole tiles");
        assert_eq!(rows.len(), out.len(), "one result for each row");
        assert!(rows.iter().all(|it| it.covers(blocks)));
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => avx512::strip(bits, strip, rows, out),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::strip(bits, strip, rows, out),
            _ => scalar::strip(bits, strip, rows, out),
        }
    }
}

#[cfg(test)]
mod tests;
