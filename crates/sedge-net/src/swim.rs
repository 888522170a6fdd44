//! Who is alive: SWIM (Das et al. 2002) with suspicion, over the links of an overlay.
//!
//! Three differences from the paper, each because a probe of a stranger costs a connection here:
//! a dead neighbour is noticed by the silence of its link, long before a probe would; what changes
//! is told to the neighbours, who pass it on, instead of riding on probes; and digests of the tables are
//! compared with every probe, and with neighbours after each change, so that what got lost is found again.
//!
//! A node that is short of processor waits longer for everybody, and accuses nobody meanwhile (see
//! [`health`]).
//!
//! What others say never makes a member down. It makes it a suspect, and each node waits itself for
//! the suspect to object: by a higher incarnation, which only the accused gives itself.

pub(crate) mod health;
mod probe;
mod rumours;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use self::health::Health;
use self::probe::Probes;
use self::rumours::Rumours;
use self::table::Record;
pub(crate) use self::table::Table;
use crate::swarm::desk::{Desk, Judge, Output, Timer};
use crate::swarm::wire::{ADDRESSES, Message, NEWS_PAGE, News, Peer, Standing};

/// How far ahead of our clock an accusation may be dated.
const AHEAD: Duration = Duration::from_secs(300);
/// How much further an objection may be dated: it must be able to beat every accusation.
const OBJECTION: Duration = Duration::from_secs(60);
/// How long a member that objected to our suspicion is spared another one of ours.
const SPARED: Duration = Duration::from_secs(30);
/// How often a peer is told the same thing, or gets an answer to a comparison.
const AGAIN: Duration = Duration::from_secs(1);
/// How long after a change tables are checked: what differs sooner is on its way.
const CALM: Duration = Duration::from_secs(1);
/// They compare all the same when this node has not compared its table for so long.
const UNCOMPARED: Duration = Duration::from_secs(30);

/// The times of a failure detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How often the next member is probed while there are at most [`Times::FEW`].
    pub probe_few: Duration,
    /// How often the next member is probed when there are more; each probe may cost a connection.
    pub probe_many: Duration,
    /// How long a probed member may take to answer, directly and then through others.
    pub answer: Duration,
    /// How long a suspect has to object before it is down.
    pub suspicion: Duration,
    /// The shortest time between two messages of news to one neighbour.
    pub news: Duration,
    /// How often a member that is down, or a seed that is unknown, is looked for.
    pub seek: Duration,
    /// How long a member that is down is remembered.
    pub remember: Duration,
}

impl Times {
    /// Up to how many members count as few.
    pub const FEW: usize = 32;

    /// Returns times for one site: a dead neighbour is a suspect as soon as its link is silent, and
    /// down two seconds later.
    pub const fn lan() -> Self {
        Self {
            probe_few: Duration::from_secs(1),
            probe_many: Duration::from_secs(5),
            answer: Duration::from_millis(500),
            suspicion: Duration::from_secs(2),
            news: Duration::from_millis(100),
            seek: Duration::from_secs(10),
            remember: Duration::from_secs(600),
        }
    }

    /// Returns times for nodes across the internet, where silence means less.
    pub const fn wan() -> Self {
        Self {
            probe_few: Duration::from_secs(5),
            probe_many: Duration::from_secs(10),
            answer: Duration::from_secs(3),
            suspicion: Duration::from_secs(15),
            news: Duration::from_millis(300),
            seek: Duration::from_secs(15),
            remember: Duration::from_secs(1800),
        }
    }
}

/// A member that somebody had no answer from.
#[derive(Debug)]
struct Suspicion {
    began: Duration,
    /// It was heard since.
    heard: bool,
    /// It began here, not by what others said.
    ours: bool,
}

/// One node's view of who is alive.
#[derive(Debug)]
pub(crate) struct Swim<P> {
    us: P,
    pub(crate) table: Table<P>,
    times: Times,
    /// The date of the start, in milliseconds.
    epoch: u64,
    suspicions: BTreeMap<P, Suspicion>,
    spared: BTreeMap<P, Duration>,
    /// When members went down.
    gone: BTreeMap<P, Duration>,
    rumours: Rumours<P>,
    /// When a peer was last told about itself, or had its table compared.
    answered: BTreeMap<P, Duration>,
    compared_at: Duration,
    pub(crate) health: Health,
    probes: Probes<P>,
    left: bool,
}

