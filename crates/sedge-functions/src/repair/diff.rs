//! A unified diff of two texts.

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// Returns the difference as `patch` reads it, empty when there is none.
///
/// What is between the first and the last changed line is one hunk.
pub fn unified(name: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    if old == new {
        return String::new();
    }
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let from = head.saturating_sub(CONTEXT);
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let after_change = tail.min(CONTEXT);
    let range = |end: usize| {
        let count = end + after_change - from;
        let start = if count == 0 { from } else { from + 1 };
        format!("{start},{count}")
    };
    let mut text =
        format!("--- {name}\n+++ {name}\n@@ -{} +{} @@\n", range(old_end), range(new_end));
    let mut write = |sign: char, lines: &[&str]| {
        for line in lines {
            text.push(sign);
            text.push_str(line);
            if !line.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    };
    write(' ', &old[from..head]);
    write('-', &old[head..old_end]);
    write('+', &new[head..new_end]);
    write(' ', &old[old_end..old_end + after_change]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_a_missing_end() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let expected = "--- x\n+++ x\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n";
        assert_eq!(unified("x", before, &before.replace('e', "E")), expected);
        let expected = "--- x\n+++ x\n@@ -1,1 +1,2 @@\n+b\n a\n\\ No newline at end of file\n";
        assert_eq!(unified("x", "a", "b\na"), expected);
        assert_eq!(unified("x", "a", "a"), "");
    }
}
