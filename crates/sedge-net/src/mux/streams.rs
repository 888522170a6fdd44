//! The state of a multiplexed connection: its streams, what waits to be sent, and how it ended.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use sedge_base::Cancel;
use tokio::sync::{Notify, watch};

use super::Terms;
use crate::conn::{CloseReason, ConnError, Side};
use crate::packet::{Body, Kind, Packet};

/// Streams that each side may have opened at one time.
const STREAMS: usize = 256;
/// Packets that may wait to be sent; windows bound the bytes, this bounds the small ones.
const QUEUE: usize = 16_384;
/// Sealed memory files that may wait for their readers; a file more is read at once.
#[cfg(target_os = "linux")]
const FILES: usize = 64;
/// Waiting bytes are put together up to this size, so that small packets cost little memory.
const TOGETHER: usize = 4 << 10;

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// This side closed it.
    Ours(CloseReason),
    /// The peer closed it.
    Theirs(CloseReason),
    /// The peer is gone without a word.
    Silent,
    /// The peer broke the protocol.
    Violated(&'static str),
    /// The carrier broke.
    Broken(Arc<io::Error>),
}

impl Ending {
    /// Tells by a carrier's error how the connection ended.
    pub(super) fn of(err: io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof => Self::Silent,
            io::ErrorKind::InvalidData => Self::Violated("a packet is malformed"),
            _ => Self::Broken(Arc::new(err)),
        }
    }
}

/// The last word of a stream's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Finished,
    Reset,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Slot {
    opened_by: Side,
    pub(super) inbox: VecDeque<Body>,
    pub(super) last: Option<Last>,
    pub(super) stop_sent: bool,
    /// Bytes that the peer may still send.
    allowed: usize,
    /// Bytes that were read since the peer was last told.
    read: usize,
    pub(super) reader: Option<Waker>,
    /// Bytes that we may still send.
    pub(super) credit: usize,
    pub(super) fin_sent: bool,
    pub(super) stop_seen: bool,
    pub(super) writer: Option<Waker>,
    stopped: Cancel,
}

impl Slot {
    fn new(opened_by: Side, window: usize) -> Self {
        Self {
            opened_by,
            inbox: VecDeque::new(),
            last: None,
            stop_sent: false,
            allowed: window,
            read: 0,
            reader: None,
            credit: window,
            fin_sent: false,
            stop_seen: false,
            writer: None,
            stopped: Cancel::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.fin_sent && self.stop_seen && self.last.is_some() && self.stop_sent
    }

    fn put(&mut self, body: Body) {
        let (Some(Body::Bytes(back)), Body::Bytes(new)) = (self.inbox.back_mut(), &body) else {
            return self.inbox.push_back(body);
        };
        if back.len() + new.len() > TOGETHER {
            return self.inbox.push_back(body);
        }
        let mut both = BytesMut::with_capacity(TOGETHER);
        both.extend_from_slice(back);
        both.extend_from_slice(new);
        *back = both.freeze();
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ended: bool,
    queue: VecDeque<Packet>,
    pub(super) slots: BTreeMap<u64, Slot>,
    next: u64,
    last_peer: u64,
    ours: usize,
    theirs: usize,
    incoming: VecDeque<u64>,
    #[cfg(target_os = "linux")]
    pub(super) files: usize,
}

/// What the tasks, the links and the streams of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    ended: watch::Sender<Option<Ending>>,
    pub(super) wake_writer: Notify,
    opened: Notify,
    freed: Notify,
    window: usize,
    pub(super) sealed: bool,
}

impl Shared {
    pub(super) fn new(terms: &Terms) -> Self {
        let (next, last_peer) = match terms.dialled_by {
            Side::Us => (1, 0),
            Side::Peer => (2, 0),
        };
        let state = State {
            ended: false,
            queue: VecDeque::new(),
            slots: BTreeMap::new(),
            next,
            last_peer,
            ours: 0,
            theirs: 0,
            incoming: VecDeque::new(),
            #[cfg(target_os = "linux")]
            files: 0,
        };
        Self {
            state: Mutex::new(state),
            ended: watch::Sender::new(None),
            wake_writer: Notify::new(),
            opened: Notify::new(),
            freed: Notify::new(),
            window: terms.window,
            sealed: terms.sealed,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a packet that belongs to no stream.
    pub(super) fn push(&self, packet: Packet) {
        self.lock().queue.push_back(packet);
        self.wake_writer.notify_one();
    }

    /// Queues a packet of a stream whose state the caller holds.
    pub(super) fn push_locked(&self, state: &mut State, packet: Packet) {
        if !state.ended {
            state.queue.push_back(packet);
            self.wake_writer.notify_one();
        }
    }

    /// Takes packets to be sent, `at_most` so many; tells whether the connection has ended.
    pub(super) fn take(&self, at_most: usize) -> (Vec<Packet>, bool) {
        let mut state = self.lock();
        let some = state.queue.len().min(at_most);
        (state.queue.drain(..some).collect(), state.ended)
    }

    /// Opens a stream of our own, as soon as fewer than [`STREAMS`] are open.
    pub(super) async fn open(&self) -> (u64, Cancel) {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.lock();
                if state.ours < STREAMS && !state.ended {
                    let id = state.next;
                    state.next += 2;
                    state.ours += 1;
                    let slot = Slot::new(Side::Us, self.window);
                    let stopped = slot.stopped.clone();
                    state.slots.insert(id, slot);
                    self.push_locked(&mut state, Packet::new(Kind::Open, id, Bytes::new()));
                    return (id, stopped);
                }
            }
            freed.await;
        }
    }

