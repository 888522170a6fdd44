//! `kill -9` at random points: whatever was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sedge_base::ContentId;
use sedge_store::Store;

use crate::areas::{NODE, receipt};

/// Says to this same test binary that it is the one to be killed, and where its store is.
const CHILD: &str = "SEDGE_STORE_KILLED_AT";

const ROUNDS: u64 = 20;
const WRITERS: usize = 16;

/// Writes for ever, and says on its output what was acknowledged.
async fn write_until_killed(path: &Path, round: u64) {
    let store = Store::open(path).await.unwrap();
    let start = store.receipts().head(NODE).await.unwrap().map_or(0, |it| it.sequence + 1);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS as u64 {
        let store = store.clone();
        writers.spawn(async move {
            for turn in 0.. {
                let sequence = start + writer + turn * WRITERS as u64;
                let receipt = receipt(sequence, &format!("round-{round}"));
                let said = format!("acknowledged receipt {}\n", receipt.id);
                store.receipts().append(receipt).await.unwrap();
                std::io::stdout().write_all(said.as_bytes()).unwrap();
                if turn % 8 == 0 {
                    let content = format!("content {round} {sequence}").into_bytes();
                    let id = store.blobs().put(content, None).await.unwrap();
                    let said = format!("acknowledged blob {id}\n");
                    std::io::stdout().write_all(said.as_bytes()).unwrap();
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
}

/// Starts a child, kills it after it said `lines` acknowledgements, and returns all that it said.
fn kill_after(path: &Path, round: u64, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::no_acknowledged_write_is_lost", "--nocapture"])
        .env(CHILD, path)
        .env("SEDGE_STORE_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut killed = false;
    // What was said before the end and not read yet counts too: read to the end of the pipe.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        said.extend(line.unwrap().strip_prefix("acknowledged ").map(str::to_owned));
        if said.len() >= lines && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(!child.wait().unwrap().success(), "the child was to be killed");
    assert!(killed, "the child ended by itself after {} acknowledgements", said.len());
    said
}

#[test]
fn no_acknowledged_write_is_lost() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    if let Some(path) = std::env::var_os(CHILD) {
        let round = std::env::var_os("SEDGE_STORE_ROUND").unwrap();
        let round = round.to_str().unwrap().parse().unwrap();
        return runtime.block_on(write_until_killed(&PathBuf::from(path), round));
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sedge.db");
    let (mut receipts, mut blobs) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        // Any spread of points does; this one is the same on every run.
        let lines = usize::try_from((round * 2_654_435_761) % 97).unwrap() + 1;
        for line in kill_after(&path, round, lines) {
            match line.split_once(' ').unwrap() {
                ("receipt", id) => assert!(receipts.insert(id.parse::<ContentId>().unwrap())),
                ("blob", id) => assert!(blobs.insert(id.parse::<ContentId>().unwrap())),
                other => panic!("{other:?}"),
            }
        }
        runtime.block_on(async {
            let store = Store::open(&path).await.unwrap();
            assert_eq!(store.integrity_check().await.unwrap(), [""; 0], "round {round}");
            for id in &receipts {
                assert!(store.receipts().get(*id).await.unwrap().is_some(), "round {round}: {id}");
            }
            for id in &blobs {
                store.blobs().get(*id).await.unwrap();
            }
            // Half of the rounds leave the log for the next child to recover from.
            if round % 2 == 0 {
                store.close().await.unwrap();
            }
        });
    }
    assert!(receipts.len() as u64 > ROUNDS && !blobs.is_empty());
}
