//! The contract of transports, and what a cut link and a dead machine look like.

use sedge_net::conformance::{Ends, check};

use super::*;

const A: NodeId = NodeId::from_bytes([1; 32]);
const B: NodeId = NodeId::from_bytes([2; 32]);
const STRANGER: NodeId = NodeId::from_bytes([3; 32]);
const ABSENT: NodeId = NodeId::from_bytes([4; 32]);

#[derive(Debug)]
struct Only(Vec<NodeId>);

impl Admission for Only {
    fn admits(&self, peer: NodeId, _: Protocol) -> bool {
        self.0.contains(&peer)
    }
}

fn attach(net: &SimNet, node: NodeId, admits: &[NodeId]) -> SimEnd {
    net.attach(node, &[Protocol::Mesh], Arc::new(Only(admits.to_vec())))
}

async fn carried<T>(net: &SimNet, work: impl Future<Output = T>) -> T {
    let done = tokio::select! {
        biased;
        done = work => done,
        () = net.carry() => unreachable!("carries for ever"),
    };
    net.clear();
    done
}

#[tokio::test(start_paused = true)]
async fn a_simulated_network_keeps_the_contract_of_transports() {
    let net = SimNet::new(Dice::new(1));
    let (a, b) = (attach(&net, A, &[B, ABSENT]), attach(&net, B, &[A]));
    let stranger = attach(&net, STRANGER, &[A, B]);
    let absent = PeerAddr::new(ABSENT);
    let ends = Ends { a: &a, b: &b, stranger: &stranger, absent: &absent };
    carried(&net, check(ends)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_one_way_ends_the_connection_for_both() {
    let net = SimNet::new(Dice::new(1));
    let (a, b) = (attach(&net, A, &[B]), attach(&net, B, &[A]));
    let work = async {
        let within = Duration::from_secs(1);
        let near = a.dial(&PeerAddr::new(B), Protocol::Mesh, within).await.unwrap();
        let far = b.accept().await.unwrap();
        let began = Instant::now();
        net.cut(A, B);
        assert!(matches!(far.closed().await, sedge_net::ConnError::Silent));
        assert_eq!(began.elapsed(), SILENT_AFTER);
        assert!(matches!(near.closed().await, sedge_net::ConnError::Silent));
        let dialled = a.dial(&PeerAddr::new(B), Protocol::Mesh, within).await;
        assert!(matches!(dialled, Err(DialError::Silent { .. })));
        net.mend(A, B);
        a.dial(&PeerAddr::new(B), Protocol::Mesh, within).await.unwrap();
    };
    carried(&net, work).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_power_says_nothing() {
    let net = SimNet::new(Dice::new(1));
    let (a, b) = (attach(&net, A, &[B]), attach(&net, B, &[A]));
    let work = async {
        let within = Duration::from_secs(1);
        let near = a.dial(&PeerAddr::new(B), Protocol::Mesh, within).await.unwrap();
        let far = b.accept().await.unwrap();
        net.kill(B);
        drop(far);
        assert!(matches!(near.closed().await, sedge_net::ConnError::Silent));
        assert_eq!(net.admits(B, A), None);
    };
    carried(&net, work).await;
}
