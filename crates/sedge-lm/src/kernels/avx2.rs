//! AVX2: the same tiles in two halves of eight rows.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_abs_epi8,
    _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_castps_si256,
    _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_epi32, _mm256_max_epu32, _mm256_min_epi32,
    _mm256_mul_ps, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_sub_epi32, _mm256_xor_si256,
};

use super::{LANES, MAGIC, Mix, Scale, Scores, scalar};
use crate::activations::{Panel, WORDS};
use crate::tiles::{Bits, COLUMNS, ROWS, TILE4, TILE8};

/// How many rows of activations share one unpacked half tile.
const SHARE: usize = 4;
/// How far ahead of a single row's work its weights are called for, in bytes.
const AHEAD: usize = 4096;

/// Some rows of a panel: what a call of `share` works on.
#[derive(Clone, Copy)]
struct Part {
    words: *const i32,
    /// Rows of the whole panel.
    rows: usize,
    /// The first of the rows that are computed.
    first: usize,
    /// Which eight rows of each tile.
    half: usize,
}

impl Part {
    /// Words from one block to the next.
    const fn step(self) -> usize {
        self.rows * WORDS
    }

    const fn numbers(self, m: usize, group: usize) -> usize {
        (self.first + m) * 8 + group
    }

    const fn scale(self, m: usize) -> usize {
        self.rows * 8 + self.first + m
    }

    const fn total(self, m: usize) -> usize {
        self.rows * 9 + self.first + m
    }
}

