//! Named inputs of decoders that read JSON.

use super::replay::Named;

/// Returns a sound JSON text and what is wrong with texts like it: cut, not UTF-8, a number beyond all numbers,
/// nested without end and, where the text names its version, of another one.
pub(crate) fn json(target: &'static str, sound: impl Into<Vec<u8>>) -> Vec<Named> {
    let sound: Vec<u8> = sound.into();
    let text = String::from_utf8(sound.clone()).expect("JSON is UTF-8");
    let (front, back) = sound.split_at(sound.len() / 2);
    let mut named = vec![
        (target, "truncated.refused", sound[..sound.len() * 2 / 3].to_vec()),
        (target, "malformed.refused", [front, b"\xff", back].concat()),
        (target, "deep.refused", vec![b'['; 2000]),
    ];
    let digit = text.match_indices(|it: char| it.is_ascii_digit()).map(|(at, _)| at);
    let mut number = digit.filter(|at| text[..*at].ends_with([':', '[', ',']));
    let huge = match number.next() {
        Some(at) => format!("{}{}{}", &text[..at], "9".repeat(400), &text[at..]),
        None => format!("{{\"{}\":1}}", "k".repeat(9000)),
    };
    named.push((target, "huge.refused", huge.into_bytes()));
    if let Some(at) = text.find("/1\"") {
        let other = format!("{}/9{}", &text[..at], &text[at + 2..]);
        named.push((target, "version.refused", other.into_bytes()));
    }
    named.push((target, "sound.read", sound));
    named
}
