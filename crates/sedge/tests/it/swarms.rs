//! One machine in two swarms: what each may and knows is its own.

use crate::machine::{Machine, UPPER, until};

/// Makes `other` a member of the swarm that `machine` calls by this name.
fn pair_in(swarm: &str, machine: &Machine, other: &Machine) {
    let invitation = machine.json(&["--swarm", swarm, "invite", "--no-wait"]);
    let code = invitation["code"].as_str().unwrap();
    let at = invitation["addresses"][0].as_str().unwrap();
    other.json(&["join", code, "--at", at]);
}

fn names(machine: &Machine, swarm: &[&str]) -> Vec<String> {
    let nodes = machine.json(&[swarm, &["nodes", "--status", "online"]].concat());
    let name = |it: &serde_json::Value| it["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = nodes.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

fn upper(machine: &Machine, before: &[&str], function: &str, on: &str) -> Result<String, String> {
    let call = ["call", function, "--on", on, "--input", "text"];
    let output = machine.run(&[before, &call, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let said: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    match output.status.success() {
        true => Ok(said["output"].as_str().unwrap().to_owned()),
        false => Err(said["error"]["code"].as_str().unwrap_or("none").to_owned()),
    }
}

#[test]
fn a_machine_in_two_swarms_keeps_them_apart() {
    let mut both = Machine::new("both", vec!["--no-model"]);
    // Its node in the second swarm: made by its first start, in a process of its own.
    both.json(&[
        "--swarm",
        "work",
        "up",
        "--detach",
        "--no-model",
        "--name",
        "both-at-work",
        "--listen",
        "127.0.0.1:0",
    ]);
    let (_, error) = both.fails(&["status"]);
    assert_eq!(error["kind"], "unavailable", "the home's own node does not run yet: {error}");
    both.json(&["--swarm", "work", "down"]);
    std::fs::write(
        both.home().join("swarms/work/config.toml"),
        "[node]\nname = \"both-at-work\"\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();

    // From now on both nodes live in one process.
    both.start();
    let beside = &both.ready["swarms"][0];
    assert_eq!((&beside["swarm"], &beside["members"]), (&"work".into(), &1.into()));
    assert_ne!(beside["id"], both.ready["status"]["id"], "a key for each swarm");
    let (family, office) = (Machine::up("family"), Machine::up("office"));
    both.pair(&family);
    pair_in("work", &both, &office);
    let work = ["--swarm", "work"];
    until("each swarm lists its own two", || {
        names(&both, &[]) == ["both", "family"]
            && names(&family, &[]) == ["both", "family"]
            && names(&both, &work) == ["both-at-work", "office"]
            && names(&office, &[]) == ["both-at-work", "office"]
    });

    // Functions, and who may call them.
    both.json(&["deploy", UPPER, "--id", "private"]);
    both.json(&["--swarm", "work", "deploy", UPPER, "--id", "shared"]);
    assert_eq!(upper(&family, &[], "private", "both").as_deref(), Ok("TEXT"));
    assert_eq!(upper(&office, &[], "shared", "both-at-work").as_deref(), Ok("TEXT"));
    assert_eq!(upper(&family, &[], "shared", "both"), Err("unknown_capability".to_owned()));
    assert_eq!(
        upper(&office, &[], "private", "both-at-work"),
        Err("unknown_capability".to_owned())
    );
    // A token of one swarm is nothing in the other.
    let token = both.json(&["token", "mint", "--capability", "shared", "--calls", "5"]);
    let token = token["token"].as_str().unwrap();
    let (_, refused) =
        both.fails(&["--swarm", "work", "call", "shared", "--input", "text", "--token", token]);
    assert_eq!(refused["kind"], "unauthenticated", "{refused}");

    // What one swarm decides leaves the other alone.
    both.json(&["revoke", "family"]);
    until("family is out", || names(&both, &[]) == ["both"]);
    assert_eq!(upper(&office, &[], "shared", "both-at-work").as_deref(), Ok("TEXT"));

    // A crash ends both nodes, a start brings both back.
    both.kill();
    both.start();
    until("the second swarm is whole again", || {
        names(&office, &[]) == ["both-at-work", "office"]
            && upper(&office, &[], "shared", "both-at-work").as_deref() == Ok("TEXT")
    });
    let swarms = both.json(&["swarms"]);
    let listed: Vec<_> = swarms
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["name"], &it["running"], &it["members"]))
        .collect();
    assert_eq!(
        listed,
        [
            (&serde_json::Value::Null, &true.into(), &1.into()),
            (&"work".into(), &true.into(), &2.into()),
        ]
    );

    // One of them alone is stopped and started again.
    both.json(&["--swarm", "work", "down"]);
    assert_eq!(both.json(&["swarms"])[1]["running"], false);
    both.json(&["--swarm", "work", "up", "--detach", "--no-model"]);
    until("it is back in a process of its own", || {
        names(&both, &work) == ["both-at-work", "office"]
    });
    both.json(&["--swarm", "work", "down"]);
}
