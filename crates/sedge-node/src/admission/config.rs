//! `[admission]`: ways to become a member besides a spoken code, as written and as checked.

use std::collections::BTreeMap;

use sedge_base::{NodeId, Secret};
use sedge_trust::admission::{
    Device, MAX_SECRET_BYTES, MIN_SECRET_BYTES, MODES, ModeSettings, Showing, TOKEN, TrustLevel,
};
use serde::{Deserialize, Deserializer};

use crate::config::{ConfigError, NAME_RULE, check_name};
use crate::home::{Home, HomeError};

/// The most names with a secret or a key.
const MAX_NAMES: usize = 1024;

/// `[admission]`, as written in the node's config file.
///
/// A mode here makes the node that owns the swarm listen, and answer strangers, from its start on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSection {
    /// The modes, in the order in which they are asked: `token`, `tofu`, `challenge`, `pair-token`,
    /// `dev`. None: machines are paired by `sedge invite` alone.
    pub modes: Vec<String>,
    /// For `token`: each joining machine's name with its secret, 16 to 256 visible characters.
    #[serde(deserialize_with = "secrets")]
    pub tokens: BTreeMap<String, Secret<String>>,
    /// A file of mode 600 in the node's home with more of `tokens`, one `name = "secret"` a line.
    pub token_file: String,
    /// For `challenge`: each joining machine's name with what it shows.
    pub devices: BTreeMap<String, DeviceSection>,
}

/// `[admission.devices.NAME]`, as written: a secret or a key, and how far it is trusted.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSection {
    /// What the machine answers with, 16 to 256 visible characters.
    #[serde(deserialize_with = "secret")]
    pub secret: Option<Secret<String>>,
    /// The machine's own key, as `sedge status` prints it there.
    pub key: Option<NodeId>,
    /// `untrusted`, `trusted` or `privileged`.
    pub trust: TrustLevel,
}

impl Default for DeviceSection {
    fn default() -> Self {
        Self { secret: None, key: None, trust: TrustLevel::Trusted }
    }
}

fn secrets<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, Secret<String>>, D::Error> {
    let plain = BTreeMap::<String, String>::deserialize(from)?;
    Ok(plain.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect())
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Secret::new))
}

/// `[admission]`, as checked.
#[derive(Debug, Clone, Default)]
pub struct AdmissionConfig {
    /// Names of [`MODES`], each once.
    pub(crate) modes: Vec<&'static str>,
    pub(crate) settings: ModeSettings,
    /// A plain file name.
    token_file: Option<String>,
}

fn wrong(key: &'static str, must_be: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, must_be: must_be.into() }
}

/// Returns whether a secret is long enough, short enough, and can be typed.
fn is_sound(secret: &Secret<String>) -> bool {
    let secret = secret.reveal();
    (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&secret.len())
        && secret.bytes().all(|it| it.is_ascii_graphic())
}

fn secret_rule() -> String {
    format!("{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} visible characters for each name")
}

fn check_tokens(
    key: &'static str,
    tokens: BTreeMap<String, Secret<String>>,
) -> Result<BTreeMap<String, Secret<String>>, ConfigError> {
    if tokens.len() > MAX_NAMES {
        return Err(wrong(key, format!("at most {MAX_NAMES} names")));
    }
    if !tokens.keys().all(|it| check_name(it).is_some()) {
        return Err(wrong(key, format!("under names of {NAME_RULE}")));
    }
    if !tokens.values().all(is_sound) {
        return Err(wrong(key, secret_rule()));
    }
    Ok(tokens)
}

fn check_device(device: DeviceSection) -> Result<Device, ConfigError> {
    const KEY: &str = "admission.devices";
    let DeviceSection { secret, key, trust } = device;
    let shows = match (secret, key) {
        (Some(secret), None) if is_sound(&secret) => Showing::Secret(secret),
        (Some(_), None) => return Err(wrong(KEY, secret_rule())),
        (None, Some(key)) => Showing::Key(key),
        (Some(_), Some(_)) | (None, None) => {
            return Err(wrong(KEY, "a `secret` or a `key` for each name"));
        }
    };
    match trust {
        TrustLevel::Untrusted | TrustLevel::Trusted | TrustLevel::Privileged => {
            Ok(Device { shows, trust })
        }
        TrustLevel::TofuPending | TrustLevel::Tofu => {
            Err(wrong("admission.devices.trust", "untrusted, trusted or privileged"))
        }
    }
}

impl TryFrom<AdmissionSection> for AdmissionConfig {
    type Error = ConfigError;

