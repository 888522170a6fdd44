//! Which of two values of one key stands: GUN's hypothetical amnesia machine (HAM).

use crate::state::State;
use crate::value::Value;

/// How far ahead of this node's clock a state may lie, in milliseconds; beyond it is refused.
///
/// GUN sets no bound, so that a wrong clock fills memory.
pub const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

/// What becomes of a value that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its time has not come: it is judged again when the clock has reached its state.
    Defer,
    /// Its time is further away than [`MAX_AHEAD_MS`].
    TooFarAhead,
    /// What is known is newer.
    Historical,
    /// It stands from now on.
    Take,
    /// It is what is known already.
    Same,
}

/// Judges a value that came in against what is known of its key.
///
/// For any two values every node judges alike, in whatever order they came.
pub fn judge(incoming: (&Value, State), known: Option<(&Value, State)>, now: State) -> Verdict {
    let (value, state) = incoming;
    if state > now.plus_millis(MAX_AHEAD_MS) {
        return Verdict::TooFarAhead;
    }
    if state > now {
        return Verdict::Defer;
    }
    let Some((known, known_state)) = known else { return Verdict::Take };
    match state.cmp(&known_state) {
        std::cmp::Ordering::Less => Verdict::Historical,
        std::cmp::Ordering::Greater => Verdict::Take,
        std::cmp::Ordering::Equal => {
            let (new, old) = (value.text(), known.text());
            match new.encode_utf16().cmp(old.encode_utf16()) {
                std::cmp::Ordering::Less => Verdict::Historical,
                std::cmp::Ordering::Greater => Verdict::Take,
                std::cmp::Ordering::Equal => Verdict::Same,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_225_335_000_000;

    fn at(offset: i64) -> State {
        State::from_thousandths(NOW.saturating_add_signed(offset)).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[track_caller]
    fn check(new: (Value, i64), known: Option<(Value, i64)>, expected: Verdict) {
        let known = known.as_ref().map(|(value, state)| (value, at(*state)));
        assert_eq!(judge((&new.0, at(new.1)), known, at(0)), expected);
    }

    #[test]
    fn what_lies_ahead_waits_up_to_a_bound() {
        check((text("later"), 3_000_000), None, Verdict::Defer);
        check((text("later"), 0), None, Verdict::Take);
        check((text("later"), 300_000_000), None, Verdict::Defer);
        check((text("later"), 300_000_001), None, Verdict::TooFarAhead);
    }

    #[test]
    fn the_newer_state_stands_by_a_thousandth() {
        check((text("a"), -2), Some((text("b"), -1)), Verdict::Historical);
        check((text("a"), -1), Some((text("b"), -2)), Verdict::Take);
        check((Value::Null, -1), Some((text("b"), -2)), Verdict::Take);
    }

    #[test]
    fn equal_states_are_decided_by_the_json_text_in_utf_16() {
        // As seen of GUN 0.2020.1241.
        check((text("aaa…"), -1), Some((text("first"), -1)), Verdict::Historical);
        check((text("zzz…"), -1), Some((text("first"), -1)), Verdict::Take);
        check((text("first"), -1), Some((text("first"), -1)), Verdict::Same);
        // `"` sorts before digits, digits before letters.
        check((Value::Number(1.0), -1), Some((text("9"), -1)), Verdict::Take);
        check((Value::Null, -1), Some((Value::Bool(false), -1)), Verdict::Take);
        // U+E000 is above U+10000 in UTF-16, below it in UTF-8.
        check((text("\u{e000}"), -1), Some((text("\u{10000}"), -1)), Verdict::Take);
        check((text("\u{10000}"), -1), Some((text("\u{e000}"), -1)), Verdict::Historical);
    }
}
