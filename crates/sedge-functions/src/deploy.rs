//! From bytes that somebody sent to a component that can be called, or to a reason why not.

use std::collections::BTreeMap;

use bytes::Bytes;
use sedge_base::{ByteSize, ContentId, ErrorKind};
use sedge_capability::{Budgets, Idempotence, Name};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Type};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::call::{Program, Shape};
use crate::host::{Bare, OUTGOING, Surroundings, Wasi, interface};
use crate::nesting::{DEEPEST, depth};
use crate::outbound::Outbound;
use crate::spin::Share;

/// A function that somebody wants to have here.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// What callers will use.
    pub name: Name,
    /// One sentence for people and for models that choose tools; empty for a standard one.
    pub summary: String,
    /// The component.
    pub wasm: Bytes,
    /// The id that the component must have; `None` takes what comes.
    pub expect: Option<ContentId>,
    /// The most that one task may use; the node's own limits hold beside it.
    pub limits: Budgets,
    /// Environment variables that the guest sees.
    pub env: BTreeMap<String, String>,
    /// Arguments that the guest sees.
    pub args: Vec<String>,
    /// What the function has from the application that it is a part of.
    pub share: Option<Share>,
    /// Where the guest may send requests, and what the host adds to them.
    pub outbound: Outbound,
    /// Labels that routes filter by.
    pub labels: BTreeMap<String, String>,
    /// Whether a broken-off task may be repeated.
    pub idempotence: Idempotence,
}

impl Deployment {
    /// Makes a deployment with the node's limits and nothing else set.
    pub fn new(name: Name, wasm: Bytes) -> Self {
        Self {
            name,
            summary: String::new(),
            wasm,
            expect: None,
            limits: Budgets::default(),
            env: BTreeMap::new(),
            args: Vec::new(),
            share: None,
            outbound: Outbound::default(),
            labels: BTreeMap::new(),
            idempotence: Idempotence::Once,
        }
    }
}

/// Entries of the environment, the arguments or the labels, each.
const MOST_ENTRIES: usize = 128;
/// Bytes of the environment, the arguments or the labels, each.
const MOST_BYTES: usize = 64 << 10;

/// Bytes of the routes of one function.
const MOST_ROUTES: usize = 4 << 10;

/// Why a function was not deployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The bytes are more than this node takes.
    #[error("the component has {got}, more than the {limit} that this node takes")]
    TooLarge {
        /// What was sent.
        got: ByteSize,
        /// What is taken.
        limit: ByteSize,
    },
    /// The bytes have another id than was expected: damaged, or not what was asked for.
    #[error("the component has the id {got}, not {expected}")]
    OtherContent {
        /// What was expected.
        expected: ContentId,
        /// What was sent.
        got: ContentId,
    },
    /// The environment, the arguments or the labels are too many, too long or not allowed.
    #[error("the {what} must be {must_be}")]
    Setting {
        /// Which of them.
        what: &'static str,
        /// What it must be, in words.
        must_be: &'static str,
    },
    /// The bytes are no Wasm at all.
    #[error("this is not WebAssembly: it begins with other bytes")]
    NotWasm,
    /// The bytes are a core module.
    #[error(
        "this is a core module, not a component; `wasm-tools component new` makes one of it, \
         or build for the target wasm32-wasip2"
    )]
    CoreModule,
    /// No component can be made of a core module.
    #[error("this core module cannot be made a component: {reason}")]
    NotMade {
        /// What is missing, or the encoder's words.
        reason: String,
    },
    /// The bytes are of a version or layer that the engine does not know.
    #[error("this is WebAssembly of an unknown version")]
    UnknownVersion,
    /// Components lie in components, and so on, too deep.
    #[error("components lie more than {DEEPEST} deep within each other")]
    TooDeep,
    /// The engine refuses the component.
    #[error("the component is damaged or needs what this node does not have: {reason}")]
    Refused {
        /// The engine's words.
        reason: String,
    },
    /// The component imports something that guests may not have here.
    #[error("the component imports `{import}`, which functions cannot have here")]
    Import {
        /// The imports' names.
        import: String,
    },
    /// The node's configuration does not let functions reach a server whose messages call it.
    #[error(
        "functions of this node may not reach {address}: `functions.local_places` does not name it, or `functions.outbound` is `none`"
    )]
    Unreachable {
        /// Where the server is.
        address: String,
    },
    /// The component exports nothing that can be called.
    #[error(
        "the component exports neither `process: func(input: list<u8>) -> result<list<u8>, string>` \
         nor `wasi:http/incoming-handler@0.2` nor `handle-cron-event` nor `fermyon:spin/inbound-redis`"
    )]
    NoEntry,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