    fn try_from(section: AdmissionSection) -> Result<Self, ConfigError> {
        let AdmissionSection { modes: written, tokens, token_file, devices } = section;
        let mut modes = Vec::new();
        for name in &written {
            let known = MODES.iter().map(|it| it.0).find(|it| it == name);
            match known.filter(|it| !modes.contains(it)) {
                Some(mode) => modes.push(mode),
                None => {
                    let names: Vec<_> = MODES.iter().map(|it| it.0).collect();
                    return Err(wrong(
                        "admission.modes",
                        format!("a list out of {}, each once", names.join(", ")),
                    ));
                }
            }
        }
        let token_file = match token_file.as_str() {
            "" => None,
            ".." | "." => return Err(wrong("admission.token_file", "the name of a file")),
            it if it.contains('/') => {
                return Err(wrong("admission.token_file", "the name of a file in the node's home"));
            }
            _ => Some(token_file),
        };
        if modes.contains(&TOKEN) && tokens.is_empty() && token_file.is_none() {
            return Err(wrong("admission.tokens", "there for the mode `token`, or `token_file`"));
        }
        if modes.contains(&"challenge") && devices.is_empty() {
            return Err(wrong("admission.devices", "there for the mode `challenge`"));
        }
        if devices.len() > MAX_NAMES || !devices.keys().all(|it| check_name(it).is_some()) {
            let must_be = format!("at most {MAX_NAMES}, under names of {NAME_RULE}");
            return Err(wrong("admission.devices", must_be));
        }
        let devices = devices.into_iter().map(|(name, it)| Ok((name, check_device(it)?)));
        let devices = devices.collect::<Result<_, ConfigError>>()?;
        let tokens = check_tokens("admission.tokens", tokens)?;
        Ok(Self { modes, settings: ModeSettings { tokens, devices }, token_file })
    }
}

/// Why the file of tokens is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    /// It cannot be read, or is open to others.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// It does not hold names with secrets.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl AdmissionConfig {
    /// Adds the tokens of the file that is named, if one is.
    pub(crate) fn with_token_file(mut self, home: &Home) -> Result<Self, TokenFileError> {
        let Some(name) = &self.token_file else { return Ok(self) };
        let text = home.read_secret_file(name)?;
        let plain: BTreeMap<String, String> = toml::from_str(text.reveal()).map_err(|source| {
            // Without the line itself, which may be a secret.
            let path = home.path().join(name).display().to_string();
            ConfigError::Written { path, message: source.message().to_owned() }
        })?;
        let more = plain.into_iter().map(|(name, it)| (name, Secret::new(it))).collect();
        self.settings.tokens.extend(check_tokens("admission.token_file", more)?);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(toml: &str, expected: Expect) {
        let section: AdmissionSection = toml::from_str(toml).unwrap();
        let got = match AdmissionConfig::try_from(section) {
            Ok(config) => format!("{:?}", config.modes),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&got);
    }

    #[test]
    fn modes_are_asked_in_the_order_that_is_written() {
        check("", expect!["[]"]);
        check("modes = ['tofu', 'pair-token']", expect![[r#"["tofu", "pair-token"]"#]]);
        check(
            "modes = ['token', 'tofu']\ntokens = {edge-1 = '0123456789abcdef'}",
            expect![[r#"["token", "tofu"]"#]],
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(
            "modes = ['tofu', 'tofu']",
            expect![
                "`admission.modes` must be a list out of token, tofu, challenge, pair-token, dev, each once"
            ],
        );
        check(
            "modes = ['token']",
            expect!["`admission.tokens` must be there for the mode `token`, or `token_file`"],
        );
        check(
            "modes = ['token']\ntokens = {edge-1 = 'short'}",
            expect!["`admission.tokens` must be 16 to 256 visible characters for each name"],
        );
        check(
            "modes = ['challenge']",
            expect!["`admission.devices` must be there for the mode `challenge`"],
        );
        check(
            "devices = {edge-1 = {}}",
            expect!["`admission.devices` must be a `secret` or a `key` for each name"],
        );
        check(
            "devices = {edge-1 = {secret = '0123456789abcdef', trust = 'tofu'}}",
            expect!["`admission.devices.trust` must be untrusted, trusted or privileged"],
        );
        check(
            "token_file = '../tokens'",
            expect!["`admission.token_file` must be the name of a file in the node's home"],
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = "tokens = {a = '0123456789abcdef'}\ndevices.b.secret = 'fedcba9876543210'";
        let section: AdmissionSection = toml::from_str(text).unwrap();
        let shown = format!("{section:?}{:?}", AdmissionConfig::try_from(section.clone()).unwrap());
        assert!(!shown.contains("abcdef") && !shown.contains("fedcba"), "{shown}");
    }
}
