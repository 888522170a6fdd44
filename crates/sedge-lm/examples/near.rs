//! Tells how near texts are to the first: `cargo run --release -p sedge-lm --example near -- MODEL TEXT…`.

#![expect(clippy::print_stdout, reason = "a program that talks to a person")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;

use sedge_lm::Embedder;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((model, texts)) = arguments.split_first() else {
        return Err("usage: near MODEL TEXT…".into());
    };
    let embedder = Embedder::open(Path::new(model), NonZeroUsize::MIN)?;
    let vectors = embedder.embed(texts)?.vectors;
    let Some(first) = vectors.first() else { return Err("there is no text".into()) };
    for (text, vector) in texts.iter().zip(&vectors) {
        let cosine: f32 = first.iter().zip(vector).map(|(a, b)| a * b).sum();
        println!("{cosine:.4}  {text}");
    }
    Ok(())
}
