//! Members of a swarm over connections.

#[cfg(target_os = "linux")]
mod many;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Clock, NodeId, SwarmId, TaskScope, Timestamp};
use sedge_net::{
    Admission, FrameReader, Memory, MemoryNet, PeerAddr, Pool, PoolOptions, Protocol, Quic,
    QuicOptions, Standing, Swarm, SwarmEvent, SwarmOptions, Transport,
};
use sedge_trust::Identity;
use tokio::time::timeout;

use crate::peers::{Guests, SOON, loopback};

/// Long enough for many members on a busy machine; nothing waits that long when it works.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The keys of member `id`.
pub(crate) fn keys(id: u32) -> Arc<Identity> {
    let mut bytes = [3; 64];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    Arc::new(Identity::from_bytes(&bytes))
}

/// One member.
pub(crate) struct Agent {
    pub(crate) node: NodeId,
    pub(crate) swarm: Swarm,
    pub(crate) pool: Pool,
    pub(crate) transport: Arc<dyn Transport>,
    scope: TaskScope,
}

impl Agent {
    /// Lets a node join over a transport: every stream of the others goes to its swarm.
    pub(crate) fn join(
        id: u32,
        transport: Arc<dyn Transport>,
        seeds: Vec<PeerAddr>,
        adjust: impl FnOnce(&mut SwarmOptions),
    ) -> Self {
        let identity = keys(id);
        let node = identity.node_id();
        let scope = TaskScope::new();
        let pooled = PoolOptions {
            idle_after: Duration::from_secs(10),
            seed: id.into(),
            ..PoolOptions::default()
        };
        let (pool, served) = Pool::new(Arc::clone(&transport), pooled, &scope);
        let (swarm_id, everybody) = (SwarmId::from_bytes([5; 8]), Guests::everybody());
        let mut options = SwarmOptions::new(swarm_id, identity, everybody);
        options.direct = transport.place().direct;
        options.seed = id.into();
        options.clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        adjust(&mut options);
        let swarm = Swarm::start(pool.clone(), seeds, options, &scope);
        pool.adopt_accepted();
        swarm.serve_pool(&pool, served, &scope);
        Self { node, swarm, pool, transport, scope }
    }

    pub(crate) fn addr(&self) -> PeerAddr {
        self.transport.place().peer_addr()
    }

    /// Waits for a change of the members until something holds.
    pub(crate) async fn until(&self, within: Duration, holds: impl Fn(&Swarm) -> bool) {
        let mut events = self.swarm.events();
        let waited = timeout(within, async {
            while !holds(&self.swarm) {
                if events.next().await.is_none() {
                    break;
                }
            }
        });
        let in_time = waited.await.is_ok();
        let (alive, near) = (self.swarm.alive(), self.swarm.neighbours().len());
        assert!(in_time, "{} waits in vain: {alive} alive, {near} near", self.node.short());
    }

    /// Leaves in good order.
    pub(crate) async fn leave(&self) {
        self.scope.shutdown(SOON).await.unwrap();
    }
}

pub(crate) async fn over_quic(id: u32, guests: Arc<Guests>) -> Arc<Quic> {
    let secret = sedge_base::Secret::new(*keys(id).signing_seed());
    let admission: Arc<dyn Admission> = guests;
    let options = QuicOptions { max_accepted: 1024, ..QuicOptions::new(secret, vec![loopback()]) };
    Arc::new(Quic::bind(options, admission).await.unwrap())
}

fn in_memory(net: &MemoryNet, id: u32) -> Arc<Memory> {
    Arc::new(net.join(keys(id).node_id(), &[Protocol::Mesh], Guests::everybody()))
}

fn village(net: &MemoryNet, size: u32) -> Vec<Agent> {
    let first = PeerAddr::new(keys(0).node_id());
    let agent = |id| Agent::join(id, in_memory(net, id), vec![first.clone()], |_| {});
    (0..size).map(agent).collect()
}

