//! Faults of a running node and of the machines around it.

use std::time::Duration;

use sedge_members::{Known, Presence};
use sedge_net::PathClass;

use super::Finding;
use crate::node::Node;
use crate::view::NodeView;

/// Clocks that differ by more make deadlines and expiries wrong.
const CLOCK_OFF: Duration = Duration::from_secs(30);
/// A membership that ends sooner is told.
const ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A round trip above this is felt.
const SLOW: Duration = Duration::from_millis(250);

impl Node {
    /// Examines this node and what it knows of the others; changes nothing.
    pub async fn examine(&self) -> Vec<Finding> {
        let nodes = self.nodes();
        let mut findings = self.examine_membership(&nodes);
        findings.extend(self.examine_mesh());
        for node in &nodes {
            findings.extend(load(node));
            if let Some(known) = self.members.get(&node.id).filter(|_| !node.here) {
                findings.extend(self.examine_member(node, &known));
            }
        }
        findings.extend(self.examine_speed());
        findings.extend(same_names(&nodes));
        for name in self.two_histories().await {
            let text = "it told two histories of its chain of receipts";
            let step = "`sedge receipt chains` shows both; `sedge revoke` it unless it was restored \
                        from a backup";
            findings.push(Finding::new("two_histories", name, text).next(step));
        }
        findings.extend(self.examine_deployments().await);
        findings.extend(self.examine_admission().await);
        findings.extend(self.examine_quorum());
        findings
    }

    fn examine_membership(&self, nodes: &[NodeView]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let name = self.name.clone();
        if self.members.is_cut_off() {
            let text = "the owner took this node's membership back";
            let step = "`sedge invite` on the owner's node, `sedge join` here";
            findings.push(Finding::new("cut_off", name.clone(), text).next(step));
        } else if nodes.len() < 2 {
            let text = "this machine is alone in its swarm";
            let step = "`sedge invite` here, `sedge join` on the other machine";
            findings.push(Finding::new("alone", name.clone(), text).next(step).minor());
        }
        let mine = self.members.get(&self.id());
        if let Some(ends) = mine.and_then(|it| it.membership.member.expires_at) {
            let left = ends.since(self.clock.now());
            if left < ENDS_SOON {
                let hours = left.as_secs() / 3600;
                let text = format!("this node's membership ends in {hours} hours");
                let step = "`sedge invite` on the owner's node, `sedge join` here";
                findings.push(Finding::new("membership_ends", name, text).next(step).minor());
            }
        }
        findings
    }

    fn examine_mesh(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let faults = self.mesh.faults();
        if let Some(fault) = faults.lan {
            let step = "on another machine use `sedge join CODE --at ADDRESS`; `node.lan_discovery` \
                        in config.toml turns it on";
            findings.push(Finding::new("lan_off", "discovery", fault).next(step).minor());
        }
        if let Some(fault) = faults.local {
            let step = "make the folder yours alone (chmod 700), then restart the node";
            findings.push(Finding::new("same_machine_off", "socket", fault).next(step).minor());
        }
        if let Some((wanted, got)) = faults.port {
            let text =
                format!("port {wanted} is in use by another program; the mesh listens on {got}");
            let step = "free the port and restart the node, or set `node.listen`";
            findings.push(Finding::new("port_taken", wanted.to_string(), text).next(step));
        }
        for it in self.mesh.relays().into_iter().filter(|it| !it.healthy) {
            let error = it.error.unwrap_or_default();
            let text = format!("it failed {} times, the last time: {error}", it.failures);
            let step = format!("check `sedge relay` on {}", self.members.name_of(&it.relay.node));
            findings.push(Finding::new("relay_unhealthy", it.relay.to_string(), text).next(step));
        }
        findings
    }

