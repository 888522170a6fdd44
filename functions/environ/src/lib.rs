//! A function that tells what it sees of its surroundings: `env NAME`, `args` or `clock`.

wit_bindgen::generate!({ path: "../../crates/sedge-functions/wit", world: "function" });

use wasip2::cli::environment;
use wasip2::clocks::{monotonic_clock, wall_clock};

struct Environ;

export!(Environ);

impl Guest for Environ {
    fn process(input: Vec<u8>) -> Result<Vec<u8>, String> {
        let input = String::from_utf8(input).map_err(|_| "the input is not text".to_owned())?;
        match input.split_once(' ').unwrap_or((&input, "")) {
            ("env", name) => environment::get_environment()
                .into_iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_bytes())
                .ok_or_else(|| format!("`{name}` is not set")),
            ("args", _) => Ok(environment::get_arguments().join(" ").into_bytes()),
            ("clock", _) => Ok(wall_clock::now().seconds.to_string().into_bytes()),
            ("sleep", ms) => {
                let ms: u64 = ms.parse().map_err(|_| "the argument is not a number".to_owned())?;
                monotonic_clock::subscribe_duration(ms * 1_000_000).block();
                Ok(b"slept".to_vec())
            }
            _ => Err("unknown command".to_owned()),
        }
    }
}