    /// Waits for the next stream that the peer opens.
    pub(super) async fn accept(&self) -> (u64, Cancel) {
        loop {
            let opened = self.opened.notified();
            {
                let mut state = self.lock();
                if let Some(id) = state.incoming.pop_front() {
                    let stopped = state.slots.get(&id).map(|it| it.stopped.clone());
                    return (id, stopped.unwrap_or_default());
                }
            }
            opened.await;
        }
    }

    /// Forgets a stream that both sides have ended.
    pub(super) fn forget_if_over(&self, state: &mut State, id: u64) {
        if !state.slots.get(&id).is_some_and(Slot::is_over) {
            return;
        }
        if let Some(slot) = state.slots.remove(&id) {
            match slot.opened_by {
                Side::Us => state.ours -= 1,
                Side::Peer => state.theirs -= 1,
            }
            self.freed.notify_one();
        }
    }

    /// Tells the peer, now and then, that there is room for what was read.
    pub(super) fn has_read(&self, state: &mut State, id: u64, some: usize) {
        let Some(slot) = state.slots.get_mut(&id) else { return };
        slot.read += some;
        if slot.read < self.window / 2 || slot.last.is_some() || slot.stop_sent {
            return;
        }
        let room = std::mem::take(&mut slot.read);
        slot.allowed += room;
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let body = Bytes::copy_from_slice(&room.to_be_bytes());
        self.push_locked(state, Packet::new(Kind::Window, id, body));
    }

