//! Whether a token allows a task, and if not, which limit stands in the way.

use std::collections::BTreeMap;
use std::time::Duration;

use biscuit_auth::builder::{AuthorizerBuilder, Fact, Policy, fact, int, string};
use biscuit_auth::{AuthorizerLimits, error};
use sedge_base::{ErrorKind, NodeId, Timestamp};

use super::{Block, Budget, Limit, TokenId, VerifiedToken};

/// How long one check may take: thousands of times what it needs.
const WITHIN: Duration = Duration::from_secs(5);

/// What somebody wants to do with a token.
#[derive(Debug, Clone)]
pub struct TokenRequest<'a> {
    /// The capability's name.
    pub capability: &'a str,
    /// The node that shall run the task.
    pub node: NodeId,
    /// The date, by the clock of whoever checks.
    pub now: Timestamp,
    /// What the task asks for; a budget that it does not name is not limited by the task.
    pub budgets: &'a [(Budget, u64)],
    /// How many calls were made before this one, by the block that limits them; none if not named.
    pub used: &'a BTreeMap<TokenId, u64>,
}

/// Why a token does not allow a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefused {
    /// A limit stands in the way.
    #[error("{words}")]
    Limit {
        /// The limit.
        limit: Limit,
        /// The block that it stands in, counted from 0.
        block: usize,
        /// What it says about this task.
        words: String,
    },
    /// The check could not be made.
    #[error("the token could not be checked")]
    Unchecked(#[source] error::Token),
}

impl TokenRefused {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Limit { limit: Limit::Calls(_), .. } => ErrorKind::Exhausted,
            Self::Limit { .. } => ErrorKind::Denied,
            Self::Unchecked(_) => ErrorKind::Internal,
        }
    }

    /// Returns the stable name of the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Limit { limit, .. } => match limit {
                Limit::Capabilities(_) => "token_capability",
                Limit::Nodes(_) => "token_node",
                Limit::Until(_) => "token_ended",
                Limit::Calls(_) => "token_used_up",
                Limit::AtMost(..) => "token_budget",
            },
            Self::Unchecked(_) => "token_unchecked",
        }
    }
}

impl VerifiedToken {
    /// Returns the blocks, the owner's first.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Returns the smallest limit of a budget; `None` when the token has none.
    pub fn at_most(&self, budget: Budget) -> Option<u64> {
        let limits = self.blocks.iter().flat_map(|it| &it.limits);
        let of_this = limits.filter_map(|it| match it {
            Limit::AtMost(which, most) if *which == budget => Some(*most),
            _ => None,
        });
        of_this.min()
    }

    /// Returns the most calls of each block that limits them.
    pub fn call_limits(&self) -> BTreeMap<TokenId, u64> {
        let mut limits = BTreeMap::new();
        for block in &self.blocks {
            for limit in &block.limits {
                if let Limit::Calls(most) = limit {
                    let least = limits.entry(block.id).or_insert(*most);
                    *least = (*most).min(*least);
                }
            }
        }
        limits
    }

    /// Returns when the token ends, if it does.
    pub fn ends(&self) -> Option<Timestamp> {
        let limits = self.blocks.iter().flat_map(|it| &it.limits);
        limits.filter_map(|it| if let Limit::Until(at) = it { Some(*at) } else { None }).min()
    }

    /// Returns whether no limit on names keeps a capability away; for lists of what there is.
    pub fn names(&self, capability: &str) -> bool {
        let mut limits = self.blocks.iter().flat_map(|it| &it.limits);
        limits.all(|it| match it {
            Limit::Capabilities(names) => names.contains(capability),
            _ => true,
        })
    }

    /// Returns whether the token is for this right: a limit on names holds it, and none keeps it
    /// away. A token without a limit on names is for running tasks and grants no right.
    pub fn grants(&self, right: &str) -> bool {
        let mut limits = self.blocks.iter().flat_map(|it| &it.limits);
        limits.any(|it| matches!(it, Limit::Capabilities(_))) && self.names(right)
    }

