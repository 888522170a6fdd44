//! Registrations: who is taken in and who is refused.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn swarm() -> SwarmId {
    SwarmId::of_key(&[1; 32])
}

pub(crate) fn identity(number: u8) -> Identity {
    Identity::from_bytes(&[number; 64])
}

pub(crate) fn facts(agent_id: &str, identity: &Identity) -> Facts {
    Facts {
        version: Version::V1,
        swarm_id: swarm(),
        agent_id: agent_id.to_owned(),
        node_id: identity.node_id(),
        session_key: identity.session_public_key(),
        capabilities: vec!["worker".to_owned()],
        joined_at: NOW,
    }
}

pub(crate) fn registration(agent_id: &str, identity: &Identity) -> Registration {
    Registration::sign(facts(agent_id, identity), identity).unwrap()
}

/// A registry in which `peer-001` is node 1 and `peer-002` is node 2.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new(swarm());
    for (number, id) in [(1, "peer-001"), (2, "peer-002")] {
        registry.register(&registration(id, &identity(number)), NOW).unwrap();
    }
    let (audit, unheard) = registry.take_audit();
    assert_eq!((audit.len(), unheard), (2, 0));
    registry
}

/// Signs without the checks that a well-behaved node makes first.
fn forge(facts: Facts, identity: &Identity) -> Registration {
    let signature = identity.sign(&canonical::jcs(&facts).unwrap());
    Registration { facts, signature }
}

#[track_caller]
fn check_refused(registration: &Registration, expected: &str) {
    let mut registry = registry();
    let refused = registry.register(registration, NOW).unwrap_err().to_string();
    assert_eq!(refused, expected);
    assert_eq!(registry.members().count(), 2);
}

#[test]
fn no_field_can_be_changed() {
    let honest = registration("peer-003", &identity(3));
    let refused = format!("the signature is not by {:?} over this text", identity(3).node_id());
    let mut altered = honest.clone();
    altered.facts.capabilities[0].push('s');
    check_refused(&altered, &refused);
    let mut altered = honest.clone();
    altered.facts.session_key = identity(4).session_public_key();
    check_refused(&altered, &refused);
    let mut altered = honest;
    altered.facts.agent_id = "peer-004".to_owned();
    check_refused(&altered, &refused);
}

#[test]
fn row_003_a_registration_for_another_swarm_is_refused() {
    let (node, a, b) = (identity(3), swarm(), SwarmId::of_key(&[2; 32]));
    let for_a = registration("peer-003", &node);
    assert_eq!(Registry::new(a).register(&for_a, NOW).unwrap(), Outcome::Added);
    let mut registry_b = Registry::new(b);
    let refused = registry_b.register(&for_a, NOW).unwrap_err();
    assert_eq!(refused.to_string(), format!("the registration is for another swarm, {a:?}"));
    let mut renamed = for_a;
    renamed.facts.swarm_id = b;
    let refused = registry_b.register(&renamed, NOW).unwrap_err();
    assert!(matches!(refused, RegisterError::Registration(VerifyError::Signature(_))));
    assert_eq!(registry_b.members().count(), 0);
}

#[test]
fn row_005_a_known_id_keeps_its_key_and_the_attempt_is_audited() {
    let (honest, thief) = (identity(1).node_id(), identity(3).node_id());
    let mut registry = registry();
    let later = NOW.plus(Duration::from_secs(5));
    let refused = registry.register(&registration("peer-001", &identity(3)), later).unwrap_err();
    let RegisterError::OtherKey { agent_id, known, claimed } = refused else {
        panic!("refused for another reason: {refused}")
    };
    assert_eq!((agent_id.as_str(), known, claimed), ("peer-001", honest, thief));
    assert_eq!(registry.member("peer-001").unwrap().node_id, honest);
    let entry = Audit {
        at: later,
        agent_id: "peer-001".to_owned(),
        node_id: thief,
        event: AuditEvent::OtherKeyRefused { known: honest },
    };
    assert_eq!(registry.take_audit(), (vec![entry], 0));
}

