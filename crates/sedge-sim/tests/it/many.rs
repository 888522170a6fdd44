//! A swarm that is too large for everybody to talk to everybody: whole nodes, one process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Dice, NodeId, TaskScope};
use sedge_node::{
    Ask, Deploy, DeployOptions, GraphPut, GraphValue, Node, Presence, Target, Whereabouts,
};
use sedge_sim::{Machine, Ran, Script, SimNet};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long anything may take in virtual time.
const LONG: Duration = Duration::from_secs(120);
/// Links to neighbours (five in the mean), connections that wait for their next use (8), and those of
/// the last seconds: probes of and by others. With everybody it would be 29.
const CONNECTIONS: usize = 20;

/// Machines whose nodes are members of one swarm; the first one's owns it.
struct Many {
    net: SimNet,
    machines: Vec<Machine>,
    stage: TaskScope,
    _homes: TempDir,
}

impl Many {
    async fn together(count: usize) -> Self {
        let homes = crate::seeds::homes();
        let mut dice = Dice::new(count as u64);
        let net = SimNet::new(dice.fork());
        let stage = TaskScope::mortal();
        let postman = net.clone();
        stage.spawn("postman", async move |_| postman.carry().await);
        let ran = Arc::new(Ran::default());
        let mut machines = Vec::new();
        for index in 0..count {
            let mut machine =
                Machine::new(index, homes.path(), &mut dice.fork(), &ran).expect("a machine");
            machine.start(&net).await.expect("a node");
            machines.push(machine);
        }
        let many = Self { net, machines, stage, _homes: homes };
        for joiner in 1..count {
            let invitation = many.node(0).invite(LONG).await.expect("an invitation");
            let at = Some(many.machines[0].id.to_string());
            let whereabouts = Whereabouts { at, relay: None };
            many.node(joiner).join(&invitation.code, whereabouts).await.expect("a way in");
        }
        many
    }

    fn node(&self, index: usize) -> &Arc<Node> {
        &self.machines[index].life().expect("it runs").node
    }

