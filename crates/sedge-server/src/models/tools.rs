//! Tools in the shape that several dialects share, and what a model asks of them.

use sedge_base::ErrorKind;
use sedge_capability::{End, Failure};
use sedge_gateway::{Tool, ToolCall};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// A tool, as written.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolWritten {
    r#type: String,
    function: Option<FunctionWritten>,
}

#[derive(Debug, Deserialize)]
struct FunctionWritten {
    name: String,
    description: Option<String>,
    parameters: Option<Value>,
}

/// Returns the tools of a request.
pub(crate) fn read_tools(written: Vec<ToolWritten>) -> Result<Vec<Tool>, Refusal> {
    let tool = |ToolWritten { r#type, function }: ToolWritten| match function {
        Some(FunctionWritten { name, description, parameters }) if r#type == "function" => {
            let parameters = parameters.filter(|it| !it.is_null());
            let nothing = || json!({ "type": "object", "properties": {} });
            Ok(Tool { name, description, parameters: parameters.unwrap_or_else(nothing) })
        }
        _ => {
            let message = "each of `tools` must be a `function` that has a name";
            Err(Refusal::param("tools", "unsupported_value", message))
        }
    };
    written.into_iter().map(tool).collect()
}

/// Returns what the model asks of tools; empty when it asks nothing.
pub(crate) fn asked_of_tools(end: &End) -> Vec<ToolCall> {
    let told = end.detail.get("tool_calls").cloned().unwrap_or_default();
    serde_json::from_value(told).unwrap_or_default()
}

/// Returns the arguments of a call as the object that some dialects want.
///
/// # Errors
///
/// What the model wrote is none.
pub(crate) fn arguments(call: &ToolCall) -> Result<Value, Failure> {
    let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => {
            let text =
                format!("the model asks `{}` for something that is no JSON object", call.name);
            Err(Failure::new(ErrorKind::Failed, "bad_tool_arguments", text))
        }
    }
}
