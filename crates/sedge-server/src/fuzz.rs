//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[
    ("server_address", address),
    ("server_anthropic", crate::anthropic::feed),
    ("server_grpc", crate::grpc::feed),
    ("server_ollama", crate::ollama::feed),
    ("server_openai", crate::openai::feed),
    ("server_page", crate::page::feed),
    ("server_rest", crate::rest::feed),
];

/// An address: what is asked of whom, and what a function sees of it.
fn address(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let asked = crate::rest::feed_address(text);
    crate::wasi_http::feed(text) && asked
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::named::json;
    use super::replay::all;
    use super::*;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let chat = r#"{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],"stop":"x","max_tokens":9}"#;
        let mut named = json("server_openai", chat);
        named.push((
            "server_openai",
            "embed.read",
            br#"{"model":"tiny","input":["a"],"encoding_format":"base64"}"#.to_vec(),
        ));
        let messages = r#"{"model":"tiny","max_tokens":9,"system":"be brief","messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}]}"#;
        named.extend(json("server_anthropic", messages));
        let chat = r#"{"model":"tiny:latest","messages":[{"role":"user","content":"hello"}],"options":{"temperature":0,"stop":["x"]},"format":"json"}"#;
        named.extend(json("server_ollama", chat));
        named.push((
            "server_ollama",
            "generate.read",
            br#"{"model":"tiny","prompt":"a"}"#.to_vec(),
        ));
        named.push(("server_ollama", "embed.read", br#"{"model":"tiny","input":["a"]}"#.to_vec()));
        let (key, nonce, by) = ("0".repeat(64), "0".repeat(32), "0".repeat(128));
        let message = format!(
            r#"{{"type":"message","seq":7,"topic":"a","body":{{"b":[1]}},"signature":"{by}"}}"#
        );
        named.extend(json("server_page", message));
        let join = format!(
            r#"{{"type":"join","token":"","page":"{key}","name":"a","nonce":"{nonce}","signature":"{by}"}}"#
        );
        named.push(("server_page", "join.read", join.into()));
        named.extend(json("server_rest", r#"{"ttl_s":60}"#));
        named.push(("server_rest", "join.read", br#"{"code":"7-otter-otter"}"#.to_vec()));
        named.push((
            "server_rest",
            "put.read",
            br#"{"soul":"lamp","key":"state","value":1}"#.to_vec(),
        ));
        let task = r#"{"function":"fn-1","input":"x"}"#;
        let batch = format!(r#"{{"tasks":[{task},{task}]}}"#);
        named.push(("server_rest", "batch.read", batch.into()));
        let plan = r#"{"strategy":"canary","percent":20,"gate":{"calls":5},"start":true}"#;
        named.push(("server_rest", "rollout.read", plan.into()));
        let when = r#"{"kind":"cron","cron":"0 9 * * MON-FRI"}"#;
        let plan = format!(r#"{{"task":{task},"when":{when}}}"#);
        named.push(("server_rest", "schedule.read", plan.into()));
        named.extend([
            ("server_address", "truncated.refused", b"/%?space=b&sou".to_vec()),
            ("server_address", "malformed.refused", b"/%?limit=%ff".to_vec()),
            ("server_address", "huge.refused", format!("/%?limit={}", "9".repeat(400)).into()),
            ("server_address", "deep.refused", "/a".repeat(30_000).into()),
            ("server_address", "unknown.refused", b"/%?c=d".to_vec()),
            ("server_address", "name.read", b"/text.echo".to_vec()),
            ("server_address", "sound.read", b"/graph?space=open&soul=lamp&key=a%20b".to_vec()),
        ]);
        // Field 1 of an edge's message is its registration: field 1 is its id, field 4 a tool whose field 1 is a name.
        let register = [&b"\x0a\x07kitchen\x22\x06\x0a\x04echo"[..]].concat();
        let sound = [&[0x0a, u8::try_from(register.len()).unwrap()][..], &register].concat();
        let deep: Vec<u8> = [0x1b_u8].repeat(4000);
        named.extend([
            ("server_grpc", "truncated.refused", sound[..sound.len() - 2].to_vec()),
            ("server_grpc", "malformed.refused", vec![0x0a, 0x02, 0xff, 0xff]),
            ("server_grpc", "huge.refused", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            ("server_grpc", "deep.refused", deep),
            ("server_grpc", "sound.read", sound),
            // Field 2 of what an edge is told is a request: field 1 is its id, 4 the tool, 5 the input, 9 an approval.
            ("server_grpc", "request.read", b"\x12\x0d\x0a\x01e\x22\x04echo\x2a\x02{}".to_vec()),
            (
                "server_grpc",
                "approval.refused",
                b"\x12\x0d\x0a\x01e\x22\x04echo\x4a\x02{}".to_vec(),
            ),
        ]);
        all(TARGETS, &named);
    }
}
