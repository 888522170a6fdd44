//! The one thread that writes: takes what waits, commits it as one group, then acknowledges. On the
//! double of a disk each write is a group of its own, in line.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::disk::{Disk, DiskDouble};
use crate::events::{CommitFailed, Committed, Metrics};
use crate::fault::Fault;

/// How many writes may wait before a caller has to wait too: several full groups.
pub(crate) const QUEUE: usize = 1024;

/// The most writes in one transaction, so that the first of them is not kept waiting for long.
const GROUP: usize = 256;

/// What a piece of work wants to become of what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Undo,
}

/// A write that waits: done inside the group's transaction, told its fate after the commit.
trait Pending: Send {
    fn apply(&mut self, database: &Connection) -> Verdict;
    fn tell(self: Box<Self>, fate: Result<(), Fault>);
}

struct Write<T, E, F> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Pending for Write<T, E, F>
where
    T: Send,
    E: From<Fault> + Send,
    F: FnOnce(&Connection) -> Result<T, E> + Send,
{
    fn apply(&mut self, database: &Connection) -> Verdict {
        self.result = self.work.take().map(|work| work(database));
        if matches!(self.result, Some(Ok(_))) { Verdict::Keep } else { Verdict::Undo }
    }

    fn tell(self: Box<Self>, fate: Result<(), Fault>) {
        let fate = fate.map_err(E::from);
        let answer = match (self.result, fate) {
            // A work's own error says more than what became of its group.
            (Some(Err(own)), _) => Err(own),
            (_, Err(lost)) => Err(lost),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(E::from(Fault::Closed)),
        };
        // A caller that left misses the answer, nothing else.
        drop(self.answer.send(answer));
    }
}

/// What the writer is asked to do.
enum Order {
    /// Do this in the next group.
    Write(Box<dyn Pending>),
    /// Finish what waits, close the file and answer.
    Close(oneshot::Sender<Result<(), Fault>>),
}

/// One message to the writer.
pub(crate) struct Message(Order);

impl Message {
    /// Makes the message for one write, and the end on which its result arrives after the commit.
    pub(crate) fn write<T, E>(
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T, E>>)
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let write = Write { work: Some(work), result: None, answer };
        (Self(Order::Write(Box::new(write))), receiver)
    }

    /// Makes the last message, and the end that says when the file is closed.
    pub(crate) fn close() -> (Self, oneshot::Receiver<Result<(), Fault>>) {
        let (answer, receiver) = oneshot::channel();
        (Self(Order::Close(answer)), receiver)
    }
}

/// The way to whoever writes.
#[derive(Debug)]
pub(crate) enum Writer {
    Thread(ToThread),
    InLine(InLine),
}

/// The way to the thread.
pub(crate) struct ToThread {
    queue: mpsc::Sender<Message>,
    along: Along,
}

/// What nobody waits for: it shares the commit of the next write, which does not wait for it either.
type Along = Arc<Mutex<Vec<Box<dyn Pending>>>>;

impl std::fmt::Debug for ToThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToThread").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Writes in line, one after the other.
#[derive(Debug)]
pub(crate) struct InLine {
    disk: Arc<DiskDouble>,
    /// Whose turn it is, in the order of asking.
    turn: tokio::sync::Mutex<()>,
    /// `None` when it was closed.
    database: Mutex<Option<Connection>>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Starts the thread, which ends when it is told to close or when nobody can ask it any more; or
    /// starts none for the double of a disk.
    pub(crate) fn start(
        database: Connection,
        metrics: Arc<Metrics>,
        disk: &Disk,
    ) -> Result<Self, std::io::Error> {
        if let Disk::Double(disk) = disk {
            let (disk, database) = (Arc::clone(disk), Mutex::new(Some(database)));
            return Ok(Self::InLine(InLine { disk, turn: Default::default(), database, metrics }));
        }
        let (queue, receiver) = mpsc::channel(QUEUE);
        let along = Along::default();
        let thread = thread::Builder::new().name("sedge-store".to_owned());
        let theirs = Arc::clone(&along);
        drop(thread.spawn(move || run(database, receiver, &theirs, &metrics))?);
        Ok(Self::Thread(ToThread { queue, along }))
    }

