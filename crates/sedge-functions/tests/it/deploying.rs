//! What is taken, what is refused, and how it is told.

use sedge_base::{ByteSize, ContentId, ErrorKind};
use sedge_capability::{Capability, Idempotence, Kind};
use sedge_functions::{Deployment, FunctionsSection};
use sedge_trust::receipt::Rung;

use crate::{Bench, answer, component, deployment};

#[tokio::test]
async fn row_071_a_changed_byte_is_another_module_and_a_wrong_hash_is_refused() {
    let bench = Bench::new();
    let original = component("probe");
    let at = original.windows(15).position(|it| it == b"unknown command").unwrap();
    let mut changed = original.to_vec();
    changed[at] = b'U';

    let one = bench.runtime.deploy(deployment("probe")).await.unwrap();
    let mut other = deployment("probe");
    other.wasm = changed.into();
    let two = bench.runtime.deploy(other.clone()).await.unwrap();
    let (first, second) = (one.descriptor().content, two.descriptor().content);
    assert_eq!(first, Some(ContentId::of(&original)));
    assert_ne!(first, second);
    assert_eq!(answer(&one, "what").await, "function_error: unknown command");
    assert_eq!(answer(&two, "what").await, "function_error: Unknown command");

    other.expect = first;
    let refused = bench.runtime.deploy(other.clone()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Corrupt, "other_content"));
    other.expect = second;
    assert!(bench.runtime.deploy(other).await.is_ok());
}

#[tokio::test]
async fn what_is_no_component_is_told_apart() {
    let bench = Bench::new();
    let text = bench.refused("a text").await;
    assert_eq!(text.to_string(), "this is not WebAssembly: it begins with other bytes");
    let core = bench.refused(&b"\0asm\x01\0\0\0"[..]).await;
    assert_eq!(
        core.to_string(),
        "this is a core module, not a component; `wasm-tools component new` makes one of it, \
         or build for the target wasm32-wasip2"
    );
    let empty = bench.refused(&b"\0asm\x0d\0\x01\0"[..]).await;
    assert_eq!(empty.code(), "no_entry");
}

#[tokio::test]
async fn a_damaged_component_is_refused_wherever_it_is_cut() {
    let bench = Bench::new();
    let whole = component("upper");
    for length in (9..whole.len() - 1).step_by(97) {
        let refused = bench.refused(whole.slice(..length)).await;
        assert_eq!(refused.kind(), ErrorKind::Invalid, "cut at {length}: {refused}");
    }
    assert_eq!(bench.refused(whole.slice(..100)).await.code(), "component_refused");
}

#[tokio::test]
async fn a_component_that_is_too_large_is_refused_with_both_numbers() {
    let limit = ByteSize::from_bytes(1024);
    let section =
        FunctionsSection { pool: 1, max_component_size: limit, ..FunctionsSection::default() };
    let bench = Bench::with(section);
    let refused = bench.refused(vec![0; 2048]).await;
    assert_eq!(
        refused.to_string(),
        "the component has 2 KiB, more than the 1 KiB that this node takes"
    );
    assert!(bench.runtime.deploy(deployment("upper")).await.is_ok());
}

#[tokio::test]
async fn an_import_that_functions_cannot_have_is_named() {
    let bench = Bench::new();
    // An import's name stands in the component as text: put another one of its length there.
    let mut wasm = component("environ").to_vec();
    let (had, wants) = (b"wasi:cli/environment@", b"wasi:sock/environmen@");
    for at in 0..wasm.len() - had.len() {
        if wasm[at..].starts_with(had) {
            wasm[at..at + had.len()].copy_from_slice(wants);
        }
    }
    let refused = bench.refused(wasm).await;
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().starts_with("the component imports `wasi:sock"), "{refused}");
}

#[tokio::test]
async fn the_descriptor_says_what_it_is() {
    let bench = Bench::new();
    let mut wanted = deployment("upper");
    wanted.idempotence = Idempotence::Idempotent;
    wanted.labels.insert("lang".to_owned(), "c".to_owned());
    wanted.limits.fuel = Some(7);
    let upper = bench.runtime.deploy(wanted).await.unwrap().descriptor();
    assert_eq!((upper.kind, upper.idempotence), (Kind::Function, Idempotence::Idempotent));
    assert_eq!(upper.labels.get("lang").map(String::as_str), Some("c"));
    assert_eq!(upper.limits.fuel, Some(7));
    assert_eq!(upper.limits.memory, Some(ByteSize::from_mib(128)));
    assert!(upper.takes_bytes());

    let rung = async |guest| bench.deploy(guest).await.descriptor().rung;
    assert_eq!(rung("probe").await, Rung::ReRunnable);
    assert_eq!(rung("environ").await, Rung::Attested);
    assert_eq!(bench.deploy("probe").await.descriptor().idempotence, Idempotence::Once);
}

