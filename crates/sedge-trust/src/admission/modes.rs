//! The one list of modes. A new mode is its own file and one line here.

mod challenge;
mod dev;
mod pair_token;
mod tofu;
mod token;

use std::collections::BTreeMap;

use sedge_base::{NodeId, Secret};

use super::Mode;
use super::level::TrustLevel;

/// The shortest secret that is taken, in bytes: nobody finds it by trying.
pub const MIN_SECRET_BYTES: usize = 16;

/// The longest secret that is taken, in bytes.
pub const MAX_SECRET_BYTES: usize = 256;

/// The name of the mode for secrets in the configuration.
pub const TOKEN: &str = "token";
/// The name of the mode in which a person decides.
pub const TOFU: &str = "tofu";
/// The name of the mode for tokens that pair once.
pub const PAIR_TOKEN: &str = "pair-token";
/// The name of the mode that admits every program of this machine.
pub const DEV: &str = "dev";

/// Makes a mode out of what the owner wrote.
type Make = fn(&ModeSettings) -> Box<dyn Mode>;

/// Every mode: its name in the configuration, and how it is made.
pub const MODES: [(&str, Make); 5] = [
    (TOKEN, |it| Box::new(token::Tokens(it.tokens.clone()))),
    (TOFU, |_| Box::new(tofu::Tofu)),
    ("challenge", |it| Box::new(challenge::Devices(it.devices.clone()))),
    (PAIR_TOKEN, |_| Box::new(pair_token::PairTokens)),
    (DEV, |_| Box::new(dev::Dev)),
];

/// What the owner wrote for the modes.
#[derive(Debug, Clone, Default)]
pub struct ModeSettings {
    /// For `token`: each name with its secret.
    pub tokens: BTreeMap<String, Secret<String>>,
    /// For `challenge`: each name with what it shows.
    pub devices: BTreeMap<String, Device>,
}

/// A machine that the owner wrote down.
#[derive(Debug, Clone)]
pub struct Device {
    /// What it answers a challenge with.
    pub shows: Showing,
    /// How far it is trusted then.
    pub trust: TrustLevel,
}

/// What a device answers a challenge with.
#[derive(Debug, Clone)]
pub enum Showing {
    /// An HMAC by a secret that it shares with the owner.
    Secret(Secret<String>),
    /// A signature by this key.
    Key(NodeId),
}
