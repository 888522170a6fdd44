//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("functions_component", crate::deploy::feed)];

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::all;
    use super::*;
    use crate::nesting::nested;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let custom = [&empty[..], b"\0\x05\x01aabc"].concat();
        let sections = (0..900).flat_map(|_| b"\0\x02\x01a".to_vec());
        let named = [
            ("functions_component", "truncated.refused", custom[..custom.len() - 2].to_vec()),
            ("functions_component", "malformed.refused", [&empty[..], &[0xff; 9]].concat()),
            (
                "functions_component",
                "huge.refused",
                [&empty[..], b"\0\xff\xff\xff\xff\x0f"].concat(),
            ),
            ("functions_component", "deep.refused", nested(2000)),
            ("functions_component", "version.refused", b"\0asm\x0e\0\x01\0".to_vec()),
            ("functions_component", "module.refused", b"\0asm\x01\0\0\0".to_vec()),
            (
                "functions_component",
                "sections.read",
                empty.iter().copied().chain(sections).collect(),
            ),
            ("functions_component", "sound.read", custom),
        ];
        all(TARGETS, &named);
    }
}