#[tokio::test(start_paused = true)]
async fn members_find_each_other_and_notice_who_dies_and_who_leaves() {
    let net = MemoryNet::new();
    let agents = village(&net, 20);
    for agent in &agents {
        agent.until(LONG, |it| it.alive() == 20 && !it.neighbours().is_empty()).await;
    }
    let dead = agents[7].node;
    net.kill(dead);
    for agent in agents.iter().filter(|it| it.node != dead) {
        agent.until(LONG, |it| it.standing(dead) == Some(Standing::Down)).await;
    }
    // Who leaves says so: its neighbours need not wait for the suspicion to end.
    let left = &agents[11];
    let near = left.swarm.neighbours();
    left.leave().await;
    for agent in agents.iter().filter(|it| near.contains(&it.node)) {
        let at_once = Duration::from_millis(100);
        agent.until(at_once, |it| it.standing(left.node) == Some(Standing::Down)).await;
    }
    for agent in agents.iter().filter(|it| it.node != dead && it.node != left.node) {
        agent.until(LONG, |it| it.standing(left.node) == Some(Standing::Down)).await;
        assert_eq!(agent.swarm.alive(), 18);
    }
}

#[tokio::test(start_paused = true)]
async fn halves_that_were_cut_off_find_each_other_again() {
    let net = MemoryNet::new();
    let agents = village(&net, 12);
    for agent in &agents {
        agent.until(LONG, |it| it.alive() == 12).await;
    }
    let pairs = || agents[..6].iter().flat_map(|a| agents[6..].iter().map(|b| (a.node, b.node)));
    pairs().for_each(|(a, b)| net.cut(a, b));
    for agent in &agents {
        agent.until(LONG, |it| it.alive() == 6).await;
    }
    pairs().for_each(|(a, b)| net.heal(a, b));
    for agent in &agents {
        agent.until(LONG * 2, |it| it.alive() == 12).await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_tell_who_came_and_went() {
    let net = MemoryNet::new();
    let first = Agent::join(0, in_memory(&net, 0), Vec::new(), |_| {});
    let mut events = first.swarm.events();
    let second = Agent::join(1, in_memory(&net, 1), vec![first.addr()], |_| {});
    let stands = |standing| SwarmEvent::Stands(sedge_net::Member { node: second.node, standing });
    assert_eq!(events.next().await, Some(stands(Standing::Up)));
    assert_eq!(events.next().await, Some(SwarmEvent::Linked(second.node)));
    net.kill(second.node);
    assert_eq!(events.next().await, Some(SwarmEvent::Unlinked(second.node)));
    assert_eq!(events.next().await, Some(stands(Standing::Suspect)));
    assert_eq!(events.next().await, Some(stands(Standing::Down)));
    let members = first.swarm.members();
    assert_eq!(members.len(), 2);
    first.leave().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, SwarmEvent::Missed(_)), "{event:?}");
    }
    assert_eq!(first.swarm.events().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn garbage_on_a_stream_ends_the_stream_only() {
    let net = MemoryNet::new();
    let agents = village(&net, 2);
    agents[0].until(LONG, |it| it.alive() == 2).await;
    let frame = |payload: &'static [u8]| sedge_net::Frame::new(sedge_net::SWARM, payload);
    let mut rest = FrameReader::new(tokio::io::empty());
    for payload in [b"".as_slice(), b"\xff\xff", b"\x08\xff\xff\xff\xff\x0f"] {
        let served = agents[0].swarm.serve(agents[1].node, frame(payload), &mut rest).await;
        let error = served.unwrap_err();
        assert_eq!(error.kind(), sedge_base::ErrorKind::Invalid, "{error}");
    }
    let other = sedge_net::Frame::new(1, "");
    let refused = agents[0].swarm.serve(agents[1].node, other, &mut rest).await.unwrap_err();
    assert_eq!(refused.to_string(), "the peer sent a frame of another kind");
    assert_eq!(agents[0].swarm.alive(), 2);
}
