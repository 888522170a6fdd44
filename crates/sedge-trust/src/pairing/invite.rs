//! How often and how long a code may be tried: once, for ten minutes.

use std::time::Duration;

use sedge_base::{ErrorKind, Timestamp};

use super::Code;

/// How long an invite is open unless the person says otherwise.
pub const INVITE_TTL: Duration = Duration::from_secs(600);

/// Why a code may not be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Somebody tried it already, rightly or wrongly.
    #[error("this code was tried already; each code may be tried once")]
    Used,
    /// Its time is over.
    #[error("this code expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
}

impl Refused {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Denied
    }
}

/// A code that may be tried once before its time is over.
#[derive(Debug)]
pub struct Invite {
    code: Code,
    expires_at: Timestamp,
    used: bool,
}

impl Invite {
    /// Opens an invite; `ttl` is [`INVITE_TTL`] unless the person says otherwise.
    pub fn new(code: Code, now: Timestamp, ttl: Duration) -> Self {
        Self { code, expires_at: now.plus(ttl), used: false }
    }

    /// Returns when the invite ends.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns the number that tells open invites apart.
    pub const fn nameplate(&self) -> u8 {
        self.code.nameplate()
    }

    /// Returns whether the code may still be tried at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        !self.used && now < self.expires_at
    }

    /// Begins the one try and returns the code for it; right or wrong, there is no second one.
    ///
    /// Call this before the first message of the exchange is answered.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the code was tried before or its time is over.
    pub fn attempt(&mut self, now: Timestamp) -> Result<&Code, Refused> {
        if self.used {
            return Err(Refused::Used);
        }
        if now >= self.expires_at {
            return Err(Refused::Expired { at: self.expires_at });
        }
        self.used = true;
        Ok(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        Invite::new(Code::from_random([0; 4]), Timestamp::from_millis(0), INVITE_TTL)
    }

    #[test]
    fn the_first_try_is_the_last() {
        let mut invite = invite();
        assert!(invite.attempt(Timestamp::from_millis(1)).is_ok());
        assert!(!invite.is_open(Timestamp::from_millis(2)));
        assert_eq!(invite.attempt(Timestamp::from_millis(2)), Err(Refused::Used));
    }

    #[test]
    fn after_ten_minutes_it_is_over() {
        let at = Timestamp::from_millis(600_000);
        assert!(invite().attempt(Timestamp::from_millis(599_999)).is_ok());
        assert_eq!(invite().attempt(at), Err(Refused::Expired { at }));
    }
}
