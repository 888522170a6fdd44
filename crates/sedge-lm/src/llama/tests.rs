//! The engine against itself on other kernels and threads, and against plain arithmetic.

use std::num::NonZeroUsize;

use super::*;
use crate::kernels::Kernel;
use crate::testing::tiny_model;

fn engine(kernel: Kernel, threads: usize) -> Option<Llama> {
    let gguf = Gguf::from_bytes(tiny_model(1)).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    let options = EngineOptions { threads, kernel, window: None };
    Some(Llama::load(&gguf, &options, Chosen::new(kernel)?).unwrap())
}

fn logits(engine: &mut Llama, pieces: &[&[u32]]) -> Vec<f32> {
    let sequence = engine.new_sequence();
    let mut logits = Vec::new();
    for piece in pieces {
        engine.decode(sequence, piece, &mut logits).unwrap();
    }
    engine.truncate(sequence, 0);
    logits
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|it| it.to_bits()).collect()
}

#[test]
fn kernels_and_threads_give_the_same_bits() {
    let tokens: Vec<u32> = (0..150).map(|it| 3 + it * 7 % 256).collect();
    let expected = bits(&logits(&mut engine(Kernel::Scalar, 1).unwrap(), &[&tokens]));
    assert!(expected.iter().any(|it| *it != 0));
    for kernel in [Kernel::Avx2, Kernel::Avx512Vnni, Kernel::Auto] {
        for threads in [1, 2, 3] {
            let Some(mut engine) = engine(kernel, threads) else { continue };
            let got = bits(&logits(&mut engine, &[&tokens]));
            assert!(got == expected, "{kernel:?} with {threads} threads");
        }
    }
}

#[test]
fn pieces_of_a_prompt_give_what_the_whole_gives() {
    let tokens: Vec<u32> = (0..90).map(|it| 3 + it * 11 % 256).collect();
    let mut engine = engine(Kernel::Auto, 1).unwrap();
    let whole = bits(&logits(&mut engine, &[&tokens]));
    assert_eq!(bits(&logits(&mut engine, &[&tokens[..1], &tokens[1..80], &tokens[80..]])), whole);
}

#[test]
fn forgetting_goes_back_to_what_was_before() {
    let mut engine = engine(Kernel::Auto, 1).unwrap();
    let (mut first, mut again) = (Vec::new(), Vec::new());
    let sequence = engine.new_sequence();
    engine.decode(sequence, &[5, 6, 7, 8], &mut first).unwrap();
    engine.decode(sequence, &[9, 10], &mut again).unwrap();
    engine.truncate(sequence, 3);
    engine.decode(sequence, &[8], &mut again).unwrap();
    assert_eq!(bits(&again), bits(&first));
}

#[test]
fn a_full_window_is_refused_with_both_numbers() {
    let mut engine = engine(Kernel::Auto, 1).unwrap();
    let sequence = engine.new_sequence();
    let full = engine.decode(sequence, &[3; 513], &mut Vec::new());
    assert_eq!(full, Err(EngineError::Full { tokens: 513, window: 512 }));
    assert_eq!(engine.decode(sequence, &[3; 4], &mut Vec::new()), Ok(()));
    let unknown = engine.decode(sequence, &[272], &mut Vec::new());
    assert_eq!(unknown, Err(EngineError::UnknownToken { token: 272 }));
}

/// The same model in plain 64-bit arithmetic, without tiles, quantised activations or batches.
fn reference(engine: &Llama, tokens: &[u32]) -> Vec<f64> {
    let Shape { width, heads, kv_heads, head, epsilon, .. } = engine.shape;
    let times = |matrix: &Matrix, values: &[f64]| -> Vec<f64> {
        let mut row = vec![0.0; matrix.columns];
        (0..matrix.rows)
            .map(|at| {
                engine.tiles.row(matrix, at, &mut row);
                row.iter().zip(values).map(|(a, b)| f64::from(*a) * b).sum()
            })
            .collect()
    };
    let norm = |values: &[f64], weights: &[f32]| -> Vec<f64> {
        let mean = values.iter().map(|it| it * it).sum::<f64>() / values.len() as f64;
        let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
        values.iter().zip(weights).map(|(a, b)| a * scale * f64::from(*b)).collect()
    };
    let turn = |values: &mut [f64], position: usize| {
        for all in values.chunks_exact_mut(head) {
            for (pair, at) in all.chunks_exact_mut(2).zip(0..) {
                let angle = position as f64 * 10_000_f64.powf(-2.0 * f64::from(at) / head as f64);
                let (x, y) = (pair[0], pair[1]);
                pair[0] = x * angle.cos() - y * angle.sin();
                pair[1] = x * angle.sin() + y * angle.cos();
            }
        }
    };
    let mut cache = vec![(Vec::new(), Vec::new()); engine.layers.len()];
    let mut hidden = Vec::new();
    for (position, token) in tokens.iter().enumerate() {
        let mut row = vec![0.0_f32; width];
        engine.tiles.row(&engine.embedding, *token as usize, &mut row);
        hidden = row.iter().map(|it| f64::from(*it)).collect::<Vec<_>>();
        for (layer, (keys, values)) in engine.layers.iter().zip(&mut cache) {
            let normed = norm(&hidden, &layer.attention_norm);
            let mut query = times(&layer.query, &normed);
            let mut key = times(&layer.key, &normed);
            turn(&mut query, position);
            turn(&mut key, position);
            keys.push(key);
            values.push(times(&layer.value, &normed));
            let mut mixed = vec![0.0; width];
            for at in 0..heads {
                let from = at / (heads / kv_heads) * head;
                let own = &query[at * head..][..head];
                let mut scores: Vec<f64> = keys
                    .iter()
                    .map(|key: &Vec<f64>| {
                        let dot: f64 = own.iter().zip(&key[from..]).map(|(a, b)| a * b).sum();
                        (dot / (head as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = scores.iter().sum();
                scores.iter_mut().for_each(|it| *it /= sum);
                for (score, value) in scores.iter().zip(values.iter()) {
                    for d in 0..head {
                        mixed[at * head + d] += score * value[from + d];
                    }
                }
            }
            let added = times(&layer.output, &mixed);
            hidden.iter_mut().zip(added).for_each(|(a, b)| *a += b);
            let normed = norm(&hidden, &layer.forward_norm);
            let mut gate = times(&layer.gate, &normed);
            let up = times(&layer.up, &normed);
            gate.iter_mut().zip(up).for_each(|(a, b)| *a = *a / (1.0 + (-*a).exp()) * b);
            let added = times(&layer.down, &gate);
            hidden.iter_mut().zip(added).for_each(|(a, b)| *a += b);
        }
    }
    times(engine.output.as_ref().unwrap(), &norm(&hidden, &engine.output_norm))
}

#[test]
fn logits_are_near_those_of_plain_arithmetic() {
    let tokens: Vec<u32> = (0..40).map(|it| 3 + it * 13 % 256).collect();
    let mut engine = engine(Kernel::Auto, 1).unwrap();
    let expected = reference(&engine, &tokens);
    let got = logits(&mut engine, &[&tokens]);
    let spread = expected.iter().map(|it| it * it).sum::<f64>().sqrt();
    let distance =
        got.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
    // Eight-bit activations cost about one part in a hundred.
    assert!(distance / spread < 0.03, "{}", distance / spread);
}
