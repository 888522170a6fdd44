//! Capability tokens: rights that anybody can narrow, nobody can widen, and every member can check
//! offline with the owner's public key.
//!
//! A token is a Biscuit (version 3): a chain of blocks, each signed by the key that the block before
//! it names, the first one by the swarm's owner. A block says nothing but checks, so each block can
//! only take rights away. Blocks of any other shape than this module writes are refused before they
//! are evaluated: a holder can append what they like, and none of it is run unless it is one of
//! [`Limit`]'s checks.
//!
//! A token is a bearer's right: who has it may use it. The key material that narrows it travels in
//! it, as in every Biscuit.

mod check;
mod limit;

pub use check::{TokenRefused, TokenRequest};
pub use limit::{Budget, Limit, LimitError, MAX_NAME_BYTES, MAX_NAMES};

use std::fmt;
use std::str::FromStr;

use biscuit_auth::builder::{Algorithm, BiscuitBuilder, BlockBuilder};
use biscuit_auth::format::schema::{SignedBlock, public_key};
use biscuit_auth::{Biscuit, KeyPair, PrivateKey, PublicKey, UnverifiedBiscuit};
use sedge_base::{ContentId, ErrorKind, IdError, NodeId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::random::{RandomError, random_bytes};
use crate::swarm::Owner;

/// What a token's text begins with, so that people and scanners of secrets know it.
pub const TOKEN_PREFIX: &str = "sedge-token.";

/// The longest token, in bytes of its binary form.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// The most blocks of a token: the owner's and fifteen narrowings.
pub const MAX_BLOCKS: usize = 16;

/// The most limits in one block.
pub const MAX_LIMITS: usize = 16;

/// The first block's fact: what the signature is for, and the form of the checks.
const FORM: &str = "sedge_token(1)";

/// One block of a token, and by that everything that was narrowed from it: the SHA-256 of the
/// block's signature. Revocations and call counts go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(ContentId);

impl TokenId {
    fn of_signature(signature: &[u8]) -> Self {
        Self(ContentId::of(signature))
    }

    /// Returns the first ten hexadecimal characters, for people's eyes only.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TokenId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

/// One block: what it is known by, and what it takes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// What it is known by.
    pub id: TokenId,
    /// What it takes away; a token allows what every limit of every block allows.
    pub limits: Vec<Limit>,
}

/// A token as it was given: well formed, and not known to be the owner's.
#[derive(Clone)]
pub struct Token {
    biscuit: UnverifiedBiscuit,
    blocks: Vec<Block>,
}

/// A token that the owner of the swarm has signed.
#[derive(Clone)]
pub struct VerifiedToken {
    biscuit: Biscuit,
    blocks: Vec<Block>,
}

/// Why a text is not a token, or cannot become a narrower one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text does not begin with [`TOKEN_PREFIX`].
    #[error("a token begins with `{TOKEN_PREFIX}`")]
    Prefix,
    /// The token is longer than it may be.
    #[error("a token has at most {MAX_TOKEN_BYTES} bytes and {MAX_BLOCKS} blocks")]
    TooLong,
    /// The bytes are not a Biscuit.
    #[error("the token is damaged")]
    Damaged(#[source] biscuit_auth::error::Token),
    /// A block says something that this release does not know.
    #[error("block {block} of the token says something that is not a limit of this program")]
    Unknown {
        /// The block, counted from 0.
        block: usize,
    },
    /// The token was sealed by another program: it cannot be narrowed.
    #[error("the token is sealed and cannot be narrowed")]
    Sealed,
    /// A limit is malformed.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// There are no random numbers for the next block's key.
    #[error("no random numbers for the token's next key")]
    Random(#[from] RandomError),
}

impl TokenError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(_) => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }
}

/// Why a token is not the owner's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenForged {
    /// A signature does not hold.
    #[error("the owner of the swarm did not sign this token")]
    Signature(#[source] biscuit_auth::error::Format),
    /// A block was signed by another kind of key than tokens have, or by a third party.
    #[error("the token has a block with another kind of signature than this program makes")]
    Key,
    /// The key that was given as the owner's is not a key.
    #[error("this is not an owner's key")]
    Owner(#[source] biscuit_auth::error::Format),
}

impl TokenForged {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Signature(_) | Self::Key => ErrorKind::Unauthenticated,
            Self::Owner(_) => ErrorKind::Invalid,
        }
    }
}

impl Owner {
    /// Makes a token that allows everything that a task can ask for, but for these limits.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when a limit is malformed or there are too many of them.
    pub fn mint(&self, limits: &[Limit]) -> Result<Token, TokenError> {
        let source = format!("{FORM};\n{}", source(0, limits)?);
        let builder = BiscuitBuilder::new().code(source).map_err(TokenError::Damaged)?;
        let root = PrivateKey::from_bytes(self.seed(), Algorithm::Ed25519)
            .map_err(|it| TokenError::Damaged(it.into()))?;
        let symbols = biscuit_auth::datalog::SymbolTable::default();
        let biscuit = builder
            .build_with_key_pair(&KeyPair::from(&root), symbols, &next_key()?)
            .map_err(TokenError::Damaged)?;
        Token::from_bytes(&biscuit.to_vec().map_err(TokenError::Damaged)?)
    }
}