#[test]
fn row_006_each_missing_field_has_its_own_refusal() {
    let node = identity(3);
    let whole = facts("peer-003", &node);
    let no_key = Facts { session_key: SessionPublicKey::from_bytes([0; 32]), ..whole.clone() };
    check_refused(&forge(no_key, &node), "the registration has no session key");
    let no_capabilities = Facts { capabilities: Vec::new(), ..whole.clone() };
    check_refused(&forge(no_capabilities, &node), "the registration names no capability");
    let no_date = Facts { joined_at: Timestamp::from_millis(0), ..whole.clone() };
    check_refused(&forge(no_date, &node), "the registration does not say when it was made");
    assert_eq!(registry().register(&forge(whole, &node), NOW).unwrap(), Outcome::Added);
}

#[test]
fn a_later_registration_replaces_an_earlier_one_but_not_the_other_way() {
    let (mut registry, node) = (registry(), identity(1));
    let first = registration("peer-001", &node);
    assert_eq!(registry.register(&first, NOW).unwrap(), Outcome::Unchanged);
    let later = Facts { joined_at: NOW.plus(Duration::from_secs(1)), ..first.facts.clone() };
    let later = Registration::sign(later, &node).unwrap();
    assert_eq!(registry.register(&later, NOW).unwrap(), Outcome::Renewed);
    let refused = registry.register(&first, NOW).unwrap_err();
    assert!(matches!(refused, RegisterError::Outdated { .. }));
    let ahead = Facts { joined_at: NOW.plus(Duration::from_millis(60_001)), ..first.facts };
    let refused = registry.register(&Registration::sign(ahead, &node).unwrap(), NOW).unwrap_err();
    assert!(matches!(refused, RegisterError::FromFuture { .. }));
}

#[test]
fn a_key_has_one_id_until_it_is_removed() {
    let (mut registry, node) = (registry(), identity(1));
    let other = registration("peer-009", &node);
    let refused = registry.register(&other, NOW).unwrap_err();
    assert!(matches!(refused, RegisterError::OtherId { known, .. } if known == "peer-001"));
    assert!(registry.remove("peer-001", NOW).is_some());
    assert!(!registry.contains_node(&node.node_id()));
    assert_eq!(registry.register(&other, NOW).unwrap(), Outcome::Added);
}

#[test]
fn a_flood_pushes_no_audit_entry_out() {
    let mut registry = registry();
    let thief = registration("peer-001", &identity(3));
    for _ in 0..MAX_AUDIT + 3 {
        assert!(registry.register(&thief, NOW).is_err());
    }
    let (audit, unheard) = registry.take_audit();
    assert_eq!((audit.len(), unheard), (MAX_AUDIT, 3));
    assert_eq!(registry.take_audit(), (Vec::new(), 0));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = registration("peer-001", &identity(1)).encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let holds = Registration::decode(&bytes).is_ok_and(|it| it.verify(swarm()).is_ok());
        prop_assert!(!holds, "byte {at}, bit {bit}");
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Registration::decode(&bytes).is_err());
    }
}

#[test]
fn an_older_registration_is_held_to_the_same_rules() {
    let older = |number: u8, capabilities: &[&str]| {
        let capabilities = capabilities.iter().map(|it| (*it).to_owned()).collect();
        crate::seed::Registration::sign(&identity(number), "peer-003", capabilities, NOW).unwrap()
    };
    let mut registry = registry();
    let lacking = registry.register_older(&older(3, &[]), NOW).unwrap_err();
    let no_capability = RegisterError::Registration(VerifyError::Facts(FactsError::NoCapabilities));
    assert_eq!(lacking.to_string(), no_capability.to_string());
    let honest = older(3, &["worker"]);
    assert_eq!(registry.register_older(&honest, NOW).unwrap(), Outcome::Added);
    assert_eq!(registry.register_older(&honest, NOW).unwrap(), Outcome::Unchanged);
    let other = registry.register_older(&older(4, &["worker"]), NOW).unwrap_err();
    assert!(matches!(other, RegisterError::OtherKey { .. }), "{other}");
    let mut forged = honest;
    forged.joined_at = NOW.plus(Duration::from_millis(1));
    let forged = registry.register_older(&forged, NOW).unwrap_err();
    assert!(matches!(forged, RegisterError::Older(_)), "{forged}");
}
