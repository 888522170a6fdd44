//! The llama architecture (arXiv 2302.13971): grouped attention, rotary positions, gated layers.

use std::collections::BTreeMap;

use crate::engine::{Engine, EngineError, EngineOptions, ModelInfo, OpenError, SequenceId};
use crate::gguf::{Gguf, GgufError};
use crate::kernels::Chosen;
use crate::maths::{self, LANES, Rotary};
use crate::pool::Pool;
use crate::tiles::{Activations, Matrix, ROWS, floats};

/// How many tokens of a prompt are computed at once: enough to use each unpacked tile often, few
/// enough that the rows stay in the processor's cache.
const BATCH: usize = 64;
/// Bounds of what a file may say: far above every model that fits this engine.
const MOST_LAYERS: usize = 256;
const MOST_WIDTH: usize = 1 << 16;
const MOST_WINDOW: usize = 1 << 20;

/// A model of the llama architecture, with the sequences that it remembers.
#[derive(Debug)]
pub(crate) struct Llama {
    info: ModelInfo,
    shape: Shape,
    embedding: Matrix,
    /// `None` when the output matrix is the embedding itself.
    output: Option<Matrix>,
    output_norm: Vec<f32>,
    layers: Vec<Layer>,
    rotary: Rotary,
    kernel: Chosen,
    pool: Pool,
    sequences: BTreeMap<SequenceId, Sequence>,
    next_sequence: u64,
    /// Room for one row of activations per token of a batch, used again and again.
    rows: Vec<Activations>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    width: usize,
    heads: usize,
    kv_heads: usize,
    head: usize,
    forward: usize,
    epsilon: f32,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    output: Matrix,
    forward_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// Keys and values of each layer, one row per token.
#[derive(Debug)]
struct Sequence {
    length: usize,
    layers: Vec<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    /// Blocks of sixteen tokens: number `d` of head `h` of a block's token `k` lies at
    /// `(h · head + d) · 16 + k`, so that sixteen scores come without a horizontal sum.
    keys: Vec<f32>,
    /// One row per token.
    values: Vec<f32>,
}

impl Remembered {
    /// Adds the keys and values of tokens from position `start` on.
    fn extend(&mut self, start: usize, kv: usize, keys: &[f32], values: &[f32]) {
        self.values.extend_from_slice(values);
        let length = start + keys.len() / kv;
        self.keys.resize(length.div_ceil(LANES) * LANES * kv, 0.0);
        for (position, key) in (start..).zip(keys.chunks_exact(kv)) {
            let block = &mut self.keys[position / LANES * LANES * kv..][..LANES * kv];
            for (number, lanes) in key.iter().zip(block.chunks_exact_mut(LANES)) {
                lanes[position % LANES] = *number;
            }
        }
    }

