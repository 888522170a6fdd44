//! What signing, encrypting and hashing cost as this crate does it, one thread, median of 5.

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use sedge_base::ContentId;
use sedge_trust::session::SessionKey;
use sedge_trust::{Identity, Sealed, verify};

const SAMPLES: usize = 5;
const SAMPLE_TIME: Duration = Duration::from_millis(200);

/// Returns the median of how often per second the work was done.
#[expect(clippy::disallowed_methods, reason = "a bench measures the time that really passes")]
fn rate<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut rates = [0.0; SAMPLES];
    for rate in &mut rates {
        let (began, mut done) = (Instant::now(), 0_u32);
        *rate = loop {
            drop(black_box(work()));
            done += 1;
            let took = began.elapsed();
            if took >= SAMPLE_TIME {
                break f64::from(done) / took.as_secs_f64();
            }
        };
    }
    rates.sort_unstable_by(f64::total_cmp);
    rates[SAMPLES / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "one thread, median of {SAMPLES} samples of {SAMPLE_TIME:?}")?;
    let identity = Identity::generate()?;
    let text = [7; 1024];
    let signature = identity.sign(&text);
    let signed = rate(|| identity.sign(black_box(&text)));
    writeln!(out, "Ed25519 sign, 1 KiB             {signed:>10.0} /s")?;
    let node = identity.node_id();
    let verified = rate(|| verify(&node, black_box(&text), &signature));
    writeln!(out, "Ed25519 verify (strict), 1 KiB  {verified:>10.0} /s")?;
    let key = SessionKey::from_bytes([1; 32]);
    for size in [64_usize, 64 << 10, 1 << 20] {
        let text = vec![7; size];
        let sealed = Sealed::seal(&key, &text, b"header")?;
        let gigabytes = |rate: f64| rate * size as f64 / 1e9;
        let seal = rate(|| Sealed::seal(&key, black_box(&text), b"header"));
        let open = rate(|| black_box(&sealed).open(&key, b"header"));
        let (seal_rate, open_rate) = (gigabytes(seal), gigabytes(open));
        writeln!(
            out,
            "AES-256-GCM, {size:>7} bytes      {seal_rate:>10.2} GB/s sealed, {open_rate:.2} opened"
        )?;
        let hash = gigabytes(rate(|| ContentId::of(black_box(&text))));
        writeln!(out, "SHA-256, {size:>7} bytes          {hash:>10.2} GB/s")?;
    }
    Ok(())
}
