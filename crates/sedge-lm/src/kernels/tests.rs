//! Every kernel against its scalar twin, bit by bit, and the twin against plain multiplication.

use super::*;
use crate::activations::{Activations, PANEL};
use crate::gguf::{Format, Tensor};
use crate::tiles::{Matrix, Tiles};

/// Numbers that look random and are the same everywhere (splitmix64).
pub(crate) fn noise(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn matrix(format: Format, rows: usize, columns: usize, seed: u64) -> (Tiles, Matrix) {
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
    let mut tiles = Tiles::with_room([tensor].into_iter()).unwrap();
    let matrix = tiles.repack(&tensor, "test").unwrap();
    (tiles, matrix)
}

fn values(count: usize, mut seed: u64) -> Vec<f32> {
    (0..count).map(|_| (noise(&mut seed) as i32) as f32 / 1e9).collect()
}

fn activations(kernel: Chosen, rows: usize, columns: usize, seed: u64) -> Activations {
    let values = values(rows * columns, seed);
    let mut all = Activations::default();
    let (layout, words) = all.reset(rows, columns);
    for panel in 0..layout.panels() {
        let place = layout.place(panel);
        let words = &mut words[place.from..][..place.words];
        for row in 0..place.rows {
            let values = &values[(panel * PANEL + row) * columns..][..columns];
            kernel.quantise(values, words, place.rows, row);
        }
    }
    all
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|it| it.to_bits()).collect()
}

/// Every kernel that this processor has.
fn here() -> impl Iterator<Item = Chosen> {
    Kernel::ALL.into_iter().filter_map(Chosen::new)
}

const TWIN: Chosen = Chosen(Kernel::Scalar);

#[track_caller]
fn check(format: Format) {
    let (tiles, matrix) = matrix(format, 40, 96, 7);
    for count in 1..=PANEL {
        let rows = activations(TWIN, count, 96, count as u64);
        let mut expected = vec![[0.0; ROWS]; count];
        for strip in 0..matrix.strips() {
            TWIN.strip(matrix.bits, tiles.strip(&matrix, strip), rows.panel(0), &mut expected);
            for kernel in here() {
                let mut got = vec![[f32::NAN; ROWS]; count];
                kernel.strip(matrix.bits, tiles.strip(&matrix, strip), rows.panel(0), &mut got);
                let (got, expected) = (got.as_flattened(), expected.as_flattened());
                assert_eq!(bits(got), bits(expected), "{kernel:?} {format:?} {count} rows");
            }
        }
    }
}

#[test]
fn all_kernels_quantise_alike() {
    for count in [1, 7, 8, 9, 19] {
        let expected = activations(TWIN, count, 160, 5);
        for kernel in here() {
            let got = activations(kernel, count, 160, 5);
            for panel in 0..got.layout().panels() {
                assert_eq!(got.panel(panel).words, expected.panel(panel).words, "{kernel:?}");
            }
        }
    }
}

#[test]
fn all_kernels_attend_alike() {
    for head in [2, 8, 16, 40, 64, 80, 100] {
        for (count, tokens) in [(1, 1), (2, 16), (3, 17), (4, 77), (3, 130)] {
            let blocks = usize::div_ceil(tokens, LANES);
            let queries = values(count * head, 1);
            let keys = values(blocks * LANES * head, 2);
            let rows = values(tokens * head, 3);
            let run = |kernel: Chosen| {
                let mut scores = vec![f32::NAN; count * blocks * LANES];
                kernel.scores(&queries, head, &keys, &mut scores);
                let mut mixed = vec![f32::NAN; count * head];
                kernel.mix(&rows, head, &scores, &mut mixed);
                (bits(&scores), bits(&mixed))
            };
            let expected = run(TWIN);
            for kernel in here() {
                assert_eq!(run(kernel), expected, "{kernel:?} {head} {count} {tokens}");
            }
        }
    }
}

#[test]
fn the_twin_attends() {
    // Two queries, one block, heads of two: score = q · k, mixture = Σ share · value.
    let queries = [1.0, 2.0, -1.0, 0.5];
    let keys: Vec<f32> = (0..32).map(|it| it as f32).collect();
    let mut scores = [0.0; 32];
    TWIN.scores(&queries, 2, &keys, &mut scores);
    assert_eq!(scores[3..5], [3.0 + 2.0 * 19.0, 4.0 + 2.0 * 20.0]);
    assert_eq!(scores[16], -0.0 + 0.5 * 16.0);
    let mut mixed = [0.0; 4];
    TWIN.mix(&[1.0, 2.0, 3.0, 4.0], 2, &[0.5, 0.25, 1.0, 0.0], &mut mixed);
    assert_eq!(mixed, [1.25, 2.0, 1.0, 2.0]);
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
        let (tiles, matrix) = matrix(format, 16, 64, 3);
        let rows = activations(TWIN, 2, 64, 4);
        let panel = rows.panel(0);
        let mut got = vec![[0.0; ROWS]; 2];
        TWIN.strip(matrix.bits, tiles.strip(&matrix, 0), panel, &mut got);
        for (m, got) in got.iter().enumerate() {
            for (r, got) in got.iter().enumerate() {
                let mut weights = [0.0; 64];
                tiles.row(&matrix, r, &mut weights);
                let expected: f64 = (0..64)
                    .map(|c| {
                        let (scale, _) = panel.scale_and_sum(m, c / 32);
                        let number = panel.numbers(m, c / 32)[c % 32];
                        f64::from(weights[c]) * f64::from(scale) * f64::from(number)
                    })
                    .sum();
                let near = (f64::from(*got) - expected).abs() <= 1e-4 * (1.0 + expected.abs());
                assert!(near, "{format:?} {got} {expected}");
            }
        }
    }
}
