//! Images in a conversation.

use serde::{Deserialize, Serialize};

/// The most images of one turn.
pub(crate) const MOST_IMAGES: usize = 16;

/// The longest image, in bytes of base64.
pub(crate) const LONGEST_IMAGE: usize = 8 << 20;

/// An image that somebody shows to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Image {
    /// Where whoever runs the model fetches it; a node fetches nothing.
    Url(String),
    /// The image itself.
    Data {
        /// Such as `image/png`.
        media_type: String,
        /// Base64.
        base64: String,
    },
}

impl Image {
    /// Returns the image of a web address or of a `data:` address with base64.
    ///
    /// `None` when it is neither.
    pub fn from_url(url: &str) -> Option<Self> {
        let Some(data) = url.strip_prefix("data:") else {
            let web = url.starts_with("https://") || url.starts_with("http://");
            return web.then(|| Self::Url(url.to_owned()));
        };
        let (media_type, base64) = data.split_once(";base64,")?;
        let image = Self::Data { media_type: media_type.to_owned(), base64: base64.to_owned() };
        image.is_sound().then_some(image)
    }

    /// Returns the address, with the image in it if it was given by its bytes.
    pub fn to_url(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Data { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        }
    }

    /// Returns whether it can be one, as far as its outside tells.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Url(url) => url.len() <= 4096 && !url.contains(char::is_whitespace),
            Self::Data { media_type, base64 } => {
                let base = |it: u8| it.is_ascii_alphanumeric() || b"+/=".contains(&it);
                let kind = media_type.strip_prefix("image/").unwrap_or_default();
                let plain = |it: u8| it.is_ascii_alphanumeric() || b"+.-".contains(&it);
                (1..=64).contains(&kind.len())
                    && kind.bytes().all(plain)
                    && (1..=LONGEST_IMAGE).contains(&base64.len())
                    && base64.bytes().all(base)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for good in ["https://a.example/b.png", "data:image/png;base64,iVBORw0="] {
            assert_eq!(Image::from_url(good).map(|it| it.to_url()).as_deref(), Some(good));
        }
        for bad in [
            "data:,",
            "data:text/html;base64,aa",
            "file:///etc/passwd",
            "",
            "data:image/png;base64,",
        ] {
            assert_eq!(Image::from_url(bad), None, "{bad}");
        }
    }
}
