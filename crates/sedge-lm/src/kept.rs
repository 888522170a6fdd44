//! What earlier conversations leave behind, so that their next turn need not be read again.
//!
//! Invariant: a sequence is used again only for tokens that are the same, by number; at least the
//! last token of a prompt is always computed again, as its logits are not kept.

use sedge_base::ByteSize;

use crate::engine::{Engine, SequenceId};

/// The most sequences that are kept.
const MAX_KEPT: usize = 16;

#[derive(Debug)]
struct Kept {
    sequence: SequenceId,
    tokens: Vec<u32>,
}

/// Sequences that nobody uses now, the one used last at the end.
#[derive(Debug)]
pub(crate) struct KeptSequences {
    kept: Vec<Kept>,
    /// The most tokens that are kept, all together.
    most: usize,
}

impl KeptSequences {
    /// Keeps up to `memory`, of which one token takes `token_bytes`.
    pub(crate) fn new(memory: ByteSize, token_bytes: usize) -> Self {
        let most = memory.as_bytes() / token_bytes.max(1) as u64;
        Self { kept: Vec::new(), most: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    /// Returns a sequence that holds the beginning of `prompt`, and how many tokens of it.
    pub(crate) fn take(&mut self, engine: &mut dyn Engine, prompt: &[u32]) -> (SequenceId, usize) {
        let shared = |it: &Kept| {
            let same = it.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            same.min(prompt.len().saturating_sub(1))
        };
        let lengths = self.kept.iter().map(shared).enumerate();
        let best = lengths.max_by_key(|(_, length)| *length);
        // What shares only its first words with this prompt stays for its own next turn.
        let best =
            best.filter(|(at, length)| *length > 0 && *length * 2 >= self.kept[*at].tokens.len());
        match best {
            Some((at, length)) => {
                let kept = self.kept.remove(at);
                engine.truncate(kept.sequence, length);
                (kept.sequence, length)
            }
            None => (engine.new_sequence(), 0),
        }
    }

    /// Keeps a sequence that holds `tokens`; what was used longest ago goes to make room.
    pub(crate) fn put(&mut self, engine: &mut dyn Engine, sequence: SequenceId, tokens: Vec<u32>) {
        if tokens.is_empty() {
            return engine.truncate(sequence, 0);
        }
        self.kept.push(Kept { sequence, tokens });
        let held = |kept: &[Kept]| kept.iter().map(|it| it.tokens.len()).sum::<usize>();
        while !self.kept.is_empty() && (held(&self.kept) > self.most || self.kept.len() > MAX_KEPT)
        {
            let oldest = self.kept.remove(0);
            engine.truncate(oldest.sequence, 0);
        }
    }
}