impl DeployError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. }
            | Self::Setting { .. }
            | Self::NotWasm
            | Self::CoreModule
            | Self::NotMade { .. }
            | Self::UnknownVersion
            | Self::TooDeep
            | Self::Refused { .. }
            | Self::NoEntry => ErrorKind::Invalid,
            Self::OtherContent { .. } => ErrorKind::Corrupt,
            Self::Unreachable { .. } => ErrorKind::Denied,
            Self::Import { .. } => ErrorKind::Unsupported,
            Self::Stopping => ErrorKind::Unavailable,
        }
    }

    /// Returns the stable name that machines read, such as `core_module`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "component_too_large",
            Self::OtherContent { .. } => "other_content",
            Self::Setting { .. } => "bad_setting",
            Self::NotWasm => "not_wasm",
            Self::CoreModule => "core_module",
            Self::NotMade { .. } => "no_component",
            Self::UnknownVersion => "unknown_version",
            Self::TooDeep => "component_too_deep",
            Self::Refused { .. } => "component_refused",
            Self::Import { .. } => "import_unsupported",
            Self::NoEntry => "no_entry",
            Self::Unreachable { .. } => "unreachable_server",
            Self::Stopping => "stopping",
        }
    }
}

/// Checks what can be checked without the engine; returns the component's id.
pub(crate) fn check(deployment: &Deployment, limit: ByteSize) -> Result<ContentId, DeployError> {
    let Deployment { name, wasm, expect, env, args, share, outbound, labels, .. } = deployment;
    let got = ByteSize::from_bytes(wasm.len() as u64);
    if got > limit {
        return Err(DeployError::TooLarge { got, limit });
    }
    let pairs = |it: &BTreeMap<String, String>| -> Vec<usize> {
        it.iter().map(|(key, value)| key.len() + value.len()).collect()
    };
    within("environment", &pairs(env))?;
    if let Some(share) = share {
        within("variables", &pairs(&share.variables))?;
        // The whole swarm is told of them.
        if share.routes.iter().map(|it| it.to_string().len()).sum::<usize>() > MOST_ROUTES {
            return Err(DeployError::Setting { what: "routes", must_be: "at most 4 KiB" });
        }
        if !share.fits(name.as_str()) {
            let must_be = "one whose name the function's begins with, and what it keeps named in letters, digits and `_-`";
            return Err(DeployError::Setting { what: "application", must_be });
        }
    }
    within("labels", &pairs(labels))?;
    within("arguments", &args.iter().map(String::len).collect::<Vec<_>>())?;
    let entries = outbound.places.iter().map(|it| it.to_string().len());
    let entries = entries.chain(outbound.headers.iter().map(|it| it.to_string().len()));
    within("outbound places and headers", &entries.collect::<Vec<_>>())?;
    if env.keys().any(|it| it.is_empty() || it.contains(['=', '\0'])) {
        let must_be = "named by at least one character, without `=` and NUL";
        return Err(DeployError::Setting { what: "environment", must_be });
    }
    match wasm.as_ref() {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => {}
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => return Err(DeployError::CoreModule),
        [b'\0', b'a', b's', b'm', ..] => return Err(DeployError::UnknownVersion),
        _ => return Err(DeployError::NotWasm),
    }
    match depth(wasm) {
        Some(it) if it <= DEEPEST => {}
        Some(_) => return Err(DeployError::TooDeep),
        None => return Err(DeployError::Refused { reason: "a section is cut".to_owned() }),
    }
    let got = ContentId::of(wasm);
    match *expect {
        Some(expected) if expected != got => Err(DeployError::OtherContent { expected, got }),
        _ => Ok(got),
    }
}

