//! Every kernel against its scalar twin, bit by bit, and the twin against plain multiplication.

use super::*;
use crate::gguf::{Format, Tensor};
use crate::tiles::Matrix;

/// Numbers that look random and are the same everywhere (splitmix64).
pub(crate) fn noise(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn matrix(format: Format, rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut seed = seed;
    let (block, size) = format.block();
    let mut bytes = Vec::new();
    for _ in 0..rows * columns / block {
        let mut stored: Vec<u8> = (0..size).map(|_| noise(&mut seed) as u8).collect();
        // Scales and minima between 1/1024 and 1/64, of either sign.
        for at in match format {
            Format::Q4_1 => vec![1, 3],
            Format::F32 => vec![],
            _ => vec![1],
        } {
            stored[at] = (stored[at] & 0x80) | (0x14 + (stored[at] & 0x0f));
        }
        if format == Format::F32 {
            let value = (noise(&mut seed) as i32) as f32 / 1e10;
            stored.copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend(stored);
    }
    let tensor = Tensor { format, columns, rows, bytes: &bytes };
    Matrix::repack(&tensor, "test").unwrap()
}

fn activations(rows: usize, columns: usize, mut seed: u64) -> Vec<Activations> {
    let value = |seed: &mut u64| (noise(seed) as i32) as f32 / 1e9;
    let row = |seed: &mut u64| {
        let values: Vec<f32> = (0..columns).map(|_| value(seed)).collect();
        let mut row = Activations::default();
        row.quantise(&values);
        row
    };
    (0..rows).map(|_| row(&mut seed)).collect()
}

#[track_caller]
fn check(format: Format) {
    let matrix = matrix(format, 40, 96, 7);
    for count in 1..=19 {
        let rows = activations(count, 96, count as u64);
        let mut expected = vec![[0.0; ROWS]; count];
        for strip in 0..matrix.strips() {
            Chosen(Kernel::Scalar).strip(matrix.bits, matrix.strip(strip), &rows, &mut expected);
            for kernel in [Kernel::Avx2, Kernel::Avx512Vnni] {
                let Some(kernel) = Chosen::new(kernel) else { continue };
                let mut got = vec![[f32::NAN; ROWS]; count];
                kernel.strip(matrix.bits, matrix.strip(strip), &rows, &mut got);
                let bits = |all: &[[f32; ROWS]]| -> Vec<u32> {
                    all.as_flattened().iter().map(|it| it.to_bits()).collect()
                };
                assert_eq!(bits(&got), bits(&expected), "{kernel:?} {format:?} {count} rows");
            }
        }
    }
}

#[test]
fn all_kernels_agree_on_q4_0() {
    check(Format::Q4_0);
}

#[test]
fn all_kernels_agree_on_q4_1() {
    check(Format::Q4_1);
}

#[test]
fn all_kernels_agree_on_q8_0() {
    check(Format::Q8_0);
}

#[test]
fn all_kernels_agree_on_floats() {
    check(Format::F32);
    check(Format::F16);
}

#[test]
fn the_twin_multiplies() {
    for format in [Format::Q4_0, Format::Q4_1, Format::Q8_0] {
        let matrix = matrix(format, 16, 64, 3);
        let rows = activations(2, 64, 4);
        let mut got = vec![[0.0; ROWS]; 2];
        Chosen(Kernel::Scalar).strip(matrix.bits, matrix.strip(0), &rows, &mut got);
        for (m, row) in rows.iter().enumerate() {
            for (r, got) in got[m].iter().enumerate() {
                let mut weights = [0.0; 64];
                matrix.row(r, &mut weights);
                let expected: f64 = (0..64)
                    .map(|c| {
                        let value = f64::from(row.scales[c / 32]) * f64::from(row.numbers[c]);
                        f64::from(weights[c]) * value
                    })
                    .sum();
                let near = (f64::from(*got) - expected).abs() <= 1e-4 * (1.0 + expected.abs());
                assert!(near, "{format:?} {got} {expected}");
            }
        }
    }
}
