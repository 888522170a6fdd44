//! AVX2: the same tiles in two halves of eight rows.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256,
};

use crate::tiles::{Activations, Bits, ROWS, TILE4, TILE8};

/// How many rows of activations share one unpacked half tile.
const SHARE: usize = 4;

#[expect(unsafe_code, reason = "the instructions were found to be here by `Kernel::resolve`")]
pub(super) fn strip(bits: Bits, strip: &[u8], rows: &[Activations], out: &mut [[f32; ROWS]]) {
    for (rows, out) in rows.chunks(SHARE).zip(out.chunks_mut(SHARE)) {
        for half in 0..2 {
            // SAFETY: `Chosen` holds this kernel only after the processor said that it has the
            // features. The lengths were checked by the caller.
            unsafe {
                match rows.len() {
                    1 => share::<1>(bits, strip, half, rows, out),
                    2 => share::<2>(bits, strip, half, rows, out),
                    3 => share::<3>(bits, strip, half, rows, out),
                    _ => share::<4>(bits, strip, half, rows, out),
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn share<const M: usize>(
    bits: Bits,
    strip: &[u8],
    half: usize,
    rows: &[Activations],
    out: &mut [[f32; ROWS]],
) {
    let mut sums = [_mm256_setzero_ps(); M];
    let ones = _mm256_set1_epi16(1);
    match bits {
        Bits::Four => {
            for (block, tile) in strip.chunks_exact(TILE4).enumerate() {
                let tile = tile.as_ptr();
                let mask = _mm256_set1_epi8(0x0f);
                let mut low = [_mm256_setzero_si256(); 4];
                let mut high = [_mm256_setzero_si256(); 4];
                for group in 0..4 {
                    // SAFETY: groups end at 256 of 320 bytes.
                    let bytes = unsafe { load(tile.add(group * 64 + half * 32)) };
                    low[group] = _mm256_and_si256(bytes, mask);
                    high[group] = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                }
                // SAFETY: eight halves of each half begin at 256 and 288.
                let (scale, minimum) = unsafe {
                    (halves(tile.add(256 + half * 16)), halves(tile.add(288 + half * 16)))
                };
                for (m, sum) in sums.iter_mut().enumerate() {
                    let row = &rows[m];
                    // SAFETY: the caller checked that there are 32 numbers for each block.
                    let numbers = unsafe { row.numbers.as_ptr().add(block * 32).cast::<i32>() };
                    // Eight products of at most 2 · 15 · 127 stay below 32,768.
                    let mut pairs = _mm256_setzero_si256();
                    for group in 0..4 {
                        // SAFETY: eight groups of four numbers are 32.
                        let (first, second) =
                            unsafe { (four(numbers, group), four(numbers, group + 4)) };
                        let one = _mm256_maddubs_epi16(low[group], first);
                        let two = _mm256_maddubs_epi16(high[group], second);
                        pairs = _mm256_add_epi16(pairs, _mm256_add_epi16(one, two));
                    }
                    let dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
                    let both = _mm256_mul_ps(scale, _mm256_set1_ps(row.scales[block]));
                    *sum = _mm256_fmadd_ps(dot, both, *sum);
                    *sum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(row.sums[block]), *sum);
                }
            }
        }
        Bits::Eight => {
            for (block, tile) in strip.chunks_exact(TILE8).enumerate() {
                let tile = tile.as_ptr();
                let flip = _mm256_set1_epi8(i8::MIN);
                let mut groups = [_mm256_setzero_si256(); 8];
                for (group, bytes) in groups.iter_mut().enumerate() {
                    // SAFETY: groups end at 512 of 544 bytes.
                    *bytes = unsafe { load(tile.add(group * 64 + half * 32)) };
                    *bytes = _mm256_xor_si256(*bytes, flip);
                }
                // SAFETY: eight halves of each half begin at 512.
                let scale = unsafe { halves(tile.add(512 + half * 16)) };
                for (m, sum) in sums.iter_mut().enumerate() {
                    let row = &rows[m];
                    // SAFETY: the caller checked that there are 32 numbers for each block.
                    let numbers = unsafe { row.numbers.as_ptr().add(block * 32).cast::<i32>() };
                    let mut dot = _mm256_setzero_si256();
                    for (group, weights) in groups.iter().enumerate() {
                        // SAFETY: eight groups of four numbers are 32.
                        let numbers = unsafe { four(numbers, group) };
                        // Both factors lie in -127 to 127, so two products stay below 32,768.
                        let pairs = _mm256_maddubs_epi16(
                            _mm256_abs_epi8(numbers),
                            _mm256_sign_epi8(*weights, numbers),
                        );
                        dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
                    }
                    let both = _mm256_mul_ps(scale, _mm256_set1_ps(row.scales[block]));
                    *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), both, *sum);
                }
            }
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each half is eight of the sixteen floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * 8), *sum) };
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2")]
unsafe fn load(at: *const u8) -> __m256i {
    // SAFETY: the caller says that 32 bytes are there.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// Reads eight 16-bit floats.
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: the caller says that 16 bytes are there.
    let bytes = unsafe { _mm_loadu_si128(at.cast::<__m128i>()) };
    _mm256_cvtph_ps(bytes)
}

/// Reads four neighbouring numbers into every lane.
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2")]
unsafe fn four(numbers: *const i32, group: usize) -> __m256i {
    // SAFETY: the caller says that the group is there; bytes need no alignment this way.
    _mm256_set1_epi32(unsafe { numbers.add(group).read_unaligned() })
}
