//! Where a function is put: which nodes have what it needs, and which of them has the least to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use sedge_base::NodeId;
use serde::{Deserialize, Serialize};

/// The longest need, in bytes.
const MAX_NEED: usize = 160;

/// What a function needs of its node: a label of any value, a label of one value, or something that
/// the node offers (seed 000, `EdgeFunction.required_capabilities`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Need {
    key: String,
    value: Option<String>,
}

/// Why a text is no need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a need is a label, such as gpu or region=eu, of at most 160 bytes")]
pub struct NeedError;

impl FromStr for Need {
    type Err = NeedError;

    fn from_str(text: &str) -> Result<Self, NeedError> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        let wrong = |it: &str| it.is_empty() || it.contains(char::is_control);
        if text.len() > MAX_NEED || wrong(key) || value.is_some_and(wrong) {
            return Err(NeedError);
        }
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }
}

impl TryFrom<String> for Need {
    type Error = NeedError;

    fn try_from(text: String) -> Result<Self, NeedError> {
        text.parse()
    }
}

impl From<Need> for String {
    fn from(need: Need) -> Self {
        need.to_string()
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => f.write_str(&self.key),
            Some(value) => write!(f, "{}={value}", self.key),
        }
    }
}

/// A node that a function could be put on, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The node.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Whether it was heard of lately.
    pub healthy: bool,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// Its owner's labels, and what is known of its make, such as `arch`.
    pub labels: BTreeMap<String, String>,
    /// Names of what it offers.
    pub offers: BTreeSet<String>,
    /// The functions that lie there.
    pub functions: u32,
    /// The most that it takes.
    pub max_functions: u32,
    /// Whether this very function lies there already, under its name.
    pub has: bool,
    /// Tasks that it runs now.
    pub running: u32,
}

/// Why a function is not put on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unfit {
    /// It was not heard of lately.
    Unhealthy,
    /// It takes nothing new.
    Draining,
    /// It has not what the function needs.
    Lacks(Vec<Need>),
    /// It has as many functions as it takes.
    Full {
        /// The functions that lie there.
        functions: u32,
        /// The most that it takes.
        limit: u32,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhealthy => f.write_str("not heard of lately"),
            Self::Draining => f.write_str("drains"),
            Self::Lacks(needs) => {
                let needs: Vec<_> = needs.iter().map(Need::to_string).collect();
                write!(f, "lacks {}", needs.join(", "))
            }
            Self::Full { functions, limit } => {
                write!(f, "has {functions} functions, {limit} is its limit")
            }
        }
    }
}

/// Which nodes get a function, and why the others do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Those that get it, the best first; fewer than were wanted when no more fit.
    pub chosen: Vec<NodeId>,
    /// Those that have it and are not among the chosen.
    pub surplus: Vec<NodeId>,
    /// Those that do not fit, by id.
    pub unfit: Vec<(NodeId, Unfit)>,
}

impl Site {
    /// Returns why a function with these needs is not put here, or `None` when it fits.
    ///
    /// A node that has the function already takes its next version however full it is.
    pub fn unfit(&self, needs: &[Need]) -> Option<Unfit> {
        if !self.healthy {
            return Some(Unfit::Unhealthy);
        }
        if self.draining {
            return Some(Unfit::Draining);
        }
        let lacks: Vec<_> = needs.iter().filter(|it| !self.meets(it)).cloned().collect();
        if !lacks.is_empty() {
            return Some(Unfit::Lacks(lacks));
        }
        let (functions, limit) = (self.functions, self.max_functions);
        (!self.has && functions >= limit).then_some(Unfit::Full { functions, limit })
    }

    fn meets(&self, need: &Need) -> bool {
        match (&need.value, self.labels.get(&need.key)) {
            (None, label) => label.is_some() || self.offers.contains(&need.key),
            (Some(wanted), Some(label)) => wanted == label,
            (Some(_), None) => false,
        }
    }
}

/// Picks `wanted` nodes for a function: those that have it first, then those with the fewest
/// functions (seed 000, `deploy_least_loaded`), then with the fewest running tasks, then by id.
///
/// The same sites give the same placement in whatever order they come.
pub fn place(needs: &[Need], sites: &[Site], wanted: usize) -> Placement {
    let mut fit: Vec<&Site> = Vec::new();
    let mut unfit = Vec::new();
    for site in sites {
        match site.unfit(needs) {
            None => fit.push(site),
            Some(why) => unfit.push((site.node, why)),
        }
    }
    fit.sort_by_key(|it| (!it.has, it.functions, it.running, it.node));
    unfit.sort_by_key(|it| it.0);
    let chosen: Vec<_> = fit.iter().take(wanted).map(|it| it.node).collect();
    let mut surplus: Vec<_> =
        fit.iter().skip(wanted).filter(|it| it.has).map(|it| it.node).collect();
    surplus.sort_unstable();
    Placement { chosen, surplus, unfit }
}