    /// Returns whether no limit on nodes keeps a node away; for picking one.
    pub fn runs_on(&self, node: &NodeId) -> bool {
        let mut limits = self.blocks.iter().flat_map(|it| &it.limits);
        limits.all(|it| match it {
            Limit::Nodes(nodes) => nodes.contains(node),
            _ => true,
        })
    }

    /// Checks a task; changes nothing, counts nothing.
    ///
    /// # Errors
    ///
    /// [`TokenRefused`], which says what stands in the way.
    pub fn check(&self, request: &TokenRequest<'_>) -> Result<(), TokenRefused> {
        match self.authorize(request) {
            Ok(()) => Ok(()),
            Err(error::Token::FailedLogic(
                error::Logic::Unauthorized { checks, .. }
                | error::Logic::NoMatchingPolicy { checks },
            )) => Err(self.refused(request, &checks)),
            Err(error) => Err(TokenRefused::Unchecked(error)),
        }
    }

    fn authorize(&self, request: &TokenRequest<'_>) -> Result<(), error::Token> {
        let limits = AuthorizerLimits { max_time: WITHIN, ..AuthorizerLimits::default() };
        let mut builder = AuthorizerBuilder::new().set_limits(limits);
        for known in self.facts(request) {
            builder = builder.fact(known)?;
        }
        let allow: Policy = "allow if true".try_into()?;
        builder.policy(allow)?.build(&self.biscuit)?.authorize().map(drop)
    }

    /// Returns what is known of the task, for the checks to look at.
    fn facts(&self, request: &TokenRequest<'_>) -> Vec<Fact> {
        let date = biscuit_auth::builder::Term::Date(request.now.as_millis() / 1000);
        let mut facts = vec![
            fact("capability", &[string(request.capability)]),
            fact("node", &[string(&request.node.to_string())]),
            fact("time", &[date]),
        ];
        for (budget, asked) in request.budgets {
            facts.push(fact(budget.name(), &[number(*asked)]));
        }
        for (block, number_of) in self.blocks.iter().zip(0..) {
            let used = request.used.get(&block.id).copied().unwrap_or(0);
            facts.push(fact("used", &[int(number_of), number(used)]));
        }
        facts
    }

    /// Turns the first failed check into words.
    fn refused(&self, request: &TokenRequest<'_>, checks: &[error::FailedCheck]) -> TokenRefused {
        let failed = checks.iter().find_map(|it| match it {
            error::FailedCheck::Block(it) => {
                let (block, check) = (it.block_id as usize, it.check_id as usize);
                let limit = self.blocks.get(block)?.limits.get(check)?;
                Some((block, limit.clone()))
            }
            error::FailedCheck::Authorizer(_) => None,
        });
        match failed {
            Some((block, limit)) => {
                let words = self.words(&limit, block, request);
                TokenRefused::Limit { limit, block, words }
            }
            None => TokenRefused::Unchecked(error::Token::InternalError),
        }
    }

    fn words(&self, limit: &Limit, block: usize, request: &TokenRequest<'_>) -> String {
        match limit {
            Limit::Capabilities(_) => {
                format!("the token does not allow `{}`: {limit}", request.capability)
            }
            Limit::Nodes(_) => {
                format!("the token does not allow node {}: {limit}", request.node.short())
            }
            Limit::Until(at) => format!("the token ended at {at}; it is {}", request.now),
            Limit::Calls(most) => {
                let id = self.blocks.get(block).map(|it| it.id);
                let used = id.and_then(|it| request.used.get(&it)).copied().unwrap_or(0);
                format!("the token allows {most} calls, and {used} were made")
            }
            Limit::AtMost(budget, most) => {
                let name = budget.name();
                match request.budgets.iter().find(|(which, _)| which == budget) {
                    Some((_, asked)) => {
                        format!(
                            "the token allows {name} up to {most}, and the task asks for {asked}"
                        )
                    }
                    None => {
                        format!("the token allows {name} up to {most}, and the task sets no limit")
                    }
                }
            }
        }
    }
}

fn number(number: u64) -> biscuit_auth::builder::Term {
    // What is beyond the largest number that a check can hold is beyond every limit, too.
    int(i64::try_from(number).unwrap_or(i64::MAX))
}
