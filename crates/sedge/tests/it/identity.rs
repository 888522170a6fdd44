//! Who a node is stays the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sedge_trust::{IDENTITY_FILE, Identity};

use crate::machine::Machine;

#[test]
fn row_001_a_node_that_is_started_twice_keeps_its_keys_in_a_file_of_mode_600() {
    let mut machine = Machine::new("one", vec!["--no-model"]);
    let mut keys = Vec::new();
    for _ in 0..2 {
        machine.start();
        let file = machine.home().join(IDENTITY_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let stored = Identity::load_or_create(&machine.home()).unwrap();
        assert_eq!(stored.node_id().to_string(), machine.id());
        keys.push((machine.id(), stored.session_public_key()));
        assert_eq!(machine.json(&["down"])["stopped"], true);
        assert_eq!(machine.ended(), Some(0));
    }
    assert_eq!(keys[0], keys[1]);
}
