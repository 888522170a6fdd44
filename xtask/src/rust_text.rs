//! Reading Rust source line by line, without a parser.

/// Returns the part of a file before its tests at the foot.
pub(crate) fn code_part(text: &str) -> &str {
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("#[cfg(test)]") && inline_module_follows(&text[from + line.len()..]) {
            return &text[..from];
        }
        from += line.len();
    }
    text
}

/// Returns whether the next item is `mod x {`, after further attributes.
fn inline_module_follows(rest: &str) -> bool {
    let item = rest.lines().map(str::trim).find(|it| !it.is_empty() && !it.starts_with("#["));
    item.is_some_and(|it| it.contains("mod ") && it.ends_with('{'))
}

/// Returns whether the file holds only tests, benches or examples.
pub(crate) fn is_beside_production(path: &str) -> bool {
    let folder =
        |name: &str| path.starts_with(&format!("{name}/")) || path.contains(&format!("/{name}/"));
    ["tests", "benches", "examples", "fixtures"].iter().any(|it| folder(it))
        || path.ends_with("/tests.rs")
}

/// Returns the comment in a line of Rust, if it has one outside a simple string.
pub(crate) fn comment(line: &str) -> Option<&str> {
    let mut quoted = false;
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'/' if !quoted && bytes.get(at + 1) == Some(&b'/') => return line.get(at..),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Counts the lines that hold code: neither blank nor only comment.
pub(crate) fn code_lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_at_the_foot_are_no_code() {
        assert_eq!(code_part("a\n#[cfg(test)]\nmod tests {\n}\n"), "a\n");
    }

    #[test]
    fn a_module_of_tests_elsewhere_hides_nothing() {
        let text = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
        assert_eq!(code_part(text), text);
    }

    #[test]
    fn a_comment_is_found_behind_a_string() {
        assert_eq!(comment(r#"let a = "http://x"; // why"#), Some("// why"));
        assert_eq!(comment(r#"let a = "// not";"#), None);
    }
}
