//! Posts on their way to everybody: in full to some neighbours, by name to the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::quota::{Quota, Rate};
use super::window::Window;
use crate::swarm::desk::{Desk, Judge, Output, Timer};
use crate::swarm::wire::{IDS, Id, Message, Peer, Post};

/// How long the names of posts are collected for a neighbour.
const COLLECT: Duration = Duration::from_millis(20);
/// How long a post may take to come by itself when its name is known.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long posts are kept for those who ask.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// How many bytes of posts are kept for those who ask.
const KEPT: usize = 1 << 20;
/// Posts that are known by name only.
const MISSING: usize = 4096;
/// Of how many neighbours it is noted that they have a post.
const HOLDERS: usize = 4;

/// What became of posts, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PostCounts {
    /// Posts that were new here.
    pub fresh: u64,
    /// Posts that had come already.
    pub repeated: u64,
    /// Posts whose author is no member or did not sign them.
    pub forged: u64,
    /// Posts above what an author may post.
    pub throttled: u64,
}

/// The tree as one node sees it.
#[derive(Debug)]
pub(crate) struct Tree<P> {
    us: P,
    swarm: [u8; 8],
    rate: Rate,
    most: usize,
    /// Neighbours that get the names of posts only.
    lazy: BTreeSet<P>,
    seen: BTreeMap<P, (Window, Quota)>,
    kept: BTreeMap<Id<P>, Post<P>>,
    /// In the order in which they came.
    order: VecDeque<(Duration, Id<P>)>,
    bytes: usize,
    missing: BTreeMap<Id<P>, Vec<P>>,
    names: BTreeMap<P, Vec<Id<P>>>,
    pub(crate) counts: PostCounts,
}

impl<P: Peer> Tree<P> {
    /// Makes a tree; `rate` is what one author may post, `most` how many authors there may be.
    pub(crate) const fn new(us: P, swarm: [u8; 8], rate: Rate, most: usize) -> Self {
        Self {
            us,
            swarm,
            rate,
            most,
            lazy: BTreeSet::new(),
            seen: BTreeMap::new(),
            kept: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            missing: BTreeMap::new(),
            names: BTreeMap::new(),
            counts: PostCounts { fresh: 0, repeated: 0, forged: 0, throttled: 0 },
        }
    }

    /// Returns how long this node has to wait before it may post once more; counts the post.
    pub(crate) fn may_post(&mut self, now: Duration) -> Option<Duration> {
        let (us, rate) = (self.us, self.rate);
        let fresh = || (Window::default(), Quota::full(rate, now));
        let (_, quota) = self.seen.entry(us).or_insert_with(fresh);
        quota.take(rate, now)
    }

    /// Sends a post of this node.
    pub(crate) fn publish(&mut self, post: Post<P>, neighbours: &[P], desk: &mut Desk<P>) {
        self.forward(post, None, neighbours, desk);
    }

    /// Forgets a peer that is no neighbour any more.
    pub(crate) fn parted(&mut self, peer: &P) {
        self.lazy.remove(peer);
        self.names.remove(peer);
    }

    fn is_new(&self, id: &Id<P>) -> bool {
        self.seen.get(&id.0).is_none_or(|(window, _)| window.is_new(id.1))
    }

    /// Notes a post; `false` when its author has posted too much, or there are too many authors.
    fn take(&mut self, (author, serial): Id<P>, now: Duration) -> bool {
        if self.seen.len() >= self.most && !self.seen.contains_key(&author) {
            return false;
        }
        let rate = self.rate;
        let fresh = || (Window::default(), Quota::full(rate, now));
        let (window, quota) = self.seen.entry(author).or_insert_with(fresh);
        window.take(serial);
        quota.take(rate, now).is_none()
    }

