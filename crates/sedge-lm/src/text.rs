//! Pieces of bytes to pieces of text: whole characters, and nothing of a stop string.

/// Why text ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on.
    Open,
    /// A stop string came.
    Stopped,
}

/// Text on its way out.
#[derive(Debug)]
pub(crate) struct TextStream {
    stops: Vec<String>,
    /// Bytes that are not a whole character yet.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

impl TextStream {
    /// Begins a text that ends before the first of `stops`, none of which is empty.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, bytes: Vec::new(), held: String::new() }
    }

    /// Takes a token's bytes; what may go out is appended to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut String) -> Flow {
        self.bytes.extend_from_slice(bytes);
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            taken += chunk.valid().len();
            if chunk.invalid().is_empty() {
                continue;
            }
            // At the very end it may be a character that is not complete yet.
            let last = taken + chunk.invalid().len() == self.bytes.len();
            if last && may_continue(chunk.invalid()) {
                break;
            }
            self.held.push(char::REPLACEMENT_CHARACTER);
            taken += chunk.invalid().len();
        }
        self.bytes.drain(..taken);
        let found = self.stops.iter().filter_map(|it| self.held.find(it.as_str())).min();
        if let Some(found) = found {
            out.push_str(&self.held[..found]);
            self.held.clear();
            self.bytes.clear();
            return Flow::Stopped;
        }
        let open = |start: &usize| {
            self.stops
                .iter()
                .any(|stop| stop.as_bytes().starts_with(&self.held.as_bytes()[*start..]))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let first = self.held.len().saturating_sub(longest);
        let keep = (first..self.held.len())
            .filter(|it| self.held.is_char_boundary(*it))
            .find(open)
            .unwrap_or(self.held.len());
        out.extend(self.held.drain(..keep));
        Flow::Open
    }

    /// Ends the text: what was held goes out.
    pub(crate) fn end(&mut self, out: &mut String) {
        out.push_str(&self.held);
        out.push_str(&String::from_utf8_lossy(&self.bytes));
        self.held.clear();
        self.bytes.clear();
    }
}

/// Returns whether more bytes can make a character of these, the end of a text.
fn may_continue(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(err) if err.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&[u8]], expected: &[&str], flow: Flow) {
        let mut stream = TextStream::new(stops.iter().map(|it| (*it).to_owned()).collect());
        let mut got = Vec::new();
        let mut last = Flow::Open;
        for piece in pieces {
            let mut out = String::new();
            last = stream.push(piece, &mut out);
            got.push(out);
        }
        let mut out = String::new();
        stream.end(&mut out);
        got.push(out);
        assert_eq!(
            (got.iter().map(String::as_str).collect::<Vec<_>>(), last),
            (expected.to_vec(), flow)
        );
    }

    #[test]
    fn characters_wait_until_they_are_whole() {
        check(&[], &[b"a\xe2", b"\x82", b"\xacb"], &["a", "", "\u{20ac}b", ""], Flow::Open);
    }

    #[test]
    fn what_never_becomes_a_character_is_replaced() {
        check(&[], &[b"a\xffb", b"\xe2"], &["a\u{fffd}b", "", "\u{fffd}"], Flow::Open);
    }

    #[test]
    fn a_stop_string_never_shows() {
        check(&["END"], &[b"say E", b"N", b"D now"], &["say ", "", "", ""], Flow::Stopped);
    }

    #[test]
    fn what_was_held_for_nothing_is_let_go() {
        check(&["END"], &[b"say E", b"Nough", b" E"], &["say ", "ENough", " ", "E"], Flow::Open);
    }

    #[test]
    fn the_first_of_several_stops_wins() {
        check(&["y", "xyz"], &[b"wxyz"], &["w", ""], Flow::Stopped);
    }
}
