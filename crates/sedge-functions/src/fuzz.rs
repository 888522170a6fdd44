//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

/// The decoders: a name, and what feeds them; it returns whether the input was taken.
pub const TARGETS: &[(&str, fn(&[u8]) -> bool)] = &[("functions_component", crate::deploy::feed)];

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::all;
    use super::*;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let custom = [&empty[..], b"\0\x05\x01aabc"].concat();
        let sections = (0..900).flat_map(|_| b"\0\x02\x01a".to_vec());
        let mut nested = Vec::new();
        for _ in 0..200 {
            let inner = [&empty[..], &nested].concat();
            let mut length = inner.len();
            nested = vec![4];
            while length >= 0x80 {
                nested.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            nested.push(u8::try_from(length).unwrap());
            nested.extend(inner);
        }
        let named = [
            ("functions_component", "truncated.refused", custom[..custom.len() - 2].to_vec()),
            ("functions_component", "malformed.refused", [&empty[..], &[0xff; 9]].concat()),
            (
                "functions_component",
                "huge.refused",
                [&empty[..], b"\0\xff\xff\xff\xff\x0f"].concat(),
            ),
            ("functions_component", "deep.refused", [&empty[..], &nested].concat()),
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