impl<P: Peer> Swim<P> {
    /// Makes a view in which there is only this node.
    ///
    /// `epoch` is the date in milliseconds; a later start has a higher one.
    pub(crate) fn new(us: P, epoch: u64, times: Times, most: usize) -> Self {
        let mut table = Table::new(most.max(1));
        table.set(us, Record { incarnation: epoch, standing: Standing::Up });
        Self {
            us,
            table,
            times,
            epoch,
            suspicions: BTreeMap::new(),
            spared: BTreeMap::new(),
            gone: BTreeMap::new(),
            rumours: Rumours::new(),
            answered: BTreeMap::new(),
            compared_at: Duration::ZERO,
            health: Health::default(),
            probes: Probes::new(us),
            left: false,
        }
    }

    /// Begins to probe; `direct` is where this node may be found.
    pub(crate) fn start(&mut self, mut direct: Vec<SocketAddr>, desk: &mut Desk<P>) {
        direct.truncate(ADDRESSES);
        self.table.set_place(self.us, direct);
        desk.about(self.probe_every(desk.now), Timer::Probe);
        desk.about(self.times.seek, Timer::Seek);
    }

    /// Notes members of which it is known otherwise that they are up.
    pub(crate) fn know(&mut self, peers: impl Iterator<Item = P>, incarnation: u64) {
        for peer in peers.filter(|it| *it != self.us) {
            self.table.set(peer, Record { incarnation, standing: Standing::Up });
        }
    }

    /// Returns what this node says about itself.
    pub(crate) fn ourselves(&self) -> News<P> {
        let unknown = || News {
            node: self.us,
            incarnation: self.epoch,
            standing: Standing::Up,
            direct: Vec::new(),
        };
        self.table.news(&self.us).unwrap_or_else(unknown)
    }

    fn date(&self, now: Duration) -> u64 {
        self.epoch.saturating_add(millis(now))
    }

    /// Takes in what somebody says about members; what a stranger is said to be is passed over.
    pub(crate) fn hear(
        &mut self,
        from: P,
        news: Vec<News<P>>,
        desk: &mut Desk<P>,
        judge: &dyn Judge<P>,
    ) {
        for one in news {
            let said = Record { incarnation: one.incarnation, standing: one.standing };
            if one.node == self.us {
                self.hear_of_us(&one, desk);
            } else if self.table.get(&one.node) == Some(said) && from != one.node {
                // Most of what is heard is known: this must cost little.
                self.rumours.echo(&one.node, from);
            } else if judge.admits(&one.node) {
                self.hear_one(from, one, desk);
            }
        }
    }

    /// Objects to what is not so.
    fn hear_of_us(&mut self, said: &News<P>, desk: &mut Desk<P>) {
        let ours = self.ourselves();
        let dated = self.date(desk.now).saturating_add(millis(AHEAD));
        if self.left
            || *said == ours
            || said.incarnation < ours.incarnation
            || said.incarnation > dated
        {
            return;
        }
        let incarnation = said.incarnation.saturating_add(1);
        self.table.set(self.us, Record { incarnation, standing: Standing::Up });
        self.rumours.add(self.us, None, desk.now);
        if said.standing != Standing::Up {
            self.health.doubted();
        }
    }

    fn hear_one(&mut self, from: P, news: News<P>, desk: &mut Desk<P>) {
        let News { node, incarnation, standing, direct } = news;
        let allowed = match standing {
            Standing::Up => AHEAD + OBJECTION,
            Standing::Suspect | Standing::Down => AHEAD,
        };
        if incarnation > self.date(desk.now).saturating_add(millis(allowed)) {
            return;
        }
        let old = self.table.get(&node);
        // A member may say of itself that it leaves; its link has proven its key.
        if from == node && standing == Standing::Down && old.is_some() {
            self.bury(node, incarnation, desk);
            self.rumours.add(node, Some(from), desk.now);
            return;
        }
        match (old, standing) {
            (None, Standing::Down) => {}
            (None, _) if self.table.set(node, Record { incarnation, standing }) => {
                self.table.set_place(node, direct);
                self.rumours.add(node, Some(from), desk.now);
                desk.put(Output::Stands { peer: node, standing: Standing::Up });
                if standing == Standing::Suspect {
                    self.accuse(node, incarnation, false, desk);
                }
            }
            (Some(old), Standing::Up) if incarnation > old.incarnation => {
                self.table.set(node, Record { incarnation, standing });
                self.table.set_place(node, direct);
                self.rumours.add(node, Some(from), desk.now);
                self.gone.remove(&node);
                let ours = self.suspicions.remove(&node).is_some_and(|it| it.ours);
                if ours {
                    self.spared.insert(node, desk.now + SPARED);
                }
                if old.standing != Standing::Up {
                    desk.put(Output::Stands { peer: node, standing });
                }
                // It was cut off, and others perhaps with it.
                if old.standing == Standing::Down && from == node {
                    self.compare(node, false, desk);
                }
            }
            (Some(old), Standing::Suspect | Standing::Down)
                if (old.standing == Standing::Up && incarnation >= old.incarnation)
                    || (old.standing == Standing::Suspect && incarnation > old.incarnation) =>
            {
                let record = Record { incarnation, standing: Standing::Suspect };
                self.table.set(node, record);
                self.rumours.add(node, Some(from), desk.now);
                self.accuse(node, incarnation, false, desk);
            }
            _ => {}
        }
    }