    fn truncate(&mut self, length: usize, kv: usize) {
        self.keys.truncate(length.div_ceil(LANES) * LANES * kv);
        self.values.truncate(length * kv);
    }
}

fn wrong(what: impl Into<String>) -> OpenError {
    OpenError::Shape { what: what.into() }
}

/// What the metadata says about the model as a whole.
struct Outline {
    shape: Shape,
    layers: usize,
    /// The window that the model was trained for.
    trained: usize,
    /// The base of the rotary positions.
    base: f64,
}

impl Outline {
    fn read(gguf: &Gguf) -> Result<Self, OpenError> {
        let number = |key: &str, most: usize| {
            let got = gguf.number(&format!("llama.{key}"));
            let got = got.ok_or_else(|| wrong(format!("it has no llama.{key}")))?;
            usize::try_from(got)
                .ok()
                .filter(|it| (1..=most).contains(it))
                .ok_or_else(|| wrong(format!("llama.{key} is {got}")))
        };
        let width = number("embedding_length", MOST_WIDTH)?;
        let heads = number("attention.head_count", MOST_WIDTH)?;
        let kv_heads = number("attention.head_count_kv", MOST_WIDTH).unwrap_or(heads);
        let layers = number("block_count", MOST_LAYERS)?;
        let forward = number("feed_forward_length", MOST_WIDTH * 4)?;
        let trained = number("context_length", MOST_WINDOW)?;
        if width % heads != 0 || heads % kv_heads != 0 || width / heads % 2 != 0 {
            return Err(wrong(format!("{width} wide with {heads} and {kv_heads} heads")));
        }
        let head = width / heads;
        let turned = gguf.number("llama.rope.dimension_count").unwrap_or(head as u64);
        let scaled = gguf.text("llama.rope.scaling.type").is_some_and(|it| it != "none");
        if turned != head as u64 || scaled || gguf.has_tensor("rope_freqs.weight") {
            return Err(wrong("it turns positions in a way that is not computed here"));
        }
        let base = gguf.float("llama.rope.freq_base").unwrap_or(10_000.0);
        let epsilon = gguf.float("llama.attention.layer_norm_rms_epsilon").unwrap_or(1e-5) as f32;
        if !(base.is_finite() && base > 1.0 && base < 1e12 && epsilon.is_finite() && epsilon > 0.0)
        {
            return Err(wrong("a constant of it is no usable number"));
        }
        let shape = Shape { width, heads, kv_heads, head, forward, epsilon };
        Ok(Self { shape, layers, trained, base })
    }
}

impl Llama {
    pub(crate) fn load(
        gguf: &Gguf,
        options: &EngineOptions,
        kernel: Chosen,
    ) -> Result<Self, OpenError> {
        let Outline { shape, layers: layer_count, trained, base } = Outline::read(gguf)?;
        let Shape { width, kv_heads, head, forward, .. } = shape;
        let load = Loader { gguf };
        let kv = kv_heads * head;
        let mut layers = Vec::with_capacity(layer_count);
        for at in 0..layer_count {
            let name = |part: &str| format!("blk.{at}.{part}.weight");
            layers.push(Layer {
                attention_norm: load.vector(&name("attn_norm"), width)?,
                query: load.matrix(&name("attn_q"), width, width)?,
                key: load.matrix(&name("attn_k"), kv, width)?,
                value: load.matrix(&name("attn_v"), kv, width)?,
                output: load.matrix(&name("attn_output"), width, width)?,
                forward_norm: load.vector(&name("ffn_norm"), width)?,
                gate: load.matrix(&name("ffn_gate"), forward, width)?,
                up: load.matrix(&name("ffn_up"), forward, width)?,
                down: load.matrix(&name("ffn_down"), width, forward)?,
            });
        }
        let tokens = gguf.tensor("token_embd.weight")?;
        let vocabulary = tokens.rows;
        let embedding = load.matrix("token_embd.weight", vocabulary, width)?;
        let output = match gguf.has_tensor("output.weight") {
            true => Some(load.matrix("output.weight", vocabulary, width)?),
            false => None,
        };
        let output_norm = load.vector("output_norm.weight", width)?;
        let each = |it: &Layer| {
            [&it.query, &it.key, &it.value, &it.output, &it.gate, &it.up, &it.down]
                .into_iter()
                .map(Matrix::size)
                .sum::<usize>()
        };
        let weights_bytes = layers.iter().map(each).sum::<usize>()
            + embedding.size()
            + output.as_ref().map_or(0, Matrix::size);
        let quantisation = gguf.tensor("blk.0.ffn_up.weight")?.format.name().to_owned();
        let info = ModelInfo {
            architecture: "llama".to_owned(),
            name: gguf.text("general.name").unwrap_or("unnamed").chars().take(128).collect(),
            window: options.window.map_or(trained, |it| it.clamp(1, trained)),
            vocabulary,
            parameters: gguf.parameters(),
            quantisation,
            layers: layer_count,
            width,
            kernel: kernel.kernel().name(),
            weights_bytes,
            token_bytes: layer_count * kv * 2 * size_of::<f32>(),
        };
        Ok(Self {
            info,
            shape,
            embedding,
            output,
            output_norm,
            layers,
            rotary: Rotary::new(head, base),
            kernel,
            pool: Pool::new(options.threads),
            sequences: BTreeMap::new(),
            next_sequence: 0,
            rows: Vec::new(),
        })
    }

