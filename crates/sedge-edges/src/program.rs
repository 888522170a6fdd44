//! An edge of ours: commands of its owner as tools, and a guard before those that need a person's yes.

mod command;
mod config;
mod guard;
mod ticket;

pub use config::{ToolSection, ToolsError, ToolsFile};
pub use guard::{Guard, GuardError, GuardRefused};
pub use ticket::{Ticket, TicketError};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::Cancel;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::link::{ToolRequest, ToolResult};
use crate::registration::{Announced, AnnouncedTool, EdgeId};

use self::command::{CommandError, run};
use self::config::CommandTool;

/// How many tools run at once.
const AT_ONCE: usize = 10;

/// The longest run, whatever a request says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The tools of one edge, and who may have them run.
///
/// Whether a tool needs an approval is written in its owner's file; what a request says about that
/// is not even read. A run that is refused starts no process.
#[derive(Debug)]
pub struct Program {
    edge: EdgeId,
    tools: BTreeMap<String, CommandTool>,
    guard: Arc<Guard>,
    places: Semaphore,
}

impl Program {
    /// Makes the program of the guard's edge.
    pub fn new(tools: ToolsFile, guard: Guard) -> Self {
        let edge = guard.edge().clone();
        Self { edge, tools: tools.tools, guard: Arc::new(guard), places: Semaphore::new(AT_ONCE) }
    }

    /// Returns what the edge says of itself when it connects.
    pub fn announced(&self, version: &str) -> Announced {
        let tools = self.tools.iter().map(|(name, tool)| AnnouncedTool {
            name: name.clone(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            requires_approval: tool.approval,
            timeout: tool.timeout,
            produces_artifacts: false,
        });
        Announced {
            id: self.edge.to_string(),
            version: version.to_owned(),
            tools: tools.collect(),
            metadata: [("os".to_owned(), std::env::consts::OS.to_owned())].into(),
            ..Announced::default()
        }
    }

    /// Runs a tool to its end, or says why it does not; the process is gone when this returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process. An approval that was used stays used.
    pub async fn run(&self, request: ToolRequest, cancel: &Cancel) -> ToolResult {
        let begun = Instant::now();
        let execution = request.execution.clone();
        let said = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(CommandError::Cancelled.told()),
            said = self.try_run(request) => said,
        };
        let took = begun.elapsed();
        match said {
            Ok(content) => ToolResult { execution, content, took, ..ToolResult::default() },
            Err((content, details)) => ToolResult {
                execution,
                content,
                failed: true,
                details,
                took,
                ..ToolResult::default()
            },
        }
    }

    /// Returns the output, or what went wrong and its details.
    async fn try_run(&self, request: ToolRequest) -> Result<String, (String, String)> {
        let ToolRequest { execution: _, tool: name, input, timeout, approval } = request;
        let Some(tool) = self.tools.get(&name) else {
            return Err((format!("this edge has no tool `{name}`"), String::new()));
        };
        let Ok(_place) = self.places.try_acquire() else {
            let text = format!("this edge runs {AT_ONCE} tools, which is its limit");
            return Err((text, String::new()));
        };
        let input = if tool.approval { self.admit(name, input, approval).await? } else { input };
        let most = tool.timeout.unwrap_or(LONGEST).min(timeout).min(LONGEST);
        run(&tool.command, input, most).await.map_err(|it| it.told())
    }

    /// Asks the guard, on a thread where it may wait for the disk.
    async fn admit(
        &self,
        tool: String,
        input: String,
        approval: Option<String>,
    ) -> Result<String, (String, String)> {
        let guard = Arc::clone(&self.guard);
        let (named, asked) = (tool.clone(), approval);
        let work = move || guard.admit(&named, &input, asked.as_deref());
        let said = tokio::task::spawn_blocking(work).await;
        match said.unwrap_or(Err(GuardRefused::Stopping)) {
            Ok(arguments) => Ok(arguments),
            Err(refused) => {
                let why = with_sources(&refused);
                tracing::warn!(target: "sedge::events::edge_refused", tool, why);
                Err((format!("this edge refuses to run `{tool}`"), why))
            }
        }
    }
}

/// Writes an error and what it came from on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests;