    /// Returns the nodes that run.
    fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.machines.iter().filter_map(|it| Some(&it.life()?.node))
    }

    /// Returns how many machines hold a member to be there.
    fn who_see(&self, id: NodeId) -> usize {
        let sees = |node: &&Arc<Node>| {
            node.nodes().iter().any(|it| it.id == id && it.status == Presence::Online)
        };
        self.nodes().filter(sees).count()
    }

    /// Lets time pass until something holds; returns how long it took, to a twentieth of a second.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < LONG, "not within {LONG:?}: {what}");
            sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    }

    /// Returns whether a machine sees all others, and knows what they have left.
    fn knows_all(node: &Node, all: usize) -> bool {
        let told =
            |it: &sedge_node::NodeView| it.status == Presence::Online && it.total_memory.is_some();
        node.nodes().iter().filter(|it| told(it)).count() == all
    }

    /// Waits until everybody sees everybody, and knows what it has left.
    async fn until_settled(&self) -> Duration {
        let all = self.nodes().count();
        let (began, mut late) = (Instant::now(), Vec::from_iter(self.nodes()));
        // Who knows all is not asked again until the others do: listing a swarm is not cheap.
        loop {
            late.retain(|it| !Self::knows_all(it, all));
            if late.is_empty() {
                late.extend(self.nodes().filter(|it| !Self::knows_all(it, all)));
                if late.is_empty() {
                    return began.elapsed();
                }
            }
            let names: Vec<_> = late.iter().map(|it| it.name()).collect();
            assert!(began.elapsed() < LONG, "not within {LONG:?}: {names:?} know everybody");
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Returns how many connections each machine that runs holds now.
    fn connections(&self) -> impl Iterator<Item = usize> {
        let ids = self.machines.iter().filter(|it| it.life().is_some()).map(|it| it.id);
        ids.map(|it| self.net.connections_of(it))
    }

    async fn end(mut self) {
        for machine in &mut self.machines {
            machine.stop().await;
        }
        self.stage.kill().await;
    }
}

fn play(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(work);
}

async fn deploy(node: &Arc<Node>, name: &str) {
    let deploy = Deploy {
        name: name.parse().expect("a name"),
        wasm: format!("sedge-sim script {name}").into_bytes().into(),
        target: Target::Here,
        options: DeployOptions::default(),
    };
    let reports = node.deploy(deploy).await.expect("reports");
    assert!(reports.iter().all(|it| it.failure.is_none()), "{reports:?}");
}

fn offers(node: &Node, name: &str, by: NodeId) -> bool {
    node.offers().iter().any(|it| it.node == by && it.descriptor.name.as_str() == name)
}

#[test]
fn thirty_nodes_hold_few_connections_and_know_everything_of_each_other() {
    play(async {
        let mut many = Many::together(30).await;
        let settled = many.until_settled().await;

        // What one offers, everybody is told, and can use without having talked to it before.
        let seven = many.machines[7].id;
        deploy(many.node(7), "far").await;
        let known = many
            .until("all know the offer", |it| it.nodes().all(|node| offers(node, "far", seven)));
        let known = known.await;
        let script = Script { tag: 1, takes: Duration::from_millis(5), chunks: 2, fails: false };
        for asking in [0, 3, 29] {
            let ask = Ask {
                capability: "far".parse().unwrap(),
                kind: None,
                input: script.input(),
                media: sedge_capability::Media::Plain,
                budgets: sedge_capability::Budgets::default(),
                on: None,
                pass: None,
            };
            let (output, end) = many.node(asking).run(ask).await.unwrap().outcome.collect().await;
            assert_eq!((output, end.failure), (script.output(), None));
        }

        // What one writes, everybody reads.
        let put =
            GraphPut { space: None, soul: "s".to_owned(), key: "k".to_owned(), value: "v".into() };
        many.node(11).graph_put(put).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        for node in many.nodes() {
            let seen = node.graph_get(None, "s", Some("k")).await.unwrap();
            let value = seen.first().map(|it| it.value.clone());
            assert_eq!(value, Some(GraphValue::Text("v".to_owned())), "{}", node.name());
        }

        let (mut most, mut sum) = (0, 0);
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            most = most.max(many.connections().max().unwrap_or(0));
            sum += many.connections().sum::<usize>();
        }
        let mean = sum / 60 / 30;
        assert!(most <= CONNECTIONS, "a node held {mean} connections in the mean, {most} at most");

        // Who dies is known to be dead: to those who had a link at once, to all soon after.
        let five = many.machines[5].id;
        let net = many.net.clone();
        many.machines[5].crash(&net).await;
        let noticed = many.until("somebody notices", |it| it.who_see(five) < 29).await;
        let doubted = noticed + many.until("all doubt", |it| it.who_see(five) == 0).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(many.who_see(five), 0);
        assert!(many.nodes().all(|it| it.offers().iter().all(|it| it.node != five)));
        assert!(noticed <= Duration::from_secs(1), "noticed after {noticed:?}");
        assert!(doubted <= Duration::from_secs(3), "known to all after {doubted:?}");
        many.machines[5].start(&net).await.unwrap();
        let back = many.until_settled().await;

        // Who is revoked is refused by all.
        let nine = many.machines[9].id;
        let revoked = many.node(0).revoke("n9").await.unwrap();
        let told: BTreeSet<&str> = revoked.told.iter().map(String::as_str).collect();
        assert_eq!(told.len() + revoked.not_yet.len(), 28);
        assert_eq!(revoked.not_yet, Vec::<String>::new(), "not told");
        let refused = many.until("all refuse it", |it| {
            let others = it.machines.iter().filter(|it| it.id != nine);
            others.map(|one| it.net.admits(one.id, nine)).all(|it| it == Some(false))
        });
        let refused = refused.await;
        assert!(refused <= Duration::from_secs(2), "refused by all after {refused:?}");
        println!(
            "thirty: settled {settled:?}, offer known {known:?}, connections {mean} in the mean, {most} at most, death noticed \
             {noticed:?}, known {doubted:?}, back {back:?}, told {}",
            told.len()
        );
        many.end().await;
    });
}

/// How many parcels a node sends in a second of rest.
async fn sent_by_each(count: usize) -> u64 {
    let many = Many::together(count).await;
    many.until_settled().await;
    let before = many.net.parcels();
    sleep(Duration::from_secs(60)).await;
    let sent = (many.net.parcels() - before) / 60 / count as u64;
    many.end().await;
    sent
}

#[test]
fn what_a_node_sends_does_not_grow_with_the_swarm() {
    play(async {
        let (few, more) = (sent_by_each(12).await, sent_by_each(36).await);
        println!("{few} parcels per node and second among 12, {more} among 36");
        // Everybody with everybody, it would be three times as much.
        assert!(more * 2 < few * 3, "{few} among 12 became {more} among 36");
    });
}
