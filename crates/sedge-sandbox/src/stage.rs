//! The program's own file, started again as one of the processes of a sandbox.

use std::process::ExitCode;

/// Which of a sandbox's processes this one shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The one outside, which watches.
    Keeper,
    /// The one inside, which builds the room.
    Init,
    /// The one in the room, which has given up everything and runs the steps.
    Steps,
}

impl Stage {
    /// The argument, after those of the launcher, that makes this process the init.
    pub(crate) const INIT: &'static str = "--init";
    /// The argument that makes it the one that runs the steps.
    pub(crate) const STEPS: &'static str = "--steps";
}

/// Is one of a sandbox's processes until it ends. Only a [`Launcher`](crate::Launcher) starts it:
/// the plan comes over the standard input, which is a socket.
///
/// `arguments` are those that lead here again, without [`Stage`]'s own. The caller must not have
/// started a thread.
pub fn enter(stage: Stage, arguments: &[String]) -> ExitCode {
    let done = enter_stage(stage, arguments);
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(target_os = "linux")]
fn enter_stage(stage: Stage, arguments: &[String]) -> bool {
    match stage {
        Stage::Keeper => crate::keeper::keep(arguments).is_ok(),
        Stage::Init => crate::init::init(arguments).is_ok(),
        Stage::Steps => crate::steps::steps().is_ok(),
    }
}

#[cfg(not(target_os = "linux"))]
fn enter_stage(_stage: Stage, _arguments: &[String]) -> bool {
    false
}
