//! `[artifacts]`: how much large content this node keeps, as written and as checked.

use sedge_base::ByteSize;
use sedge_store::ArtifactLimits;
use serde::{Deserialize, Deserializer};

use crate::config::ConfigError;

/// `[artifacts]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArtifactsSection {
    /// The largest artifact that is kept, such as `10MiB`.
    #[serde(deserialize_with = "size_from_text")]
    pub largest: ByteSize,
    /// How much all artifacts together may take, such as `64GiB`; what was fetched and not used for
    /// the longest time goes first.
    #[serde(deserialize_with = "size_from_text")]
    pub room: ByteSize,
}

impl Default for ArtifactsSection {
    fn default() -> Self {
        let usual = ByteSize::from_mib(64 << 10);
        Self { largest: usual, room: usual }
    }
}

impl TryFrom<ArtifactsSection> for ArtifactsConfig {
    type Error = ConfigError;

    fn try_from(section: ArtifactsSection) -> Result<Self, ConfigError> {
        let ArtifactsSection { largest, room } = section;
        let value = |key, must_be: &str| ConfigError::Value { key, must_be: must_be.to_owned() };
        if largest.as_bytes() == 0 {
            return Err(value("artifacts.largest", "more than nothing"));
        }
        if room < largest {
            return Err(value("artifacts.room", "at least `artifacts.largest`"));
        }
        Ok(Self { limits: ArtifactLimits { largest, room } })
    }
}

/// `[artifacts]`, as checked.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactsConfig {
    pub(crate) limits: ArtifactLimits,
}

fn size_from_text<'de, D: Deserializer<'de>>(input: D) -> Result<ByteSize, D::Error> {
    String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
}
