//! How often one member may tell and ask: whoever does it more often is refused, and changes nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_net::{Quota, Rate};
use tokio::time::Instant;

use crate::wire::Request;

/// What every member has left; an entry for each that ever asked, and so no more than members.
#[derive(Debug)]
pub(crate) struct Turns {
    rate: Rate,
    began: Instant,
    left: Mutex<BTreeMap<NodeId, Quota>>,
}

impl Turns {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, began: Instant::now(), left: Mutex::default() }
    }

    /// Takes one turn of a member, if this sort of request needs one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when it has none left.
    pub(crate) fn take(&self, member: NodeId, request: &Request) -> Result<(), Failure> {
        // Everything else has a bound of its own: tasks, artifacts, entries of the graph.
        let gossip = matches!(
            request,
            Request::Advert(_)
                | Request::Roster(_)
                | Request::Notices { .. }
                | Request::Where { .. }
                | Request::Chain { .. }
        );
        let now = self.began.elapsed();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let quota = left.entry(member).or_insert_with(|| Quota::full(self.rate, now));
        match gossip.then(|| quota.take(self.rate, now)).flatten() {
            None => Ok(()),
            Some(wait) => {
                let text = format!(
                    "{} times in a second are too often; the next turn is in {} ms",
                    self.rate.per_second,
                    wait.as_millis()
                );
                Err(Failure::new(ErrorKind::Exhausted, "too_often", text))
            }
        }
    }

    /// Forgets a member that was revoked.
    pub(crate) fn forget(&self, member: &NodeId) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(member);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_member_that_floods_is_refused_and_another_is_not() {
        let turns = Turns::new(Rate { per_second: 2.0, burst: 8.0 });
        let [one, two] = [1, 2].map(|it| NodeId::from_bytes([it; 32]));
        let ask = Request::Where { of: Vec::new() };
        let taken = (0..100).filter(|_| turns.take(one, &ask).is_ok()).count();
        assert_eq!(taken, 8);
        let refused = turns.take(one, &ask).unwrap_err();
        assert_eq!((refused.kind, refused.code.as_ref()), (ErrorKind::Exhausted, "too_often"));
        assert!(turns.take(two, &ask).is_ok());
        assert!(turns.take(one, &Request::Drain { draining: true }).is_ok(), "not gossip");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..100).filter(|_| turns.take(one, &ask).is_ok()).count(), 2);
    }
}
