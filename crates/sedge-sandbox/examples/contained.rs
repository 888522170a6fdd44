//! Runs a shell command in a sandbox: `cargo run -p sedge-sandbox --example contained -- 'id; ls /'`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use std::process::ExitCode;
use std::time::Duration;

use sedge_sandbox::{Launcher, Room, Stage, Step, enter};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let again = ["contain".to_owned()];
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["contain"] => enter(Stage::Keeper, &again),
        ["contain", "--init"] => enter(Stage::Init, &again),
        ["contain", "--steps"] => enter(Stage::Steps, &again),
        [command] => run(command),
        _ => ExitCode::from(2),
    }
}

fn run(command: &str) -> ExitCode {
    let room = Room { steps: vec![Step::run(["/bin/bash", "-c", command])], ..Room::default() };
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = made else { return ExitCode::FAILURE };
    let launcher = Launcher::of_this_program(&["contain"]);
    match runtime.block_on(launcher.run(&room, Duration::from_secs(10))) {
        Ok(ran) => {
            print!("{}", ran.stdout.text);
            eprint!("{}", ran.stderr.text);
            println!("{:?} in {:?}, peak memory {}", ran.ended, ran.took, ran.peak_memory);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
