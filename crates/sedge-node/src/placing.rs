//! Which nodes get a function: what each has, against what the function needs.
//!
//! Who asks looks first, so that nothing travels in vain; the node that gets the function looks again,
//! and its word counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::{Failure, Kind, Name};
use sedge_members::Advert;
use sedge_routing::{Placement, Site, Unfit, place};

use crate::config::MOST_FUNCTIONS;
use crate::node::Node;
use crate::view::{DeployOptions, Target};
use crate::wire::Request;

/// The most needs of one function.
const MAX_NEEDS: usize = 32;

/// The nodes that a deployment goes to, and those that are left out.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// Those that get it.
    pub(crate) nodes: Vec<NodeId>,
    /// Those that were meant and do not fit.
    pub(crate) skipped: Vec<(NodeId, Unfit)>,
    /// Those that have it and shall not any more.
    pub(crate) surplus: Vec<NodeId>,
}

impl Node {
    /// Returns who gets a function.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the target names nobody, or somebody who does not fit, or when too few fit.
    pub(crate) fn choose(
        &self,
        name: &Name,
        target: &Target,
        options: &DeployOptions,
    ) -> Result<Chosen, Failure> {
        if options.needs.len() > MAX_NEEDS {
            let text = format!("a function has at most {MAX_NEEDS} needs");
            return Err(Failure::new(ErrorKind::Invalid, "too_many_needs", text));
        }
        if options.replicas.is_some() && !matches!(target, Target::Auto) {
            let text = "a number of replicas goes with the target `auto`";
            return Err(Failure::new(ErrorKind::Invalid, "replicas_elsewhere", text));
        }
        let node = match target {
            Target::Here => self.id(),
            Target::Node(text) => self.members.find(text)?,
            Target::Auto => return self.choose_best(name, options),
            Target::All => {
                let mut chosen = Chosen::default();
                for site in self.sites(name) {
                    // Who seems to be away is tried all the same.
                    match site.unfit(&options.needs).filter(|it| *it != Unfit::Unhealthy) {
                        Some(why) => chosen.skipped.push((site.node, why)),
                        None => chosen.nodes.push(site.node),
                    }
                }
                return Ok(chosen);
            }
        };
        let site = self.sites(name).into_iter().find(|it| it.node == node);
        let why = site.as_ref().and_then(|it| it.unfit(&options.needs));
        match (site, why.filter(|it| *it != Unfit::Unhealthy)) {
            (Some(site), Some(why)) => Err(unfit(&site.name, &why)),
            _ => Ok(Chosen { nodes: vec![node], ..Chosen::default() }),
        }
    }

    fn choose_best(&self, name: &Name, options: &DeployOptions) -> Result<Chosen, Failure> {
        let sites = self.sites(name);
        let wanted = options.replicas.map_or(1, |it| it.get() as usize);
        let Placement { chosen, surplus, unfit } = place(&options.needs, &sites, wanted);
        if chosen.len() < wanted {
            let named = |node: &NodeId| self.members.name_of(node);
            let why: Vec<_> =
                unfit.iter().map(|it| format!("{}: {}", named(&it.0), it.1)).collect();
            let fit = chosen.len();
            let mut text = format!("{wanted} nodes are wanted for `{name}`, {fit} fit");
            if !why.is_empty() {
                text.push_str(&format!(" ({})", why.join("; ")));
            }
            return Err(Failure::new(ErrorKind::Conflict, "too_few_nodes", text));
        }
        let surplus = if options.replicas.is_some() { surplus } else { Vec::new() };
        Ok(Chosen { nodes: chosen, skipped: Vec::new(), surplus })
    }

    /// Returns every member as a place for that function, as known now; those that never said what
    /// they have count as nodes without labels that are not healthy.
    pub(crate) fn sites(&self, name: &Name) -> Vec<Site> {
        let me = self.id();
        let members = self.members.all().into_iter();
        members
            .map(|(node, known)| {
                let here = node == me;
                let advert = if here { Some(self.advert()) } else { known.advert.clone() };
                let healthy = here || (known.reason.is_none() && advert.is_some());
                let site = Site { node, name: known.name().to_owned(), healthy, ..nowhere(node) };
                advert.map_or(site.clone(), |advert| seen(site, &advert, name))
            })
            .collect()
    }

    /// Refuses a function that this node has not what it needs for, or no room.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names this node and what is missing.
    pub(crate) fn check_fits(&self, name: &Name, options: &DeployOptions) -> Result<(), Failure> {
        let site = Site { healthy: true, ..nowhere(self.id()) };
        // Whether it drains is for those who look for a place; what is handed over here stays welcome.
        let site = Site { draining: false, ..seen(site, &self.advert(), name) };
        match site.unfit(&options.needs) {
            Some(why) => Err(unfit(&self.name, &why)),
            None => Ok(()),
        }
    }

    /// Lets members that have too many replicas forget theirs; returns those that did not.
    pub(crate) async fn forget_there(
        self: &Arc<Self>,
        name: &Name,
        nodes: &[NodeId],
    ) -> Vec<(NodeId, Failure)> {
        let mut failed = Vec::new();
        for node in nodes {
            if let Err(failure) = self.undeploy_on(*node, name).await {
                failed.push((*node, failure));
            }
        }
        failed
    }

    /// Lets one member, or this node, forget a function; returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the member cannot be reached, or its store failed.
    pub async fn undeploy_on(self: &Arc<Self>, node: NodeId, name: &Name) -> Result<bool, Failure> {
        if node == self.id() {
            return self.undeploy(name).await;
        }
        let request = Request::Undeploy { name: name.clone() };
        let was = self.ask_member(node, &request).await?;
        self.beat(node).await;
        Ok(was)
    }
}

/// Says that a function does not fit on a node, and why.
pub(crate) fn unfit(node_name: &str, why: &Unfit) -> Failure {
    let (kind, code) = match why {
        Unfit::Draining => {
            let text =
                format!("node {node_name} drains: it takes nothing new until `sedge node undrain`");
            return Failure::new(ErrorKind::Unavailable, "draining", text);
        }
        Unfit::Full { .. } => (ErrorKind::Exhausted, "node_full"),
        _ => (ErrorKind::Conflict, "does_not_fit"),
    };
    Failure::new(kind, code, format!("node {node_name} {why}"))
}

/// A node of which nothing is known.
fn nowhere(node: NodeId) -> Site {
    Site {
        node,
        name: String::new(),
        healthy: false,
        draining: false,
        labels: std::collections::BTreeMap::new(),
        offers: BTreeSet::new(),
        functions: 0,
        max_functions: MOST_FUNCTIONS,
        has: false,
        running: 0,
    }
}

fn seen(site: Site, advert: &Advert, name: &Name) -> Site {
    let functions: Vec<_> =
        advert.offers.iter().filter(|it| it.descriptor.kind == Kind::Function).collect();
    Site {
        draining: advert.draining,
        labels: advert.about.placement_labels(),
        offers: advert.offers.iter().map(|it| it.descriptor.name.to_string()).collect(),
        functions: u32::try_from(functions.len()).unwrap_or(u32::MAX),
        max_functions: advert.about.max_functions.unwrap_or(MOST_FUNCTIONS),
        has: functions.iter().any(|it| it.descriptor.name == *name),
        running: advert.running,
        ..site
    }
}
