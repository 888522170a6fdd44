//! The deterministic lane: file, tokens, seed and arithmetic decide the answer, and nothing else does.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use expect_test::expect;
use sedge_lm::testing::tiny_model;
use sedge_lm::{
    ARITHMETIC, ChatRequest, EngineOptions, Gguf, Kernel, Message, Model, Options, Piece, Role,
    Sampler, Sampling, open_engine,
};

/// What a run gave: its tokens, and the bits of all logits on the way.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    tokens: Vec<u32>,
    logits: Vec<u32>,
}

impl Run {
    /// Returns a hash of everything (FNV-1a, 64 bits).
    fn hash(&self) -> u64 {
        let words = self.tokens.iter().chain(&self.logits);
        words.flat_map(|it| it.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

fn run(model: u64, seed: u64, kernel: Kernel, threads: usize) -> Run {
    let gguf = Gguf::from_bytes(tiny_model(model)).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    let mut engine = open_engine(&gguf, &EngineOptions { threads, kernel, window: None }).unwrap();
    assert_eq!(engine.info().arithmetic, ARITHMETIC);
    let mut sampler = Sampler::new(Sampling {
        temperature: 0.9,
        top_p: 0.95,
        top_k: 40,
        repeat_penalty: 1.1,
        seed,
        ..Sampling::default()
    });
    let sequence = engine.new_sequence();
    let mut run = Run { tokens: Vec::new(), logits: Vec::new() };
    let mut next: Vec<u32> = (0..150).map(|it| 3 + it * 7 % 256).collect();
    let mut logits = Vec::new();
    for _ in 0..40 {
        engine.decode(sequence, &next, &mut logits).unwrap();
        run.logits.extend(logits.iter().map(|it| it.to_bits()));
        let token = sampler.pick(&mut logits, &run.tokens).unwrap();
        run.tokens.push(token);
        next = vec![token];
    }
    run
}

/// Every kernel that this processor has, with one, two and three threads.
fn all() -> impl Iterator<Item = (Kernel, usize)> {
    let kernels = Kernel::ALL.into_iter().chain([Kernel::Auto]).filter(|it| it.is_here());
    kernels.flat_map(|kernel| [1, 2, 3].map(|threads| (kernel, threads)))
}

#[test]
fn kernels_and_threads_give_the_same_tokens_and_bits() {
    let expected = run(1, 5, Kernel::Scalar, 1);
    for (kernel, threads) in all() {
        assert!(run(1, 5, kernel, threads) == expected, "{kernel:?}, {threads} threads");
    }
}

#[test]
fn the_model_and_the_seed_count() {
    let hash = run(1, 5, Kernel::Auto, 1).hash();
    assert_ne!(run(1, 6, Kernel::Auto, 1).hash(), hash);
    assert_ne!(run(2, 5, Kernel::Auto, 1).hash(), hash);
}

/// A receipt names the arithmetic, and whoever replays it must get these bits. If this fails, the
/// arithmetic has changed: give [`ARITHMETIC`] another name, then renew the hashes.
#[test]
fn the_arithmetic_has_a_name() {
    let mut text = String::new();
    for (model, seed) in [(1, 5), (2, 5), (1, 6)] {
        let hash = run(model, seed, Kernel::Auto, 1).hash();
        writeln!(text, "{ARITHMETIC} model {model} seed {seed}: {hash:016x}").unwrap();
    }
    expect![[r#"
        sedge-lm-1 model 1 seed 5: df79b500f1f4c09c
        sedge-lm-1 model 2 seed 5: ca4d3f7c829e9b44
        sedge-lm-1 model 1 seed 6: 11be5e2460cbc4a5
    "#]]
    .assert_eq(&text);
}

/// How a prompt is split into what was kept and what is read now changes no bit.
#[test]
fn an_answer_after_a_kept_prompt_is_the_same_text() {
    let gguf = Gguf::from_bytes(tiny_model(3)).unwrap();
    let open = || Model::from_gguf(&gguf, &Options::default()).unwrap();
    let ask = |model: &mut Model, turns: &[&str]| {
        let turns = turns.iter().enumerate();
        let role = |at: usize| if at.is_multiple_of(2) { Role::User } else { Role::Assistant };
        let request = ChatRequest {
            messages: turns
                .map(|(at, it)| Message { role: role(at), content: (*it).to_owned() })
                .collect(),
            max_tokens: Some(40),
            sampling: Sampling { temperature: 1.0, seed: 11, ..Sampling::default() },
            stop: Vec::new(),
            shape: None,
        };
        let mut text = String::new();
        let finished = model.chat(request, &AtomicBool::new(false), &mut |piece| {
            if let Piece::Text(piece) = piece {
                text.push_str(piece);
            }
            ControlFlow::Continue(())
        });
        (text, finished.unwrap().cached_prompt_tokens)
    };
    let turns = ["tell me", "of what?", "of the sea, at night"];
    let (cold, none) = ask(&mut open(), &turns);
    let mut warm = open();
    for kept in [&turns[..1], &turns[..]] {
        ask(&mut warm, kept);
    }
    let (again, kept) = ask(&mut warm, &turns);
    assert_eq!((again, none), (cold, 0));
    assert!(kept > 0, "something was kept");
}

#[test]
fn whole_answers_are_the_same_text() {
    let gguf = Gguf::from_bytes(tiny_model(3)).unwrap();
    let answer = |kernel, threads| {
        let options = Options { kernel, threads: NonZeroUsize::new(threads), ..Options::default() };
        let mut model = Model::from_gguf(&gguf, &options).unwrap();
        let request = ChatRequest {
            messages: vec![Message { role: Role::User, content: "tell me".to_owned() }],
            max_tokens: Some(60),
            sampling: Sampling { temperature: 1.0, seed: 11, ..Sampling::default() },
            stop: Vec::new(),
            shape: None,
        };
        let mut text = String::new();
        let finished = model.chat(request, &AtomicBool::new(false), &mut |piece| {
            if let Piece::Text(piece) = piece {
                text.push_str(piece);
            }
            ControlFlow::Continue(())
        });
        (text, finished.unwrap().completion_tokens)
    };
    let expected = answer(Kernel::Scalar, 1);
    assert!(expected.1 > 1, "{expected:?}");
    for (kernel, threads) in all() {
        assert_eq!(answer(kernel, threads), expected, "{kernel:?}, {threads} threads");
    }
}
