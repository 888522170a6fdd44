//! What the parts of a member's state machine share: the time, the dice, and what is to be done.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use super::wire::{Id, Message, Peer, Post, Proof, Standing};
use crate::dice::Dice;

/// Decides what the state machine cannot know: who is a member, and who wrote something.
pub(crate) trait Judge<P>: Send + fmt::Debug {
    /// Returns whether this is a member.
    fn admits(&self, peer: &P) -> bool;

    /// Signs a text with this member's key.
    fn sign(&self, text: &[u8]) -> Proof;

    /// Returns whether the author signed this text.
    fn proves(&self, author: &P, text: &[u8], proof: &Proof) -> bool;
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output<P> {
    /// Send this.
    Send { to: P, message: Message<P> },
    /// Keep the link to this peer, or no longer.
    Keep { peer: P, keep: bool },
    /// A member's standing has changed.
    Stands { peer: P, standing: Standing },
    /// A post for the topics of this member.
    Deliver(Post<P>),
}

/// Why the state machine is to be called later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer<P> {
    /// Look after the neighbours.
    Tend,
    /// Exchange a neighbour.
    Exchange,
    /// Ask the next member whether it is alive.
    Probe,
    /// It has not answered; ask others to ask it.
    Unanswered(u32),
    /// Nobody had an answer.
    Silent(u32),
    /// The time of this suspect to object is over.
    Verdict(P, u64),
    /// Look for members that are down.
    Seek,
    /// Tell the neighbours what has changed.
    Tell,
    /// Check the table with a neighbour.
    Check,
    /// Tell the lazy neighbours which posts there are.
    Haves,
    /// Ask for a post of which only the id is known.
    Fetch(Id<P>),
}

/// The time, the dice, and what is to be done.
#[derive(Debug)]
pub(crate) struct Desk<P> {
    /// The time since the start.
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    outputs: Vec<Output<P>>,
    timers: BinaryHeap<Reverse<(Duration, u64, Timer<P>)>>,
    /// Timers in the order in which they were set.
    set: u64,
}

impl<P: Peer> Desk<P> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            dice: Dice::new(seed),
            outputs: Vec::new(),
            timers: BinaryHeap::new(),
            set: 0,
        }
    }

    pub(crate) fn put(&mut self, output: Output<P>) {
        self.outputs.push(output);
    }

    pub(crate) fn send(&mut self, to: P, message: Message<P>) {
        self.outputs.push(Output::Send { to, message });
    }

    pub(crate) fn after(&mut self, wait: Duration, timer: Timer<P>) {
        self.set += 1;
        self.timers.push(Reverse((self.now + wait, self.set, timer)));
    }

    /// Sets a timer between three and five quarters of `wait` from now: members do not move in step.
    pub(crate) fn about(&mut self, wait: Duration, timer: Timer<P>) {
        let wait = wait.mul_f64(0.75 + self.dice.unit() / 2.0);
        self.after(wait, timer);
    }

    /// Returns when the next timer is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next timer that is due.
    pub(crate) fn take_due(&mut self) -> Option<Timer<P>> {
        let Reverse((at, ..)) = self.timers.peek()?;
        if *at > self.now {
            return None;
        }
        self.timers.pop().map(|Reverse((.., timer))| timer)
    }

    /// Takes what is to be done, in order.
    pub(crate) fn take(&mut self) -> Vec<Output<P>> {
        std::mem::take(&mut self.outputs)
    }
}