    /// Takes in a post, and passes it on.
    pub(crate) fn arrived(
        &mut self,
        (from, post): (P, Post<P>),
        neighbours: &[P],
        desk: &mut Desk<P>,
        judge: &dyn Judge<P>,
    ) {
        let id = post.id();
        let near = neighbours.contains(&from);
        if post.author == self.us || !self.is_new(&id) {
            self.counts.repeated += 1;
            if !near && post.to.is_none() {
                // It counts a link that is none here: an answer or a farewell was lost.
                desk.send(from, Message::Apart);
            } else if near && self.lazy.insert(from) {
                desk.send(from, Message::Prune);
            }
            return;
        }
        let proven = judge.admits(&post.author)
            && judge.proves(&post.author, &post.text(self.swarm), &post.proof);
        if !proven {
            self.counts.forged += 1;
            return;
        }
        self.missing.remove(&id);
        if !self.take(id, desk.now) {
            self.counts.throttled += 1;
            return;
        }
        self.counts.fresh += 1;
        if near {
            self.lazy.remove(&from);
        }
        match post.to {
            None => desk.put(Output::Deliver(post.clone())),
            Some(to) if to == self.us => {
                desk.put(Output::Deliver(post));
                return;
            }
            Some(_) => {}
        }
        self.forward(post, Some(from), neighbours, desk);
    }

    fn forward(&mut self, post: Post<P>, from: Option<P>, neighbours: &[P], desk: &mut Desk<P>) {
        let onward = post.hops < post.limit;
        let id = post.id();
        let next = Post { hops: post.hops.saturating_add(1), ..post.clone() };
        for neighbour in neighbours.iter().filter(|it| onward && Some(**it) != from) {
            if self.lazy.contains(neighbour) {
                if self.names.is_empty() {
                    desk.after(COLLECT, Timer::Haves);
                }
                let names = self.names.entry(*neighbour).or_default();
                names.push(id);
            } else {
                desk.send(*neighbour, Message::Post(next.clone()));
            }
        }
        if onward {
            self.keep(next, desk.now);
        }
    }

    /// Keeps a post for those who ask, as it would be sent.
    fn keep(&mut self, post: Post<P>, now: Duration) {
        self.bytes += post.body.len();
        self.order.push_back((now, post.id()));
        self.kept.insert(post.id(), post);
        while let Some((at, id)) = self.order.front().copied() {
            if self.bytes <= KEPT && now < at + KEPT_FOR {
                return;
            }
            self.order.pop_front();
            if let Some(old) = self.kept.remove(&id) {
                self.bytes -= old.body.len();
            }
        }
    }

    /// Tells the lazy neighbours what there is.
    pub(crate) fn tell_names(&mut self, desk: &mut Desk<P>) {
        for (neighbour, names) in std::mem::take(&mut self.names) {
            for page in names.chunks(IDS) {
                desk.send(neighbour, Message::Have(page.to_vec()));
            }
        }
    }

    /// A neighbour has posts.
    pub(crate) fn has(&mut self, from: P, ids: &[Id<P>], desk: &mut Desk<P>) {
        for id in ids {
            if id.0 == self.us || !self.is_new(id) {
                continue;
            }
            let full = self.missing.len() >= MISSING;
            match self.missing.get_mut(id) {
                Some(holders) if holders.len() < HOLDERS && !holders.contains(&from) => {
                    holders.push(from);
                }
                Some(_) => {}
                None if full => {}
                None => {
                    self.missing.insert(*id, vec![from]);
                    desk.after(PATIENCE, Timer::Fetch(*id));
                }
            }
        }
    }

    /// A post has not come by itself: one who has it is asked.
    pub(crate) fn fetch(&mut self, id: Id<P>, desk: &mut Desk<P>) {
        let Some(holders) = self.missing.get_mut(&id) else { return };
        if holders.is_empty() {
            self.missing.remove(&id);
            return;
        }
        let holder = holders.remove(0);
        self.lazy.remove(&holder);
        desk.send(holder, Message::Want(id));
        desk.after(PATIENCE, Timer::Fetch(id));
    }

    /// A neighbour wants a post, and those after it at once.
    pub(crate) fn wants(&mut self, from: P, id: Id<P>, desk: &mut Desk<P>) {
        self.lazy.remove(&from);
        if let Some(post) = self.kept.get(&id) {
            desk.send(from, Message::Post(post.clone()));
        }
    }

    /// A neighbour gets posts from others sooner.
    pub(crate) fn pruned(&mut self, from: P, neighbours: &[P]) {
        if neighbours.contains(&from) {
            self.lazy.insert(from);
        }
    }
}