#[tokio::test]
async fn compiled_code_is_kept_and_forged_code_is_not_used() {
    let bench = Bench::new();
    bench.deploy("probe").await;
    let code = || {
        std::fs::read_dir(bench.folder.path())
            .unwrap()
            .map(|it| it.unwrap().path())
            .find(|it| it.extension().is_some_and(|it| it == "cwasm"))
            .unwrap()
    };
    let written = std::fs::read(code()).unwrap();

    // A second deployment reads it; were it compiled again, the file would be a new one.
    let before = std::fs::metadata(code()).unwrap().modified().unwrap();
    let function = bench.deploy("probe").await;
    assert_eq!(std::fs::metadata(code()).unwrap().modified().unwrap(), before);
    assert_eq!(answer(&function, "echo a").await, "a");

    let mut forged = written.clone();
    let middle = forged.len() / 2;
    forged[middle] ^= 0xff;
    std::fs::write(code(), &forged).unwrap();
    let function = bench.deploy("probe").await;
    assert_eq!(answer(&function, "echo b").await, "b");
    assert_ne!(std::fs::read(code()).unwrap(), forged);
}

#[tokio::test]
async fn deploying_again_starts_anew() {
    let bench = Bench::new();
    let one = bench.deploy("upper").await;
    assert_eq!(answer(&one, "abc").await, "ABC");
    let two = bench.runtime.deploy(Deployment::new("upper".parse().unwrap(), component("upper")));
    let two = two.await.unwrap();
    assert_eq!((one.stats().calls, two.stats().calls), (1, 0));
    assert!(!two.is_warm());
    assert_eq!(answer(&two, "").await, "");
}

/// Returns the first core module in a component, as its compiler wrote it but for sections of names.
fn core_module(component: &[u8]) -> &[u8] {
    let mut at = 8;
    while at < component.len() {
        let id = component[at];
        let (mut size, mut shift) = (0_usize, 0);
        loop {
            at += 1;
            size |= usize::from(component[at] & 0x7f) << shift;
            shift += 7;
            if component[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1;
        if id == 1 {
            return &component[at..at + size];
        }
        at += size;
    }
    panic!("there is no core module");
}

#[tokio::test]
async fn a_core_module_becomes_a_component_and_what_it_lacks_is_named() {
    let bench = Bench::new();
    let whole = component("upper");
    let core = core_module(&whole);
    let made = bench.runtime.component_of(core.to_vec().into()).await.unwrap();
    let again = bench.runtime.component_of(core.to_vec().into()).await.unwrap();
    assert_eq!(ContentId::of(&made), ContentId::of(&again));
    let upper = Deployment::new("upper".parse().unwrap(), made.clone());
    assert_eq!(answer(&bench.runtime.deploy(upper).await.unwrap(), "hello").await, "HELLO");
    // What is a component already, and what is no Wasm at all, comes back as it was.
    assert_eq!(bench.runtime.component_of(made.clone()).await.unwrap(), made);
    assert_eq!(bench.runtime.component_of("a text".into()).await.unwrap(), "a text");

    let refused = async |wasm: Vec<u8>| {
        let refused = bench.runtime.component_of(wasm.into()).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, "no_component"));
        refused.to_string()
    };
    let empty = refused(b"\0asm\x01\0\0\0".to_vec()).await;
    assert_eq!(
        empty,
        "this core module cannot be made a component: it has no section `component-type`, and the function \
         `process` is not exported, the function `cabi_realloc` is not exported, the memory `memory` is not exported"
    );
    let cut = refused(core[..core.len() - 3].to_vec()).await;
    assert!(cut.contains("the module is damaged"), "{cut}");
    // One that wants an interface from before components: `wasi_snapshot_preview1.fd_write`, a function of type 0.
    let mut old = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\0\0".to_vec();
    let told = refused(old.clone()).await;
    assert!(told.contains("imports `wasi_snapshot_preview1.fd_write`"), "{told}");
    old.truncate(old.len() - 1);
    assert!(refused(old).await.contains("damaged"));
    let large = vec![0; 33 << 20];
    let large = [b"\0asm\x01\0\0\0".as_slice(), &large].concat();
    let refused = bench.runtime.component_of(large.into()).await.unwrap_err();
    assert_eq!(refused.code(), "component_too_large");
}