/// Returns how many of so many nodes get a canary: the share rounded down, one at least (seed 000,
/// vector 000-11). `percent` above 100 counts as 100.
pub fn canary_count(nodes: usize, percent: u8) -> usize {
    (nodes * usize::from(percent.min(100)) / 100).max(1).min(nodes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(number: u8, functions: u32) -> Site {
        Site {
            node: NodeId::from_bytes([number; 32]),
            name: format!("node-{number}"),
            healthy: true,
            draining: false,
            labels: BTreeMap::new(),
            offers: BTreeSet::new(),
            functions,
            max_functions: 10,
            has: false,
            running: 0,
        }
    }

    fn need(text: &str) -> Need {
        text.parse().unwrap()
    }

    fn with_label(site: Site, key: &str, value: &str) -> Site {
        Site { labels: [(key.to_owned(), value.to_owned())].into(), ..site }
    }

    #[track_caller]
    fn check(site: &Site, needs: &[&str], expected: Option<&str>) {
        let needs: Vec<_> = needs.iter().map(|it| need(it)).collect();
        assert_eq!(site.unfit(&needs).map(|it| it.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_node_fits_or_says_why_not() {
        check(&site(1, 9), &[], None);
        check(&site(1, 10), &[], Some("has 10 functions, 10 is its limit"));
        check(&Site { has: true, ..site(1, 10) }, &[], None);
        check(&site(1, 0), &["gpu", "region=eu"], Some("lacks gpu, region=eu"));
        let gpu = with_label(site(1, 0), "gpu", "rtx-4090");
        check(&gpu, &["gpu"], None);
        check(&gpu, &["gpu=rtx-4090"], None);
        check(&gpu, &["gpu=h100"], Some("lacks gpu=h100"));
        let model = Site { offers: ["tiny".to_owned()].into(), ..site(1, 0) };
        check(&model, &["tiny"], None);
        check(&model, &["tiny=1"], Some("lacks tiny=1"));
        check(&Site { healthy: false, ..site(1, 0) }, &[], Some("not heard of lately"));
        check(&Site { draining: true, ..site(1, 0) }, &[], Some("drains"));
    }

    #[test]
    fn the_least_loaded_comes_first_and_who_has_it_before() {
        let number = |it: &NodeId| it.as_bytes()[0];
        let picked = |sites: &[Site], wanted| {
            let Placement { chosen, surplus, .. } = place(&[], sites, wanted);
            let numbers = |it: &[NodeId]| it.iter().map(number).collect::<Vec<_>>();
            (numbers(&chosen), numbers(&surplus))
        };
        assert_eq!(picked(&[site(1, 2), site(2, 1), site(3, 1)], 2), (vec![2, 3], vec![]));
        let busy = Site { running: 1, ..site(2, 1) };
        assert_eq!(picked(&[site(1, 2), busy, site(3, 1)], 1), (vec![3], vec![]));
        let has = |site: Site| Site { has: true, ..site };
        assert_eq!(picked(&[has(site(1, 9)), site(2, 0)], 1), (vec![1], vec![]));
        assert_eq!(picked(&[has(site(1, 9)), has(site(2, 3))], 1), (vec![2], vec![1]));
    }

    #[test]
    fn vector_000_11() {
        assert_eq!(canary_count(25, 10), 2);
        assert_eq!(canary_count(3, 10), 1);
        assert_eq!(canary_count(4, 200), 4);
        assert_eq!(canary_count(0, 10), 0);
    }

    fn any_site() -> impl Strategy<Value = Site> {
        let labels = prop::collection::btree_map("[ab]", "[xy]", 0..3);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        (0..9_u8, labels, flags, 0..12_u32, 0..3_u32).prop_map(
            |(number, labels, (healthy, draining, has), functions, running)| Site {
                labels,
                healthy,
                draining,
                has,
                running,
                ..site(number, functions)
            },
        )
    }

    proptest! {
        #[test]
        fn only_who_fits_is_chosen_and_nobody_is_forgotten(
            sites in prop::collection::vec(any_site(), 0..9),
            needs in prop::collection::vec("[ab](=[xy])?", 0..3),
            wanted in 0..5_usize,
        ) {
            let mut sites = sites;
            sites.sort_by_key(|it| it.node);
            sites.dedup_by_key(|it| it.node);
            let needs: Vec<_> = needs.iter().map(|it| need(it)).collect();
            let placement = place(&needs, &sites, wanted);
            let mut reversed = sites.clone();
            reversed.reverse();
            prop_assert_eq!(&placement, &place(&needs, &reversed, wanted));
            let Placement { chosen, surplus, unfit } = placement;
            let fitting = sites.iter().filter(|it| it.unfit(&needs).is_none()).count();
            prop_assert_eq!(chosen.len(), wanted.min(fitting));
            prop_assert_eq!(fitting + unfit.len(), sites.len());
            let of = |node: &NodeId| sites.iter().find(|it| it.node == *node).unwrap();
            for it in chosen.iter().chain(&surplus) {
                prop_assert!(of(it).unfit(&needs).is_none());
            }
            // Nobody who was left out has less to do than one who was chosen, unless that one has it.
            for out in sites.iter().filter(|it| !chosen.contains(&it.node)) {
                if out.unfit(&needs).is_none() && !out.has {
                    let least = |it: &&NodeId| of(it).has || of(it).functions <= out.functions;
                    prop_assert!(chosen.iter().all(|it| least(&it)));
                }
            }
        }

        #[test]
        fn any_text_is_a_need_that_reads_back_or_is_refused(text in ".{0,200}") {
            if let Ok(need) = text.parse::<Need>() {
                prop_assert_eq!(need.to_string(), text);
            }
        }
    }
}