fn within(what: &'static str, lengths: &[usize]) -> Result<(), DeployError> {
    if lengths.len() > MOST_ENTRIES || lengths.iter().sum::<usize>() > MOST_BYTES {
        return Err(DeployError::Setting { what, must_be: "at most 128 entries and 64 KiB" });
    }
    Ok(())
}

impl Entry {
    /// Returns whether messages call it.
    pub(crate) fn handles_messages(&self) -> bool {
        match self {
            Self::Bare(it) => it.shape == Shape::Message,
            Self::Process(it, _) => it.shape == Shape::Message,
            Self::Http(..) => false,
        }
    }
}

/// How a component is called.
pub(crate) enum Entry {
    /// It exports `process` and imports nothing.
    Bare(Program<Bare>),
    /// It exports `process`.
    Process(Program<Wasi>, Surroundings),
    /// It exports `wasi:http/incoming-handler`.
    Http(ProxyPre<Wasi>, Surroundings),
}

/// Links a component; returns how it is called, and whether a task on it can be run again anywhere
/// with the same answer.
pub(crate) fn link(
    engine: &Engine,
    linker: &Linker<Wasi>,
    component: &Component,
    surroundings: Surroundings,
) -> Result<(Entry, bool), DeployError> {
    let kind = component.component_type();
    let mut lacking = Vec::new();
    let mut replayable = true;
    let mut bare = true;
    for (import, item) in kind.imports(engine) {
        bare = false;
        // A type that the component names itself: nothing that a host gives.
        if matches!(item.ty, ComponentItem::Type(_)) {
            continue;
        }
        let Some(known) = interface(import) else {
            lacking.push(import);
            continue;
        };
        // What another server answers is different the next time.
        let leaves = OUTGOING.contains(&known.name) && surroundings.way.is_some();
        replayable &= known.replayable && !leaves;
    }
    if !lacking.is_empty() {
        return Err(DeployError::Import { import: lacking.join("`, `") });
    }
    let refused = |err: wasmtime::Error| DeployError::Refused { reason: format!("{err:#}") };
    let mut exports = kind.exports(engine);
    if exports.any(|(name, _)| name.starts_with("wasi:http/incoming-handler@0.2.")) {
        let instances = linker.instantiate_pre(component).map_err(refused)?;
        let proxy = ProxyPre::new(instances).map_err(refused)?;
        return Ok((Entry::Http(proxy, surroundings), replayable));
    }
    let exported = |name: &str, fits: fn(&ComponentItem) -> bool| {
        kind.get_export(engine, name).is_some_and(|it| fits(&it.ty))
    };
    let handles = |it: &ComponentItem| match it {
        ComponentItem::ComponentInstance(it) => {
            it.get_export(engine, HANDLE).is_some_and(|it| is_handler(&it.ty))
        }
        _ => false,
    };
    let (name, shape) = if exported("process", is_process) {
        ("process", Shape::Process)
    } else if exported(CRON, is_cron) {
        (CRON, Shape::Cron)
    } else if kind.get_export(engine, INBOUND).is_some_and(|it| handles(&it.ty)) {
        (INBOUND, Shape::Message)
    } else {
        return Err(DeployError::NoEntry);
    };
    let export = component.get_export_index(None, name);
    let export = match shape {
        Shape::Message => export.and_then(|it| component.get_export_index(Some(&it), HANDLE)),
        Shape::Process | Shape::Cron => export,
    };
    let Some(export) = export else { return Err(DeployError::NoEntry) };
    let entry = if bare {
        let instances = Linker::new(engine).instantiate_pre(component).map_err(refused)?;
        Entry::Bare(Program { instances, export, shape })
    } else {
        let instances = linker.instantiate_pre(component).map_err(refused)?;
        Entry::Process(Program { instances, export, shape }, surroundings)
    };
    // The time that such a program is told is another one the next time.
    Ok((entry, replayable && shape != Shape::Cron))
}

/// What is exported by a component that is called at a time.
const CRON: &str = "handle-cron-event";

