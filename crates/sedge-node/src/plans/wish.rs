//! How a node runs what somebody wished for: by the ordinary way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sedge_capability::{Failure, Kind, Media};
use sedge_plans::{Ran, Wish};
use tokio::time::Instant;

use crate::node::Node;
use crate::view::Ask;

/// How long the first tasks after a start wait for the other members to say what they offer.
const HEAR_WITHIN: Duration = Duration::from_secs(5);

/// How long a task of a batch waits for a place.
const PLACE_WITHIN: Duration = Duration::from_secs(60);

/// How long it waits before it looks again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Node {
    /// Hears what others offer, or gives up on those that are silent: for tasks that begin with the
    /// node.
    pub(crate) async fn hear_others(self: &Arc<Self>) {
        let others = self.partners().into_iter().map(|it| self.beat(it));
        drop(tokio::time::timeout(HEAR_WITHIN, join_all(others)).await);
    }

    /// Runs a wish as [`Node::run_wish`] does; one that finds no place waits for one.
    pub(crate) async fn run_wish_in_turn(self: &Arc<Self>, wish: &Wish) -> Ran {
        let end = Instant::now() + PLACE_WITHIN;
        loop {
            let ran = self.run_wish(wish).await;
            let full = ran.failure.as_ref().is_some_and(|it| {
                ran.task.is_none() && matches!(&*it.code, "busy" | "no_candidate")
            });
            if !full || Instant::now() >= end {
                return ran;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Runs a wish to its end, by the ordinary way: routed, under budgets, with a receipt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future asks the engine to stop.
    pub(crate) async fn run_wish(self: &Arc<Self>, wish: &Wish) -> Ran {
        let answer = match ask(wish) {
            Ok(ask) => self.run(ask).await,
            Err(failure) => Err(failure),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Ran::refused(failure),
        };
        let (output, end) = answer.outcome.collect().await;
        Ran {
            task: Some(answer.task),
            node: Some(answer.node),
            node_name: Some(answer.node_name),
            ..Ran::ended(output, end)
        }
    }
}

/// Returns a wish as a door's question.
fn ask(wish: &Wish) -> Result<Ask, Failure> {
    Ok(Ask {
        capability: wish.function.clone(),
        kind: Some(Kind::Function),
        input: wish.bytes()?,
        media: Media::Plain,
        budgets: wish.budgets,
        on: wish.on.clone(),
        pass: None,
    })
}