    /// Ends the connection and all of its streams; the first ending counts.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let word = match &ending {
            Ending::Ours(reason) => Some(*reason),
            Ending::Violated(_) => Some(CloseReason::Protocol),
            Ending::Theirs(_) | Ending::Silent | Ending::Broken(_) => None,
        };
        state.ended = true;
        state.queue.clear();
        state.incoming.clear();
        if let Some(reason) = word {
            let body = Bytes::copy_from_slice(&reason.code().to_be_bytes());
            state.queue.push_back(Packet::new(Kind::Close, 0, body));
        }
        let slots = std::mem::take(&mut state.slots);
        drop(state);
        self.ended.send_replace(Some(ending));
        self.wake_writer.notify_one();
        for slot in slots.into_values() {
            slot.stopped.cancel();
            [slot.reader, slot.writer].into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Waits until the connection has ended, and returns why.
    pub(super) async fn closed(&self) -> ConnError {
        let mut ended = self.ended.subscribe();
        let ending = ended.wait_for(Option::is_some).await.map_or(None, |it| it.clone());
        match ending {
            Some(Ending::Ours(_)) => ConnError::ClosedHere,
            Some(Ending::Theirs(reason)) => ConnError::Closed { reason },
            Some(Ending::Silent) | None => ConnError::Silent,
            Some(Ending::Violated(what)) => {
                ConnError::Broken { source: Arc::new(crate::packet::malformed(what)) }
            }
            Some(Ending::Broken(source)) => ConnError::Broken { source },
        }
    }

    /// Takes in what the peer sent; the error says what it may not do.
    pub(super) fn handle(&self, packet: Packet) -> Result<(), &'static str> {
        let mut state = self.lock();
        if state.ended {
            return Ok(());
        }
        if state.queue.len() > QUEUE {
            return Err("it does not read what it asks for");
        }
        let Packet { kind, stream: id, body } = packet;
        match (kind, body) {
            (Kind::Ping, Body::Bytes(bytes)) => {
                self.push_locked(&mut state, Packet::new(Kind::Pong, 0, bytes));
            }
            (Kind::Open, _) => self.opened(&mut state, id)?,
            (Kind::Data | Kind::Sealed, body) => self.data(&mut state, id, body)?,
            (Kind::Window, Body::Bytes(room)) => {
                let room = room.as_ref().try_into().map(u32::from_be_bytes);
                let slot = state.slots.get_mut(&id).ok_or("no such stream")?;
                slot.credit += room.map_err(|_| "a window has no size")? as usize;
                if slot.credit > self.window {
                    return Err("a window is too large");
                }
                slot.writer.take().into_iter().for_each(Waker::wake);
            }
            (Kind::Fin | Kind::Reset, _) => {
                let slot = state.slots.get_mut(&id).ok_or("no such stream")?;
                if slot.last.is_some() {
                    return Err("a stream ends twice");
                }
                let (mut last, mut lost) = (Last::Finished, VecDeque::new());
                if kind == Kind::Reset {
                    (last, lost) = (Last::Reset, std::mem::take(&mut slot.inbox));
                }
                slot.last = Some(last);
                slot.reader.take().into_iter().for_each(Waker::wake);
                state.gave_back(lost.iter());
                self.forget_if_over(&mut state, id);
            }
            (Kind::Stop, _) => {
                let slot = state.slots.get_mut(&id).ok_or("no such stream")?;
                if std::mem::replace(&mut slot.stop_seen, true) {
                    return Err("a stream is stopped twice");
                }
                slot.stopped.cancel();
                slot.writer.take().into_iter().for_each(Waker::wake);
                self.forget_if_over(&mut state, id);
            }
            _ => return Err("a packet does not belong here"),
        }
        Ok(())
    }

    fn opened(&self, state: &mut State, id: u64) -> Result<(), &'static str> {
        let theirs = id % 2 != state.next % 2;
        if !theirs || id <= state.last_peer {
            return Err("a stream's number is not the next");
        }
        if state.theirs >= STREAMS {
            return Err("too many streams");
        }
        state.last_peer = id;
        state.theirs += 1;
        state.slots.insert(id, Slot::new(Side::Peer, self.window));
        state.incoming.push_back(id);
        self.opened.notify_one();
        Ok(())
    }

    #[cfg_attr(
        not(target_os = "linux"),
        expect(clippy::unnecessary_wraps, reason = "memory files exist on Linux only")
    )]
    fn data(&self, state: &mut State, id: u64, body: Body) -> Result<(), &'static str> {
        let slot = state.slots.get_mut(&id).ok_or("no such stream")?;
        if slot.last.is_some() {
            return Err("data after the end");
        }
        let len = body.len();
        slot.allowed = slot.allowed.checked_sub(len).ok_or("more data than allowed")?;
        if len == 0 {
            return Err("data without bytes");
        }
        if slot.stop_sent {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        let body = match body {
            Body::Sealed(sealed) if state.files >= FILES => {
                Body::Bytes(sealed.into_bytes().map_err(|_| "a memory file cannot be read")?)
            }
            Body::Sealed(sealed) => {
                state.files += 1;
                Body::Sealed(sealed)
            }
            body @ Body::Bytes(_) => body,
        };
        slot.put(body);
        slot.reader.take().into_iter().for_each(Waker::wake);
        Ok(())
    }
}