    /// Computes one batch; returns the hidden state of its last token.
    fn batch(&mut self, sequence: &mut Sequence, tokens: &[u32]) -> Vec<f32> {
        let Shape { width, heads, kv_heads, head, forward, epsilon } = self.shape;
        let (count, kv, start) = (tokens.len(), kv_heads * head, sequence.length);
        self.rotary.reach(start + count);
        let mut hidden = vec![0.0; count * width];
        for (row, token) in hidden.chunks_exact_mut(width).zip(tokens) {
            self.embedding.row(*token as usize, row);
        }
        let mut normed = vec![0.0; width];
        let (mut queries, mut keys, mut values) =
            (vec![0.0; count * width], vec![0.0; count * kv], vec![0.0; count * kv]);
        let mut mixed = vec![0.0; count * width];
        let (mut gates, mut ups) = (vec![0.0; count * forward], vec![0.0; count * forward]);
        let mut added = vec![0.0; count * width];
        self.rows.resize_with(BATCH.max(count), Activations::default);
        let Self { layers, rotary, kernel, pool, rows, .. } = self;
        let rows = &mut rows[..count];
        for (layer, remembered) in layers.iter().zip(&mut sequence.layers) {
            for (row, values) in rows.iter_mut().zip(hidden.chunks_exact(width)) {
                maths::rms_norm(values, &layer.attention_norm, epsilon, &mut normed);
                row.quantise(&normed);
            }
            multiply(
                pool,
                *kernel,
                rows,
                &mut [
                    (&layer.query, &mut queries),
                    (&layer.key, &mut keys),
                    (&layer.value, &mut values),
                ],
            );
            for (at, (query, key)) in
                queries.chunks_exact_mut(width).zip(keys.chunks_exact_mut(kv)).enumerate()
            {
                query.chunks_exact_mut(head).for_each(|it| rotary.turn(it, start + at));
                key.chunks_exact_mut(head).for_each(|it| rotary.turn(it, start + at));
            }
            remembered.extend(start, kv, &keys, &values);
            let attention = Attention { queries: &queries, remembered, start, shape: self.shape };
            let out = Disjoint::new(&mut mixed);
            pool.run(count * heads, 4, &|range| {
                let mut scores = Vec::new();
                for piece in range {
                    let (token, at) = (piece / heads, piece % heads);
                    let into = out.slice(token * width + at * head, head);
                    attention.head(token, at, &mut scores, into);
                }
            });
            for (row, values) in rows.iter_mut().zip(mixed.chunks_exact(width)) {
                row.quantise(values);
            }
            multiply(pool, *kernel, rows, &mut [(&layer.output, &mut added)]);
            maths::add(&mut hidden, &added);
            for (row, values) in rows.iter_mut().zip(hidden.chunks_exact(width)) {
                maths::rms_norm(values, &layer.forward_norm, epsilon, &mut normed);
                row.quantise(&normed);
            }
            multiply(pool, *kernel, rows, &mut [(&layer.gate, &mut gates), (&layer.up, &mut ups)]);
            let both = gates.chunks_exact_mut(forward).zip(ups.chunks_exact(forward));
            for (row, (gate, up)) in rows.iter_mut().zip(both) {
                maths::gate(gate, up);
                row.quantise(gate);
            }
            multiply(pool, *kernel, rows, &mut [(&layer.down, &mut added)]);
            maths::add(&mut hidden, &added);
        }
        sequence.length += count;
        hidden.split_off((count - 1) * width)
    }

    /// Turns a hidden state into logits.
    fn finish(&mut self, hidden: &[f32], logits: &mut Vec<f32>) {
        let Self { output, embedding, output_norm, kernel, pool, rows, shape, .. } = self;
        let mut normed = vec![0.0; shape.width];
        maths::rms_norm(hidden, output_norm, shape.epsilon, &mut normed);
        rows[0].quantise(&normed);
        let matrix = output.as_ref().unwrap_or(embedding);
        logits.clear();
        logits.resize(matrix.rows, 0.0);
        multiply(pool, *kernel, &rows[..1], &mut [(matrix, logits)]);
    }
}

impl Engine for Llama {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn new_sequence(&mut self) -> SequenceId {
        let id = SequenceId(self.next_sequence);
        self.next_sequence += 1;
        let layers = self.layers.iter().map(|_| Remembered::default()).collect();
        self.sequences.insert(id, Sequence { length: 0, layers });
        id
    }

    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        if len == 0 {
            drop(self.sequences.remove(&sequence));
        } else if let Some(it) = self.sequences.get_mut(&sequence).filter(|it| it.length > len) {
            let kv = self.shape.kv_heads * self.shape.head;
            it.length = len;
            for layer in &mut it.layers {
                layer.truncate(len, kv);
            }
        }
    }

    fn decode(
        &mut self,
        id: SequenceId,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let unknown = |it: &&u32| **it as usize >= self.info.vocabulary;
        if let Some(token) = tokens.iter().find(unknown) {
            return Err(EngineError::UnknownToken { token: *token });
        }
        if tokens.is_empty() {
            return Err(EngineError::Nothing);
        }
        let mut sequence = self.sequences.remove(&id).ok_or(EngineError::UnknownSequence)?;
        let (tokens_after, window) = (sequence.length + tokens.len(), self.info.window);
        if tokens_after > window {
            self.sequences.insert(id, sequence);
            return Err(EngineError::Full { tokens: tokens_after, window });
        }
        let mut hidden = Vec::new();
        for batch in tokens.chunks(BATCH) {
            hidden = self.batch(&mut sequence, batch);
        }
        self.sequences.insert(id, sequence);
        self.finish(&hidden, logits);
        Ok(())
    }
}

