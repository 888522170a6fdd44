//! A tiny model with random weights, for tests that need a real file and no download.
//!
//! It computes like any other model and says nothing sensible.

use crate::gguf::Format;
use crate::tiles::float_to_half;

const WIDTH: usize = 64;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const FORWARD: usize = 192;
const LAYERS: usize = 2;
/// The window of the tiny model, in tokens.
pub const TINY_WINDOW: u32 = 512;

/// Tokens that stand for more than a byte, made by merging pairs.
const MERGES: [&str; 13] =
    ["t h", "th e", "Ġ the", "i n", "a n", "e r", "o n", "r e", "Ġ a", "h e", "o u", "Ġ i", "n d"];

/// The chat template of the tiny model: turns between `<|im_start|>` and `<|im_end|>` (ChatML).
const TEMPLATE: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' \
                        + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
                        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Writes a GGUF file of the llama architecture with random weights: two layers, 64 wide, some
/// 170 KB. The same seed gives the same bytes.
///
/// Its matrices are stored in Q8_0, Q4_0 and Q4_1, its vocabulary is every byte and a few merges.
pub fn tiny_model(seed: u64) -> Vec<u8> {
    let mut file = Writer { seed, ..Writer::default() };
    let tokens = vocabulary();
    file.text("general.architecture", "llama");
    file.text("general.name", "tiny random test double");
    file.number("llama.block_count", LAYERS as u32);
    file.number("llama.context_length", TINY_WINDOW);
    file.number("llama.embedding_length", WIDTH as u32);
    file.number("llama.feed_forward_length", FORWARD as u32);
    file.number("llama.attention.head_count", HEADS);
    file.number("llama.attention.head_count_kv", KV_HEADS);
    file.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    file.float("llama.rope.freq_base", 10_000.0);
    file.text("tokenizer.chat_template", TEMPLATE);
    file.vocabulary(&tokens, &MERGES.map(str::to_owned));
    let count = tokens.len();
    let kv = WIDTH / HEADS as usize * KV_HEADS as usize;
    file.matrix("token_embd.weight", Format::Q8_0, count, WIDTH);
    file.matrix("output.weight", Format::Q8_0, count, WIDTH);
    file.ones("output_norm.weight", WIDTH);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let plain = if layer == 0 { Format::Q4_1 } else { Format::Q4_0 };
        file.ones(&name("attn_norm"), WIDTH);
        file.matrix(&name("attn_q"), Format::Q8_0, WIDTH, WIDTH);
        file.matrix(&name("attn_k"), plain, kv, WIDTH);
        file.matrix(&name("attn_v"), Format::F16, kv, WIDTH);
        file.matrix(&name("attn_output"), plain, WIDTH, WIDTH);
        file.ones(&name("ffn_norm"), WIDTH);
        file.matrix(&name("ffn_gate"), plain, FORWARD, WIDTH);
        file.matrix(&name("ffn_up"), plain, FORWARD, WIDTH);
        file.matrix(&name("ffn_down"), Format::Q8_0, WIDTH, FORWARD);
    }
    file.finish()
}

/// Writes a GGUF file that has a byte-level vocabulary, as GPT-2 writes it, and nothing to compute
/// with. The first three tokens are control tokens: the unknown one, the beginning and the end.
pub fn vocabulary_file(tokens: &[String], merges: &[String]) -> Vec<u8> {
    let mut file = Writer::default();
    file.text("general.architecture", "llama");
    file.vocabulary(tokens, merges);
    file.finish()
}

/// Three special tokens, every byte as GPT-2 writes it, and the merges.
fn vocabulary() -> Vec<String> {
    let specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned);
    let mut spare = 0x100_u32;
    let byte = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
        _ => {
            let stand_in = char::from_u32(spare).unwrap_or('?');
            spare += 1;
            stand_in.to_string()
        }
    };
    let bytes: Vec<String> = (0..=u8::MAX).map(byte).collect();
    let merged = MERGES.iter().map(|it| it.replace(' ', ""));
    specials.into_iter().chain(bytes).chain(merged).collect()
}

/// Collects the three parts of a file.
#[derive(Default)]
struct Writer {
    seed: u64,
    entries: u64,
    metadata: Vec<u8>,
    tensors: u64,
    listing: Vec<u8>,
    data: Vec<u8>,
}

impl Writer {
    fn string(into: &mut Vec<u8>, text: &str) {
        into.extend((text.len() as u64).to_le_bytes());
        into.extend(text.as_bytes());
    }