#[expect(unsafe_code, reason = "the instructions were found to be here by `Kernel::resolve`")]
pub(super) fn strip(bits: Bits, strip: &[u8], panel: Panel<'_>, out: &mut [[f32; ROWS]]) {
    for (at, out) in out.chunks_mut(SHARE).enumerate() {
        for half in 0..2 {
            let part =
                Part { words: panel.words.as_ptr(), rows: panel.rows, first: at * SHARE, half };
            // SAFETY: `Chosen` holds this kernel only after the processor said that it has the
            // features. The lengths were checked by the caller.
            unsafe {
                match out.len() {
                    1 => share::<1>(bits, strip, part, out),
                    2 => share::<2>(bits, strip, part, out),
                    3 => share::<3>(bits, strip, part, out),
                    _ => share::<4>(bits, strip, part, out),
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn share<const M: usize>(bits: Bits, strip: &[u8], part: Part, out: &mut [[f32; ROWS]]) {
    let mut sums = [_mm256_setzero_ps(); M];
    let mut words = part.words;
    let (half, ones) = (part.half, _mm256_set1_epi16(1));
    match bits {
        Bits::Four => {
            let mask = _mm256_set1_epi8(0x0f);
            for tile in strip.chunks_exact(TILE4) {
                let tile = tile.as_ptr();
                if M == 1 && half == 0 {
                    call_for::<TILE4>(tile);
                }
                // SAFETY: eight halves of each half begin at 256 and 288.
                let (scale, minimum) = unsafe {
                    (halves(tile.add(256 + half * 16)), halves(tile.add(288 + half * 16)))
                };
                // Eight products of at most 2 · 15 · 127 stay below 32,768.
                let mut pairs = [_mm256_setzero_si256(); M];
                for group in 0..4 {
                    // SAFETY: groups end at 256 of 320 bytes.
                    let bytes = unsafe { load(tile.add(group * 64 + half * 32)) };
                    let low = _mm256_and_si256(bytes, mask);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                    for (m, pairs) in pairs.iter_mut().enumerate() {
                        // SAFETY: the caller checked that there are 11 words for each row and block.
                        let (first, second) = unsafe {
                            let at = part.numbers(m, group);
                            (four(words, at), four(words, at + 4))
                        };
                        let one = _mm256_maddubs_epi16(low, first);
                        let two = _mm256_maddubs_epi16(high, second);
                        *pairs = _mm256_add_epi16(*pairs, _mm256_add_epi16(one, two));
                    }
                }
                for (m, (sum, pairs)) in sums.iter_mut().zip(pairs).enumerate() {
                    let dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
                    // SAFETY: as above.
                    let (factor, total) =
                        unsafe { (float(words, part.scale(m)), float(words, part.total(m))) };
                    *sum = _mm256_fmadd_ps(dot, _mm256_mul_ps(scale, factor), *sum);
                    *sum = _mm256_fmadd_ps(minimum, total, *sum);
                }
                words = words.wrapping_add(part.step());
            }
        }
        Bits::Eight => {
            let flip = _mm256_set1_epi8(i8::MIN);
            for tile in strip.chunks_exact(TILE8) {
                let tile = tile.as_ptr();
                if M == 1 && half == 0 {
                    call_for::<TILE8>(tile);
                }
                // SAFETY: eight halves of each half begin at 512.
                let scale = unsafe { halves(tile.add(512 + half * 16)) };
                let mut dots = [_mm256_setzero_si256(); M];
                for group in 0..8 {
                    // SAFETY: groups end at 512 of 544 bytes.
                    let bytes = unsafe { load(tile.add(group * 64 + half * 32)) };
                    let weights = _mm256_xor_si256(bytes, flip);
                    for (m, dot) in dots.iter_mut().enumerate() {
                        // SAFETY: the caller checked that there are 11 words for each row and block.
                        let numbers = unsafe { four(words, part.numbers(m, group)) };
                        // Both factors lie in -127 to 127, so two products stay below 32,768.
                        let pairs = _mm256_maddubs_epi16(
                            _mm256_abs_epi8(numbers),
                            _mm256_sign_epi8(weights, numbers),
                        );
                        *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(pairs, ones));
                    }
                }
                for (m, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    // SAFETY: as above.
                    let factor = unsafe { float(words, part.scale(m)) };
                    let both = _mm256_mul_ps(scale, factor);
                    *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), both, *sum);
                }
                words = words.wrapping_add(part.step());
            }
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each half is eight of the sixteen floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * 8), *sum) };
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
#[target_feature(enable = "avx2")]
unsafe fn quantise_block(values: &[f32], words: &mut [i32], rows: usize, row: usize) {
    let (magic, most) = (_mm256_set1_ps(MAGIC), _mm256_set1_epi32(127));
    let positive = _mm256_set1_epi32(i32::MAX);
    let at = values[..COLUMNS].as_ptr();
    // SAFETY: 32 floats, as the slice says.
    let eights = [0, 8, 16, 24].map(|from| unsafe { _mm256_loadu_ps(at.add(from)) });
    let sizes = eights.map(|it| _mm256_and_si256(_mm256_castps_si256(it), positive));
    let sizes = [_mm256_max_epu32(sizes[0], sizes[1]), _mm256_max_epu32(sizes[2], sizes[3])];
    let largest = lanes(_mm256_max_epu32(sizes[0], sizes[1]));
    let largest = largest.iter().fold(0, |most, it| it.cast_unsigned().max(most));
    let scale = Scale::new(largest);
    let inverse = _mm256_set1_ps(scale.inverse);
    let numbers = eights.map(|it| {
        let shifted = _mm256_castps_si256(_mm256_add_ps(_mm256_mul_ps(it, inverse), magic));
        let nearest = _mm256_sub_epi32(shifted, _mm256_castps_si256(magic));
        _mm256_max_epi32(_mm256_min_epi32(nearest, most), _mm256_set1_epi32(-127))
    });
    let low = _mm256_packs_epi32(numbers[0], numbers[1]);
    let high = _mm256_packs_epi32(numbers[2], numbers[3]);
    // Packing goes by halves of a register: put the fours back into their order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    words[row * 8..][..8].copy_from_slice(&lanes(bytes));
    let sums = [_mm256_add_epi32(numbers[0], numbers[1]), _mm256_add_epi32(numbers[2], numbers[3])];
    let sum = lanes(_mm256_add_epi32(sums[0], sums[1])).iter().sum();
    scale.write(words, rows, row, sum);
}

/// Returns the eight words of a register.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2")]
fn lanes(register: __m256i) -> [i32; 8] {
    let mut lanes = [0; 8];
    // SAFETY: eight words are 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), register) };
    lanes
}

#[expect(unsafe_code, reason = "see `strip`")]
pub(super) fn scores(scores: &mut Scores<'_>) {
    for block in 0..scores.blocks {
        // SAFETY: as in `strip`.
        unsafe {
            match scores.count {
                1 => scores_of::<1>(scores, block),
                2 => scores_of::<2>(scores, block),
                3 => scores_of::<3>(scores, block),
                _ => scores_of::<4>(scores, block),
            }
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2,fma")]
unsafe fn scores_of<const Q: usize>(scores: &mut Scores<'_>, block: usize) {
    let head = scores.head;
    let queries: [*const f32; Q] = std::array::from_fn(|q| scores.queries[q * head..].as_ptr());
    let keys = &scores.keys[block * head * LANES..][..head * LANES];
    let mut sums = [[_mm256_setzero_ps(); 2]; Q];
    for (d, keys) in keys.chunks_exact(LANES).enumerate() {
        // SAFETY: a chunk is sixteen floats.
        let lanes = unsafe {
            [_mm256_loadu_ps(keys.as_ptr()), _mm256_loadu_ps(keys.as_ptr().add(LANES / 2))]
        };
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: a query has `head` numbers.
            let number = _mm256_set1_ps(unsafe { *query.add(d) });
            for (lanes, sum) in lanes.iter().zip(sums) {
                *sum = _mm256_fmadd_ps(number, *lanes, *sum);
            }
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        for (half, sum) in sums.iter().enumerate() {
            let at = (q * scores.blocks + block) * LANES + half * LANES / 2;
            // SAFETY: eight floats, as the slice says.
            unsafe { _mm256_storeu_ps(scores.out[at..at + LANES / 2].as_mut_ptr(), *sum) };
        }
    }
}

#[expect(unsafe_code, reason = "see `strip`")]
pub(super) fn mix(mix: &mut Mix<'_>) {
    let whole = mix.head / LANES * LANES;
    for from in (0..whole).step_by(LANES) {
        // SAFETY: as in `strip`.
        unsafe {
            match mix.count {
                1 => mix_of::<1>(mix, from),
                2 => mix_of::<2>(mix, from),
                3 => mix_of::<3>(mix, from),
                _ => mix_of::<4>(mix, from),
            }
        }
    }
    scalar::mix_from(mix, whole);
}

#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2,fma")]
unsafe fn mix_of<const Q: usize>(mix: &mut Mix<'_>, from: usize) {
    let head = mix.head;
    let shares: [*const f32; Q] = std::array::from_fn(|q| mix.shares[q * mix.stride..].as_ptr());
    let mut sums = [[_mm256_setzero_ps(); 2]; Q];
    for (at, row) in mix.values.chunks_exact(head).enumerate() {
        let row = row[from..from + LANES].as_ptr();
        // SAFETY: within the slice of the row.
        let lanes = unsafe { [_mm256_loadu_ps(row), _mm256_loadu_ps(row.add(LANES / 2))] };
        for (shares, sums) in shares.iter().zip(&mut sums) {
            // SAFETY: there is a share for each row.
            let share = _mm256_set1_ps(unsafe { *shares.add(at) });
            for (lanes, sum) in lanes.iter().zip(sums) {
                *sum = _mm256_fmadd_ps(share, *lanes, *sum);
            }
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        for (half, sum) in sums.iter().enumerate() {
            let at = q * head + from + half * LANES / 2;
            // SAFETY: eight floats, as the slice says.
            unsafe { _mm256_storeu_ps(mix.out[at..at + LANES / 2].as_mut_ptr(), *sum) };
        }
    }
}

/// Asks for a tile that will be needed soon: a hint, which may name any address and faults on none.
#[inline]
#[target_feature(enable = "avx2")]
fn call_for<const TILE: usize>(tile: *const u8) {
    for line in (0..TILE).step_by(64) {
        _mm_prefetch::<_MM_HINT_T0>(tile.wrapping_add(AHEAD + line).cast());
    }
}

#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2")]
unsafe fn load(at: *const u8) -> __m256i {
    // SAFETY: the caller says that 32 bytes are there.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// Reads eight 16-bit floats.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: the caller says that 16 bytes are there.
    let bytes = unsafe { _mm_loadu_si128(at.cast::<__m128i>()) };
    _mm256_cvtph_ps(bytes)
}

/// Reads one float into every lane.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2")]
unsafe fn float(words: *const i32, at: usize) -> __m256 {
    // SAFETY: the caller says that it is there.
    _mm256_set1_ps(f32::from_bits(unsafe { *words.add(at) }.cast_unsigned()))
}

/// Reads one word, such as four neighbouring numbers, into every lane.
#[inline]
#[expect(unsafe_code, reason = "see `strip`")]
#[target_feature(enable = "avx2")]
unsafe fn four(words: *const i32, at: usize) -> __m256i {
    // SAFETY: the caller says that it is there.
    _mm256_set1_epi32(unsafe { *words.add(at) })
}