    /// Hands a message over; its answer comes on its own end.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Fault> {
        match self {
            Self::Thread(it) => it.queue.send(message).await.map_err(|_| Fault::Closed),
            Self::InLine(line) => line.send(message).await,
        }
    }

    /// Hands over a write that nobody waits for: it shares the commit of the next one. When a whole
    /// group of them waits, and on the double of a disk, it is a write like any other.
    pub(crate) async fn send_along(&self, message: Message) -> Result<(), Fault> {
        match (self, message) {
            (Self::Thread(it), Message(Order::Write(write))) => {
                let waiting = {
                    let mut along = it.along.lock().unwrap_or_else(PoisonError::into_inner);
                    along.push(write);
                    along.len()
                };
                if waiting < GROUP { Ok(()) } else { self.settle().await }
            }
            (_, message) => self.send(message).await,
        }
    }

    /// Returns after what nobody waited for is written, too.
    pub(crate) async fn settle(&self) -> Result<(), Fault> {
        if matches!(self, Self::InLine(_)) {
            return Ok(());
        }
        let (message, done) = Message::write(|_| Ok::<_, Fault>(()));
        self.send(message).await?;
        done.await.unwrap_or(Err(Fault::Closed))
    }

    /// Returns how many more messages may wait.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Thread(it) => it.queue.capacity(),
            Self::InLine(_) => 0,
        }
    }
}

impl InLine {
    async fn send(&self, Message(order): Message) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        match order {
            Order::Write(write) => {
                self.disk.pause().await;
                self.write(write)?;
                self.disk.pause().await;
                Ok(())
            }
            Order::Close(answer) => {
                let closed = self.lock().take().map_or(Ok(()), close).map_err(Fault::from);
                drop(answer.send(closed));
                Ok(())
            }
        }
    }

    fn write(&self, write: Box<dyn Pending>) -> Result<(), Fault> {
        let mut database = self.lock();
        let database = database.as_mut().ok_or(Fault::Closed)?;
        if Disk::Double(Arc::clone(&self.disk)).is_full() {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            write.tell(Err(rusqlite::Error::SqliteFailure(full, None).into()));
        } else {
            commit(database, vec![write], &self.metrics);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(
    mut database: Connection,
    mut queue: mpsc::Receiver<Message>,
    along: &Along,
    metrics: &Metrics,
) {
    let taken = || std::mem::take(&mut *along.lock().unwrap_or_else(PoisonError::into_inner));
    let mut closing = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let mut next = Some(first);
        let mut group = Vec::new();
        while let Some(Message(order)) = next {
            match order {
                Order::Write(write) => group.push(write),
                Order::Close(answer) => {
                    queue.close();
                    closing.push(answer);
                }
            }
            next = if group.len() < GROUP { queue.try_recv().ok() } else { None };
        }
        if !group.is_empty() {
            // After what was waited for, so that an error of its own is never theirs.
            group.append(&mut taken());
            commit(&mut database, group, metrics);
        }
    }
    let last = taken();
    if !last.is_empty() {
        commit(&mut database, last, metrics);
    }
    let mut closed = close(database).map_err(Fault::from);
    for answer in closing {
        drop(answer.send(std::mem::replace(&mut closed, Ok(()))));
    }
}

fn commit(database: &mut Connection, mut group: Vec<Box<dyn Pending>>, metrics: &Metrics) {
    let started = tokio::time::Instant::now();
    match attempt(database, &mut group) {
        Ok(kept) => {
            Committed { writes: kept, took: started.elapsed() }.emit(metrics);
            for write in group {
                write.tell(Ok(()));
            }
        }
        Err(fault) => {
            let reason = fault.to_string();
            CommitFailed { writes: group.len(), reason: &reason }.emit(metrics);
            // The first one gets the cause itself, which has no second copy.
            let mut cause = Some(fault);
            for write in group {
                let undone = || Fault::Undone { reason: reason.clone() };
                write.tell(Err(cause.take().unwrap_or_else(undone)));
            }
        }
    }
}

/// Does the group in one transaction; returns how many were kept. On an error nothing of the group
/// is on disk: dropping the transaction undoes it.
fn attempt(database: &mut Connection, group: &mut [Box<dyn Pending>]) -> Result<u64, Fault> {
    let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut kept = 0;
    for write in group {
        change.execute_batch("SAVEPOINT work")?;
        let verdict = write.apply(&change);
        // On a full disk SQLite may have undone the whole transaction by itself.
        if change.is_autocommit() {
            return Err(Fault::Undone { reason: "the database gave it up".to_owned() });
        }
        match verdict {
            Verdict::Keep => {
                change.execute_batch("RELEASE work")?;
                kept += 1;
            }
            Verdict::Undo => change.execute_batch("ROLLBACK TO work; RELEASE work")?,
        }
    }
    change.commit()?;
    Ok(kept)
}

/// Moves the log into the file and closes it.
fn close(database: Connection) -> Result<(), rusqlite::Error> {
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    database.close().map_err(|(_, err)| err)
}
