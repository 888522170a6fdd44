//! A function that does what its input says: well-behaved answers and every kind of misbehaviour.
//!
//! The input is a command word, a space and an argument. It imports nothing.

wit_bindgen::generate!({ path: "../../crates/sedge-functions/wit", world: "function" });

struct Probe;

export!(Probe);

impl Guest for Probe {
    fn process(input: Vec<u8>) -> Result<Vec<u8>, String> {
        let at = input.iter().position(|it| *it == b' ').unwrap_or(input.len());
        let rest = input.get(at + 1..).unwrap_or_default();
        match &input[..at] {
            b"echo" => Ok(rest.to_vec()),
            b"upper" => Ok(text(rest)?.to_uppercase().into_bytes()),
            b"fail" => Err(text(rest)?.to_owned()),
            b"spin" => Ok(spin(number(rest)?).to_string().into_bytes()),
            b"loop" => endless(),
            b"allocate" => Ok(allocate(number(rest)?).to_string().into_bytes()),
            b"grow" => Ok(grow(number(rest)?).to_string().into_bytes()),
            b"output" => Ok(vec![b'x'; number(rest)? as usize]),
            b"recurse" => Ok(recurse(number(rest)?).to_string().into_bytes()),
            b"panic" => panic!("asked to"),
            b"trap" => core::arch::wasm32::unreachable(),
            _ => Err("unknown command".to_owned()),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|_| "the argument is not text".to_owned())
}

fn number(bytes: &[u8]) -> Result<u64, String> {
    text(bytes)?.parse().map_err(|_| "the argument is not a number".to_owned())
}

/// Counts to `rounds` so that the compiler cannot take the way short.
fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(0, |sum, round| std::hint::black_box(sum ^ round))
}

fn endless() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

/// Allocates so many MiB and writes to every page.
fn allocate(mib: u64) -> u64 {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        blocks.push(std::hint::black_box(vec![1; 1 << 20]));
    }
    blocks.iter().map(|it| it.len() as u64).sum()
}

/// Asks for so many pages of 64 KiB at once; a refusal is a trap, as in most allocators.
fn grow(pages: u64) -> u64 {
    match core::arch::wasm32::memory_grow(0, pages as usize) {
        usize::MAX => core::arch::wasm32::unreachable(),
        before => before as u64,
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { std::hint::black_box(recurse(std::hint::black_box(depth - 1))) + 1 }
}
