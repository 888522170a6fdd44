//! The twin that every other kernel is measured against: plain Rust, one number at a time.

use crate::tiles::{Activations, Bits, COLUMNS, ROWS, numbers};

pub(super) fn strip(bits: Bits, strip: &[u8], rows: &[Activations], out: &mut [[f32; ROWS]]) {
    for (row, out) in rows.iter().zip(out) {
        *out = [0.0; ROWS];
        for (block, tile) in strip.chunks_exact(bits.tile()).enumerate() {
            let quantised = &row.numbers[block * COLUMNS..][..COLUMNS];
            for (r, sum) in out.iter_mut().enumerate() {
                let (mut dot, mut scale, mut minimum) = (0_i32, 0.0, 0.0);
                for (column, quantised) in quantised.iter().enumerate() {
                    let number;
                    (number, scale, minimum) = numbers(bits, tile, r, column);
                    dot += i32::from(number) * i32::from(*quantised);
                }
                *sum = (dot as f32).mul_add(scale * row.scales[block], *sum);
                if bits == Bits::Four {
                    *sum = f32::mul_add(minimum, row.sums[block], *sum);
                }
            }
        }
    }
}
