//! `sedge mcp`: tools for agents, over the standard streams.

mod tools;

use std::path::PathBuf;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool as Described,
};
use rmcp::service::RequestContext;
use rmcp::transport::stdio;
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use sedge_base::ErrorKind;
use serde_json::{Map, Value, json};

use self::tools::{TOOLS, Tool};
use super::up::log_to_stderr;
use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::Ui;

/// Serve tools to an agent that speaks MCP, over the standard streams
///
/// The agent starts this command itself: name it in the agent's list of servers, such as
/// {"mcpServers":{"sedge":{"command":"sedge","args":["mcp"]}}}. The node may start later; each call finds it anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Mcp {}

impl Mcp {
    /// Serves until the agent closes the stream.
    pub(crate) fn run(self, settings: &Settings, _: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        log_to_stderr(settings)?;
        let served = Served { home: settings.home()? };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|err| Failed::io("no runtime", &err))?;
        let served = runtime.block_on(async {
            let running = served.serve(stdio()).await.map_err(|err| err.to_string())?;
            running.waiting().await.map_err(|err| err.to_string())
        });
        // A call that waits for the node is not waited for.
        runtime.shutdown_background();
        let failed =
            |why| Failed::new(ErrorKind::Invalid, format!("the MCP client broke off: {why}"));
        served.map(drop).map_err(failed)
    }
}

/// What the agent talks to.
struct Served {
    /// Where the node says how it is reached.
    home: PathBuf,
}

impl ServerHandler for Served {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("sedge", env!("CARGO_PKG_VERSION")))
            .with_instructions("Tools over the machines of the swarm that this machine belongs to.")
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(TOOLS.iter().map(|it| described(it)).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name;
        let Some(tool) = TOOLS.iter().find(|it| it.name == name) else {
            let text = format!("there is no tool `{name}`");
            return Err(ErrorData::invalid_params(text, None));
        };
        let (home, arguments) = (self.home.clone(), request.arguments.unwrap_or_default());
        let called = tokio::task::spawn_blocking(move || {
            (tool.call)(&Api::of_home(&home)?, Value::Object(arguments))
        });
        let called = called.await.unwrap_or_else(|err| {
            Err(Failed::new(ErrorKind::Internal, format!("the tool broke off: {err}")))
        });
        Ok(answer(called).into())
    }
}

/// Returns a tool as it is listed.
fn described(tool: &Tool) -> Described {
    let schema = match (tool.input)() {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    Described::new(tool.name, tool.description, Arc::new(schema))
}

/// Says what came of a call: `status` first, then what the tool told, or why it told nothing.
fn answer(called: Result<Value, Failed>) -> CallToolResult {
    match called {
        Ok(told) => {
            let mut all = Map::new();
            all.insert("status".to_owned(), "success".into());
            match told {
                Value::Object(told) => all.extend(told),
                told => drop(all.insert("result".to_owned(), told)),
            }
            CallToolResult::structured(Value::Object(all))
        }
        Err(Failed { message, hint, .. }) => {
            let mut all = json!({ "status": "error", "message": message });
            if let Some(hint) = hint {
                all["hint"] = hint.into();
            }
            CallToolResult::structured_error(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_name_of_its_own_and_says_what_it_takes() {
        let mut names: Vec<_> = TOOLS.iter().map(|it| it.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TOOLS.len());
        for tool in TOOLS {
            let listed = described(tool);
            assert_eq!(listed.input_schema["type"], "object", "{}", tool.name);
            assert_eq!(listed.input_schema["additionalProperties"], false, "{}", tool.name);
            assert!(tool.description.ends_with('.'), "{}", tool.name);
        }
    }

    #[test]
    fn an_answer_says_first_whether_it_is_one() {
        let well = answer(Ok(json!({ "total_nodes": 2 })));
        let expected = json!({ "status": "success", "total_nodes": 2 });
        assert_eq!((well.structured_content, well.is_error), (Some(expected), Some(false)));
        let badly = answer(Err(Failed::new(ErrorKind::Unavailable, "no node").hint("start one")));
        let expected = json!({ "status": "error", "message": "no node", "hint": "start one" });
        assert_eq!((badly.structured_content, badly.is_error), (Some(expected), Some(true)));
    }
}
