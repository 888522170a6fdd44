//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::config::Config;

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[
    ("node_config", config),
    ("node_message", crate::wire::feed),
    ("node_pairing", crate::pair::feed),
    ("node_plan", crate::plans::feed),
    ("node_schema", crate::registry::feed),
    ("node_time", crate::plans::feed_time),
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

    fn messages() -> Vec<Named> {
        let run = value!({
            "op": "run", "task": "task-001", "capability": "text.echo", "media": "plain",
            "budgets": sedge_capability::Budgets::default(), "deadline": 1_700_000_000_000_u64,
            "priority": 1, "length": 5,
        });
        let mut named = framed(1, json("node_message", run.to_string()));
        let node = NodeId::from_bytes([1; 32]);
        let restore = value!({
            "op": "restore", "name": "fn-1", "content": "ab".repeat(32),
            "options": { "needs": ["gpu", "region=eu"], "replicas": 2 },
        });
        let held = value!({
            "content": "ab".repeat(32), "options": {},
            "measured": { "calls": 9, "failed": 1, "took_us": [1, 2, 3] },
        });
        let others = [
            (1, "drain.read", value!({ "op": "drain", "draining": true })),
            (1, "where.read", value!({ "op": "where", "of": [node] })),
            (1, "restore.read", restore),
            (3, "roster.read", value!({ "members": [] })),
            (3, "found.read", value!({ node.to_string(): ["192.0.2.1:7", "[2001:db8::1]:9"] })),
            (3, "held.read", held),
            (99, "version.refused", value!({ "op": "drain", "draining": true })),
        ];
        let with = |(kind, name, text): (u8, &'static str, serde_json::Value)| {
            ("node_message", name, [&[kind][..], text.to_string().as_bytes()].concat())
        };
        named.extend(others.into_iter().map(with));
        named
    }

    fn plans() -> Vec<Named> {
        let task = value!({ "function": "fn-1", "input": "x", "budgets": { "fuel": 9 } });
        let when = value!({ "kind": "cron", "cron": "0 9 * * MON-FRI", "zone": "CET-1" });
        let schedule = value!({ "id": "a", "task": task, "when": when, "max_runs": 3 });
        let every = value!({ "task": task, "when": { "kind": "interval", "every_ms": 1000 } });
        let rollout = value!({
            "strategy": "canary", "percent": 20, "gate": { "calls": 5, "success": 99.5 },
            "nodes": ["otter"], "probes": ["x"], "options": { "replicas": 2 },
        });
        let mut named = json("node_plan", schedule.to_string());
        for (name, plan) in [
            ("every.read", every),
            ("rollout.read", rollout),
            ("batch.read", value!({ "tasks": [task, task] })),
            ("hex.refused", value!({ "tasks": [{ "function": "fn-1", "input_hex": "abc" }] })),
        ] {
            named.push(("node_plan", name, plan.to_string().into()));
        }
        let zone = "0 9 * * *\nCET-1CEST,M3.5.0,M10.5.0/3";
        for (name, text) in [
            ("truncated.refused", "0 9 *"),
            ("malformed.refused", "61 9 * * *"),
            ("never.refused", "0 0 30 2 *"),
            ("zone.refused", "0 9 * * *\nNowhere/No"),
            ("nickname.read", "@daily"),
            ("sound.read", zone),
        ] {
            named.push(("node_time", name, text.into()));
        }
        named.push(("node_time", "huge.refused", "9".repeat(400).into()));
        let schema =
            |schema: &str, input: &str| [schema.as_bytes(), b"\0", input.as_bytes()].concat();
        let sound = r#"{"type":"object","required":["a"],"properties":{"a":{"pattern":"^b+$"}}}"#;
        named.extend([
            ("node_schema", "truncated.refused", sound.as_bytes()[..40].to_vec()),
            ("node_schema", "malformed.refused", schema(r#"{"type":7}"#, "{}")),
            ("node_schema", "other-input.refused", schema(sound, r#"{"a":"c"}"#)),
            ("node_schema", "away.refused", schema(r#"{"$ref":"http://192.0.2.1/a"}"#, "{}")),
            ("node_schema", "huge.refused", schema(r#"{"pattern":"(a{999}){999}"}"#, "\"a\"")),
            ("node_schema", "deep.refused", schema(&"{\"not\":".repeat(200), "{}")),
            (
                "node_schema",
                "round.read",
                schema(
                    r##"{"$defs":{"a":{"items":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}"##,
                    "[[[]]]",
                ),
            ),
            ("node_schema", "sound.read", schema(sound, r#"{"a":"bb"}"#)),
        ]);
        named
    }

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let key = "ab".repeat(32);
        let mut named = messages();
        named.extend(plans());
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
