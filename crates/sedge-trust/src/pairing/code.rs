//! A short code that one person reads and another one types.

use std::fmt;
use std::str::FromStr;

use sedge_base::ErrorKind;

use super::words::WORDS;
use crate::random::{RandomError, random_bytes};

/// The longest text that is read as a code, in bytes.
pub const MAX_CODE_BYTES: usize = 128;

const MAX_PLATE: u8 = 99;

/// A pairing code such as `7-amber-otter-maple`: a number that finds the invite, and 24 secret bits.
///
/// [`fmt::Display`] shows it, for the person; [`fmt::Debug`] does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    plate: u8,
    words: [u8; 3],
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.plate)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plate)?;
        self.words.iter().try_for_each(|it| write!(f, "-{}", WORDS[usize::from(*it)]))
    }
}

/// Why a text is no pairing code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// It has not a number and three words.
    #[error("a code is a number and three words, such as 7-amber-otter-maple")]
    Shape,
    /// The number is not one that codes have.
    #[error("a code starts with a number from 1 to {MAX_PLATE}")]
    Number,
    /// A word is not in the list, so it was misheard or mistyped.
    #[error("`{word}` is not a word of pairing codes")]
    UnknownWord {
        /// The word as it was read.
        word: String,
    },
}

impl CodeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Code {
    /// Makes a new code from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when that source gives nothing.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_random(random_bytes()?))
    }

    /// Makes the code that belongs to four random bytes.
    pub const fn from_random(random: [u8; 4]) -> Self {
        let [plate, first, second, third] = random;
        Self { plate: plate % MAX_PLATE + 1, words: [first, second, third] }
    }

    /// Returns the number in front, 1 to 99: no secret, it tells open invites apart.
    pub const fn nameplate(&self) -> u8 {
        self.plate
    }

    /// Reads a code as people type it: any case, with spaces or hyphens.
    ///
    /// # Errors
    ///
    /// [`CodeError`]; an unknown word is named.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_CODE_BYTES {
            return Err(CodeError::Shape);
        }
        let text = text.to_ascii_lowercase();
        let parts = text.split(|it: char| it == '-' || it.is_whitespace());
        let parts: Vec<&str> = parts.filter(|it| !it.is_empty()).collect();
        let &[plate, first, second, third] = &parts[..] else { return Err(CodeError::Shape) };
        let Ok(plate @ 1..=MAX_PLATE) = plate.parse() else { return Err(CodeError::Number) };
        Ok(Self { plate, words: [index(first)?, index(second)?, index(third)?] })
    }
}

fn index(word: &str) -> Result<u8, CodeError> {
    let at = WORDS.iter().position(|it| *it == word).and_then(|it| u8::try_from(it).ok());
    at.ok_or_else(|| CodeError::UnknownWord { word: word.to_owned() })
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = Code::parse(text).map_or_else(|err| err.to_string(), |it| it.to_string());
        assert_eq!(got, expected);
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        check("7-amber-otter-maple", "7-amber-otter-maple");
        check("  7 Amber -OTTER\tmaple ", "7-amber-otter-maple");
    }

    #[test]
    fn what_is_no_code_says_why() {
        check("7-amber-otter", "a code is a number and three words, such as 7-amber-otter-maple");
        check("0-amber-otter-maple", "a code starts with a number from 1 to 99");
        check("seven-amber-otter-maple", "a code starts with a number from 1 to 99");
        check("7-amber-oter-maple", "`oter` is not a word of pairing codes");
    }

    #[test]
    fn codes_are_not_logged() {
        assert_eq!(format!("{:?}", Code::from_random([6, 0, 0, 0])), "Code(7-…)");
    }

    proptest! {
        #[test]
        fn every_code_is_read_back(random in any::<[u8; 4]>()) {
            let code = Code::from_random(random);
            prop_assert_eq!(Code::parse(&code.to_string()), Ok(code));
        }

        #[test]
        fn garbage_never_panics(text in ".{0,160}") {
            prop_assert!(Code::parse(&text).is_err());
        }
    }
}
