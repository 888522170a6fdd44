//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::config::Config;

/// The decoders: a name, and what feeds them; it returns whether the input was taken.
pub const TARGETS: &[(&str, fn(&[u8]) -> bool)] = &[
    ("node_config", config),
    ("node_message", crate::wire::feed),
    ("node_pairing", crate::pair::feed),
    ("node_value", crate::graph::feed),
];

/// The configuration file, and a way through a relay as an invitation says it.
fn config(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let through = text.parse::<crate::relays::Through>();
    through.is_ok_and(|it| it.to_string().parse() == Ok(it)) || Config::parse(text, "here").is_ok()
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use sedge_base::NodeId;
    use serde_json::json as value;

    use super::named::json;
    use super::replay::{Named, all};
    use super::*;

    /// Puts the kind of its frame before each input of a form.
    fn framed(kind: u8, named: Vec<Named>) -> Vec<Named> {
        let with = |(target, name, bytes): Named| (target, name, [&[kind][..], &bytes].concat());
        named.into_iter().map(with).collect()
    }

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let key = "ab".repeat(32);
        let run = value!({
            "op": "run", "task": "task-001", "capability": "text.echo", "media": "plain",
            "budgets": sedge_capability::Budgets::default(), "deadline": 1_700_000_000_000_u64,
            "priority": 1, "length": 5,
        });
        let mut named = framed(1, json("node_message", run.to_string()));
        named.push((
            "node_message",
            "drain.read",
            b"\x01{\"op\":\"drain\",\"draining\":true}".to_vec(),
        ));
        named.push(("node_message", "roster.read", b"\x03{\"members\":[]}".to_vec()));
        named.push((
            "node_message",
            "version.refused",
            b"\x63{\"op\":\"drain\",\"draining\":true}".to_vec(),
        ));
        let knock =
            value!({"name": "edge", "session_key": key, "addresses": ["[::1]:9"], "nonce": key});
        named.extend(json("node_pairing", knock.to_string()));
        let config = "[node]\nname = \"otter\"\nmax_tasks = 4\n";
        named.extend([
            ("node_config", "truncated.refused", b"[node]\nname = \"ot".to_vec()),
            ("node_config", "malformed.refused", b"[node]\nname = 7\n".to_vec()),
            (
                "node_config",
                "huge.refused",
                format!("[node]\nmax_tasks = {}\n", "9".repeat(400)).into(),
            ),
            ("node_config", "deep.refused", [&b"a = "[..], &vec![b'['; 4000]].concat()),
            ("node_config", "unknown.refused", b"[node]\nnmae = \"otter\"\n".to_vec()),
            (
                "node_config",
                "relay.read",
                format!("{}@192.0.2.1:443", NodeId::from_bytes([1; 32])).into(),
            ),
            ("node_config", "sound.read", config.into()),
        ]);
        named.extend(json("node_value", "[1.5,2,3]"));
        named.push(("node_value", "link.read", b"{\"#\":\"lamp\"}".to_vec()));
        all(TARGETS, &named);
    }
}