/// What is exported by a component that is called by messages, and the function in it.
const INBOUND: &str = "fermyon:spin/inbound-redis";
const HANDLE: &str = "handle-message";

/// Returns whether this is `func(list<u8>) -> result`; the engine looks more closely when it is called.
fn is_handler(item: &ComponentItem) -> bool {
    let ComponentItem::ComponentFunc(function) = item else { return false };
    let bytes = |it: &Type| matches!(it, Type::List(list) if list.ty() == Type::U8);
    let (mut params, mut results) = (function.params(), function.results());
    let takes = params.len() == 1 && params.next().is_some_and(|(_, it)| bytes(&it));
    takes && !function.async_() && matches!(results.next(), Some(Type::Result(_)))
}

/// Returns whether this is `func(record) -> result`; the engine looks more closely when it is called.
fn is_cron(item: &ComponentItem) -> bool {
    let ComponentItem::ComponentFunc(function) = item else { return false };
    let (mut params, mut results) = (function.params(), function.results());
    let takes =
        params.len() == 1 && params.next().is_some_and(|(_, it)| matches!(it, Type::Record(_)));
    takes && !function.async_() && matches!(results.next(), Some(Type::Result(_)))
}

/// Returns whether this is `func(list<u8>) -> result<list<u8>, string>`.
fn is_process(item: &ComponentItem) -> bool {
    let ComponentItem::ComponentFunc(function) = item else { return false };
    let bytes = |it: &Type| matches!(it, Type::List(list) if list.ty() == Type::U8);
    let mut params = function.params();
    let mut results = function.results();
    let takes = params.len() == 1 && params.next().is_some_and(|(_, it)| bytes(&it));
    let Some(Type::Result(result)) = results.next() else { return false };
    takes
        && !function.async_()
        && result.ok().is_some_and(|it| bytes(&it))
        && result.err() == Some(Type::String)
}

/// Feeds a component to the checks of a deployment and to the engine, which calls nothing in it; returns whether it is
/// one, fit to be called or not.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let Ok(name) = "f".parse() else { return false };
    let deployment = Deployment::new(name, Bytes::copy_from_slice(bytes));
    if check(&deployment, ByteSize::from_mib(1)).is_err() {
        return false;
    }
    let engine = Engine::default();
    let Ok(linker) = crate::host::linker(&engine) else { return false };
    let Ok(component) = Component::from_binary(&engine, bytes) else { return false };
    drop(link(&engine, &linker, &component, Surroundings::default()));
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deployment(wasm: &'static [u8]) -> Deployment {
        Deployment::new("f".parse().unwrap(), Bytes::from_static(wasm))
    }

    #[track_caller]
    fn refused(deployment: &Deployment, expected: &str) {
        let got = check(deployment, ByteSize::from_mib(1)).unwrap_err();
        assert_eq!(got.to_string(), expected);
    }

    #[test]
    fn settings_are_bounded() {
        let mut one = deployment(b"");
        one.env.insert("A=B".to_owned(), "1".to_owned());
        refused(
            &one,
            "the environment must be named by at least one character, without `=` and NUL",
        );
        let mut one = deployment(b"");
        one.args = vec![String::new(); 129];
        refused(&one, "the arguments must be at most 128 entries and 64 KiB");
        let mut one = deployment(b"");
        one.labels.insert("a".to_owned(), "b".repeat(65536));
        refused(&one, "the labels must be at most 128 entries and 64 KiB");
    }

    #[test]
    fn an_unknown_version_is_told_apart() {
        refused(&deployment(b"\0asm\x02\0\0\0"), "this is WebAssembly of an unknown version");
    }

    proptest! {
        #[test]
        fn garbage_behind_the_header_is_refused_in_peace(
            garbage in proptest::collection::vec(any::<u8>(), 1..400)
        ) {
            let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
            wasm.extend(garbage);
            let engine = Engine::default();
            let linker = crate::host::linker(&engine).unwrap();
            if let Ok(component) = Component::from_binary(&engine, &wasm) {
                prop_assert!(link(&engine, &linker, &component, Surroundings::default()).is_err());
            }
        }
    }
}
