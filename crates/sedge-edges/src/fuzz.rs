//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::{Ticket, ToolsFile};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("edges_ticket", ticket), ("edges_tools", tools)];

/// What an edge is told when it is enrolled.
fn ticket(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(ticket) = Ticket::parse(text) else { return false };
    let again = serde_json::to_string(&ticket).map(|it| Ticket::parse(&it));
    assert!(again.is_ok_and(|it| it.is_ok_and(|it| it == ticket)), "it is written as it was read");
    true
}

/// The file of an edge's tools, and what is announced of them.
fn tools(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|it| ToolsFile::parse(it).is_ok_and(|it| it.counts().0 > 0))
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

    use super::named::json;
    use super::replay::all;
    use super::*;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let edge = "kitchen".parse().unwrap();
        let (owner, pem) = (NodeId::from_bytes([1; 32]), "PEM".to_owned());
        let ticket = Ticket::new(&edge, "box:1", pem, "a-secret".to_owned(), owner);
        let ticket = serde_json::to_string(&ticket).unwrap();
        let mut named = json("edges_ticket", ticket.as_str());
        // An address is only a text here.
        named.retain(|(_, name, _)| *name != "huge.refused");
        let huge = ticket.replace("kitchen", &"kitchen".repeat(9000));
        named.push(("edges_ticket", "huge.refused", huge.into()));
        let tools = "[[tool]]\nname = 'a'\ncommand = ['true']\ntimeout = '2s'\n\
                     input_schema = { type = 'object' }\n";
        let huge = tools.replace("'true'", &format!("'{}'", "x".repeat(40_000)));
        named.extend([
            ("edges_tools", "truncated.refused", tools[..30].into()),
            ("edges_tools", "malformed.refused", tools.replace("'a'", "'a b'").into()),
            ("edges_tools", "twice.refused", tools.repeat(2).into()),
            ("edges_tools", "huge.refused", huge.into()),
            ("edges_tools", "deep.refused", [&b"a = "[..], &vec![b'['; 4000]].concat()),
            ("edges_tools", "sound.read", tools.into()),
        ]);
        all(TARGETS, &named);
    }
}
