//! AVX-512 VNNI: one instruction multiplies 64 pairs of bytes and adds them into sixteen rows.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_loadu_si256,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_max_epi32, _mm512_max_epu32, _mm512_min_epi32, _mm512_mul_ps,
    _mm512_reduce_add_epi32, _mm512_reduce_max_epu32, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_sub_epi32,
};

use super::{LANES, MAGIC, Mix, Scale, Scores, scalar};
use crate::activations::{Panel, WORDS};
use crate::tiles::{Bits, COLUMNS, ROWS, TILE4, TILE8};

/// How far ahead of a single row's work its weights are called for, in bytes: they come from main
/// memory, page after page, faster than the processor itself would dare to ask.
const AHEAD: usize = 4096;

#[expect(unsafe_code, reason = "the instructions were found to be here by `Kernel::resolve`")]
pub(super) fn strip(bits: Bits, strip: &[u8], panel: Panel<'_>, out: &mut [[f32; ROWS]]) {
    // SAFETY: `Chosen` holds this kernel only after the processor said that it has the features.
    // The lengths were checked by the caller.
    unsafe {
        match panel.rows {
            1 => share::<1>(bits, strip, panel.words, out),
            2 => share::<2>(bits, strip, panel.words, out),
            3 => share::<3>(bits, strip, panel.words, out),
            4 => share::<4>(bits, strip, panel.words, out),
            5 => share::<5>(bits, strip, panel.words, out),
            6 => share::<6>(bits, strip, panel.words, out),
            7 => share::<7>(bits, strip, panel.words, out),
            _ => share::<8>(bits, strip, panel.words, out),
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn share<const M: usize>(bits: Bits, strip: &[u8], words: &[i32], out: &mut [[f32; ROWS]]) {
    let mut sums = [_mm512_setzero_ps(); M];
    let mut words = words.as_ptr();
    match bits {
        Bits::Four => {
            let mask = _mm512_set1_epi8(0x0f);
            for tile in strip.chunks_exact(TILE4) {
                let tile = tile.as_ptr();
                if M == 1 {
                    call_for::<TILE4>(tile);
                }
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
                let mut dots = [_mm512_setzero_si512(); M];
                for group in 0..4 {
                    for (m, dot) in dots.iter_mut().enumerate() {
                        // SAFETY: the caller checked that there are 11 words for each row and block.
                        let (first, second) =
                            unsafe { (four(words, m * 8 + group), four(words, m * 8 + group + 4)) };
                        *dot = _mm512_dpbusd_epi32(*dot, low[group], first);
                        *dot = _mm512_dpbusd_epi32(*dot, high[group], second);
                    }
                }
                for (m, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    // SAFETY: as above.
                    let (factor, total) =
                        unsafe { (float(words, M * 8 + m), float(words, M * 9 + m)) };
                    let both = _mm512_mul_ps(scale, factor);
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, *sum);
                    *sum = _mm512_fmadd_ps(minimum, total, *sum);
                }
                words = words.wrapping_add(M * WORDS);
            }
        }
        Bits::Eight => {
            for tile in strip.chunks_exact(TILE8) {
                let tile = tile.as_ptr();
                if M == 1 {
                    call_for::<TILE8>(tile);
                }
                let mut groups = [_mm512_setzero_si512(); 8];
                for (group, bytes) in groups.iter_mut().enumerate() {
                    // SAFETY: a tile has 544 bytes; groups end at 512.
                    *bytes = unsafe { _mm512_loadu_si512(tile.add(group * 64).cast()) };
                }
                // SAFETY: 16 halves begin at 512.
                let scale = unsafe { halves(tile.add(512)) };
                let mut dots = [_mm512_setzero_si512(); M];
                for (m, dot) in dots.iter_mut().enumerate() {
                    // SAFETY: the caller checked that there are 11 words for each row and block.
                    *dot = unsafe { four(words, M * 10 + m) };
                }
                for (group, weights) in groups.iter().enumerate() {
                    for (m, dot) in dots.iter_mut().enumerate() {
                        // SAFETY: as above.
                        let numbers = unsafe { four(words, m * 8 + group) };
                        *dot = _mm512_dpbusd_epi32(*dot, *weights, numbers);
                    }
                }
                for (m, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    // SAFETY: as above.
                    let both = _mm512_mul_ps(scale, unsafe { float(words, M * 8 + m) });
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, *sum);
                }
                words = words.wrapping_add(M * WORDS);
            }
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: `out` is sixteen floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
pub(super) fn quantise(values: &[f32], words: &mut [i32], rows: usize, row: usize) {
    let blocks = words.chunks_exact_mut(rows * WORDS);
    for (values, words) in values.chunks_exact(COLUMNS).zip(blocks) {
        // SAFETY: as in `strip`.
        unsafe { quantise_block(values, words, rows, row) };
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn quantise_block(values: &[f32], words: &mut [i32], rows: usize, row: usize) {
    let (magic, most) = (_mm512_set1_ps(MAGIC), _mm512_set1_epi32(127));
    let positive = _mm512_set1_epi32(i32::MAX);
    let at = values[..COLUMNS].as_ptr();
    // SAFETY: 32 floats, as the slice says.
    let halves = unsafe { [_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(LANES))] };
    let sizes = halves.map(|it| _mm512_and_si512(_mm512_castps_si512(it), positive));
    let scale = Scale::new(_mm512_reduce_max_epu32(_mm512_max_epu32(sizes[0], sizes[1])));
    let inverse = _mm512_set1_ps(scale.inverse);
    let numbers = halves.map(|it| {
        let shifted = _mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(it, inverse), magic));
        let nearest = _mm512_sub_epi32(shifted, _mm512_castps_si512(magic));
        _mm512_max_epi32(_mm512_min_epi32(nearest, most), _mm512_set1_epi32(-127))
    });
    let into = &mut words[row * 8..][..8];
    for (numbers, into) in numbers.iter().zip(into.chunks_exact_mut(4)) {
        // SAFETY: four words are sixteen bytes.
        unsafe { _mm_storeu_si128(into.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(*numbers)) };
    }
    let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(numbers[0], numbers[1]));
    scale.write(words, rows, row, sum);
}

#[expect(unsafe_code, reason = "see `strip`")]
pub(super) fn scores(scores: &mut Scores<'_>) {
    // SAFETY: as in `strip`.
    unsafe {
        match scores.count {
            1 => scores_of::<1>(scores),
            2 => scores_of::<2>(scores),
            3 => scores_of::<3>(scores),
            _ => scores_of::<4>(scores),
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn scores_of<const Q: usize>(scores: &mut Scores<'_>) {
    let (blocks, mut block) = (scores.blocks, 0);
    while block < blocks {
        // SAFETY: so many blocks are left, and the caller checked the lengths.
        unsafe {
            match blocks - block {
                1..4 => scores_tile::<Q, 1>(scores, block),
                _ => scores_tile::<Q, 4>(scores, block),
            }
        }
        block += if blocks - block < 4 { 1 } else { 4 };
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn scores_tile<const Q: usize, const B: usize>(scores: &mut Scores<'_>, block: usize) {
    let head = scores.head;
    let queries: [*const f32; Q] = std::array::from_fn(|q| scores.queries[q * head..].as_ptr());
    let keys: [*const f32; B] =
        std::array::from_fn(|b| scores.keys[(block + b) * head * LANES..].as_ptr());
    let mut sums = [[_mm512_setzero_ps(); B]; Q];
    for d in 0..head {
        // SAFETY: each block has sixteen keys for each of the `head` numbers of a query.
        let lanes = keys.map(|it| unsafe { _mm512_loadu_ps(it.add(d * LANES)) });
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: a query has `head` numbers.
            let number = _mm512_set1_ps(unsafe { *query.add(d) });
            for (lanes, sum) in lanes.iter().zip(sums) {
                *sum = _mm512_fmadd_ps(number, *lanes, *sum);
            }
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        for (b, sum) in sums.iter().enumerate() {
            let at = (q * scores.blocks + block + b) * LANES;
            // SAFETY: sixteen floats, as the slice says.
            unsafe { _mm512_storeu_ps(scores.out[at..at + LANES].as_mut_ptr(), *sum) };
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
pub(super) fn mix(mix: &mut Mix<'_>) {
    // SAFETY: as in `strip`.
    unsafe {
        match mix.count {
            1 => mix_of::<1>(mix),
            2 => mix_of::<2>(mix),
            3 => mix_of::<3>(mix),
            _ => mix_of::<4>(mix),
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn mix_of<const Q: usize>(mix: &mut Mix<'_>) {
    let (head, mut from) = (mix.head, 0);
    while from + LANES <= head {
        let wide = from + 4 * LANES <= head;
        // SAFETY: so many numbers of each row are left, and the caller checked the lengths.
        unsafe { if wide { mix_tile::<Q, 4>(mix, from) } else { mix_tile::<Q, 1>(mix, from) } }
        from += if wide { 4 * LANES } else { LANES };
    }
    scalar::mix_from(mix, from);
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn mix_tile<const Q: usize, const V: usize>(mix: &mut Mix<'_>, from: usize) {
    let head = mix.head;
    let shares: [*const f32; Q] = std::array::from_fn(|q| mix.shares[q * mix.stride..].as_ptr());
    let mut sums = [[_mm512_setzero_ps(); V]; Q];
    for (at, row) in mix.values.chunks_exact(head).enumerate() {
        let row = row[from..from + V * LANES].as_ptr();
        let mut lanes = [_mm512_setzero_ps(); V];
        for (v, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: within the slice of the row.
            *lanes = unsafe { _mm512_loadu_ps(row.add(v * LANES)) };
        }
        for (shares, sums) in shares.iter().zip(&mut sums) {
            // SAFETY: there is a share for each row.
            let share = _mm512_set1_ps(unsafe { *shares.add(at) });
            for (lanes, sum) in lanes.iter().zip(sums) {
                *sum = _mm512_fmadd_ps(share, *lanes, *sum);
            }
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            let at = q * head + from + v * LANES;
            // SAFETY: sixteen floats, as the slice says.
            unsafe { _mm512_storeu_ps(mix.out[at..at + LANES].as_mut_ptr(), *sum) };
        }
    }
}

/// Asks for a tile that will be needed soon: a hint, which may name any address and faults on none.
#[inline]
#[target_feature(enable = "avx512f")]
fn call_for<const TILE: usize>(tile: *const u8) {
    for line in (0..TILE).step_by(64) {
        _mm_prefetch::<_MM_HINT_T0>(tile.wrapping_add(AHEAD + line).cast());
    }
}

/// Reads sixteen 16-bit floats.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn halves(at: *const u8) -> __m512 {
    // SAFETY: the caller says that 32 bytes are there.
    let bytes = unsafe { _mm256_loadu_si256(at.cast::<__m256i>()) };
    _mm512_cvtph_ps(bytes)
}

/// Reads one float into every lane.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn float(words: *const i32, at: usize) -> __m512 {
    // SAFETY: the caller says that it is there.
    _mm512_set1_ps(f32::from_bits(unsafe { *words.add(at) }.cast_unsigned()))
}

/// Reads one word, such as four neighbouring numbers, into every lane.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx512f")]
unsafe fn four(words: *const i32, at: usize) -> __m512i {
    // SAFETY: the caller says that it is there.
    _mm512_set1_epi32(unsafe { *words.add(at) })
}
