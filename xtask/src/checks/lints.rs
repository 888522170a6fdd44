//! Every member has the lints of the house.

use toml::{Table, Value};

use super::Finding;
use crate::manifest::{self, Member};
use crate::tree::Tree;

/// Members with a copy of the lints, in which only `unsafe_code` is lifted: cargo can inherit lints as a whole only.
const LIFTED: [&str; 3] = ["sedge-lm", "sedge-functions", "sedge-fuzz"];

/// Finds members whose lints are not those of the workspace.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let root = manifest::root(tree).unwrap_or_default();
    let house = root.get("workspace").and_then(|it| it.get("lints")).and_then(Value::as_table);
    let house = house.cloned().unwrap_or_default();
    manifest::members(tree).iter().filter_map(|it| judge(it, &house)).collect()
}

fn judge(member: &Member, house: &Table) -> Option<Finding> {
    let own = member.table.get("lints").and_then(Value::as_table);
    let inherits = own.is_some_and(|it| it.get("workspace") == Some(&Value::Boolean(true)));
    if inherits {
        return None;
    }
    let Some(own) = own.filter(|_| LIFTED.contains(&member.name.as_str())) else {
        return Some(Finding::at(&member.path, "write `[lints] workspace = true`"));
    };
    let lifted = own.get("rust").and_then(|it| it.get("unsafe_code")).and_then(Value::as_str);
    if !matches!(lifted, Some("deny" | "warn")) {
        return Some(Finding::at(&member.path, "`unsafe_code` is at least `warn`"));
    }
    let differs = without_unsafe(own) != without_unsafe(house);
    differs.then(|| {
        Finding::at(&member.path, "lints differ from the root's in more than `unsafe_code`")
    })
}

fn without_unsafe(lints: &Table) -> Table {
    let mut lints = lints.clone();
    if let Some(rust) = lints.get_mut("rust").and_then(Value::as_table_mut) {
        rust.remove("unsafe_code");
        rust.remove("unsafe_op_in_unsafe_fn");
    }
    if let Some(clippy) = lints.get_mut("clippy").and_then(Value::as_table_mut) {
        clippy.remove("undocumented_unsafe_blocks");
        clippy.remove("missing_safety_doc");
    }
    lints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    const ROOT: &str = "[workspace.lints.rust]\nunsafe_code = 'forbid'\na = 'warn'\n";

    #[track_caller]
    fn check(name: &str, lints: &str, expected: &[&str]) {
        let member = format!("[package]\nname = '{name}'\n{lints}");
        let files = [("Cargo.toml", ROOT), ("crates/m/Cargo.toml", &member)];
        expect(find, &files, expected);
    }

    #[test]
    fn inherited() {
        check("sedge-a", "[lints]\nworkspace = true", &[]);
    }

    #[test]
    fn missing() {
        check("sedge-a", "", &["crates/m/Cargo.toml: write `[lints] workspace = true`"]);
    }

    #[test]
    fn a_copy_where_unsafe_is_lifted() {
        check("sedge-lm", "[lints.rust]\nunsafe_code = 'deny'\na = 'warn'", &[]);
    }

    #[test]
    fn a_copy_where_it_is_not() {
        let expected = ["crates/m/Cargo.toml: write `[lints] workspace = true`"];
        check("sedge-a", "[lints.rust]\nunsafe_code = 'deny'\na = 'warn'", &expected);
    }

    #[test]
    fn a_copy_that_drifted() {
        let expected =
            ["crates/m/Cargo.toml: lints differ from the root's in more than `unsafe_code`"];
        check("sedge-lm", "[lints.rust]\nunsafe_code = 'deny'\na = 'allow'", &expected);
    }

    #[test]
    fn a_copy_that_allows_everything() {
        let expected = ["crates/m/Cargo.toml: `unsafe_code` is at least `warn`"];
        check("sedge-lm", "[lints.rust]\nunsafe_code = 'allow'\na = 'warn'", &expected);
    }
}