    /// Suspects a member from which no answer came.
    pub(crate) fn suspect(&mut self, node: P, desk: &mut Desk<P>) {
        let Some(Record { incarnation, standing: Standing::Up }) = self.table.get(&node) else {
            return;
        };
        if node == self.us || self.spared.get(&node).is_some_and(|it| *it > desk.now) {
            return;
        }
        self.table.set(node, Record { incarnation, standing: Standing::Suspect });
        self.rumours.add(node, None, desk.now);
        self.accuse(node, incarnation, true, desk);
    }

    fn accuse(&mut self, node: P, incarnation: u64, ours: bool, desk: &mut Desk<P>) {
        let suspicion = Suspicion { began: desk.now, heard: false, ours };
        if self.suspicions.insert(node, suspicion).is_none() {
            desk.put(Output::Stands { peer: node, standing: Standing::Suspect });
        }
        let wait = self.health.allow(self.times.suspicion);
        desk.after(wait, Timer::Verdict(node, incarnation));
    }

    /// The time of a suspect is over.
    pub(crate) fn verdict(&mut self, node: P, incarnation: u64, desk: &mut Desk<P>) {
        let suspect = Record { incarnation, standing: Standing::Suspect };
        let Some(suspicion) = self.suspicions.get_mut(&node) else { return };
        if self.table.get(&node) != Some(suspect) {
            return;
        }
        let wait = self.health.allow(self.times.suspicion);
        let left = (suspicion.began + wait).saturating_sub(desk.now);
        if std::mem::take(&mut suspicion.heard) {
            // It lives, and has not heard yet that it should object.
            suspicion.began = desk.now;
            self.tell_it(node, desk);
            desk.after(wait, Timer::Verdict(node, incarnation));
            return;
        }
        if !left.is_zero() {
            // This node is late, and so is perhaps the objection that waits for it.
            desk.after(left, Timer::Verdict(node, incarnation));
            return;
        }
        self.bury(node, incarnation, desk);
    }

    fn bury(&mut self, node: P, incarnation: u64, desk: &mut Desk<P>) {
        self.suspicions.remove(&node);
        let before = self.table.get(&node).map(|it| it.standing);
        self.table.set(node, Record { incarnation, standing: Standing::Down });
        self.gone.insert(node, desk.now);
        if before != Some(Standing::Down) {
            desk.put(Output::Stands { peer: node, standing: Standing::Down });
        }
    }

    /// A neighbour has said that it stops, or is no member any more.
    pub(crate) fn leaves(&mut self, node: P, desk: &mut Desk<P>) {
        if let Some(record) = self.table.get(&node) {
            self.bury(node, record.incarnation, desk);
            self.rumours.add(node, None, desk.now);
        }
    }

    /// A peer has sent something: it is alive, and hears from us when we thought otherwise.
    pub(crate) fn heard(&mut self, from: P, desk: &mut Desk<P>) {
        if let Some(suspicion) = self.suspicions.get_mut(&from) {
            suspicion.heard = true;
        }
        match self.table.get(&from) {
            Some(Record { standing: Standing::Up, .. }) => {}
            Some(_) => self.tell_it(from, desk),
            None => self.reconcile(from, desk),
        }
    }

    /// Tells a member what is said about it, so that it can object.
    fn tell_it(&mut self, node: P, desk: &mut Desk<P>) {
        if self.may_answer(node, desk)
            && let Some(news) = self.table.news(&node)
        {
            desk.send(node, Message::News(vec![news, self.ourselves()]));
        }
    }

    fn may_answer(&mut self, peer: P, desk: &Desk<P>) -> bool {
        let due = self.answered.get(&peer).is_none_or(|at| desk.now >= *at + AGAIN);
        if due {
            self.answered.insert(peer, desk.now);
        }
        due
    }

