//! The twin that every other kernel is measured against: plain Rust, one number at a time.

use super::{LANES, MAGIC, Mix, Scale, Scores};
use crate::activations::{Panel, WORDS};
use crate::tiles::{Bits, COLUMNS, ROWS, numbers};

pub(super) fn strip(bits: Bits, strip: &[u8], panel: Panel<'_>, out: &mut [[f32; ROWS]]) {
    for (row, out) in out.iter_mut().enumerate() {
        *out = [0.0; ROWS];
        for (block, tile) in strip.chunks_exact(bits.tile()).enumerate() {
            let quantised = panel.numbers(row, block);
            let (factor, total) = panel.scale_and_sum(row, block);
            for (r, sum) in out.iter_mut().enumerate() {
                let (mut dot, mut scale, mut minimum) = (0_i32, 0.0, 0.0);
                for (column, quantised) in quantised.iter().enumerate() {
                    let number;
                    (number, scale, minimum) = numbers(bits, tile, r, column);
                    dot += i32::from(number) * i32::from(*quantised);
                }
                *sum = (dot as f32).mul_add(scale * factor, *sum);
                if bits == Bits::Four {
                    *sum = f32::mul_add(minimum, total, *sum);
                }
            }
        }
    }
}

pub(super) fn quantise(values: &[f32], words: &mut [i32], rows: usize, row: usize) {
    let blocks = words.chunks_exact_mut(rows * WORDS);
    for (values, words) in values.chunks_exact(COLUMNS).zip(blocks) {
        let most = values.iter().map(|it| it.abs().to_bits()).max().unwrap_or(0);
        let scale = Scale::new(most);
        let mut sum = 0;
        let fours = values.chunks_exact(4).zip(&mut words[row * 8..][..8]);
        for (values, word) in fours {
            let mut bytes = [0; 4];
            for (byte, value) in bytes.iter_mut().zip(values) {
                let nearest = (value * scale.inverse + MAGIC).to_bits().cast_signed();
                // One kernel's sign trick cannot hold -128, so not even nonsense becomes that.
                let number = nearest.wrapping_sub(MAGIC.to_bits().cast_signed()).clamp(-127, 127);
                sum += number;
                *byte = number as u8;
            }
            *word = i32::from_le_bytes(bytes);
        }
        scale.write(words, rows, row, sum);
    }
}

pub(super) fn scores(scores: &mut Scores<'_>) {
    let Scores { head, count, blocks, queries, keys, .. } = *scores;
    debug_assert_eq!(queries.len(), count * head);
    for (query, out) in queries.chunks_exact(head).zip(scores.out.chunks_exact_mut(blocks * LANES))
    {
        for (keys, out) in keys.chunks_exact(head * LANES).zip(out.chunks_exact_mut(LANES)) {
            out.fill(0.0);
            for (number, keys) in query.iter().zip(keys.chunks_exact(LANES)) {
                for (sum, key) in out.iter_mut().zip(keys) {
                    *sum = number.mul_add(*key, *sum);
                }
            }
        }
    }
}

pub(super) fn mix(mix: &mut Mix<'_>) {
    mix_from(mix, 0);
}

/// Computes the numbers from `from` on of each row.
pub(super) fn mix_from(mix: &mut Mix<'_>, from: usize) {
    let Mix { head, count, stride, values, shares, .. } = *mix;
    debug_assert_eq!(shares.len(), count * stride);
    for (shares, out) in shares.chunks_exact(stride).zip(mix.out.chunks_exact_mut(head)) {
        let out = &mut out[from..];
        out.fill(0.0);
        for (share, row) in shares.iter().zip(values.chunks_exact(head)) {
            for (sum, value) in out.iter_mut().zip(&row[from..]) {
                *sum = share.mul_add(*value, *sum);
            }
        }
    }
}