/// Reads tensors and checks that they have the shape that the model says.
struct Loader<'a> {
    gguf: &'a Gguf,
}

impl Loader<'_> {
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, OpenError> {
        let tensor = self.gguf.tensor(name)?;
        if (tensor.rows, tensor.columns) != (rows, columns) {
            let (got_rows, got_columns) = (tensor.rows, tensor.columns);
            let what = format!("`{name}` is {got_rows} × {got_columns}, not {rows} × {columns}");
            return Err(wrong(what));
        }
        Ok(Matrix::repack(&tensor, name)?)
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, OpenError> {
        use crate::gguf::Format;
        let tensor = self.gguf.tensor(name)?;
        let plain = matches!(tensor.format, Format::F32 | Format::F16);
        if tensor.rows * tensor.columns != length || !plain {
            let format = tensor.format.name().to_owned();
            return Err(match plain {
                true => wrong(format!("`{name}` is not {length} long")),
                false => GgufError::Format { tensor: name.to_owned(), format }.into(),
            });
        }
        Ok(floats(tensor.format, tensor.bytes))
    }
}

/// What every head of a batch needs.
struct Attention<'a> {
    queries: &'a [f32],
    remembered: &'a Remembered,
    start: usize,
    shape: Shape,
}

impl Attention<'_> {
    /// Mixes the values that one head of one token attends to.
    fn head(&self, token: usize, at: usize, scores: &mut Vec<f32>, into: &mut [f32]) {
        let Shape { width, heads, kv_heads, head, .. } = self.shape;
        let kv = kv_heads * head;
        let offset = at / (heads / kv_heads) * head;
        let query = &self.queries[token * width + at * head..][..head];
        let seen = self.start + token + 1;
        let scale = 1.0 / (head as f32).sqrt();
        scores.clear();
        for block in self.remembered.keys.chunks_exact(LANES * kv).take(seen.div_ceil(LANES)) {
            let mut sixteen = [0.0; LANES];
            maths::scores(query, &block[offset * LANES..][..head * LANES], &mut sixteen);
            scores.extend(sixteen.iter().map(|it| it * scale));
        }
        scores.truncate(seen);
        maths::softmax(scores);
        maths::mix(&self.remembered.values[offset..], kv, scores, into);
    }
}

/// Multiplies the rows with several matrices in one go, so that threads meet once.
/// `out` holds the result of each row one after another.
fn multiply(
    pool: &mut Pool,
    kernel: Chosen,
    rows: &[Activations],
    jobs: &mut [(&Matrix, &mut Vec<f32>)],
) {
    let jobs: Vec<_> =
        jobs.iter_mut().map(|(matrix, out)| (*matrix, Disjoint::new(out.as_mut_slice()))).collect();
    let strips: usize = jobs.iter().map(|(matrix, _)| matrix.strips()).sum();
    // Small pieces even out what the threads do; large ones meet less often.
    let step = (strips / 16).clamp(1, 64);
    pool.run(strips, step, &|range| {
        let mut results = vec![[0.0; ROWS]; rows.len()];
        for piece in range {
            let mut strip = piece;
            for (matrix, out) in &jobs {
                if strip >= matrix.strips() {
                    strip -= matrix.strips();
                    continue;
                }
                kernel.strip(matrix.bits, matrix.strip(strip), rows, &mut results);
                let used = ROWS.min(matrix.rows - strip * ROWS);
                for (m, result) in results.iter().enumerate() {
                    out.slice(m * matrix.rows + strip * ROWS, used)
                        .copy_from_slice(&result[..used]);
                }
                break;
            }
        }
    });
}

/// A slice that several threads write to, each in places of its own.
struct Disjoint<'a> {
    start: *mut f32,
    length: usize,
    _borrow: std::marker::PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "threads write to places that do not overlap")]
// SAFETY: every piece of work writes to places that belong to it alone: a strip's rows, or one head
// of one token, and each piece is done once.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    fn new(slice: &'a mut [f32]) -> Self {
        let length = slice.len();
        Self { start: slice.as_mut_ptr(), length, _borrow: std::marker::PhantomData }
    }

    #[expect(unsafe_code, reason = "see the type")]
    #[expect(clippy::mut_from_ref, reason = "callers take places that do not overlap")]
    fn slice(&self, from: usize, length: usize) -> &mut [f32] {
        assert!(from.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: within the borrowed slice, as just checked; no other piece takes this place.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}

#[cfg(test)]
mod tests;
