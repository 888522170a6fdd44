//! Texts with variables in them: `https://{{ host }}/v1`.

use std::collections::BTreeMap;

/// Returns a text with its variables filled in; `Err` names one that nobody has given, or says that a
/// gap does not end.
pub(super) fn fill(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, left)) = after.split_once("}}") else {
            return Err(format!("`{text}` has a `{{{{` that does not end"));
        };
        let name = name.trim();
        let value = variables.get(name).ok_or_else(|| format!("there is no variable `{name}`"))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = left;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Returns whether a text is the name of a variable: small letters, digits and single underscores, a
/// letter first.
pub(super) fn is_variable(name: &str) -> bool {
    let sound = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(sound)
        && !name.contains("__")
        && !name.ends_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled() {
        let variables = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert_eq!(fill("x {{ a }}{{a}} }}", &variables), Ok("x 11 }}".to_owned()));
        assert_eq!(fill("{{ b }}", &variables), Err("there is no variable `b`".to_owned()));
        assert!(fill("{{ a", &variables).is_err());
    }

    #[test]
    fn names_are_snakes() {
        assert!(is_variable("api_key2"));
        for name in ["", "_a", "a_", "a__b", "A", "1a", "a-b"] {
            assert!(!is_variable(name), "{name}");
        }
    }
}
