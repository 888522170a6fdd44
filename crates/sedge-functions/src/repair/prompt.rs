//! What a model is asked, and what is read out of its answer.

use crate::code::Language;

use super::review::Finding;
use super::trouble::Trouble;

/// Returns the words for a model: the error, what a reader found, and the source with numbered lines.
pub fn prompt(language: Language, source: &str, trouble: &Trouble, findings: &[Finding]) -> String {
    let Trouble { kind, message, lines, .. } = trouble;
    let mut text = format!("This {language} script fails with {kind}: {message}\n");
    if let Some(line) = lines.first() {
        text.push_str(&format!("The error is at line {line}.\n"));
    }
    for Finding { line, what } in findings.iter().take(5) {
        text.push_str(&format!("Line {line}: {what}.\n"));
    }
    text.push_str("\nThe script, with the numbers of its lines:\n\n");
    for (index, line) in source.lines().enumerate() {
        text.push_str(&format!("{:4}  {line}\n", index + 1));
    }
    text.push_str(&format!(
        "\nMend it with as small a change as possible. Leave every assert and every check as it is. Answer with the whole \
         script, without numbers, in one block that begins with ```{language} and ends with ```.\n"
    ));
    text
}

/// Returns the script in a model's answer: what its last whole block of code holds, or `None`.
pub fn code_of(answer: &str) -> Option<String> {
    let mut found = None;
    let mut rest = answer;
    while let Some((_, after)) = rest.split_once("```") {
        let Some((_, body)) = after.split_once('\n') else { break };
        let Some((code, next)) = body.split_once("```") else { break };
        found = Some(code.to_owned());
        rest = next;
    }
    found.filter(|it| !it.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_of_an_answer_is_the_script() {
        let answer = "Here:\n```python\nold()\n```\nor better\n```\nnew()\nmore()\n```\nDone.";
        assert_eq!(code_of(answer).as_deref(), Some("new()\nmore()\n"));
        for none in ["", "no code", "```python\nopen", "``` ```", "```\n\n```"] {
            assert_eq!(code_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_prompt_has_the_error_and_the_numbers() {
        let trouble = Trouble::of(
            Language::Python,
            "  File \"main.py\", line 2\nNameError: name 'b'\n",
            None,
        );
        let text = prompt(Language::Python, "a = 1\nb\n", &trouble, &[]);
        assert!(text.contains("NameError: name 'b'\nThe error is at line 2."), "{text}");
        assert!(text.contains("   1  a = 1\n   2  b\n"), "{text}");
    }
}
