//! Bytes from the operating system's random source.

use sedge_base::ErrorKind;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random source gave nothing")]
pub struct RandomError;

impl RandomError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Returns `N` random bytes, fit for keys.
///
/// # Errors
///
/// [`RandomError`] when the operating system has none to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}
