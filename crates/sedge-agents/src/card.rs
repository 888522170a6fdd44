//! What an agent says about itself: the A2A agent card, of today's form and of the one before.

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most skills that are kept.
const MAX_SKILLS: usize = 256;
/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// An agent card, as far as others ask for it. Fields that are not known here are skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentCard {
    /// What the agent is called; never empty.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Where it is spoken to, by its own words; may be empty.
    #[serde(default)]
    pub url: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// What it can do.
    #[serde(default)]
    pub skills: Vec<Skill>,
    /// Ways of speaking that it knows, by its own words.
    #[serde(default)]
    pub capabilities: Value,
}

/// One thing that an agent can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
}

/// Why a text is no agent card.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// It is not JSON, or a field is of another type.
    #[error("it is no agent card")]
    Form(#[source] serde_json::Error),
    /// It has no name.
    #[error("the agent has no name")]
    Nameless,
    /// It says more than is kept.
    #[error("it has more than 256 skills or a text of more than 4 KiB")]
    TooMuch,
}

impl CardError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

impl AgentCard {
    /// Reads a card.
    ///
    /// # Errors
    ///
    /// [`CardError`] when it is none.
    pub fn parse(text: &[u8]) -> Result<Self, CardError> {
        #[derive(Deserialize)]
        struct Spoken {
            #[serde(default)]
            url: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Today {
            #[serde(default)]
            supported_interfaces: Vec<Spoken>,
        }
        let mut card: Self = serde_json::from_slice(text).map_err(CardError::Form)?;
        if card.url.is_empty() {
            // Today's form lists several addresses, the best first.
            let today: Today = serde_json::from_slice(text).map_err(CardError::Form)?;
            card.url =
                today.supported_interfaces.into_iter().next().map_or_else(String::new, |it| it.url);
        }
        if card.name.trim().is_empty() {
            return Err(CardError::Nameless);
        }
        let skills = card.skills.iter().flat_map(|it| [&it.id, &it.name, &it.description]);
        let texts = skills.chain([&card.name, &card.description, &card.url, &card.version]);
        if card.skills.len() > MAX_SKILLS || texts.into_iter().any(|it| it.len() > MAX_TEXT) {
            return Err(CardError::TooMuch);
        }
        Ok(card)
    }

    /// Returns whether the name or the description of a skill holds a text, whatever the case.
    pub fn can(&self, text: &str) -> bool {
        let wanted = text.to_lowercase();
        let holds = |it: &String| it.to_lowercase().contains(&wanted);
        self.skills.iter().any(|it| holds(&it.name) || holds(&it.description))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cards_of_today_and_of_before() {
        let before = br#"{"name":"a","url":"http://a/a2a","version":"1","skills":[{"id":"x",
            "name":"Sum Up","description":"makes texts short"}],"defaultInputModes":["text"]}"#;
        let card = AgentCard::parse(before).unwrap();
        assert_eq!((card.url.as_str(), card.skills[0].id.as_str()), ("http://a/a2a", "x"));
        assert!(card.can("sum UP") && card.can("short") && !card.can("translate"));
        let today = br#"{"name":"a","supportedInterfaces":[{"url":"https://a/v1"},{"url":"x"}]}"#;
        assert_eq!(AgentCard::parse(today).unwrap().url, "https://a/v1");
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(AgentCard::parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_no_card_says_why() {
        check("", "it is no agent card");
        check("[]", "it is no agent card");
        check(r#"{"name":1}"#, "it is no agent card");
        check(r#"{"name":" "}"#, "the agent has no name");
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(MAX_TEXT + 1));
        check(&long, "it has more than 256 skills or a text of more than 4 KiB");
        let many = format!(r#"{{"name":"a","skills":[{}{{}}]}}"#, "{},".repeat(MAX_SKILLS));
        check(&many, "it has more than 256 skills or a text of more than 4 KiB");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stop(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            drop(AgentCard::parse(&bytes));
        }
    }
}
