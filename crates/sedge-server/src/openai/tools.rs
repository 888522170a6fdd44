//! Tools and images in OpenAI's shape: read from requests, written into answers.

use sedge_capability::End;
use sedge_gateway::{Image, ToolCall, ToolChoice};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::models::asked_of_tools;
use crate::refusal::Refusal;

/// What a model asked of a tool, as written.
#[derive(Debug, Deserialize)]
pub(super) struct CallWritten {
    id: String,
    function: Option<CalledWritten>,
}

#[derive(Debug, Deserialize)]
struct CalledWritten {
    name: String,
    arguments: String,
}

/// An image, as written.
#[derive(Debug, Deserialize)]
pub(super) struct ImageWritten {
    url: String,
}

/// Returns whether a request wants a tool to be asked for.
pub(super) fn choice(written: &Value) -> Result<Option<ToolChoice>, Refusal> {
    match written.as_str() {
        None if written.is_null() => return Ok(None),
        Some("auto") => return Ok(Some(ToolChoice::Auto)),
        Some("none") => return Ok(Some(ToolChoice::None)),
        Some("required") => return Ok(Some(ToolChoice::Required)),
        _ => {}
    }
    match written["function"]["name"].as_str() {
        Some(name) if written["type"] == "function" => Ok(Some(ToolChoice::Named(name.to_owned()))),
        _ => {
            let message =
                "`tool_choice` must be `none`, `auto`, `required` or the name of a function";
            Err(Refusal::param("tool_choice", "unsupported_value", message))
        }
    }
}

/// Returns the calls of a turn of the model's.
pub(super) fn calls(written: Vec<CallWritten>) -> Result<Vec<ToolCall>, Refusal> {
    let call = |CallWritten { id, function }: CallWritten| match function {
        Some(CalledWritten { name, arguments }) => Ok(ToolCall { id, name, arguments }),
        None => {
            let message = "each of `tool_calls` must be the call of a function";
            Err(Refusal::param("messages", "unsupported_value", message))
        }
    };
    written.into_iter().map(call).collect()
}

/// Returns an image of a turn.
pub(super) fn image(written: Option<ImageWritten>) -> Result<Image, Refusal> {
    written.and_then(|it| Image::from_url(&it.url)).ok_or_else(|| {
        let message = "`image_url.url` must be a web address or `data:image/…;base64,…`";
        Refusal::param("messages", "unsupported_value", message)
    })
}

/// Returns what the model asks of tools, in OpenAI's shape; empty when it asks nothing.
pub(super) fn called(end: &End) -> Vec<Value> {
    let call = |ToolCall { id, name, arguments }: ToolCall| {
        let function = json!({ "name": name, "arguments": arguments });
        json!({ "id": id, "type": "function", "function": function })
    };
    asked_of_tools(end).into_iter().map(call).collect()
}
