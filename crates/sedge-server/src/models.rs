//! What the doors of language models share: asking for a model, reading the usual fields, and an
//! answer while it is written.

mod characters;
mod stream;
mod tools;

use sedge_base::ErrorKind;
use sedge_capability::{Budgets, Failure, Kind, Media, Name};
use sedge_gateway::ChatInput;
use sedge_node::{Answer, Ask, Offer};
use serde::Serialize;

pub(crate) use self::stream::{Wording, respond};
pub(crate) use self::tools::{ToolWritten, arguments, asked_of_tools, read_tools};
use crate::asker::Asker;
use crate::refusal::Refusal;
use crate::server::Shared;

/// The largest request, in bytes: far more than any window of a small model holds.
pub(crate) const BODY_LIMIT: usize = 8 << 20;

/// Runs a task on a model; what fails here fails before the first byte of an answer.
pub(crate) async fn ask(
    shared: &Shared,
    kind: Kind,
    model: &Name,
    input: &impl Serialize,
    asker: &Asker,
) -> Result<Answer, Refusal> {
    let input = serde_json::to_vec(input)
        .map_err(|err| Failure::new(ErrorKind::Internal, "unwritable_input", err))?;
    let ask = Ask {
        capability: model.clone(),
        kind: Some(kind),
        input: input.into(),
        media: Media::Plain,
        budgets: Budgets::default(),
        on: asker.on()?,
        pass: asker.pass(),
    };
    shared.node.run(ask).await.map_err(|it| of_model(model.as_str(), it))
}

/// Refuses by name what no node's model of this name takes.
pub(crate) fn refuse_what_it_lacks(
    shared: &Shared,
    model: &Name,
    input: &ChatInput,
) -> Result<(), Refusal> {
    for (needed, label, param, what) in [
        (input.needs_tools(), "model.tools", "tools", "no tools"),
        (input.needs_eyes(), "model.images", "messages", "no images"),
    ] {
        if !needed {
            continue;
        }
        let offers = shared.node.offers_where(|it| it.name == *model);
        let takes = |it: &Offer| it.descriptor.labels.get(label).is_some_and(|it| it == "true");
        // A model that nobody has is told as such when the task is.
        if !offers.is_empty() && !offers.iter().any(takes) {
            return Err(unsupported(param, what));
        }
    }
    Ok(())
}

/// Returns a no about a task on a model: what was not found is the model.
pub(crate) fn of_model(model: &str, failure: Failure) -> Refusal {
    if failure.kind == ErrorKind::NotFound {
        let message = format!("the model `{model}` is not offered by any node: {failure}");
        return Refusal {
            param: Some("model"),
            ..Failure::new(ErrorKind::NotFound, "model_not_found", message).into()
        };
    }
    let mut refusal = Refusal::from(failure);
    if refusal.failure.code == "context_length_exceeded" {
        refusal.param = Some("messages");
    }
    refusal
}

/// Returns a model's name out of a request.
pub(crate) fn model_name(model: Option<&str>) -> Result<Name, Refusal> {
    let model = model.ok_or_else(|| missing("model"))?;
    model.parse().map_err(|err| Refusal::param("model", "invalid_value", err))
}

/// Says that a body is not what it should be.
pub(crate) fn unreadable(err: &serde_json::Error) -> Refusal {
    Refusal::from(Failure::new(
        ErrorKind::Invalid,
        "invalid_json",
        format!("the body is not the JSON that this path takes: {err}"),
    ))
}

/// Says that a field is missing.
pub(crate) fn missing(param: &'static str) -> Refusal {
    Refusal::param(param, "missing_required_parameter", format!("`{param}` is missing"))
}

/// Says what a field must be.
pub(crate) fn out_of_range(param: &'static str, must_be: &str) -> Refusal {
    Refusal::param(param, "invalid_value", format!("`{param}` must be {must_be}"))
}

/// Says that a field would change the answer and cannot be honoured.
pub(crate) fn unsupported(param: &'static str, why: &str) -> Refusal {
    let message = format!("`{param}` is not supported by this model: {why}");
    Refusal::param(param, "unsupported_parameter", message)
}

/// Returns a number that must lie within bounds.
#[expect(clippy::cast_possible_truncation, reason = "the model computes in 32 bits")]
pub(crate) fn in_range(
    param: &'static str,
    value: Option<f64>,
    least: f64,
    most: f64,
    must_be: &str,
) -> Result<Option<f32>, Refusal> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(out_of_range(param, must_be)),
        value => Ok(value.map(|it| it as f32)),
    }
}
