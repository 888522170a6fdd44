//! How deep components lie within each other, told without the engine.
//!
//! The engine needs memory with the square of that depth: a quarter of a MiB of components in components takes it 8 GiB.

/// The deepest that is taken; tools that compose components make two or three levels.
pub(crate) const DEEPEST: usize = 32;

/// What each component begins with: four bytes of Wasm, a version, a layer.
const HEADER: usize = 8;

/// The section that holds another component.
const COMPONENT: u8 = 4;

/// Returns how deep components lie in this one, which counts itself, at most one more than [`DEEPEST`]; `None` when its
/// sections are not whole.
pub(crate) fn depth(wasm: &[u8]) -> Option<usize> {
    let mut ends = vec![wasm.len()];
    let mut deepest = 1;
    let mut at = HEADER;
    while let Some(&end) = ends.last() {
        if at == end {
            ends.pop();
            continue;
        }
        let (&id, rest) = wasm.get(at..end)?.split_first()?;
        let (size, used) = number(rest)?;
        let body = at + 1 + used;
        let over = body.checked_add(size).filter(|it| *it <= end)?;
        at = over;
        if id == COMPONENT {
            ends.push(over);
            deepest = deepest.max(ends.len());
            if deepest > DEEPEST {
                return Some(deepest);
            }
            at = body + HEADER;
        }
    }
    Some(deepest)
}

/// Reads a number in LEB128 and how many bytes it takes, five at most.
pub(crate) fn number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, at + 1));
        }
    }
    None
}

/// Returns a component that holds so many others, each in the one before.
#[cfg(test)]
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    let empty = b"\0asm\x0d\0\x01\0";
    let mut component = empty.to_vec();
    for _ in 0..depth {
        let mut size = component.len();
        let mut outer = [&empty[..], &[COMPONENT]].concat();
        while size >= 0x80 {
            outer.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        outer.push(u8::try_from(size).unwrap());
        outer.extend(component);
        component = outer;
    }
    component
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn components_in_components_are_counted() {
        for depth in [0, 1, 2, DEEPEST - 1, DEEPEST, 300] {
            assert_eq!(super::depth(&nested(depth)), Some((depth + 1).min(DEEPEST + 1)));
        }
        // Two beside each other are no deeper than one.
        let inner = &nested(1)[HEADER..];
        assert_eq!(depth(&[&nested(1)[..], inner].concat()), Some(2));
        let cut = nested(3);
        assert_eq!(depth(&cut[..cut.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(depth(&garbage).is_none_or(|it| it <= DEEPEST + 1));
        }
    }
}
