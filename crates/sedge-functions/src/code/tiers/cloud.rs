//! A cloud that speaks E2B's protocol: a fresh virtual machine for each run, on somebody else's ground.
//!
//! Only with a key, and only when the owner has said that code may leave. What the cloud says is
//! bounded while it is read, and the machine there is ended after every run, however it went.

pub(crate) mod answer;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{ByteSize, Secret};
use sedge_sandbox::Limits;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};

use crate::code::config::CloudConfig;
use crate::code::language::Language;
use crate::code::route::Class;
use crate::code::tier::{Ended, Job, Missing, Ran, Sandbox, Tier, TierError};

use answer::{Machine, Said};

/// The image with the libraries of data science.
const TEMPLATE: &str = "code-interpreter-v1";
/// Where the interpreter listens in it.
const PORT: &str = "49999";
/// What the cloud calls the languages that it runs.
const LANGUAGES: &[Language] = &[Language::Python, Language::JavaScript, Language::Bash];
/// How long a machine may take to begin or to end, beside the time of its run.
const AROUND: Duration = Duration::from_secs(20);
/// The most bytes of one line; what is cut there is no line any more.
const MOST_LINE: u64 = 8 << 20;
/// The most bytes of an answer that is no stream.
const MOST_ANSWER: u64 = 64 << 10;

/// Virtual machines of a cloud.
#[derive(Debug)]
pub(crate) struct Cloud {
    link: Arc<Link>,
}

/// How the cloud is reached.
#[derive(Debug)]
struct Link {
    config: CloudConfig,
    key: Option<Secret<String>>,
}

impl Cloud {
    pub(crate) fn new(config: CloudConfig, key: Option<Secret<String>>) -> Self {
        Self { link: Arc::new(Link { config, key }) }
    }

    fn missing(&self) -> Option<Missing> {
        let missing = match (&self.link.key, self.link.config.enabled) {
            (None, _) => "there is no cloud key: E2B_API_KEY is not set",
            (_, false) => "code may not leave this machine: [code.cloud] is not `enabled`",
            (Some(_), true) => return None,
        };
        Some(Missing(missing.to_owned()))
    }
}

#[async_trait]
impl Sandbox for Cloud {
    fn tier(&self) -> Tier {
        Tier::Cloud
    }

    fn offers(&self, language: Language) -> bool {
        self.missing().is_none() && LANGUAGES.contains(&language)
    }

    async fn ready(&self, job: &Job) -> Result<(), Missing> {
        if let Some(missing) = self.missing() {
            return Err(missing);
        }
        let missing = if !LANGUAGES.contains(&job.language) {
            format!("the cloud runs no {}", job.language)
        } else if !job.stdin.is_empty() {
            "code in the cloud reads no standard input".to_owned()
        } else if job.session.is_some() {
            "the cloud has no part in this node's sessions".to_owned()
        } else {
            return Ok(());
        };
        Err(Missing(missing))
    }

    async fn run(&self, job: &Job) -> Result<Ran, TierError> {
        let link = Arc::clone(&self.link);
        let (time, class) = (job.time, Class::of(job.language, &job.code));
        let machine = blocking(move || link.begin(time, class == Class::Network)).await?;
        let machine = Running { machine: Arc::new(machine), link: Arc::clone(&self.link) };
        let began = Instant::now();
        let (link, there) = (Arc::clone(&self.link), Arc::clone(&machine.machine));
        let (code, language) = (job.code.clone(), job.language);
        let executed = blocking(move || link.execute(&there, &code, language, time));
        let said = timeout_at(began + job.time, executed).await;
        let took = began.elapsed();
        // Ends the machine, and with it the stream that somebody may still be reading.
        drop(machine);
        let mut ran = Ran {
            ended: Ended::TimedOut,
            stdout: Default::default(),
            stderr: Default::default(),
            peak_memory: None,
            took,
        };
        if let Ok(said) = said {
            let said = said?;
            ran.ended = match (said.flooded, said.failed) {
                (true, _) => Ended::Stopped(format!("it wrote more than {}", flood())),
                (false, failed) => Ended::Exited(i32::from(failed)),
            };
            (ran.stdout, ran.stderr) = (said.stdout.captured(), said.stderr.captured());
        }
        Ok(ran)
    }
}