    fn entry(&mut self, key: &str, kind: u32) -> &mut Vec<u8> {
        self.entries += 1;
        Self::string(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        &mut self.metadata
    }

    fn text(&mut self, key: &str, text: &str) {
        Self::string(self.entry(key, 8), text);
    }

    fn number(&mut self, key: &str, number: u32) {
        self.entry(key, 4).extend(number.to_le_bytes());
    }

    fn float(&mut self, key: &str, number: f32) {
        self.entry(key, 6).extend(number.to_le_bytes());
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.entry(key, 7).push(flag.into());
    }

    fn texts<'a>(&mut self, key: &str, texts: impl ExactSizeIterator<Item = &'a str>) {
        let into = self.entry(key, 9);
        into.extend(8_u32.to_le_bytes());
        into.extend((texts.len() as u64).to_le_bytes());
        texts.for_each(|it| Self::string(into, it));
    }

    fn kinds(&mut self, key: &str, kinds: impl ExactSizeIterator<Item = i32>) {
        let into = self.entry(key, 9);
        into.extend(5_u32.to_le_bytes());
        into.extend((kinds.len() as u64).to_le_bytes());
        kinds.for_each(|it| into.extend(it.to_le_bytes()));
    }

    fn vocabulary(&mut self, tokens: &[String], merges: &[String]) {
        self.text("tokenizer.ggml.model", "gpt2");
        self.text("tokenizer.ggml.pre", "smollm");
        self.number("tokenizer.ggml.bos_token_id", 1);
        self.number("tokenizer.ggml.eos_token_id", 2);
        self.number("tokenizer.ggml.unknown_token_id", 0);
        self.flag("tokenizer.ggml.add_bos_token", false);
        self.texts("tokenizer.ggml.tokens", tokens.iter().map(String::as_str));
        self.texts("tokenizer.ggml.merges", merges.iter().map(String::as_str));
        let kinds = (0..tokens.len()).map(|at| if at < 3 { 3 } else { 1 });
        self.kinds("tokenizer.ggml.token_type", kinds);
    }

    fn tensor(&mut self, name: &str, format: u32, dimensions: &[usize], bytes: &[u8]) {
        self.tensors += 1;
        Self::string(&mut self.listing, name);
        self.listing.extend((dimensions.len() as u32).to_le_bytes());
        for size in dimensions {
            self.listing.extend((*size as u64).to_le_bytes());
        }
        self.listing.extend(format.to_le_bytes());
        self.listing.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
    }

    fn ones(&mut self, name: &str, length: usize) {
        let bytes: Vec<u8> = std::iter::repeat_n(1.0_f32.to_le_bytes(), length).flatten().collect();
        self.tensor(name, 0, &[length], &bytes);
    }

    fn matrix(&mut self, name: &str, format: Format, rows: usize, columns: usize) {
        let (block, size) = format.block();
        let mut bytes = Vec::with_capacity(rows * columns / block * size);
        for _ in 0..rows * columns / block {
            match format {
                Format::F16 => bytes.extend(float_to_half(self.value(0.25)).to_le_bytes()),
                Format::F32 => bytes.extend(self.value(0.25).to_le_bytes()),
                Format::Q4_0 => {
                    bytes.extend(float_to_half(1.0 / 32.0).to_le_bytes());
                    bytes.extend((0..16).map(|_| self.noise() as u8));
                }
                Format::Q4_1 => {
                    bytes.extend(float_to_half(1.0 / 32.0).to_le_bytes());
                    bytes.extend(float_to_half(-15.0 / 64.0).to_le_bytes());
                    bytes.extend((0..16).map(|_| self.noise() as u8));
                }
                Format::Q8_0 => {
                    bytes.extend(float_to_half(1.0 / 512.0).to_le_bytes());
                    bytes.extend((0..32).map(|_| (self.noise() as u8).max(0x81) ^ 0x80));
                }
            }
        }
        let number = match format {
            Format::F32 => 0,
            Format::F16 => 1_u32,
            Format::Q4_0 => 2,
            Format::Q4_1 => 3,
            Format::Q8_0 => 8,
        };
        self.tensor(name, number, &[columns, rows], &bytes);
    }

    fn value(&mut self, most: f32) -> f32 {
        ((self.noise() >> 40) as f32 / 8_388_608.0 - 1.0) * most
    }

    /// The next number that looks random (splitmix64).
    fn noise(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensors.to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(self.metadata);
        file.extend(self.listing);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(self.data);
        file
    }
}
