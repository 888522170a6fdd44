//! Faults of who may come in, and of who decides.

use sedge_quorum::Standing;
use sedge_trust::admission::DEV;

use super::Finding;
use crate::admission::AdmissionView;
use crate::node::Node;

/// As much of a key as names it, in characters.
const KEY_CHARS: usize = 16;

impl Node {
    /// Examines the door for strangers.
    pub(super) async fn examine_admission(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let AdmissionView { modes, open, pending, banned, .. } = self.admission().await;
        if !modes.is_empty() && !open {
            let text = "the configuration lets others in, and this node does not own its swarm";
            let step = "move `[admission]` to the owner's node";
            findings.push(Finding::new("admission_idle", "[admission]", text).next(step));
        }
        if open && modes.iter().any(|it| it == DEV) {
            let text = "every program of this machine is let in: the mode `dev` is on";
            let step = "take `dev` out of `[admission]` in config.toml when you are done trying";
            findings.push(Finding::new("admission_dev", "[admission]", text).next(step).minor());
        }
        for it in pending {
            let text = format!("it asks to be let in since {}", it.requested_at);
            let step = format!("`{}`, or `reject` it", it.approve);
            findings.push(Finding::new("asks_to_join", it.name, text).next(step).minor());
        }
        for it in banned {
            let text = format!("it is banned until {}: {}", it.until, it.reason);
            let key: String = it.node.to_string().chars().take(KEY_CHARS).collect();
            let step = format!("`sedge admission unban {key}`, if that was you");
            findings.push(Finding::new("banned", key, text).next(step).minor());
        }
        findings
    }

    /// Examines the quorum, where there is one.
    pub(super) fn examine_quorum(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Standing { voters, majority, coordinator, stopped, .. } = self.quorum.standing();
        if let Some(why) = stopped {
            let text = format!("this node takes no part in the quorum: {why}");
            let step = "mend what it says; the node goes on by itself";
            findings.push(Finding::new("quorum_stopped", self.name.clone(), text).next(step));
        }
        if !voters.is_empty() && coordinator.is_none() {
            let text = format!(
                "no coordinator is known: it takes {majority} of {} voters to have one",
                voters.len()
            );
            let step = "bring the voters back: `sedge quorum status` names them";
            findings.push(Finding::new("no_majority", "quorum", text).next(step));
        }
        findings
    }
}