    fn examine_member(&self, node: &NodeView, known: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        let finding = |code, text: String| Finding::new(code, node.name.clone(), text);
        if known.refuses {
            let text = "it says that this node is no member".to_owned();
            let step = "`sedge invite` on the owner's node, `sedge join` here";
            findings.push(finding("refused", text).next(step));
        } else if node.status == Presence::Offline {
            let reason = node.reason.clone().unwrap_or_default();
            let step = "check that the machine is on and `sedge status` works there";
            findings.push(finding("member_offline", reason).next(step));
        }
        if known.full {
            let text = "it has as many connections as it may have".to_owned();
            let step = "raise `max_connections` in its `[mesh]`, or look who is connected there";
            findings.push(finding("node_full", text).next(step));
        }
        if let Some(ahead) = known.clock_ahead_ms.filter(|it| it.unsigned_abs() > millis(CLOCK_OFF))
        {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            let text =
                format!("its clock is {} s {way} this machine's", ahead.unsigned_abs() / 1000);
            let step = "set the clock of one of both (`timedatectl set-ntp true`)";
            findings.push(finding("clock_differs", text).next(step));
        }
        if let Some(advert) = &known.advert {
            if advert.roster != self.members.roster_hash() {
                let text = "it knows other members than this node".to_owned();
                let step = "wait for the next beat; if it stays, look at its log";
                findings.push(finding("roster_differs", text).next(step).minor());
            }
            if advert.about.version != env!("CARGO_PKG_VERSION") {
                let text = format!("it runs version {}", advert.about.version);
                let step = "bring all machines to one version";
                findings.push(finding("version_differs", text).next(step).minor());
            }
        }
        if node.path == Some(PathClass::Relayed) {
            let text = "it is reached through a relay".to_owned();
            let step = "let UDP through, or forward the mesh's port, for a direct path";
            findings.push(finding("relayed", text).next(step).minor());
        }
        if node.rtt_us.is_some_and(|it| u128::from(it) > SLOW.as_micros()) {
            let text = format!("a round trip takes {} ms", node.rtt_us.unwrap_or(0) / 1000);
            findings
                .push(finding("far_away", text).next("nothing, unless it should be near").minor());
        }
        findings
    }

    fn examine_speed(&self) -> Vec<Finding> {
        let slow = self.learned.slower_than_said();
        slow.into_iter()
            .map(|(node, capability, late)| {
                let text = format!(
                    "its answers to `{capability}` came {:.1} s later than what it says of itself lets \
                     expect, and another machine's did not; less is routed to it",
                    late.as_secs_f64()
                );
                let step = "look at what else it does; `sedge node drain` keeps work off it";
                Finding::new("slower_than_said", self.members.name_of(&node), text).next(step)
            })
            .collect()
    }

    async fn examine_deployments(&self) -> Vec<Finding> {
        let stored = self.store.deployments().list().await.unwrap_or_default();
        let lost = stored
            .into_iter()
            .filter(|it| it.name.parse().is_ok_and(|name| self.registry.get(&name).is_none()));
        lost.map(|it| {
            let text = "it is deployed here and cannot be run; the log of the start says why";
            Finding::new("function_broken", it.name, text).next("deploy it again")
        })
        .collect()
    }
}

fn load(node: &NodeView) -> Vec<Finding> {
    let mut findings = Vec::new();
    let finding = |code, text: &str| Finding::new(code, node.name.clone(), text).minor();
    if node.health.overloaded {
        let text = "more than 90 % of its processors or memory are in use";
        findings.push(finding("overloaded", text).next("move work away: `sedge node drain`"));
    }
    if node.health.flapping {
        let text = "it came and went at least three times in the last ten checks";
        let step = "look at its network and power, then reboot it";
        findings.push(finding("flapping", text).next(step));
    }
    if node.draining {
        let step = format!("`sedge node undrain {}` when the work is done", node.name);
        findings.push(finding("draining", "it takes no new work").next(step));
    }
    findings
}

fn same_names(nodes: &[NodeView]) -> Vec<Finding> {
    let twice = |node: &&NodeView| nodes.iter().any(|it| it.name == node.name && it.id < node.id);
    let text = "several machines have this name; commands need more of the id";
    let step = "revoke one and let it join under another name";
    nodes
        .iter()
        .filter(twice)
        .map(|it| Finding::new("same_name", it.name.clone(), text).next(step).minor())
        .collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
