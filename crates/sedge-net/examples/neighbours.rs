//! Announces an invite on the local network, or looks for one.
//!
//! `neighbours announce 42` in one place, `neighbours find 42` in another; the machine's
//! addresses must not be loopback ones.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{NodeId, Secret};
use sedge_net::{Admission, LanOptions, Nameplate, Protocol, Quic, QuicOptions, Transport};

type Failure = Box<dyn std::error::Error>;

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            drop(writeln!(std::io::stderr(), "{err}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Vec<String>) -> Result<(), Failure> {
    let [what, nameplate] = args.as_slice() else {
        return Err("say `announce NUMBER` or `find NUMBER`".into());
    };
    let nameplate: Nameplate = nameplate.parse()?;
    let mut out = std::io::stdout();
    let seed = if what == "announce" { 1 } else { 2 };
    let listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
    let options = QuicOptions {
        lan: Some(LanOptions::default()),
        protocols: vec![Protocol::Pair],
        ..QuicOptions::new(Secret::new([seed; 32]), listen)
    };
    let end = Quic::bind(options, Arc::new(Everybody)).await?;
    let lan = end.lan().ok_or("discovery is off")?;
    if what == "announce" {
        lan.announce_invite(Some(nameplate));
        writeln!(out, "announcing {:?}", end.place().direct)?;
        let conn = end.accept().await.ok_or("closed")?;
        writeln!(out, "{} came, {} away", conn.peer().short(), conn.path().name())?;
        drop(conn.closed().await);
        return Ok(());
    }
    let started = tokio::time::Instant::now();
    let inviters = lan.discover(nameplate, SOON).await?;
    writeln!(out, "found {inviters:?} after {:?}", started.elapsed())?;
    for inviter in inviters {
        let conn = end.dial(&inviter, Protocol::Pair, SOON).await?;
        writeln!(
            out,
            "connected, {} away, {:?} after the start",
            conn.path().name(),
            started.elapsed()
        )?;
    }
    end.close(SOON).await;
    Ok(())
}
