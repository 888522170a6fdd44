//! What a component imports, told without the engine, so that everything it lacks can be named at once.

use crate::host::interface;
use crate::nesting::number;

/// What each component begins with: four bytes of Wasm, a version, a layer.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// The section that lists imports of a component.
const IMPORTS: u8 = 10;
/// The sort of an import that is an instance, behind which its type's number is.
const INSTANCE: u8 = 5;
/// The sort of an import that is a type, behind which its bound is.
const TYPE: u8 = 3;
/// The most imports that are told.
const MOST: usize = 64;

/// Returns what a component imports and functions cannot have here; `None` when the bytes are no component or are
/// not understood, which a deployment then says better.
pub(super) fn unsupported(wasm: &[u8]) -> Option<Vec<String>> {
    let mut rest = wasm.strip_prefix(HEADER)?;
    let mut lacking = Vec::new();
    while let Some((&section, after)) = rest.split_first() {
        let (size, used) = number(after)?;
        let (body, left) = after.get(used..)?.split_at_checked(size)?;
        if section == IMPORTS {
            read(body, &mut lacking)?;
        }
        rest = left;
    }
    lacking.truncate(MOST);
    Some(lacking)
}

/// Reads one section: for each import the sort of its name, the name, and what it is.
fn read(section: &[u8], lacking: &mut Vec<String>) -> Option<()> {
    let (count, used) = number(section)?;
    let mut rest = section.get(used..)?;
    for _ in 0..count {
        let (size, used) = number(rest.get(1..)?)?;
        let (name, what) = rest.get(1 + used..)?.split_at_checked(size)?;
        let name = std::str::from_utf8(name).ok()?;
        let (&sort, what) = what.split_first()?;
        let (known, size) = match (sort, what.first()?) {
            (INSTANCE, _) => (interface(name).is_some(), number(what)?.1),
            // A type that the component has itself: nothing that a host gives.
            (TYPE, 0) => (true, 1 + number(what.get(1..)?)?.1),
            // A resource, of its own name.
            (TYPE, _) => (false, 1),
            // What else there is stands alone, and is never had here; the rest of the section is not told.
            _ => {
                lacking.push(name.to_owned());
                return Some(());
            }
        };
        if !known {
            lacking.push(name.to_owned());
        }
        rest = what.get(size..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_component_lacks_is_named() {
        let mut body = vec![3];
        for name in ["wasi:io/poll@0.2.3", "fermyon:spin/mysql@2.0.0", "fermyon:spin/mqtt@2.0.0"] {
            body.extend([0, u8::try_from(name.len()).unwrap()]);
            body.extend(name.as_bytes());
            body.extend([5, 0]);
        }
        let size = u8::try_from(body.len()).unwrap();
        let wasm = [HEADER, &[0, 1, b'x', IMPORTS, size], &body].concat();
        let expected = ["fermyon:spin/mysql@2.0.0", "fermyon:spin/mqtt@2.0.0"].map(str::to_owned);
        assert_eq!(unsupported(&wasm), Some(expected.into()));
        let shape = include_bytes!("../../../../functions/shape.wasm");
        assert_eq!(unsupported(shape), Some(Vec::new()));
        let types = include_bytes!("../../../../functions/tick.wasm");
        assert_eq!(unsupported(types), Some(Vec::new()));
        assert_eq!(unsupported(b"\0asm\x01\0\0\0"), None);
    }

    proptest! {
        #[test]
        fn garbage_is_read_in_peace(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(unsupported(&[HEADER, &garbage].concat()));
            drop(unsupported(&[HEADER, &[IMPORTS, 100], &garbage].concat()));
        }
    }
}
