//! Answers that repeat a secret word for word do not reach the guest.
//!
//! This catches a server that echoes what it was sent, as many do in error messages. It cannot catch one
//! that says the secret in other words (encoded, compressed, cut in pieces): whom a secret is sent to has
//! it, and the owner trusts the places that it is bound to.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming};
use sedge_base::Secret;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

/// Looks through a stream of bytes for secrets.
#[derive(Debug)]
pub(super) struct Screen {
    secrets: Vec<Secret<String>>,
    /// The end of what came so far, as long as a secret may begin in it.
    held: Secret<Vec<u8>>,
}

/// The answer has a secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Echoed;

impl From<Echoed> for Error {
    fn from(_: Echoed) -> Self {
        Self::InternalError(Some("the answer repeats a secret of this node".to_owned()))
    }
}

impl Screen {
    pub(super) const fn new(secrets: Vec<Secret<String>>) -> Self {
        Self { secrets, held: Secret::new(Vec::new()) }
    }

    /// Checks the names and values of headers or trailers.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Result<(), Echoed> {
        let clean = |bytes: &[u8]| !self.finds(bytes);
        let all = headers
            .iter()
            .all(|(name, value)| clean(value.as_bytes()) && clean(name.as_str().as_bytes()));
        if all { Ok(()) } else { Err(Echoed) }
    }

    /// Returns what may go on of everything up to these bytes.
    pub(super) fn pass(&mut self, bytes: Bytes) -> Result<Bytes, Echoed> {
        if self.secrets.is_empty() {
            return Ok(bytes);
        }
        let mut all = self.held.reveal().clone();
        all.extend_from_slice(&bytes);
        if self.finds(&all) {
            return Err(Echoed);
        }
        let begins =
            |tail: &[u8]| self.secrets.iter().any(|it| it.reveal().as_bytes().starts_with(tail));
        let longest = self.secrets.iter().map(|it| it.reveal().len()).max().unwrap_or(0);
        let first = all.len().saturating_sub(longest.saturating_sub(1));
        let cut = (first..all.len()).find(|it| begins(&all[*it..])).unwrap_or(all.len());
        self.held = Secret::new(all.split_off(cut));
        Ok(all.into())
    }

    /// Returns what was held back: nothing follows it any more.
    pub(super) fn end(&mut self) -> Bytes {
        std::mem::replace(&mut self.held, Secret::new(Vec::new())).reveal().clone().into()
    }

    fn finds(&self, bytes: &[u8]) -> bool {
        let found = |it: &[u8]| bytes.windows(it.len()).any(|window| window == it);
        self.secrets.iter().any(|it| !it.reveal().is_empty() && found(it.reveal().as_bytes()))
    }
}

/// The body of an answer, screened.
#[derive(Debug)]
pub(super) struct Screened {
    body: Incoming,
    screen: Screen,
    /// What follows the body, once that has ended.
    trailers: Option<HeaderMap>,
    ended: bool,
    pause: Option<Pause>,
}

/// How long the server may be silent.
#[derive(Debug)]
struct Pause {
    most: Duration,
    until: Pin<Box<Sleep>>,
}

impl Screened {
    /// `pause` is how long the server may be silent between two pieces.
    pub(super) fn new(body: Incoming, screen: Screen, pause: Option<Duration>) -> Self {
        let pause = pause.map(|most| Pause { most, until: Box::pin(sleep(most)) });
        Self { body, screen, trailers: None, ended: false, pause }
    }

    /// Returns the next piece of the server, `None` at its end.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(Pause { most, until }) = &mut self.pause {
                    until.as_mut().reset(Instant::now() + *most);
                }
                Poll::Ready(frame.map(|it| it.map_err(Error::from)))
            }
            Poll::Pending => {
                let Some(pause) = &mut self.pause else { return Poll::Pending };
                ready!(pause.until.as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    /// Takes one piece; `None` when there is nothing to hand on yet.
    fn take(&mut self, frame: Frame<Bytes>) -> Result<Option<Frame<Bytes>>, Error> {
        let trailers = match frame.into_data() {
            Ok(data) => {
                let data = self.screen.pass(data)?;
                return Ok((!data.is_empty()).then(|| Frame::data(data)));
            }
            Err(frame) => frame.into_trailers().unwrap_or_default(),
        };
        self.screen.headers(&trailers)?;
        self.trailers = Some(trailers);
        self.ended = true;
        Ok(None)
    }
}

impl Body for Screened {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        while !self.ended {
            let Some(frame) = ready!(self.next(context)) else {
                self.ended = true;
                break;
            };
            match frame.and_then(|it| self.take(it)) {
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Err(error) => {
                    // What is held back may be the beginning of a secret.
                    drop(self.screen.end());
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let rest = self.screen.end();
        if !rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        Poll::Ready(self.trailers.take().map(|it| Ok(Frame::trailers(it))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn screen(secrets: &[&str]) -> Screen {
        Screen::new(secrets.iter().map(|it| Secret::new((*it).to_owned())).collect())
    }

    fn through(screen: &mut Screen, pieces: &[&[u8]]) -> Result<Vec<u8>, Echoed> {
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&screen.pass(Bytes::copy_from_slice(piece))?);
        }
        out.extend_from_slice(&screen.end());
        Ok(out)
    }

    #[test]
    fn a_secret_in_pieces_is_found_before_its_beginning_is_handed_on() {
        let mut one = screen(&["abcabd", "xyz"]);
        assert_eq!(one.pass("--abca".into()).unwrap(), "--");
        assert_eq!(one.pass("bca".into()).unwrap(), "abc");
        assert_eq!(one.pass("bd".into()), Err(Echoed));
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", "Bearer abcabd".parse().unwrap());
        assert_eq!(one.headers(&headers), Err(Echoed));
    }

    proptest! {
        #[test]
        fn all_else_arrives_whole(text in "[ab]{0,60}", cuts in proptest::collection::vec(0..60usize, 0..6)) {
            let secret = "abbab";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|it| it.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|it| &text.as_bytes()[it[0]..it[1]]).collect();
            let got = through(&mut screen(&[secret]), &pieces);
            if text.contains(secret) {
                prop_assert_eq!(got, Err(Echoed));
            } else {
                prop_assert_eq!(got, Ok(text.into_bytes()));
            }
        }
    }
}
