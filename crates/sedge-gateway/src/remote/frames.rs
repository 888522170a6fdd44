//! Streams cut into what belongs together: server-sent events, or lines.

/// The longest line or event, in bytes: far more than any piece of an answer needs.
pub(crate) const LONGEST_FRAME: usize = 1 << 20;

/// How a provider cuts its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events, of which the data counts (WHATWG HTML, 9.2).
    Events,
    /// One JSON document a line.
    Lines,
}

/// A line or event is longer than any sound one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the answer is longer than {LONGEST_FRAME} bytes")]
pub(crate) struct TooLong;

/// Cuts a stream that comes in pieces of any size.
#[derive(Debug)]
pub(crate) struct Frames {
    framing: Framing,
    /// The line so far.
    line: Vec<u8>,
    /// The data of the event so far.
    data: Option<Vec<u8>>,
    /// Whether the last byte was a carriage return, behind which a line feed says nothing more.
    returned: bool,
}

impl Frames {
    /// Begins a stream.
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, line: Vec::new(), data: None, returned: false }
    }

    /// Takes the next piece; returns what it completes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut whole = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.returned) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|it| matches!(it, b'\n' | b'\r'));
            let (piece, ended) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + piece.len() > LONGEST_FRAME {
                return Err(TooLong);
            }
            self.line.extend_from_slice(piece);
            let Some(&terminator) = ended.first() else { break };
            self.returned = terminator == b'\r';
            rest = &ended[1..];
            let line = std::mem::take(&mut self.line);
            whole.extend(self.line(line)?);
        }
        Ok(whole)
    }

    /// Ends the stream; returns what its last line completes, also when nothing marked its end.
    pub(crate) fn finish(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let last = if line.is_empty() { None } else { self.line(line)? };
        Ok(last.or_else(|| self.data.take()))
    }

    fn line(&mut self, line: Vec<u8>) -> Result<Option<Vec<u8>>, TooLong> {
        if self.framing == Framing::Lines {
            return Ok((!line.trim_ascii().is_empty()).then_some(line));
        }
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let (field, value) = match line.iter().position(|it| *it == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..], &[][..]),
        };
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let before = self.data.as_ref().map_or(0, Vec::len);
            if before + value.len() >= LONGEST_FRAME {
                return Err(TooLong);
            }
            match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn cut(framing: Framing, pieces: &[&[u8]]) -> Vec<String> {
        let mut frames = Frames::new(framing);
        let mut whole = Vec::new();
        for piece in pieces {
            whole.extend(frames.push(piece).unwrap());
        }
        whole.extend(frames.finish().unwrap());
        whole.into_iter().map(|it| String::from_utf8_lossy(&it).into_owned()).collect()
    }

    #[track_caller]
    fn check(framing: Framing, text: &str, expected: Expect) {
        let whole = cut(framing, &[text.as_bytes()]);
        expected.assert_eq(&format!("{whole:?}"));
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(cut(framing, &bytes), whole, "byte by byte");
    }

    #[test]
    fn events_end_with_an_empty_line_of_any_sort() {
        let text =
            ": hi\nevent: x\ndata: 1\n\ndata:2\r\n\r\nid: 7\rdata: 3\rdata:  4\r\r\n\ndata: 5";
        check(Framing::Events, text, expect![[r#"["1", "2", "3\n 4", "5"]"#]]);
        check(Framing::Events, "event: ping\n\nretry\n\n:\n", expect!["[]"]);
    }

    #[test]
    fn lines_need_no_last_end() {
        check(Framing::Lines, "{}\n\r\n  \n[1]\r\n2", expect![[r#"["{}", "[1]", "2"]"#]]);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        for framing in [Framing::Events, Framing::Lines] {
            let mut frames = Frames::new(framing);
            let piece = vec![b'x'; LONGEST_FRAME];
            assert_eq!(frames.push(&piece), Ok(Vec::new()));
            assert_eq!(frames.push(b"x"), Err(TooLong));
        }
        let mut frames = Frames::new(Framing::Events);
        let line = [b"data: ".as_slice(), &[b'x'; LONGEST_FRAME / 2], b"\n"].concat();
        assert_eq!(frames.push(&line), Ok(Vec::new()));
        assert_eq!(frames.push(&line), Err(TooLong), "neither is an event of many lines");
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(
            text in "(data|event|:|[a-z {}\\r\\n]|\\n\\n){0,40}", at in 0..80_usize, events in any::<bool>(),
        ) {
            let framing = if events { Framing::Events } else { Framing::Lines };
            let (front, back) = text.as_bytes().split_at(at.min(text.len()));
            prop_assert_eq!(cut(framing, &[front, back]), cut(framing, &[text.as_bytes()]));
        }
    }
}
