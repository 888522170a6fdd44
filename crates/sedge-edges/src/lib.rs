//! Tools on machines that run no node: who is connected, and how their tools are run.
//!
//! An *edge* is a program of somebody else that opens a link to this node, says which tools it has,
//! and runs them when it is asked. [`Edges`] knows who is connected; each tool is a
//! [`Capability`](sedge_capability::Capability) named `edge:<edge>.<tool>`, so that routing, budgets
//! and receipts are the same as for everything else. The wire is a door's business.
//!
//! Invariants: a second link under one id takes the place of the first, and the end of the first
//! takes nothing from the second; a result counts only if the edge that was asked sends it; an edge
//! that stays silent is let go; a tool that asks for a person's approval is asked for only with one,
//! and with the very arguments that were approved; edges, tools, texts and what waits are bounded.
//!
//! [`Program`] is the other side: an edge of ours, whose tools are commands of its owner. It believes
//! the node that it is connected to nothing: an approval holds if the owner of the swarm signed it,
//! or whom the owner named, and it runs once.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sedge_edges::{Announced, AnnouncedTool, Edges, EdgesConfig, Registration};
//!
//! let clock = sedge_base::Clock::machine();
//! let edges = Edges::new(EdgesConfig::default(), clock, &sedge_base::TaskScope::new());
//! let tools = vec![AnnouncedTool { name: "echo".to_owned(), ..AnnouncedTool::default() }];
//! let announced = Announced { id: "kitchen".to_owned(), tools, ..Announced::default() };
//! let link = edges.connect(Registration::try_from(announced)?)?;
//! assert_eq!(link.capabilities()[0].descriptor().name.as_str(), "edge:kitchen.echo");
//! assert_eq!(edges.list(0, 10).1, 1);
//! # Ok(())
//! # }
//! ```

mod edges;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod link;
mod program;
mod registration;
mod tool;
mod view;
mod wish;

pub use edges::{ConnectError, Edges, EdgesConfig};
pub use link::{Artifact, Down, Given, Link, ToolRequest, ToolResult};
pub use program::{
    Guard, GuardError, GuardRefused, Program, Ticket, TicketError, ToolSection, ToolsError,
    ToolsFile,
};
pub use registration::{Announced, AnnouncedTool, EdgeId, Registration, RegistrationError, Tool};
pub use view::{EdgeMetrics, EdgeView};
pub use wish::Wish;
