//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[
    ("functions_answer", crate::code::feed_answer),
    ("functions_ask", crate::code::feed_ask),
    ("functions_component", crate::deploy::feed),
    ("functions_manifest", crate::spin::feed),
    ("functions_outbound", crate::outbound::feed),
    ("functions_redis", crate::redis::feed),
];

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
    use crate::nesting::nested;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let custom = [&empty[..], b"\0\x05\x01aabc"].concat();
        let sections = (0..900).flat_map(|_| b"\0\x02\x01a".to_vec());
        let mut named = vec![
            ("functions_component", "truncated.refused", custom[..custom.len() - 2].to_vec()),
            ("functions_component", "malformed.refused", [&empty[..], &[0xff; 9]].concat()),
            (
                "functions_component",
                "huge.refused",
                [&empty[..], b"\0\xff\xff\xff\xff\x0f"].concat(),
            ),
            ("functions_component", "deep.refused", nested(2000)),
            ("functions_component", "version.refused", b"\0asm\x0e\0\x01\0".to_vec()),
            ("functions_component", "module.refused", b"\0asm\x01\0\0\0".to_vec()),
            (
                "functions_component",
                "sections.read",
                empty.iter().copied().chain(sections).collect(),
            ),
            ("functions_component", "sound.read", custom),
        ];
        let ask = r#"{"timeout":30,"code":"import pandas","language":"python","stdin":"","sandbox":"auto"}"#;
        named.extend(json("functions_ask", ask));
        let put =
            r#"{"op":"put","session_id":"0123456789abcdef-00","path":"a/b","content":"eA=="}"#;
        named.push(("functions_ask", "session.read", put.into()));
        let stranger = ask.replace("auto", "outside");
        named.push(("functions_ask", "sandbox.refused", stranger.into_bytes()));
        let answer =
            r#"{"exit_code":0,"stdout":"2","stdout_bytes":1,"stderr":"","stderr_bytes":0}"#;
        named.extend(json("functions_answer", answer));
        let machine = r#"{"sandboxID":"i1x-abc","envdAccessToken":"token"}"#;
        named.push(("functions_answer", "machine.read", machine.into()));
        let elsewhere = machine.replace("i1x-abc", "a.elsewhere/");
        named.push(("functions_answer", "machine.refused", elsewhere.into_bytes()));
        let lines = "{\"type\":\"stdout\",\"text\":\"2\"}\n{\"type\":\"result\",\"text\":\"2\"}\n";
        named.push(("functions_answer", "lines.read", lines.into()));
        let manifest = "spin_manifest_version = 2\n[application]\nname = \"a\"\n[[trigger.http]]\n\
            route = \"/:b/...\"\ncomponent = \"c\"\n[component.c]\nsource = \"c.wasm\"\n";
        named.push(("functions_manifest", "sound.read", manifest.into()));
        named.push(("functions_manifest", "truncated.refused", manifest[..60].into()));
        named.push((
            "functions_manifest",
            "malformed.refused",
            manifest.replace("name", "noun").into(),
        ));
        named.push(("functions_manifest", "route.refused", manifest.replace("/:b", "/*/b").into()));
        named.push(("functions_manifest", "huge.refused", "[".repeat(40_000).into()));
        let added = "https://*.example.com:8443 authorization=Bearer {API_TOKEN}";
        for (name, text) in [
            ("sound.read", added),
            ("place.read", "http://[2001:db8::1]:8080"),
            ("network.read", "*://10.0.0.0/8:8000..9000"),
            ("truncated.refused", &added[..30]),
            ("malformed.refused", "https://a x={lower}"),
            ("star.refused", "https://a.*.b"),
            ("framing.refused", "https://a content-length=0"),
        ] {
            named.push(("functions_outbound", name, text.into()));
        }
        let list = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
        for (name, text) in [
            ("sound.read", list.to_owned()),
            ("number.read", ":-1\r\n".to_owned()),
            ("error.read", "-ERR no\r\n".to_owned()),
            ("truncated.refused", list[..list.len() - 3].to_owned()),
            ("malformed.refused", list.replace("$4", "$9")),
            ("huge.refused", "$99999999999\r\n".to_owned()),
            ("deep.refused", "*1\r\n".repeat(2000)),
        ] {
            named.push(("functions_redis", name, text.into()));
        }
        named.push((
            "functions_outbound",
            "huge.refused",
            [added.as_bytes(), &[b'x'; 2000]].concat(),
        ));
        all(TARGETS, &named);
    }
}
