//! The llama architecture (arXiv 2302.13971): grouped attention, rotary positions, gated layers.

mod attention;

use std::collections::BTreeMap;

use self::attention::{Attention, Remembered};
use crate::activations::{Activations, Layout, PANEL, Place};
use crate::engine::{
    ARITHMETIC, Engine, EngineError, EngineOptions, ModelInfo, OpenError, SequenceId,
};
use crate::gguf::{Gguf, GgufError};
use crate::kernels::Chosen;
use crate::maths::{self, Rotary};
use crate::pool::Pool;
use crate::tiles::{Matrix, ROWS, Tiles, floats};

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
    tiles: Tiles,
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
    rows: Activations,
    room: Room,
}

/// Room for what a batch computes, used again and again: one row per token.
#[derive(Debug, Default)]
struct Room {
    hidden: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    mixed: Vec<f32>,
    gates: Vec<f32>,
    ups: Vec<f32>,
    added: Vec<f32>,
}

impl Room {
    fn fit(&mut self, count: usize, shape: &Shape) {
        let Shape { width, kv_heads, head, forward, .. } = *shape;
        for (row, all) in [
            (width, [&mut self.hidden, &mut self.queries]),
            (width, [&mut self.mixed, &mut self.added]),
            (kv_heads * head, [&mut self.keys, &mut self.values]),
            (forward, [&mut self.gates, &mut self.ups]),
        ] {
            all.into_iter().for_each(|it| it.resize(count * row, 0.0));
        }
    }
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
        let mut load = Loader::new(gguf)?;
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
            arithmetic: ARITHMETIC,
            weights_bytes,
            token_bytes: layer_count * kv * 2 * size_of::<f32>(),
        };
        Ok(Self {
            info,
            shape,
            tiles: load.tiles,
            embedding,
            output,
            output_norm,
            layers,
            rotary: Rotary::new(head, base),
            kernel,
            pool: Pool::new(options.threads),
            sequences: BTreeMap::new(),
            next_sequence: 0,
            rows: Activations::default(),
            room: Room::default(),
        })
    }

    /// Computes one batch, of which `room` holds the hidden states then.
    fn batch(&mut self, sequence: &mut Sequence, tokens: &[u32]) {
        let Shape { width, kv_heads, head, forward, epsilon, .. } = self.shape;
        let (count, kv, start) = (tokens.len(), kv_heads * head, sequence.length);
        self.rotary.reach(start + count);
        self.room.fit(count, &self.shape);
        let Room { hidden, queries, keys, values, mixed, gates, ups, added } = &mut self.room;
        for (row, token) in hidden.chunks_exact_mut(width).zip(tokens) {
            self.tiles.row(&self.embedding, *token as usize, row);
        }
        let Self { layers, rotary, kernel, tiles, pool, rows, shape, .. } = self;
        let (kernel, rotary, tiles) = (*kernel, &*rotary, &*tiles);
        for (layer, remembered) in layers.iter().zip(&mut sequence.layers) {
            quantise(pool, kernel, rows.reset(count, width), &|at, row| {
                let hidden = &hidden[at * width..][..width];
                maths::rms_norm(kernel, hidden, &layer.attention_norm, epsilon, row);
            });
            multiply(
                pool,
                kernel,
                tiles,
                rows,
                &mut [(&layer.query, queries), (&layer.key, keys), (&layer.value, values)],
            );
            for (position, keys) in (start..).zip(keys.chunks_exact_mut(kv)) {
                keys.chunks_exact_mut(head).for_each(|it| rotary.turn(it, position));
            }
            remembered.extend(start, head, keys, values);
            let attention = Attention { remembered, rotary, kernel, shape: *shape, start };
            attention.run(pool, queries, mixed);
            quantise(pool, kernel, rows.reset(count, width), &|at, row| {
                row.copy_from_slice(&mixed[at * width..][..width]);
            });
            multiply(pool, kernel, tiles, rows, &mut [(&layer.output, added)]);
            maths::add(hidden, added);
            quantise(pool, kernel, rows.reset(count, width), &|at, row| {
                let hidden = &hidden[at * width..][..width];
                maths::rms_norm(kernel, hidden, &layer.forward_norm, epsilon, row);
            });
            multiply(pool, kernel, tiles, rows, &mut [(&layer.gate, gates), (&layer.up, ups)]);
            quantise(pool, kernel, rows.reset(count, forward), &|at, row| {
                row.copy_from_slice(&gates[at * forward..][..forward]);
                maths::gate(kernel, row, &ups[at * forward..][..forward]);
            });
            multiply(pool, kernel, tiles, rows, &mut [(&layer.down, added)]);
            maths::add(hidden, added);
        }
        sequence.length += count;
    }

    /// Turns the hidden state of the last token into logits.
    fn finish(&mut self, logits: &mut Vec<f32>) {
        let Self { tiles, output, embedding, output_norm, kernel, pool, rows, shape, room, .. } =
            self;
        let hidden = &room.hidden[room.hidden.len() - shape.width..];
        quantise(pool, *kernel, rows.reset(1, shape.width), &|_, row| {
            maths::rms_norm(*kernel, hidden, output_norm, shape.epsilon, row);
        });
        let matrix = output.as_ref().unwrap_or(embedding);
        logits.clear();
        logits.resize(matrix.rows, 0.0);
        multiply(pool, *kernel, tiles, rows, &mut [(matrix, logits)]);
    }
}