fn flood() -> ByteSize {
    Limits::default().flood
}

/// Runs what waits for the network beside the others.
async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> Result<T, TierError> + Send + 'static,
) -> Result<T, TierError> {
    spawn_blocking(what).await.map_err(|it| unreached(&it))?
}

fn unreached(reason: &dyn fmt::Display) -> TierError {
    TierError::Cloud { reason: reason.to_string() }
}

/// A machine in the cloud; ended when it is dropped.
struct Running {
    machine: Arc<Machine>,
    link: Arc<Link>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let (machine, link) = (Arc::clone(&self.machine), Arc::clone(&self.link));
        // When this node stops meanwhile, the machine ends by its own time.
        drop(spawn_blocking(move || link.end(&machine)));
    }
}

impl Link {
    fn agent(&self, within: Duration) -> Agent {
        let config: ConfigBuilder<AgentScope> = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("sedge/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(within));
        let config = if self.config.is_local() { config.proxy(None) } else { config };
        config.build().new_agent()
    }

    fn key(&self) -> &str {
        self.key.as_ref().map_or("", |it| it.reveal())
    }

    /// Begins a machine that ends by itself some time after `time`.
    fn begin(&self, time: Duration, online: bool) -> Result<Machine, TierError> {
        let ask = json!({
            "templateID": TEMPLATE,
            "timeout": time.as_secs() + AROUND.as_secs(),
            "secure": true,
            "allow_internet_access": online,
        });
        let url = format!("{}/sandboxes", self.config.api);
        let sent = self
            .agent(AROUND)
            .post(url)
            .header("x-api-key", self.key())
            .content_type("application/json")
            .send(ask.to_string());
        let answer = whole(checked(sent)?)?;
        Machine::parse(&answer).ok_or_else(|| unreached(&"it names no machine"))
    }

    /// Runs code there and reads what it says until its end.
    fn execute(
        &self,
        machine: &Machine,
        code: &str,
        language: Language,
        time: Duration,
    ) -> Result<Said, TierError> {
        let ask = json!({ "code": code, "context_id": Value::Null, "language": language.name() });
        let url = format!("{}/execute", self.config.sandbox.replace("{id}", machine.id()));
        let mut request = self
            .agent(time + AROUND)
            .post(url)
            .header("e2b-sandbox-id", machine.id())
            .header("e2b-sandbox-port", PORT)
            .content_type("application/json");
        for (name, token) in machine.tokens() {
            request = request.header(name, token);
        }
        let mut body = checked(request.send(ask.to_string()))?;
        let most = flood().as_bytes();
        // What is said around the output, in JSON, comes on top.
        let mut stream = BufReader::new(body.as_reader().take(most.saturating_mul(2)));
        let (mut said, mut line) = (Said::default(), Vec::new());
        let next = |stream: &mut dyn BufRead, line: &mut Vec<u8>| {
            stream.take(MOST_LINE).read_until(b'\n', line).map_err(|it| unreached(&it))
        };
        while next(&mut stream, &mut line)? > 0 {
            said.hear(&line).map_err(|it| unreached(&it))?;
            line.clear();
            if said.bytes() > most {
                said.flooded = true;
                break;
            }
        }
        Ok(said)
    }

    fn end(&self, machine: &Machine) {
        let url = format!("{}/sandboxes/{}", self.config.api, machine.id());
        // Not reached: it ends by its own time.
        drop(self.agent(AROUND).delete(url).header("x-api-key", self.key()).call());
    }
}

/// Returns the body of a good answer.
fn checked(answer: Result<ureq::http::Response<Body>, ureq::Error>) -> Result<Body, TierError> {
    let answer = answer.map_err(|it| unreached(&it))?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    Err(unreached(&format_args!("it answers {}", answer.status())))
}

fn whole(mut body: Body) -> Result<Vec<u8>, TierError> {
    let mut bytes = Vec::new();
    let read: io::Result<usize> = body.as_reader().take(MOST_ANSWER).read_to_end(&mut bytes);
    read.map_err(|it| unreached(&it))?;
    Ok(bytes)
}
