//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::future::Future;
use std::pin::pin;
use std::str;
use std::task::{Context, Poll, Waker};

use crate::{FrameError, FrameReader, RelayAddr, Topic};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[
    ("net_artifact", crate::artifact::tree::feed),
    ("net_ask", crate::artifact::ask::feed),
    ("net_card", card),
    ("net_frame", frame),
    ("net_handshake", crate::handshake::feed),
    ("net_packets", crate::mux::streams::feed),
    ("net_swarm", crate::swarm::machine::feed),
    ("net_websocket", |bytes| at_once(crate::websocket::feed(bytes)).unwrap_or(false)),
];

/// Returns what a future gives that waits for nothing; `None` when it waits.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(it) => Some(it),
        Poll::Pending => None,
    }
}

/// What tells where somebody is: a card, an announcement, a relay's address, a topic's name.
fn card(bytes: &[u8]) -> bool {
    let text = str::from_utf8(bytes).unwrap_or_default();
    let relay = text.parse::<RelayAddr>().is_ok_and(|it| it.to_string().parse() == Ok(it));
    relay || text.parse::<Topic>().is_ok() || crate::lan::feed(text) || crate::locate::feed(bytes)
}

/// Frames, one behind the other, with their payloads as JSON.
fn frame(bytes: &[u8]) -> bool {
    let read = async {
        let mut reader = FrameReader::new(bytes);
        let mut frames = 0;
        loop {
            match reader.next().await {
                Ok(Some(frame)) => drop(frame.parse::<serde_json::Value>()),
                Ok(None) => return frames > 0,
                Err(FrameError::TooLarge { .. }) => {}
                Err(_) => return false,
            }
            frames += 1;
        }
    };
    at_once(read).unwrap_or(false)
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sedge_base::NodeId;

    use super::named::json;
    use super::replay::{Named, all};
    use super::*;
    use crate::swarm::wire::{Key, Message, News, Post, Standing};

    fn key(it: u8) -> Key {
        Key::from(NodeId::from_bytes([it; 32]))
    }

    fn swarm_messages() -> Vec<Named> {
        let us = News {
            node: key(1),
            incarnation: 5,
            standing: Standing::Up,
            direct: vec!["10.0.0.1:7".parse().unwrap()],
        };
        let other = News { node: key(2), ..us.clone() };
        let post = Post {
            author: key(2),
            serial: 1,
            to: None,
            topic: "weather".to_owned(),
            limit: 3,
            body: Bytes::from_static(b"rain"),
            proof: [[0; 32]; 2],
            hops: 1,
        };
        let messages = [
            Message::Neighbour { urgent: true, us },
            Message::News(vec![other]),
            Message::Compare { buckets: vec![[0; 8]; 16], answer: false },
            Message::Post(post),
            Message::Have(vec![(key(3), 9)]),
            Message::Ping { nonce: 1 },
            Message::PingFor { nonce: 2, target: key(2) },
            Message::Want((key(2), 1)),
            Message::Prune,
        ];
        let mut sound = Vec::new();
        for message in messages {
            let Some(text) = message.encode().filter(|it| Message::<Key>::decode(it).is_ok())
            else {
                continue;
            };
            sound.push(1);
            sound.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            sound.extend(text);
        }
        let huge = vec![1, 0, 12, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        vec![
            ("net_swarm", "truncated.refused", sound[..sound.len() - 9].to_vec()),
            ("net_swarm", "malformed.refused", vec![1, 0, 2, 1, 7]),
            ("net_swarm", "huge.refused", huge),
            ("net_swarm", "version.refused", vec![1, 0, 1, 99]),
            ("net_swarm", "sound.read", sound),
        ]
    }

    fn packets() -> Vec<Named> {
        let packet = |kind: u8, stream: u64, len: u32, body: &[u8]| {
            [&[kind][..], &stream.to_be_bytes(), &len.to_be_bytes(), body].concat()
        };
        let sound = [
            packet(2, 2, 0, b""),
            packet(3, 2, 5, b"hello"),
            packet(9, 0, 8, b"12345678"),
            packet(5, 2, 0, b""),
        ];
        let mut named = vec![
            ("net_packets", "truncated.refused", packet(3, 2, 5, b"he")),
            ("net_packets", "malformed.refused", packet(99, 2, 0, b"")),
            ("net_packets", "huge.refused", packet(3, 2, u32::MAX, b"hello")),
            (
                "net_packets",
                "deep.refused",
                (1..400).flat_map(|it| packet(2, it * 2, 0, b"")).collect(),
            ),
            ("net_packets", "sound.read", sound.concat()),
        ];
        let message = |head: &[u8], packet: &[u8]| {
            let masked: Vec<u8> = [head, &[0; 4], packet].concat();
            masked
        };
        let small = packet(3, 2, 5, b"hello");
        let sealed = message(&[0x82, 0x80 | 18], &small);
        named.extend([
            ("net_websocket", "truncated.refused", sealed[..10].to_vec()),
            ("net_websocket", "malformed.refused", message(&[0xf2, 0x80 | 18], &small)),
            (
                "net_websocket",
                "huge.refused",
                message(&[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], &small),
            ),
            ("net_websocket", "deep.refused", [0x02_u8, 0x80, 0, 0, 0, 0].repeat(50)),
            ("net_websocket", "version.refused", b"SSH-2.0 200 \r\n\r\n".to_vec()),
            (
                "net_websocket",
                "proxy.read",
                b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
            ),
            ("net_websocket", "sound.read", [sealed, vec![0x88, 0x80, 0, 0, 0, 0]].concat()),
        ]);
        named
    }

    fn cards() -> Vec<Named> {
        let node = NodeId::from_bytes([1; 32]);
        let card = serde_json::json!({
            "version": 1, "node": node, "udp": ["10.0.0.2:7", "[2001:db8::1]:9"], "nameplate": 7,
        });
        let mut named = json("net_card", card.to_string());
        let version = card.to_string().replace("\"version\":1", "\"version\":9");
        named.push(("net_card", "version.refused", version.into()));
        named.push(("net_card", "invite.read", b"sedge-invite=4711".to_vec()));
        named.push(("net_card", "topic.read", b"weather/north".to_vec()));
        let relay = RelayAddr::at(node, "192.0.2.1:443".parse().unwrap()).to_string();
        named.push(("net_card", "relay.read", relay.into()));
        let ask =
            serde_json::json!({ "id": "ab".repeat(32), "bytes": { "start": 0, "end": 16384 } });
        named.extend(json("net_ask", ask.to_string()));
        named.push(("net_ask", "told.read", b"{\"size\":9007199254740993}".to_vec()));
        named
    }

    fn bytes() -> Vec<Named> {
        let framed =
            |kind: u8, len: u32, body: &[u8]| [&[kind][..], &len.to_be_bytes(), body].concat();
        let deep = framed(1, 4000, &[b'['; 4000]);
        let wish = [vec![1; 32], vec![2; 32], vec![3; 32], b"sedge/mesh/1".to_vec()].concat();
        let leaf = [1000_u32.to_be_bytes().to_vec(), vec![7; 1000]].concat();
        vec![
            ("net_frame", "truncated.refused", framed(1, 9, b"\"hel")),
            ("net_frame", "malformed.refused", vec![1, 0, 0]),
            ("net_frame", "huge.refused", framed(1, u32::MAX, b"hello")),
            ("net_frame", "deep.read", deep),
            ("net_frame", "sound.read", [framed(1, 7, b"\"hello\""), framed(2, 2, b"{}")].concat()),
            ("net_handshake", "truncated.refused", wish[..90].to_vec()),
            ("net_handshake", "malformed.refused", vec![9, 0, 0, 0, 0]),
            ("net_handshake", "huge.refused", vec![1; 9000]),
            ("net_handshake", "verdict.read", vec![1, 0, 0, 0, 0]),
            ("net_handshake", "sound.read", wish),
            ("net_artifact", "truncated.refused", leaf[..900].to_vec()),
            (
                "net_artifact",
                "malformed.refused",
                [40_000_u32.to_be_bytes().to_vec(), vec![7; 40_100]].concat(),
            ),
            ("net_artifact", "huge.refused", vec![0xff; 200]),
            ("net_artifact", "sound.read", leaf),
        ]
    }

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        all(TARGETS, &[swarm_messages(), packets(), cards(), bytes()].concat());
    }
}
