//! Scripts that fail, and changes with which they pass.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::code::with_snapshots;
use crate::machine::Machine;

/// Scripts that fail for one reason each, and what the mended one has.
const FAILING: [(&str, &str, &str); 8] = [
    (
        "name.py",
        "def total(prices):\n    amount = 0\n    for price in prices:\n        amount += pirce\n    return amount\n\nassert total([1, 2, 3]) == 6\n",
        "amount += price",
    ),
    (
        "import.py",
        "def area(radius):\n    return math.pi * radius ** 2\n\nassert round(area(2), 2) == 12.57\n",
        "import math",
    ),
    (
        "bound.py",
        "def squares(n):\n    return [i * i for i in range(1, n)]\n\nassert squares(3) == [1, 4, 9]\nassert squares(1) == [1]\n",
        "range(1, n + 1)",
    ),
    (
        "sign.py",
        "def mean(values):\n    return sum(values) * len(values)\n\nassert mean([2, 4]) == 3\nassert mean([5, 5, 5]) == 5\n",
        "sum(values) / len(values)",
    ),
    (
        "colon.py",
        "def sign(n):\n    if n < 0\n        return -1\n    return 1\n\nassert sign(-3) == -1\nassert sign(3) == 1\n",
        "if n < 0:",
    ),
    ("return.py", "def double(n):\n    n * 2\n\nassert double(4) == 8\n", "return n * 2"),
    (
        "method.py",
        "def evens(values):\n    found = []\n    for value in values:\n        if value % 2 == 0:\n            found.push(value)\n    return found\n\nassert evens([1, 2, 4]) == [2, 4]\n",
        "found.append(value)",
    ),
    (
        "length.js",
        "function last(items) {\n  return items[items.lenght - 1];\n}\n\nif (last([1, 2, 3]) !== 3) throw new Error('last: ' + last([1, 2, 3]));\n",
        "items.length - 1",
    ),
];

fn written(machine: &Machine, name: &str, text: &str) -> PathBuf {
    let path = machine.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn row_166_a_failing_script_is_shown_a_patch_that_makes_it_pass() {
    let one = with_snapshots("one");
    for (name, before, has) in FAILING {
        let script = written(&one, name, before);
        let path = script.to_str().unwrap();
        let run = |script: &str| one.run(&["exec", script]).status.success();
        assert!(!run(path), "{name} passes before");
        let told = one.json(&["fix", path]);
        let diff = told["patch"]["diff"].as_str().unwrap_or_default();
        assert!(diff.contains(has), "{name}: {told}");
        assert_eq!(told["patch"]["from"], "generated", "{told}");
        assert!(told["proven"].as_str().unwrap().contains("exit code 0"), "{told}");
        assert!(told["trouble"]["kind"].is_string(), "{told}");
        // Nothing is written unless it is asked for; the patch is one that `patch` takes.
        assert_eq!(fs::read_to_string(&script).unwrap(), before, "{name}");
        let file = written(&one, "change.diff", diff);
        let patched = one.folder().join(format!("patched-{name}"));
        let mut patch = Command::new("git");
        fs::copy(&script, &patched).unwrap();
        let renamed = diff.replace(path, patched.file_name().unwrap().to_str().unwrap());
        fs::write(&file, renamed).unwrap();
        let status = patch
            .args(["apply", "-p0", "--unsafe-paths", "change.diff"])
            .current_dir(one.folder())
            .status();
        assert!(status.unwrap().success(), "{name}: {diff}");
        assert!(run(patched.to_str().unwrap()), "{name}: {diff}");
        // The checks are the script's own, every one.
        let checks = |text: &str| {
            text.lines()
                .filter(|it| it.contains("assert") || it.contains("throw"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(checks(&fs::read_to_string(&patched).unwrap()), checks(before), "{name}");
        println!("{name}: {} after {} runs", told["patch"]["what"], told["tried"]["generated"]);
    }
}

#[test]
fn a_patch_is_applied_when_asked_for_and_none_is_made_up() {
    let one = with_snapshots("one");
    let script = written(&one, "a.py", "x = 1\nprint(y)\n");
    let path = script.to_str().unwrap();
    assert_eq!(one.json(&["fix", path, "--apply"])["applied"], true);
    assert_eq!(fs::read_to_string(&script).unwrap(), "x = 1\nprint(x)\n");
    let told = one.json(&["fix", path]);
    assert_eq!((&told["passes"], &told["patch"]), (&true.into(), &Value::Null), "{told}");

    // Nothing but another check would let this pass.
    let hopeless = "x = 'a'\nassert x == 'b' and x == 'c'\n";
    let script = written(&one, "b.py", hopeless);
    let (exit, error) = one.fails(&["fix", script.to_str().unwrap(), "--apply"]);
    let message = error["message"].as_str().unwrap();
    assert!(exit == 12 && message.contains("no change was found with which it passes"), "{error}");
    assert!(message.contains("no machine offers a chat model"), "{error}");
    assert_eq!(fs::read_to_string(&script).unwrap(), hopeless);

    let (exit, error) = one.fails(&["fix", "none.txt"]);
    assert_eq!((exit, &error["message"]), (2, &"the script's ending tells no language".into()));
}

#[test]
fn a_model_is_asked_and_what_it_says_must_pass_too() {
    let one = Machine::up_with_model("one");
    let script =
        written(&one, "a.js", "const a = 'x';\nif (a !== 'y' || a !== 'z') throw new Error(a);\n");
    let (exit, error) = one.fails(&["fix", script.to_str().unwrap()]);
    // The model of the tests is random: nothing that it says passes.
    let message = error["message"].as_str().unwrap();
    assert!(exit == 12 && message.contains("(tiny: "), "{error}");
}
