//! Who may run what: one path for every door, and again for the node that runs the task.
//!
//! A door hands in the text of a token and gets a [`Pass`]; the pass travels with the task. The node
//! that was asked checks it before it picks a node, the node that runs the task checks it again. Each
//! node counts the calls that it sees, asked or running, in its own store: a token for ten calls is
//! good for ten at one door, and no node ever runs more than ten with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sedge_base::{ByteSize, Clock, ErrorKind, NodeId};
use sedge_capability::{Budgets, Failure, Task};
use sedge_members::Members;
use sedge_store::{CallLimit, Store, TakeCallError};
use sedge_trust::token::{Budget, TokenRequest};
use sedge_trust::{Token, TokenId, VerifiedToken};

use crate::node::{internal, unwritten, with_source};

/// A token that was let in: the owner signed it, nobody took it back, and it had not ended.
pub struct Pass {
    token: VerifiedToken,
    /// As it was given; it goes on with the task.
    text: String,
}

impl fmt::Debug for Pass {
    /// Prints the limits; never the text, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.token.fmt(f)
    }
}

impl Pass {
    /// Returns whether the token allows a capability by its name; for lists of what there is.
    pub fn names(&self, capability: &str) -> bool {
        self.token.names(capability)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn runs_on(&self, node: &NodeId) -> bool {
        self.token.runs_on(node)
    }

    /// Returns the most that a task may use.
    pub(crate) fn budgets(&self) -> Budgets {
        let most = |it| self.token.at_most(it);
        Budgets {
            fuel: most(Budget::Fuel),
            memory: most(Budget::Memory).map(ByteSize::from_bytes),
            time_ms: most(Budget::TimeMs),
            output: most(Budget::Output).map(ByteSize::from_bytes),
            tokens: most(Budget::Tokens).map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
        }
    }

    /// Returns every block's id: what is revoked, is revoked by one of these.
    fn ids(&self) -> impl Iterator<Item = TokenId> {
        self.token.blocks().iter().map(|it| it.id)
    }
}

/// The one place that says yes or no to a token.
#[derive(Debug)]
pub(crate) struct Access {
    members: Arc<Members>,
    store: Store,
    clock: Clock,
}

impl Access {
    pub(crate) const fn new(members: Arc<Members>, store: Store, clock: Clock) -> Self {
        Self { members, store, clock }
    }

    /// Lets a token in. What it allows is checked with each task.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] when it is no token of this swarm's owner, was revoked, or has
    /// ended.
    pub(crate) fn open(&self, text: &str) -> Result<Arc<Pass>, Failure> {
        let refused = |code, why: &dyn std::error::Error| {
            Failure::new(ErrorKind::Unauthenticated, code, with_source(why))
        };
        let token = Token::parse(text).map_err(|it| refused("bad_token", &it))?;
        let owner = self.members.owner();
        let token = token.verify(&owner).map_err(|it| refused("forged_token", &it))?;
        let pass = Pass { token, text: text.to_owned() };
        self.still_good(&pass)?;
        Ok(Arc::new(pass))
    }

    fn not_revoked(&self, pass: &Pass) -> Result<(), Failure> {
        match pass.ids().find(|it| self.members.is_revoked(it)) {
            None => Ok(()),
            Some(id) => {
                let text = format!("the owner took the token back (block {})", id.short());
                Err(Failure::new(ErrorKind::Unauthenticated, "token_revoked", text))
            }
        }
    }

    /// Checks that a token was not taken back and has not ended since it was let in.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] otherwise.
    pub(crate) fn still_good(&self, pass: &Pass) -> Result<(), Failure> {
        self.not_revoked(pass)?;
        match pass.token.ends() {
            Some(at) if at <= self.clock.now() => {
                let text = format!("the token ended at {at}");
                Err(Failure::new(ErrorKind::Unauthenticated, "token_ended", text))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a token names a right expressly, here, and counts one call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] when it does not, [`ErrorKind::Exhausted`] when every call was made.
    pub(crate) async fn admit(&self, pass: &Pass, right: &str, me: NodeId) -> Result<(), Failure> {
        self.still_good(pass)?;
        if !(pass.token.grants(right) && pass.runs_on(&me)) {
            let text = format!("the token does not name `{right}` as what it is for");
            return Err(Failure::new(ErrorKind::Denied, "token_capability", text));
        }
        self.count(pass).await
    }

    /// Checks a task that shall run on a node; counts nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] or [`ErrorKind::Exhausted`], with the limit that stands in the way.
    pub(crate) async fn check(
        &self,
        pass: &Pass,
        task: &Task,
        node: NodeId,
    ) -> Result<(), Failure> {
        self.not_revoked(pass)?;
        let mut used = BTreeMap::new();
        for id in pass.token.call_limits().into_keys() {
            let made = self.store.calls().used(id.to_string()).await.map_err(internal)?;
            used.insert(id, made);
        }
        let request = TokenRequest {
            capability: task.capability.as_str(),
            node,
            now: self.clock.now(),
            budgets: &asked(&task.budgets),
            used: &used,
        };
        let checked = pass.token.check(&request);
        checked.map_err(|it| Failure::new(it.kind(), it.code(), with_source(&it)))
    }

    /// Counts a call with a token that limits them; on disk before it returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when every call was made.
    pub(crate) async fn count(&self, pass: &Pass) -> Result<(), Failure> {
        let ends = pass.token.ends();
        let limits: Vec<_> = pass
            .token
            .call_limits()
            .into_iter()
            .map(|(id, most)| CallLimit { token: id.to_string(), most, ends })
            .collect();
        if limits.is_empty() {
            return Ok(());
        }
        let counted = self.store.calls().take(limits, self.clock.now()).await;
        counted.map_err(|it| match it {
            TakeCallError::Store(fault) => unwritten(fault.kind(), fault),
            TakeCallError::Full => Failure::new(it.kind(), "too_many_tokens", it),
            it => Failure::new(it.kind(), "token_used_up", it),
        })
    }
}

/// Returns the budgets that a task names.
fn asked(budgets: &Budgets) -> Vec<(Budget, u64)> {
    let Budgets { fuel, memory, time_ms, output, tokens } = budgets;
    let named = [
        (Budget::Fuel, *fuel),
        (Budget::Memory, memory.map(|it| it.as_bytes())),
        (Budget::TimeMs, *time_ms),
        (Budget::Output, output.map(|it| it.as_bytes())),
        (Budget::Tokens, tokens.map(u64::from)),
    ];
    named.into_iter().filter_map(|(budget, most)| Some((budget, most?))).collect()
}
