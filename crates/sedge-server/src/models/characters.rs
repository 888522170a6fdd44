//! Text that comes in pieces of bytes.

/// Bytes on their way to text; the beginning of a character waits for its end.
#[derive(Debug, Default)]
pub(super) struct Characters(Vec<u8>);

impl Characters {
    /// Takes the next bytes and returns the whole characters; what can be none becomes `�`.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match str::from_utf8(&self.0) {
                Ok(all) => {
                    text.push_str(all);
                    self.0.clear();
                    return text;
                }
                Err(err) => {
                    let (good, rest) = self.0.split_at(err.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(good));
                    let Some(bad) = err.error_len() else {
                        self.0 = rest.to_vec();
                        return text;
                    };
                    text.push('\u{fffd}');
                    self.0 = rest[bad..].to_vec();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_never_cut() {
        let mut characters = Characters::default();
        let pieces =
            ["né".as_bytes().split_at(2).0, "é!".as_bytes().split_at(1).1, b"\xff.", b"\xe2\x82"];
        let got = pieces.map(|it| characters.push(it));
        assert_eq!(got, ["n", "é!", "\u{fffd}.", ""]);
        assert_eq!(characters.0, b"\xe2\x82");
    }
}
