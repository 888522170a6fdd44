//! Which numbers of an author were seen already (as in RFC 6479).

const WORDS: usize = 16;
/// How far behind the highest number one may come.
const SPAN: u64 = 64 * (WORDS as u64 - 1);

/// The highest number and those shortly before it; everything older counts as seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// Returns whether a number has not come yet.
    pub(super) fn is_new(&self, serial: u64) -> bool {
        if serial > self.highest {
            return true;
        }
        let (word, bit) = place(serial);
        self.highest - serial < SPAN && self.seen[word] & bit == 0
    }

    /// Notes a number; `false` when it has come already, or is too old to tell.
    pub(super) fn take(&mut self, serial: u64) -> bool {
        if !self.is_new(serial) {
            return false;
        }
        if serial > self.highest {
            // The words between the old and the new highest number are used anew.
            let words = (serial / 64).saturating_sub(self.highest / 64).min(WORDS as u64);
            for ahead in 0..words {
                self.seen[place((serial / 64 - ahead) * 64).0] = 0;
            }
            self.highest = serial;
        }
        let (word, bit) = place(serial);
        self.seen[word] |= bit;
        true
    }
}

const fn place(serial: u64) -> (usize, u64) {
    ((serial / 64 % WORDS as u64) as usize, 1 << (serial % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_taken_once() {
        let mut window = Window::default();
        assert!(window.take(1_000_000) && !window.take(1_000_000));
        assert!(window.take(999_500) && !window.take(999_500));
        assert!(window.take(1_000_001) && window.take(999_501));
        assert!(!window.is_new(1_000_001 - SPAN), "too old to tell");
        assert!(window.take(u64::MAX) && !window.take(1_000_002));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(serials in proptest::collection::vec(0_u64..5000, 0..300)) {
            let mut window = Window::default();
            let mut taken = BTreeSet::new();
            let mut highest = 0;
            for serial in serials {
                let is_new = !taken.contains(&serial);
                let got = window.take(serial);
                prop_assert!(is_new || !got, "{} twice", serial);
                // Whatever is well inside the window is not lost.
                prop_assert!(!is_new || got || serial + SPAN - 64 <= highest, "{} lost", serial);
                if got {
                    taken.insert(serial);
                    highest = highest.max(serial);
                }
            }
        }
    }
}