impl Engine for Llama {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn new_sequence(&mut self) -> SequenceId {
        let id = SequenceId(self.next_sequence);
        self.next_sequence += 1;
        let kv_heads = self.shape.kv_heads;
        let layers = self.layers.iter().map(|_| Remembered::new(kv_heads)).collect();
        self.sequences.insert(id, Sequence { length: 0, layers });
        id
    }

    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        if len == 0 {
            drop(self.sequences.remove(&sequence));
        } else if let Some(it) = self.sequences.get_mut(&sequence).filter(|it| it.length > len) {
            it.length = len;
            for layer in &mut it.layers {
                layer.truncate(len, self.shape.head);
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
        for batch in tokens.chunks(BATCH) {
            self.batch(&mut sequence, batch);
        }
        self.sequences.insert(id, sequence);
        self.finish(logits);
        Ok(())
    }
}

/// Reads tensors and checks that they have the shape that the model says.
struct Loader<'a> {
    gguf: &'a Gguf,
    tiles: Tiles,
}

impl<'a> Loader<'a> {
    fn new(gguf: &'a Gguf) -> Result<Self, OpenError> {
        let tensors = gguf.tensor_names().filter_map(|it| gguf.tensor(it).ok());
        let tiles = Tiles::with_room(tensors).map_err(|source| OpenError::Memory { source })?;
        Ok(Self { gguf, tiles })
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, OpenError> {
        let tensor = self.gguf.tensor(name)?;
        if (tensor.rows, tensor.columns) != (rows, columns) {
            let (got_rows, got_columns) = (tensor.rows, tensor.columns);
            let what = format!("`{name}` is {got_rows} × {got_columns}, not {rows} × {columns}");
            return Err(wrong(what));
        }
        Ok(self.tiles.repack(&tensor, name)?)
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

/// Fills rows of activations with the values that `values` writes for each, panel by panel.
fn quantise(
    pool: &mut Pool,
    kernel: Chosen,
    (layout, words): (Layout, &mut [i32]),
    values: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let out = Disjoint::new(words);
    pool.run(layout.panels(), 1, &|range| {
        let mut room = vec![0.0; layout.columns()];
        for panel in range {
            let Place { rows, from, words } = layout.place(panel);
            let words = out.slice(from, words);
            for row in 0..rows {
                values(panel * PANEL + row, &mut room);
                kernel.quantise(&room, words, rows, row);
            }
        }
    });
}

/// Multiplies the rows with several matrices in one go, so that threads meet once.
/// `out` holds the result of each row one after another.
fn multiply(
    pool: &mut Pool,
    kernel: Chosen,
    tiles: &Tiles,
    rows: &Activations,
    jobs: &mut [(&Matrix, &mut Vec<f32>)],
) {
    let jobs: Vec<_> =
        jobs.iter_mut().map(|(matrix, out)| (*matrix, Disjoint::new(out.as_mut_slice()))).collect();
    let strips: usize = jobs.iter().map(|(matrix, _)| matrix.strips()).sum();
    let layout = rows.layout();
    // Small pieces even out what the threads do; large ones meet less often.
    let step = (strips / 16).clamp(1, 64);
    pool.run(strips, step, &|range| {
        for piece in range {
            let mut strip = piece;
            for (matrix, out) in &jobs {
                if strip >= matrix.strips() {
                    strip -= matrix.strips();
                    continue;
                }
                let used = ROWS.min(matrix.rows - strip * ROWS);
                for panel in 0..layout.panels() {
                    let mut room = [[0.0; ROWS]; PANEL];
                    let rows = rows.panel(panel);
                    let results = &mut room[..rows.rows];
                    kernel.strip(matrix.bits, tiles.strip(matrix, strip), rows, results);
                    for (m, result) in (panel * PANEL..).zip(results) {
                        let at = m * matrix.rows + strip * ROWS;
                        out.slice(at, used).copy_from_slice(&result[..used]);
                    }
                }
                break;
            }
        }
    });
}

/// A slice that several threads write to, each in places of its own.
struct Disjoint<'a, T> {
    start: *mut T,
    length: usize,
    _borrow: std::marker::PhantomData<&'a mut [T]>,
}

#[expect(unsafe_code, reason = "threads write to places that do not overlap")]
// SAFETY: every piece of work writes to places that belong to it alone: a strip's rows, a panel, or
// some heads of one token, and each piece is done once.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    fn new(slice: &'a mut [T]) -> Self {
        let length = slice.len();
        Self { start: slice.as_mut_ptr(), length, _borrow: std::marker::PhantomData }
    }

    #[expect(unsafe_code, reason = "see the type")]
    #[expect(clippy::mut_from_ref, reason = "callers take places that do not overlap")]
    fn slice(&self, from: usize, length: usize) -> &mut [T] {
        assert!(from.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: within the borrowed slice, as just checked; no other piece takes this place.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}

#[cfg(test)]
mod tests;
