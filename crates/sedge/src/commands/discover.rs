//! `sedge discover`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sedge_agents::{AgentUrl, Discovery, Options, Way, discover};
use sedge_base::ErrorKind;

use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Table, Ui};

/// Where a pod finds the namespace that it runs in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Find agents of others and fetch their agent cards; needs no node
///
/// Only the places that are named are asked. What they say is theirs: a card proves nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Discover {
    /// A name whose SRV records list agents, such as edge-ai.local; `_a2a._tcp` is put before it
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// The address of an agent, such as `http://box.lan:8000`
    #[arg(long = "static", value_name = "URL")]
    fixed: Vec<AgentUrl>,
    /// Ask the local network who announces `_a2a._tcp`
    #[arg(long)]
    mdns: bool,
    /// A headless service of the Kubernetes cluster that this runs in, with a port named `a2a`
    #[arg(long, value_name = "SERVICE[.NAMESPACE]")]
    kubernetes: Vec<String>,
    /// Only agents with a skill whose name or description holds this
    #[arg(long, value_name = "TEXT")]
    can: Option<String>,
    /// The name server to ask, instead of this machine's own
    #[arg(long, value_name = "ADDR:PORT")]
    dns_server: Option<SocketAddr>,
    /// Where the question to the local network goes, instead of its multicast group
    #[arg(long, value_name = "ADDR:PORT", hide = true)]
    mdns_group: Option<SocketAddr>,
    /// How long each may take, such as 5s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    within: Duration,
}

impl Discover {
    /// Asks, and lists who was found.
    pub(crate) fn run(self, _: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self { dns, fixed, mdns, kubernetes, can, dns_server, mdns_group, within } = self;
        let mut ways: Vec<Way> = fixed.into_iter().map(Way::Fixed).collect();
        ways.extend(dns.into_iter().map(Way::Dns));
        ways.extend(kubernetes.into_iter().map(Way::Kubernetes));
        ways.extend(mdns.then_some(Way::Mdns));
        if ways.is_empty() {
            return Err(Failed::new(ErrorKind::Invalid, "no place to look for agents is named")
                .hint("try `--mdns` for the local network, `--dns NAME` or `--static URL`"));
        }
        let usual = Options::default();
        let options = Options {
            dns_server,
            within,
            mdns_group: mdns_group.unwrap_or(usual.mdns_group),
            namespace: namespace(Path::new(NAMESPACE_FILE)).unwrap_or(usual.namespace),
            ..usual
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|err| Failed::io("no runtime", &err))?;
        let mut found = runtime.block_on(discover(ways, &options));
        if let Some(can) = can {
            found.agents.retain(|it| it.card.can(&can));
        }
        if found.agents.is_empty()
            && let Some(first) = found.failed.first()
        {
            let more = found.failed.len() - 1;
            let rest = if more > 0 { format!(" ({more} more failed, too)") } else { String::new() };
            let text = format!("no agent was found; {}: {}{rest}", first.at, first.why);
            return Err(Failed::new(ErrorKind::NotFound, text));
        }
        ui.result(&found, || words(&found));
        Ok(())
    }
}

/// Returns the namespace that this runs in, if it is a pod.
fn namespace(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}

fn words(found: &Discovery) -> String {
    if found.agents.is_empty() {
        return "no agent was found".to_owned();
    }
    let mut table = Table::new(["agent", "version", "address", "found by", "skills"]);
    for agent in &found.agents {
        let skills: Vec<_> = agent.card.skills.iter().map(|it| it.name.as_str()).collect();
        table.row([
            printable(&agent.card.name),
            printable(&agent.card.version),
            agent.url.to_string(),
            agent.found_by.to_owned(),
            printable(&skills.join(", ")),
        ]);
    }
    let mut text = table.text();
    for failed in &found.failed {
        text.push_str(&format!("{}: {}\n", failed.at, failed.why));
    }
    text
}

/// Returns a stranger's words without what would move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}