    /// Sends the digests of our table, to learn where it differs.
    pub(crate) fn compare(&mut self, with: P, answer: bool, desk: &mut Desk<P>) {
        self.compared_at = desk.now;
        desk.send(with, Message::Compare { buckets: self.table.buckets(), answer });
    }

    /// Compares tables with a peer whose digest differs, unless that is because of what is being told
    /// just now.
    fn reconcile(&mut self, with: P, desk: &mut Desk<P>) {
        let calm = self.rumours.are_calm(desk.now, self.health.stretch(CALM) / 2);
        let overdue = desk.now >= self.compared_at + self.health.stretch(UNCOMPARED);
        if (calm || overdue) && self.may_answer(with, desk) {
            self.compare(with, false, desk);
        }
    }

    /// Answers with what differs.
    pub(crate) fn compared(
        &mut self,
        from: P,
        theirs: &[[u8; 8]],
        answer: bool,
        desk: &mut Desk<P>,
    ) {
        // An answer comes once for each of our own comparisons, which are limited themselves.
        if !answer && !self.may_answer(from, desk) {
            return;
        }
        let differing = self.table.differing(theirs);
        if differing.is_empty() && theirs == self.table.buckets().as_slice() {
            return;
        }
        for page in differing.chunks(NEWS_PAGE) {
            desk.send(from, Message::News(page.to_vec()));
        }
        if !answer {
            self.compare(from, true, desk);
        }
    }

    /// Sees to it that what has changed is told, at once or after the shortest time.
    pub(crate) fn settle(&mut self, neighbours: &[P], desk: &mut Desk<P>) {
        if self.rumours.wants_check() {
            desk.about(self.health.stretch(CALM), Timer::Check);
        }
        if self.rumours.is_empty() || self.rumours.waiting {
            return;
        }
        let due = self.rumours.due(self.health.pace(self.times.news));
        if due <= desk.now {
            self.tell(neighbours, desk);
        } else {
            self.rumours.waiting = true;
            desk.after(due - desk.now, Timer::Tell);
        }
    }

    /// Asks a neighbour for its digest when everything that has changed should be told: a change may have
    /// passed a node by that was just exchanging its neighbours.
    pub(crate) fn check(&mut self, neighbours: &[P], desk: &mut Desk<P>) {
        let calm = self.rumours.are_calm(desk.now, self.health.stretch(CALM) / 2);
        if self.rumours.check(calm)
            && let Some(neighbour) = desk.dice.pick(neighbours).copied()
        {
            self.knock(neighbour, desk);
        }
    }

    /// Tells the neighbours what has changed.
    pub(crate) fn tell(&mut self, neighbours: &[P], desk: &mut Desk<P>) {
        let rumours = self.rumours.take(desk.now);
        let told = rumours.iter().filter_map(|(node, tellers)| {
            let news = self.table.news(node)?;
            Some((news, tellers))
        });
        let told: Vec<_> = told.collect();
        for neighbour in neighbours {
            let mut page = Vec::with_capacity(told.len().min(NEWS_PAGE));
            for (news, tellers) in &told {
                let itself = news.node == *neighbour && news.standing == Standing::Up;
                if itself || tellers.contains(neighbour) {
                    continue;
                }
                page.push(news.clone());
                if page.len() == NEWS_PAGE {
                    desk.send(*neighbour, Message::News(std::mem::take(&mut page)));
                }
            }
            if !page.is_empty() {
                desk.send(*neighbour, Message::News(page));
            }
        }
    }

    /// Says good-bye to the neighbours.
    pub(crate) fn leave(&mut self, neighbours: &[P], desk: &mut Desk<P>) {
        self.left = true;
        let farewell = News { standing: Standing::Down, ..self.ourselves() };
        for neighbour in neighbours {
            desk.send(*neighbour, Message::News(vec![farewell.clone()]));
        }
    }

    /// Forgets who was down for long, and what was noted for a while; returns a member that is down
    /// and may have come back.
    pub(crate) fn seek(&mut self, desk: &mut Desk<P>) -> Option<P> {
        let (now, remember) = (desk.now, self.times.remember);
        let forgotten: Vec<P> = self
            .gone
            .iter()
            .filter(|(_, at)| now >= **at + remember)
            .map(|(node, _)| *node)
            .collect();
        for node in forgotten {
            self.gone.remove(&node);
            self.table.remove(&node);
        }
        self.spared.retain(|_, until| *until > now);
        self.answered.retain(|_, at| *at + AGAIN > now);
        desk.about(self.times.seek, Timer::Seek);
        let gone: Vec<P> = self.gone.keys().copied().collect();
        desk.dice.pick(&gone).copied()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
