//! What guests may import: a list of interfaces, and the state behind them.
//!
//! No files: interpreters and C libraries import them, so the interfaces are there, but there is no folder to open. HTTP
//! requests and TCP connections go out where the deployment and the node say, and nowhere without them; nobody listens.

mod http;
mod key_value;
mod keyvalue;
mod redis;
mod sockets;
mod sqlite;
mod variables;
mod wasi;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::guard::{Guard, Guarded};

pub(crate) use http::Way;
pub(crate) use wasi::{Belongings, Surroundings, Wasi};

/// An interface that guests may import.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its name, with the version where that is not 0.2.
    pub(crate) name: &'static str,
    /// Whether it gives the same answers when a task is run again, anywhere.
    pub(crate) replayable: bool,
}

const fn same(name: &'static str) -> Interface {
    Interface { name, replayable: true }
}

const fn differs(name: &'static str) -> Interface {
    Interface { name, replayable: false }
}

/// What a component that is called at times speaks of.
const CRON_TYPES: &str = "fermyon:spin-cron/cron-types@2.0.0";

/// What a component that is called by messages speaks of; alone of all it has no version.
const REDIS_TYPES: &str = "fermyon:spin/redis-types";

/// Every interface that guests may import: in version 0.2 where no other is named.
pub(crate) const INTERFACES: &[Interface] = &[
    same("wasi:cli/environment"),
    same("wasi:cli/exit"),
    same("wasi:cli/stderr"),
    same("wasi:cli/stdin"),
    same("wasi:cli/stdout"),
    same("wasi:cli/terminal-input"),
    same("wasi:cli/terminal-output"),
    same("wasi:cli/terminal-stderr"),
    same("wasi:cli/terminal-stdin"),
    same("wasi:cli/terminal-stdout"),
    differs("wasi:clocks/monotonic-clock"),
    differs("wasi:clocks/wall-clock"),
    same("wasi:filesystem/preopens"),
    same("wasi:filesystem/types"),
    same("wasi:http/outgoing-handler"),
    same("wasi:http/types"),
    same("wasi:io/error"),
    same("wasi:io/poll"),
    same("wasi:io/streams"),
    differs("wasi:random/insecure"),
    differs("wasi:random/insecure-seed"),
    differs("wasi:random/random"),
    same(variables::CONFIG),
    same(variables::SPIN),
    differs(key_value::SPIN),
    differs(keyvalue::STORE),
    differs(keyvalue::ATOMICS),
    differs(keyvalue::BATCH),
    differs(sqlite::SPIN),
    same(CRON_TYPES),
    same(REDIS_TYPES),
    differs(redis::SPIN),
    same("wasi:sockets/instance-network"),
    same("wasi:sockets/ip-name-lookup"),
    same("wasi:sockets/network"),
    same("wasi:sockets/tcp"),
    same("wasi:sockets/tcp-create-socket"),
    same("wasi:sockets/udp"),
    same("wasi:sockets/udp-create-socket"),
];

/// Returns the interface that an import means, such as `wasi:io/poll@0.2.9`, or `None` when guests
/// may not have it.
pub(crate) fn interface(import: &str) -> Option<&'static Interface> {
    if import == REDIS_TYPES {
        return INTERFACES.iter().find(|it| it.name == REDIS_TYPES);
    }
    let (name, version) = import.split_once('@')?;
    if let Some(exact) = INTERFACES.iter().find(|it| it.name == import) {
        return Some(exact);
    }
    let known = version.starts_with("0.2.").then_some(name)?;
    INTERFACES.iter().find(|it| it.name == known)
}

/// The state of a guest that imports nothing.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) guard: Guard,
}

/// The interfaces by which requests and connections leave.
pub(crate) const OUTGOING: [&str; 2] = ["wasi:http/outgoing-handler", "wasi:sockets/tcp"];

impl Guarded for Bare {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

/// Makes the linker of guests that import something.
///
/// # Errors
///
/// When two interfaces collide, which they do not.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Wasi>> {
    let mut linker = Linker::new(engine);
    wasi::link(&mut linker)?;
    sockets::link(&mut linker)?;
    http::link(&mut linker)?;
    variables::link(&mut linker)?;
    key_value::link(&mut linker)?;
    keyvalue::link(&mut linker)?;
    sqlite::link(&mut linker)?;
    redis::link(&mut linker)?;
    // They have types alone.
    linker.instance(CRON_TYPES)?;
    linker.instance(REDIS_TYPES)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_line() {
        assert!(interface("wasi:io/poll@0.2.0").is_some_and(|it| it.replayable));
        assert!(interface("wasi:clocks/wall-clock@0.2.12").is_some_and(|it| !it.replayable));
        assert_eq!(interface("wasi:io/poll@0.3.0"), None);
        assert!(interface("fermyon:spin/variables@2.0.0").is_some());
        assert_eq!(interface("fermyon:spin/variables@3.0.0"), None);
        assert_eq!(interface("wasi:keyvalue/store@0.2.0"), None);
        assert_eq!(interface("wasi:io/poll"), None);
        assert!(interface("fermyon:spin/redis-types").is_some());
        assert_eq!(interface("fermyon:spin/redis-types@2.0.0"), None);
    }
}