/// Feeds packets, as they stand one behind the other, to a connection; returns whether it took them all.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(mut bytes: &[u8]) -> bool {
    use crate::packet::{HEAD, Head};

    let second = std::time::Duration::from_secs(1);
    let shared = Shared::new(&Terms {
        peer: sedge_base::NodeId::from_bytes([1; 32]),
        protocol: crate::Protocol::Mesh,
        dialled_by: Side::Us,
        path: crate::PathClass::Local,
        window: 1_000,
        sealed: false,
        liveness: crate::Liveness { keep_alive: second, silent_after: second },
    });
    while !bytes.is_empty() {
        let Ok(Head { kind, stream, len }) = Head::read(bytes) else { return false };
        let Some(body) = bytes.get(HEAD..HEAD + len) else { return false };
        bytes = &bytes[HEAD + len..];
        if shared.handle(Packet::new(kind, stream, body.to_vec())).is_err() {
            return false;
        }
        let state = shared.lock();
        assert!(
            state.theirs <= STREAMS && state.theirs == state.slots.len(),
            "streams are counted"
        );
        let held = |slot: &Slot| slot.inbox.iter().map(Body::len).sum::<usize>();
        assert!(state.slots.values().all(|it| held(it) <= 1_000), "streams are bounded");
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use sedge_base::NodeId;

    use super::*;
    use crate::conn::PathClass;
    use crate::quic::Liveness;
    use crate::transport::Protocol;

    fn shared() -> Shared {
        let second = Duration::from_secs(1);
        Shared::new(&Terms {
            peer: NodeId::from_bytes([1; 32]),
            protocol: Protocol::Mesh,
            dialled_by: Side::Us,
            path: PathClass::Local,
            window: 1_000,
            sealed: false,
            liveness: Liveness { keep_alive: second, silent_after: second },
        })
    }

    fn handle(shared: &Shared, kind: Kind, stream: u64, len: usize) -> Result<(), &'static str> {
        shared.handle(Packet::new(kind, stream, vec![0; len]))
    }

    #[test]
    fn a_peer_may_not_send_more_than_there_is_room_for() {
        let shared = shared();
        handle(&shared, Kind::Open, 2, 0).unwrap();
        handle(&shared, Kind::Data, 2, 600).unwrap();
        assert_eq!(handle(&shared, Kind::Data, 2, 600), Err("more data than allowed"));
    }

    #[test]
    fn a_peer_may_not_open_streams_without_end_or_of_ours() {
        let shared = shared();
        assert!(handle(&shared, Kind::Open, 1, 0).is_err());
        for at in 1..=STREAMS as u64 {
            handle(&shared, Kind::Open, at * 2, 0).unwrap();
        }
        let next = (STREAMS as u64 + 1) * 2;
        assert_eq!(handle(&shared, Kind::Open, next, 0), Err("too many streams"));
    }

    #[test]
    fn a_peer_that_asks_and_never_reads_is_given_up() {
        let shared = shared();
        let asked = (0..=QUEUE + 1).map(|_| handle(&shared, Kind::Ping, 0, 8));
        assert!(asked.last().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn packets_in_any_order_never_panic_and_stay_bounded(
            packets in proptest::collection::vec((2_u8..=10, 0_u64..12, 0_usize..500), 0..200)
        ) {
            const KINDS: [Kind; 9] = [
                Kind::Open, Kind::Data, Kind::Window, Kind::Fin, Kind::Reset, Kind::Stop,
                Kind::Close, Kind::Ping, Kind::Pong,
            ];
            let shared = shared();
            for (kind, stream, len) in packets {
                let _ = handle(&shared, KINDS[usize::from(kind) - 2], stream, len);
            }
            let state = shared.lock();
            prop_assert!(state.theirs <= STREAMS && state.theirs == state.slots.len());
            let held = |slot: &Slot| slot.inbox.iter().map(Body::len).sum::<usize>();
            prop_assert!(state.slots.values().all(|it| held(it) <= 1_000));
        }
    }
}