/// Returns a fresh key for the block that may come next.
fn next_key() -> Result<KeyPair, TokenError> {
    let seed = Zeroizing::new(random_bytes::<32>()?);
    let key = PrivateKey::from_bytes(&*seed, Algorithm::Ed25519);
    Ok(KeyPair::from(&key.map_err(|it| TokenError::Damaged(it.into()))?))
}

/// Writes a block's checks.
fn source(block: usize, limits: &[Limit]) -> Result<String, TokenError> {
    if limits.len() > MAX_LIMITS {
        return Err(TokenError::TooLong);
    }
    let mut text = String::new();
    for limit in limits {
        limit.validate()?;
        text.push_str(&limit.source(block));
        text.push_str(";\n");
    }
    Ok(text)
}

impl Token {
    /// Reads a token's text. What it says is not known to be the owner's yet: see [`Token::verify`].
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the text is no token, or says what this release does not know.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.strip_prefix(TOKEN_PREFIX).ok_or(TokenError::Prefix)?;
        if text.len() > MAX_TOKEN_BYTES.div_ceil(3) * 4 {
            return Err(TokenError::TooLong);
        }
        let biscuit = UnverifiedBiscuit::from_base64(text).map_err(TokenError::Damaged)?;
        Self::read(biscuit)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        Self::read(UnverifiedBiscuit::from(bytes).map_err(TokenError::Damaged)?)
    }

    fn read(biscuit: UnverifiedBiscuit) -> Result<Self, TokenError> {
        if biscuit.block_count() > MAX_BLOCKS {
            return Err(TokenError::TooLong);
        }
        let mut blocks = Vec::new();
        for (block, signature) in biscuit.revocation_identifiers().iter().enumerate() {
            let text = biscuit.print_block_source(block).map_err(TokenError::Damaged)?;
            let limits = read_block(block, &text).ok_or(TokenError::Unknown { block })?;
            blocks.push(Block { id: TokenId::of_signature(signature), limits });
        }
        Ok(Self { biscuit, blocks })
    }

    /// Returns a token with these limits on top; needs no key and no network.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when a limit is malformed, the token is sealed, or it would grow too long.
    pub fn narrow(&self, limits: &[Limit]) -> Result<Self, TokenError> {
        let block = self.blocks.len();
        if block >= MAX_BLOCKS {
            return Err(TokenError::TooLong);
        }
        let builder =
            BlockBuilder::new().code(source(block, limits)?).map_err(TokenError::Damaged)?;
        let narrowed =
            self.biscuit.append_with_keypair(&next_key()?, builder).map_err(|it| match it {
                biscuit_auth::error::Token::AppendOnSealed => TokenError::Sealed,
                it => TokenError::Damaged(it),
            })?;
        Self::from_bytes(&narrowed.to_vec().map_err(TokenError::Damaged)?)
    }

    /// Returns the token as text.
    ///
    /// # Errors
    ///
    /// [`TokenError::Damaged`] when it cannot be written.
    pub fn to_text(&self) -> Result<String, TokenError> {
        let text = self.biscuit.to_base64().map_err(TokenError::Damaged)?;
        Ok(format!("{TOKEN_PREFIX}{text}"))
    }

    /// Returns the blocks, the owner's first. Only display them: they are not verified.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Returns what this very token is known by: its last block.
    pub fn id(&self) -> Option<TokenId> {
        self.blocks.last().map(|it| it.id)
    }

    /// Verifies every signature, the first one against the owner's public key, which is known from
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// [`TokenForged`] when one does not hold.
    pub fn verify(&self, owner: &NodeId) -> Result<VerifiedToken, TokenForged> {
        let root = PublicKey::from_bytes(owner.as_bytes(), Algorithm::Ed25519)
            .map_err(TokenForged::Owner)?;
        let biscuit = self.biscuit.clone().verify(root).map_err(TokenForged::Signature)?;
        // Other signature schemes may have two spellings of one signature, and with it two ids of
        // one block: a revoked or used-up token could come back under the other one.
        let written = biscuit.container().to_proto();
        let mut signed = std::iter::once(&written.authority).chain(&written.blocks);
        let ed25519 = public_key::Algorithm::Ed25519 as i32;
        let ours =
            |it: &SignedBlock| it.next_key.algorithm == ed25519 && it.external_signature.is_none();
        let all_ours = signed.all(ours);
        if !all_ours {
            return Err(TokenForged::Key);
        }
        Ok(VerifiedToken { biscuit, blocks: self.blocks.clone() })
    }
}

/// Reads a block's checks; `None` when it says anything else.
fn read_block(block: usize, text: &str) -> Option<Vec<Limit>> {
    let mut lines = text.lines();
    if block == 0 && lines.next()?.strip_suffix(';')? != FORM {
        return None;
    }
    let limits: Vec<Limit> =
        lines.map(|it| Limit::read(block, it.strip_suffix(';')?)).collect::<Option<_>>()?;
    (limits.len() <= MAX_LIMITS).then_some(limits)
}

impl fmt::Debug for Token {
    /// Prints the limits; never the token itself, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
