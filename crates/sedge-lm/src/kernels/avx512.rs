//! AVX-512 VNNI: one instruction multiplies 64 pairs of bytes and adds them into sixteen rows.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_loadu_si256, _mm512_add_epi32, _mm512_and_si512,
    _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512,
    _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

use crate::tiles::{Activations, Bits, ROWS, TILE4, TILE8};

/// How many rows of activations share one unpacked tile.
const SHARE: usize = 8;

#[expect(unsafe_code, reason = "the instructions were found to be here by `Kernel::resolve`")]
pub(super) fn strip(bits: Bits, strip: &[u8], rows: &[Activations], out: &mut [[f32; ROWS]]) {
    for (rows, out) in rows.chunks(SHARE).zip(out.chunks_mut(SHARE)) {
        // SAFETY: `Chosen` holds this kernel only after the processor said that it has the
        // features. The lengths were checked by the caller.
        unsafe {
            match rows.len() {
                1 => share::<1>(bits, strip, rows, out),
                2 => share::<2>(bits, strip, rows, out),
                3 => share::<3>(bits, strip, rows, out),
                4 => share::<4>(bits, strip, rows, out),
                5 => share::<5>(bits, strip, rows, out),
                6 => share::<6>(bits, strip, rows, out),
                7 => share::<7>(bits, strip, rows, out),
                _ => share::<8>(bits, strip, rows, out),
            }
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn share<const M: usize>(
    bits: Bits,
    strip: &[u8],
    rows: &[Activations],
    out: &mut [[f32; ROWS]],
) {
    let mut sums = [_mm512_setzero_ps(); M];
    // Looked up once: in the loop, only pointers that stay in registers.
    let numbers: [*const i8; M] = std::array::from_fn(|m| rows[m].numbers.as_ptr());
    let scales: [*const f32; M] = std::array::from_fn(|m| rows[m].scales.as_ptr());
    let totals: [*const f32; M] = std::array::from_fn(|m| rows[m].sums.as_ptr());
    let starts: [*const i32; M] = std::array::from_fn(|m| rows[m].starts.as_ptr());
    match bits {
        Bits::Four => {
            for (block, tile) in strip.chunks_exact(TILE4).enumerate() {
                let tile = tile.as_ptr();
                let mask = _mm512_set1_epi8(0x0f);
                let mut low = [_mm512_setzero_si512(); 4];
                let mut high = [_mm512_setzero_si512(); 4];
                for group in 0..4 {
                    // SAFETY: a tile has 320 bytes; groups end at 256.
                    let bytes = unsafe { _mm512_loadu_si512(tile.add(group * 64).cast()) };
                    low[group] = _mm512_and_si512(bytes, mask);
                    high[group] = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask);
                }
                // SAFETY: 16 halves begin at 256 and 16 more at 288.
                let (scale, minimum) = unsafe { (halves(tile.add(256)), halves(tile.add(288))) };
                for (m, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller checked that there are 32 numbers for each block.
                    let numbers = unsafe { numbers[m].add(block * 32).cast::<i32>() };
                    let (mut one, mut two) = (_mm512_setzero_si512(), _mm512_setzero_si512());
                    for group in 0..4 {
                        // SAFETY: eight groups of four numbers are 32.
                        let (first, second) =
                            unsafe { (four(numbers, group), four(numbers, group + 4)) };
                        one = _mm512_dpbusd_epi32(one, low[group], first);
                        two = _mm512_dpbusd_epi32(two, high[group], second);
                    }
                    let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(one, two));
                    // SAFETY: one scale for each block, and one sum.
                    let both = _mm512_mul_ps(scale, unsafe { set(scales[m], block) });
                    *sum = _mm512_fmadd_ps(dot, both, *sum);
                    *sum = _mm512_fmadd_ps(minimum, unsafe { set(totals[m], block) }, *sum);
                }
            }
        }
        Bits::Eight => {
            for (block, tile) in strip.chunks_exact(TILE8).enumerate() {
                let tile = tile.as_ptr();
                let mut groups = [_mm512_setzero_si512(); 8];
                for (group, bytes) in groups.iter_mut().enumerate() {
                    // SAFETY: a tile has 544 bytes; groups end at 512.
                    *bytes = unsafe { _mm512_loadu_si512(tile.add(group * 64).cast()) };
                }
                // SAFETY: 16 halves begin at 512.
                let scale = unsafe { halves(tile.add(512)) };
                for (m, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller checked that there are 32 numbers for each block.
                    let numbers = unsafe { numbers[m].add(block * 32).cast::<i32>() };
                    // SAFETY: one start for each block.
                    let mut one = _mm512_set1_epi32(unsafe { *starts[m].add(block) });
                    let mut two = _mm512_setzero_si512();
                    for group in 0..4 {
                        // SAFETY: eight groups of four numbers are 32.
                        let (first, second) =
                            unsafe { (four(numbers, group), four(numbers, group + 4)) };
                        one = _mm512_dpbusd_epi32(one, groups[group], first);
                        two = _mm512_dpbusd_epi32(two, groups[group + 4], second);
                    }
                    let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(one, two));
                    // SAFETY: one scale for each block, and one sum.
                    let both = _mm512_mul_ps(scale, unsafe { set(scales[m], block) });
                    *sum = _mm512_fmadd_ps(dot, both, *sum);
                }
            }
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: `out` is sixteen floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
}

/// Reads sixteen 16-bit floats.
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn halves(at: *const u8) -> __m512 {
    // SAFETY: the caller says that 32 bytes are there.
    let bytes = unsafe { _mm256_loadu_si256(at.cast::<__m256i>()) };
    _mm512_cvtph_ps(bytes)
}

/// Reads one float into every lane.
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn set(from: *const f32, at: usize) -> __m512 {
    // SAFETY: the caller says that it is there.
    _mm512_set1_ps(unsafe { *from.add(at) })
}

/// Reads four neighbouring numbers into every lane.
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn four(numbers: *const i32, group: usize) -> __m512i {
    // SAFETY: the caller says that the group is there; bytes need no alignment this way.
    _mm512_set1_epi32(unsafe { numbers.add(group).read_unaligned() })
}
