//! The one list of commands. A new command is its own file and one line here.

use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::Ui;

/// Declares the commands: each is a module with a struct of the same name whose doc comment is its
/// help, and whose `run` does it.
macro_rules! commands {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(pub(crate) mod $module;)*

        /// What the person wants.
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Command {
            $($name($module::$name)),*
        }

        impl Command {
            /// Does it.
            pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
                match self {
                    $(Self::$name(command) => command.run(settings, ui)),*
                }
            }
        }
    };
}

commands! {
    up::Up,
    down::Down,
    status::Status,
    doctor::Doctor,
    invite::Invite,
    join::Join,
    admission::Admission,
    revoke::Revoke,
    token::Token,
    edge::Edge,
    approvals::Approvals,
    approve::Approve,
    approver::Approver,
    quorum::Quorum,
    swarms::Swarms,
    nodes::Nodes,
    node::Node,
    health::Health,
    rebalance::Rebalance,
    cluster::Cluster,
    relay::Relay,
    capabilities::Capabilities,
    discover::Discover,
    models::Models,
    chat::Chat,
    new::New,
    deploy::Deploy,
    apps::Apps,
    secret::Secret,
    call::Call,
    rollout::Rollout,
    schedule::Schedule,
    batch::Batch,
    exec::Exec,
    fix::Fix,
    session::Session,
    plugin::Plugin,
    mcp::Mcp,
    artifact::Artifact,
    graph::Graph,
    why::Why,
    receipt::Receipt,
    audit::Audit,
    demo::Demo,
    bench::Bench,
    completions::Completions,
    contain::Contain,
}
