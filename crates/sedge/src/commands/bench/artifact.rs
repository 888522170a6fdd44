//! An artifact from one node process to another, beside a bare TCP copy of the same file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};
use sedge_node::{ArtifactView, Fetched};
use tokio::time::Instant;

use super::Figure;
use super::nodes::folder;
use crate::api::Api;
use crate::failed::Failed;

/// Puts a file of this size on the first node and fetches it from the second one.
pub(super) fn measure(one: &Api, two: &Api, size: ByteSize) -> Result<Vec<Figure>, Failed> {
    let folder = folder("artifact")?;
    let measured = copies(one, two, size, &folder);
    fs::remove_dir_all(&folder).map_err(|err| Failed::io("cannot remove the bench's file", &err))?;
    measured
}

fn copies(one: &Api, two: &Api, size: ByteSize, folder: &Path) -> Result<Vec<Figure>, Failed> {
    let source = folder.join("source");
    let failed = |err| Failed::io("cannot write the bench's file", &err);
    write_file(&source, size).map_err(failed)?;
    let bare = bare(&source, &folder.join("copy"))
        .map_err(|err| Failed::io("the bare copy failed", &err))?;
    let began = Instant::now();
    let file = File::open(&source).map_err(failed)?;
    let stored: ArtifactView = one.upload("artifacts", size.as_bytes(), file)?;
    let storing = began.elapsed();
    let path = format!("artifacts/{}/fetch", stored.id);
    let fetched: Fetched = two.fetch(&path, |_| {})?;
    if fetched.received != size.as_bytes() {
        return Err(Failed::new(ErrorKind::Corrupt, "the artifact did not arrive as it was"));
    }
    let fetching = Duration::from_millis(fetched.took_ms);
    let method = format!(
        "{size} from one node process to another over loopback: encrypted, every 16 KiB verified, on disk; the bare copy is one TCP stream from file to file, synced"
    );
    Ok(vec![
        Figure::new("artifact, other process", speed(size, fetching), method)
            .beside(format!("bare TCP copy {}", speed(size, bare))),
        Figure::new(
            "artifact, stored",
            speed(size, storing),
            format!("{size} through the API: hashed, on disk"),
        ),
    ])
}

/// Writes a file in which no two groups are alike.
fn write_file(path: &Path, size: ByteSize) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut group = [0x5a; 16 << 10];
    let (mut left, mut number) = (size.as_len(), 0_u64);
    while left > 0 {
        group[..8].copy_from_slice(&number.to_le_bytes());
        let length = left.min(group.len());
        file.write_all(&group[..length])?;
        (left, number) = (left - length, number + 1);
    }
    file.into_inner()?.sync_all()
}

/// Copies a file through a TCP stream on loopback; returns how long it took.
fn bare(from: &Path, to: &Path) -> io::Result<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut source = File::open(from)?;
    let mut copy = File::create(to)?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let (mut stream, _) = listener.accept()?;
            io::copy(&mut source, &mut stream).map(drop)
        });
        io::copy(&mut TcpStream::connect(address)?, &mut copy)?;
        copy.sync_all()?;
        sending.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })?;
    Ok(began.elapsed())
}

fn speed(size: ByteSize, took: Duration) -> String {
    let mib = size.as_bytes() >> 20;
    let millis = took.as_millis().max(1);
    format!("{} MiB/s", u128::from(mib) * 1000 / millis)
}
