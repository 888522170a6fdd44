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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{EngineError, ModelInfo};

    /// Counts sequences and computes nothing.
    #[derive(Default)]
    struct EngineDouble {
        made: u64,
        /// How long each sequence was left by the last `truncate`; nothing for one that ended.
        alive: BTreeMap<SequenceId, usize>,
    }

    impl Engine for EngineDouble {
        fn info(&self) -> &ModelInfo {
            unreachable!("what is kept does not depend on it")
        }

        fn new_sequence(&mut self) -> SequenceId {
            self.made += 1;
            self.alive.insert(SequenceId(self.made), 0);
            SequenceId(self.made)
        }

        fn truncate(&mut self, sequence: SequenceId, len: usize) {
            if len == 0 {
                self.alive.remove(&sequence);
            } else {
                self.alive.insert(sequence, len);
            }
        }

        fn decode(
            &mut self,
            _: SequenceId,
            _: &[u32],
            _: &mut Vec<f32>,
        ) -> Result<(), EngineError> {
            Err(EngineError::Nothing)
        }
    }

    fn room(tokens: u64) -> KeptSequences {
        KeptSequences::new(ByteSize::from_bytes(tokens * 8), 8)
    }

    /// Lets each conversation be had and kept; returns the engine and how much each found kept.
    fn had(kept: &mut KeptSequences, conversations: &[&[u32]]) -> (EngineDouble, Vec<usize>) {
        let mut engine = EngineDouble::default();
        let mut found = Vec::new();
        for tokens in conversations {
            let (sequence, cached) = kept.take(&mut engine, tokens);
            found.push(cached);
            kept.put(&mut engine, sequence, tokens.to_vec());
        }
        (engine, found)
    }

    #[track_caller]
    fn check(tokens: u64, conversations: &[&[u32]], found: &[usize], alive: usize) {
        let (engine, got) = had(&mut room(tokens), conversations);
        assert_eq!(got, found);
        assert_eq!(engine.alive.len(), alive);
    }

    #[test]
    fn the_next_turn_goes_on_where_the_last_ended() {
        check(100, &[&[1, 2, 3], &[1, 2, 3, 4, 5]], &[0, 3], 1);
    }

    #[test]
    fn the_last_token_is_always_computed_again() {
        check(100, &[&[1, 2, 3], &[1, 2, 3]], &[0, 2], 1);
        check(100, &[&[1], &[1]], &[0, 0], 2);
    }

    #[test]
    fn a_turn_that_was_changed_keeps_what_comes_before() {
        check(100, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 9, 9, 9]], &[0, 3], 1);
    }

    #[test]
    fn what_shares_little_stays_for_its_own_next_turn() {
        let long: Vec<u32> = (0..20).collect();
        check(100, &[&long, &[0, 1, 99], &long], &[0, 0, 19], 2);
    }

    #[test]
    fn the_longest_beginning_is_taken() {
        let other = [1, 2, 9, 9, 9, 9];
        check(100, &[&[1, 2, 3, 4, 5, 6], &other, &[1, 2, 9, 9, 9, 9, 9]], &[0, 0, 6], 2);
        check(100, &[&[7, 7, 7], &[1, 2, 3], &[7, 7, 7, 7]], &[0, 0, 3], 2);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut kept = room(6);
        let (mut engine, _) = had(&mut kept, &[&[1, 1, 1], &[2, 2, 2], &[3, 3, 3]]);
        assert_eq!(engine.alive.len(), 2);
        assert_eq!(kept.take(&mut engine, &[2, 2, 2, 2]).1, 3);
        assert_eq!(kept.take(&mut engine, &[1, 1, 1, 1]).1, 0);
    }

    #[test]
    fn a_conversation_larger_than_the_room_is_not_kept() {
        check(2, &[&[1, 2, 3]], &[0], 0);
        check(0, &[&[1]], &[0], 0);
    }

    #[test]
    fn no_more_than_so_many_are_kept() {
        let all: Vec<[u32; 2]> = (0..MAX_KEPT as u32 + 3).map(|it| [it, it]).collect();
        let all: Vec<&[u32]> = all.iter().map(<[u32; 2]>::as_slice).collect();
        let (engine, _) = had(&mut room(1000), &all);
        assert_eq!(engine.alive.len(), MAX_KEPT);
    }

    #[test]
    fn a_sequence_that_holds_nothing_ends() {
        let mut engine = EngineDouble::default();
        let mut kept = room(100);
        let (sequence, _) = kept.take(&mut engine, &[1, 2]);
        kept.put(&mut engine, sequence, Vec::new());
        assert!(engine.alive.is_empty());
    }

    #[test]
    fn the_engine_forgets_what_is_not_shared() {
        let mut kept = room(100);
        let (mut engine, _) = had(&mut kept, &[&[1, 2, 3, 4]]);
        let (sequence, cached) = kept.take(&mut engine, &[1, 2, 3, 9]);
        assert_eq!((cached, engine.alive[&sequence]), (3, 3));
    }
}
