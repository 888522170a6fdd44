//! Running a proven task again, on another machine if there is one, and holding both runs together.

use std::sync::Arc;

use sedge_base::{ByteSize, ContentHasher, ContentId, ErrorKind, NodeId};
use sedge_capability::{Budgets, Descriptor, Event, Failure};
use sedge_trust::receipt::{Body, Receipt, Rung, Status};

use crate::node::{Node, with_source};
use crate::view::{Ask, Compared, Offer, Replayed};

impl Node {
    /// Runs the task of a receipt again with the same component or model, input and budgets: on the
    /// node that the caller names, or on another one than the first time, or here.
    ///
    /// The time budget is not taken over: a slower machine may take longer. What ran again is a task
    /// of its own, with a receipt of its own.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the receipt is not of a task that can be run again, or its input or its
    /// component is not to be had any more; it says which.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future asks the engine to stop.
    pub async fn replay(
        self: &Arc<Self>,
        receipt: &Receipt,
        on: Option<&str>,
    ) -> Result<Replayed, Failure> {
        let body = &receipt.body;
        let id = receipt.id().map_err(|it| failed(ErrorKind::Invalid, "invalid_receipt", it))?;
        let component = replayable(body)?;
        let pinned = on.map(|it| self.members.find(it)).transpose()?;
        let (node, offered) = self.find_component(component, body, pinned)?;
        let input = self.ledger.input(body.input_hash).await;
        let input = input.map_err(|it| failed(it.kind(), "ledger_unreadable", with_source(&it)))?;
        let (input, media) = input.ok_or_else(|| {
            let hash = body.input_hash.short();
            let text = format!(
                "the input {hash} is not kept here: larger than 1 MiB, forgotten since, or `node.keep_inputs` is 0"
            );
            failed(ErrorKind::NotFound, "input_gone", text)
        })?;
        let ask = Ask {
            capability: offered.name,
            kind: Some(offered.kind),
            input,
            media,
            budgets: budgets(body),
            on: Some(node.to_string()),
            pass: None,
        };
        let answer = self.run(ask).await?;
        let node_name = answer.node_name.clone();
        let (mut hash, mut end, mut outcome) = (ContentHasher::default(), None, answer.outcome);
        while let Some(event) = outcome.next().await {
            match event {
                Event::Chunk(chunk) => hash.update(&chunk),
                Event::End(last) => end = Some(*last),
            }
        }
        let unproven =
            || failed(ErrorKind::Unavailable, "unproven", "the second run has no receipt");
        let end = end.ok_or_else(unproven)?;
        let again = match (end.receipt, end.failure) {
            (Some(again), _) => again,
            (None, Some(failure)) => return Err(failure),
            (None, None) => return Err(unproven()),
        };
        let output = Compared { first: body.output_hash, again: hash.finish() };
        let fuel = Compared { first: body.used.fuel, again: again.body.used.fuel };
        let status = Compared { first: body.status, again: end.status };
        let profile = Compared { first: body.profile.clone(), again: again.body.profile.clone() };
        let equal = output.equal() && status.equal() && fuel.equal() && profile.equal();
        let again = again.id().map_err(|it| failed(ErrorKind::Internal, "invalid_receipt", it))?;
        Ok(Replayed { receipt: id, again, node, node_name, equal, output, fuel, status, profile })
    }

    /// Finds a node that offers something of this content that can be run again: the named one, or
    /// one that did not run it the first time, or the one that did.
    fn find_component(
        &self,
        component: ContentId,
        body: &Body,
        pinned: Option<NodeId>,
    ) -> Result<(NodeId, Descriptor), Failure> {
        let offers = self.offers();
        let mut fit: Vec<_> = offers
            .into_iter()
            .filter(|it| it.descriptor.content == Some(component))
            .filter(|it| it.descriptor.rung != Rung::Attested)
            .filter(|it| pinned.is_none_or(|node| node == it.node))
            .collect();
        // Under its own name it has the same settings, as far as anybody can know.
        let named = |it: &Offer| it.descriptor.name.as_str() == body.capability;
        fit.sort_by_key(|it| (!named(it), it.node == body.executor));
        fit.into_iter().next().map(|it| (it.node, it.descriptor)).ok_or_else(|| {
            let component = component.short();
            let text = match pinned {
                Some(node) => {
                    let name = self.members.name_of(&node);
                    format!(
                        "node {name} has no component or model {component}; bring it there first"
                    )
                }
                None => format!("no node has the component or model {component} any more"),
            };
            failed(ErrorKind::NotFound, "component_gone", text)
        })
    }
}

/// Returns the component of a task that can be run again, or says why it cannot.
fn replayable(body: &Body) -> Result<ContentId, Failure> {
    let refused = |text: String| Err(failed(ErrorKind::Unsupported, "not_replayable", text));
    let name = &body.capability;
    if body.rung == Rung::Attested {
        let used = body.used;
        return refused(if used.tokens_in > 0 || used.tokens_out > 0 {
            format!(
                "the receipt of `{name}` is attested only: a model answered, and its input left open how tokens are chosen, so the same input may give another answer; with a seed, or at temperature 0, an answer of the built-in engine can be computed again bit for bit"
            )
        } else {
            format!(
                "the receipt of `{name}` is attested only: it used more than its input, such as the time, chance or the network, so running it again proves nothing"
            )
        });
    }
    if matches!(body.status, Status::Timeout | Status::OutOfMemory | Status::Cancelled) {
        let status = body.status;
        return refused(format!(
            "the task ended with {status:?}, which depends on the machine and the moment; only what ends by itself or by its fuel can be compared"
        ));
    }
    match body.artifact_hash {
        Some(component) => Ok(component),
        None => refused(format!("the receipt of `{name}` names no component")),
    }
}

/// Returns what the task might use, except for time.
fn budgets(body: &Body) -> Budgets {
    let limit = |it: u64| (it > 0).then_some(it);
    Budgets {
        fuel: limit(body.budgets.fuel),
        memory: limit(body.budgets.memory_bytes).map(ByteSize::from_bytes),
        ..Budgets::default()
    }
}

fn failed(kind: ErrorKind, code: &'static str, text: impl ToString) -> Failure {
    Failure::new(kind, code, text)
}
