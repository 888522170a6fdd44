//! Where functions are put: by what they need, how full the machines are, and how many are wanted.

use serde_json::{Value, json};

use crate::machine::{Machine, UPPER, until};

/// Machines of one swarm, each with its lines of `[node]`.
fn swarm<const N: usize>(nodes: [(&'static str, &str); N]) -> [Machine; N] {
    let machines = nodes.map(|(name, lines)| {
        let mut machine = Machine::new(name, vec!["--no-model"]);
        machine.write_config(&format!("[node]\n{lines}\n"));
        machine.start();
        machine
    });
    for other in &machines[1..] {
        machines[0].pair(other);
    }
    for machine in &machines {
        until("all list each other online", || {
            machine.json(&["nodes", "--status", "online"]).as_array().unwrap().len() == N
        });
    }
    machines
}

fn holders(machine: &Machine, function: &str) -> Vec<String> {
    let nodes = machine.json(&["nodes"]);
    let nodes = nodes.as_array().unwrap().iter();
    let has = |it: &&Value| it["functions"].as_array().unwrap().iter().any(|it| it == function);
    let mut names: Vec<_> =
        nodes.filter(has).map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn row_064_a_node_without_gpu_refuses_and_so_does_a_full_one_and_the_emptiest_is_picked() {
    let [anna, berta, carla] = swarm([
        ("anna", ""),
        ("berta", "labels = { gpu = \"rtx-4090\" }"),
        ("carla", "max_functions = 10"),
    ]);
    // By capability: here, on another machine, and where nobody has it.
    let gpu = ["deploy", UPPER, "--id", "vision", "--needs", "gpu"];
    for to in ["here", "carla"] {
        let (exit, error) = anna.fails(&[&gpu[..], &["--to", to]].concat());
        assert_eq!((exit, &error["code"]), (4, &json!("does_not_fit")), "{error}");
        let name = if to == "here" { "anna" } else { to };
        assert_eq!(error["message"], format!("node {name} lacks gpu"), "{error}");
    }
    let (_, error) =
        anna.fails(&["deploy", UPPER, "--id", "tpu", "--needs", "tpu", "--to", "auto"]);
    assert_eq!(error["code"], "too_few_nodes");
    let text = error["message"].as_str().unwrap();
    for name in ["anna", "berta", "carla"] {
        assert!(text.contains(&format!("{name}: lacks tpu")), "{text}");
    }
    let placed = anna.json(&[&gpu[..], &["--to", "auto"]].concat());
    assert_eq!(placed[0]["node_name"], "berta", "{placed}");
    assert_eq!(anna.json(&["call", "vision", "--input", "x"])["node_name"], "berta");
    let everywhere = anna.json(&[&gpu[..], &["--to", "all"]].concat());
    for it in everywhere.as_array().unwrap() {
        let fits = it["node_name"] == "berta";
        assert_eq!(it["skipped"], !fits, "{it}");
        assert_eq!(it["reason"], if fits { Value::Null } else { json!("lacks gpu") }, "{it}");
    }

    // By capacity: ten are taken, the eleventh is refused, a new version of one of the ten is not.
    for number in 0..10 {
        anna.json(&["deploy", UPPER, "--id", &format!("fn-{number}"), "--to", "carla"]);
    }
    let (exit, error) = anna.fails(&["deploy", UPPER, "--id", "fn-10", "--to", "carla"]);
    assert_eq!((exit, &error["code"]), (7, &json!("node_full")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("10 is its limit"), "{error}");
    // The machine's own word, asked where nobody looked before.
    let (_, error) = carla.fails(&["deploy", UPPER, "--id", "fn-10"]);
    assert_eq!(error["code"], "node_full", "{error}");
    anna.json(&["deploy", UPPER, "--id", "fn-9", "--to", "carla"]);

    // By load: the one with the fewest functions, and as many as are wanted.
    let placed = berta.json(&["deploy", UPPER, "--id", "light", "--to", "auto"]);
    assert_eq!(placed[0]["node_name"], "anna", "{placed}");
    berta.json(&["deploy", UPPER, "--id", "twice", "--replicas", "2"]);
    assert_eq!(holders(&berta, "twice"), ["anna", "berta"]);
    let (_, error) = berta.fails(&["deploy", UPPER, "--id", "thrice", "--replicas", "3"]);
    assert_eq!(error["code"], "too_few_nodes", "{error}");
    assert!(error["message"].as_str().unwrap().contains("carla: has 10 functions"), "{error}");
    berta.json(&["deploy", UPPER, "--id", "twice", "--replicas", "1"]);
    until("one replica is left", || holders(&berta, "twice").len() == 1);
}
