//! The models that sedge knows by name: what they are and where their files come from.

use sedge_base::{ContentId, ErrorKind};
use sedge_capability::Kind;
use serde::{Deserialize, Serialize};

use crate::sources::Origin;

/// The chat model that a new node offers.
pub const DEFAULT_CHAT: &str = "smollm2-135m-instruct";

/// The embedding model that a new node offers.
pub const DEFAULT_EMBEDDING: &str = "all-minilm-l6-v2";

/// A model that sedge knows by name, pinned by the hash of its file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name that people and configs use.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// Its full name, for people.
    pub title: String,
    /// The SPDX name of its licence.
    pub license: String,
    /// The name of its file, as mirrors and folders of people call it.
    pub file: String,
    /// The length of its file in bytes.
    pub size: u64,
    /// The SHA-256 of its file.
    pub sha256: ContentId,
    /// Where its file comes from, in the order of trying within one sort of source.
    pub sources: Vec<Origin>,
    /// What its file would tell; read from there if absent.
    #[serde(default)]
    pub facts: Option<Facts>,
    /// How it answers when the caller leaves that open.
    #[serde(default)]
    pub preset: Preset,
}

/// What a model's file tells about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Its architecture, such as `llama`.
    pub family: String,
    /// How its numbers are stored, such as `Q4_1`.
    pub quantisation: String,
    /// How many numbers it has.
    pub parameters: u64,
    /// The longest conversation or text that it was made for, in tokens.
    pub context: u32,
}

/// How a chat model answers when the caller leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// How freely it chooses: 0 (always the best) to 2.
    pub temperature: f32,
    /// It chooses among the best tokens that have this share of the probability: 0 to 1.
    pub top_p: f32,
}

impl Default for Preset {
    fn default() -> Self {
        Self { temperature: 0.7, top_p: 0.95 }
    }
}

/// The list of known models.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    #[serde(rename = "model")]
    models: Vec<Model>,
}

/// Why a list of models cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// It is not TOML of the expected shape.
    #[error("the list of models cannot be read")]
    Syntax(#[from] toml::de::Error),
    /// Two models have the same name.
    #[error("the list of models names `{id}` twice")]
    Twice {
        /// The name.
        id: String,
    },
}

impl CatalogError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Catalog {
    /// Reads the list that is built into the program.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] when the program was built with a broken list; a test guards against it.
    pub fn builtin() -> Result<Self, CatalogError> {
        Self::parse(include_str!("catalog.toml"))
    }

    /// Reads a list of models.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] when it has another shape or an id occurs twice.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let catalog: Self = toml::from_str(text)?;
        for (at, model) in catalog.models.iter().enumerate() {
            if catalog.models[..at].iter().any(|it| it.id == model.id) {
                return Err(CatalogError::Twice { id: model.id.clone() });
            }
        }
        Ok(catalog)
    }

    /// Returns the known models, in the order of the list.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Returns the model of that name, or `None` when none has it.
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|it| it.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_list_holds_the_defaults() {
        let catalog = Catalog::builtin().unwrap();
        assert_eq!(catalog.find(DEFAULT_CHAT).map(|it| it.kind), Some(Kind::Chat));
        assert_eq!(catalog.find(DEFAULT_EMBEDDING).map(|it| it.kind), Some(Kind::Embedding));
        for model in catalog.models() {
            assert!(!model.sources.is_empty(), "{} has a source", model.id);
            assert!(!model.file.contains('/'), "{} has a plain file name", model.id);
            assert!(model.id.parse::<sedge_capability::Name>().is_ok());
        }
    }

    #[test]
    fn a_name_twice_is_refused() {
        let one = r#"
            [[model]]
            id = "a"
            kind = "chat"
            title = "A"
            license = "MIT"
            file = "a.gguf"
            size = 1
            sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
            sources = []
        "#;
        assert!(Catalog::parse(one).is_ok());
        let twice = Catalog::parse(&format!("{one}{one}"));
        assert_eq!(twice, Err(CatalogError::Twice { id: "a".to_owned() }));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(Catalog::parse("[[model]]\nid = \"a\"\ncolour = \"red\"").is_err());
    }
}
