//! By lot.

use super::Turn;

/// Mixes seed and node id by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014); the score
/// keeps 53 bits, which JSON carries exactly.
pub(super) fn score(turn: &Turn<'_>) -> u64 {
    let mut state = turn.seed;
    for bytes in turn.candidate.node.as_bytes().chunks_exact(8) {
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        state = mix(state ^ u64::from_le_bytes(word));
    }
    state >> 11
}

const fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
