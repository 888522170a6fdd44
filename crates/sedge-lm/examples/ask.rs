//! Asks a model file one question: `cargo run --release -p sedge-lm --example ask -- MODEL QUESTION`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a person")]

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use sedge_lm::{ChatRequest, Message, Model, Options, Piece, Role, Sampling};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, question] = arguments.as_slice() else {
        return Err("usage: ask MODEL QUESTION".into());
    };
    let mut model = Model::open(Path::new(model), &Options::default())?;
    let request = ChatRequest {
        messages: vec![Message { role: Role::User, content: question.clone() }],
        max_tokens: Some(256),
        sampling: Sampling::default(),
        stop: Vec::new(),
        shape: None,
    };
    let mut out = std::io::stdout();
    let finished = model.chat(request, &AtomicBool::new(false), &mut |piece| {
        let Piece::Text(text) = piece else { return ControlFlow::Continue(()) };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    println!();
    eprintln!("{finished:?} by {}", model.info().kernel);
    Ok(())
}
