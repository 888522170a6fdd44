//! Keeping an eye on the machines: who is there, how they fare, who takes work.

use std::process::Command;

use serde_json::{Value, json};

use crate::machine::{Machine, UPPER, until};

/// What [`Machine::json`] says of one node of a list.
fn named<'a>(nodes: &'a Value, name: &str) -> &'a Value {
    nodes.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()
}

/// Three machines in one swarm.
fn three() -> [Machine; 3] {
    let [a, b, c] = ["anna", "berta", "carla"].map(Machine::up);
    a.pair(&b);
    a.pair(&c);
    for machine in [&a, &b, &c] {
        until("all three list each other online", || {
            machine.json(&["nodes", "--status", "online"]).as_array().unwrap().len() == 3
        });
    }
    [a, b, c]
}

#[test]
fn row_038_of_three_nodes_with_one_offline_two_are_listed_online() {
    let [a, b, mut c] = three();
    c.kill();
    for machine in [&a, &b] {
        until("the dead one is listed offline", || {
            let offline = machine.json(&["nodes", "--status", "offline"]);
            offline.as_array().unwrap().iter().any(|it| it["name"] == "carla")
        });
        let online = machine.json(&["nodes", "--status", "online"]);
        let mut names: Vec<_> =
            online.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["anna", "berta"]);
        assert_eq!(machine.json(&["nodes"]).as_array().unwrap().len(), 3);
    }
    a.json(&["revoke", "carla"]);
    assert_eq!(a.json(&["nodes"]).as_array().unwrap().len(), 2, "deregistered");
}

#[test]
fn row_039_region_and_gpu_labels_are_described_on_another_node() {
    let a = Machine::up("anna");
    let mut b = Machine::new("berta", vec!["--no-model"]);
    b.write_config(
        "[node]\nlocation = \"cellar\"\nlabels = { region = \"eu-west\", gpu = \"rtx-4090\" }\n",
    );
    b.start();
    a.pair(&b);
    let berta = a.json(&["node", "show", "berta"]);
    assert_eq!(berta["labels"], json!({ "region": "eu-west", "gpu": "rtx-4090" }));
    assert_eq!(berta["location"], "cellar");
    assert_eq!(berta["os"], std::env::consts::OS);
    assert!(berta["cpus"].as_u64().unwrap() >= 1);
    assert!(berta["total_memory"].is_number(), "{berta}");
    b.kill();
    until("it is offline", || a.json(&["node", "show", "berta"])["status"] == "offline");
    assert_eq!(a.json(&["node", "show", "berta"])["labels"]["gpu"], "rtx-4090");
    let text = String::from_utf8(a.run(&["node", "show", "berta"]).stdout).unwrap();
    assert!(text.contains("gpu=rtx-4090") && text.contains("cellar"), "{text}");
}

/// The busy share of all processors over the next second, and the memory in use, both in percent,
/// as `vmstat` and `free` tell.
fn by_the_system() -> (f64, f64) {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = said("vmstat", &["-n", "1", "2"]);
    let lines: Vec<_> = lines.lines().collect();
    let column = lines[1].split_whitespace().position(|it| it == "id").unwrap();
    let last = lines[lines.len() - 1].split_whitespace().nth(column).unwrap();
    let memory = said("free", &["-b"]);
    let figures: Vec<f64> = memory
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .skip(1)
        .map(|it| it.parse().unwrap())
        .collect();
    let (total, available) = (figures[0], figures[5]);
    (100.0 - last.parse::<f64>().unwrap(), (total - available) / total * 100.0)
}

/// Keeps a processor busy until it is dropped.
struct Busy(std::process::Child);

impl Busy {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Both look at the same second of a machine that others use, too: the best of five looks counts
/// (docs/decisions/0007).
#[test]
fn row_040_cpu_and_memory_of_a_busy_node_are_what_the_system_says() {
    let mut a = Machine::new("anna", vec!["--no-model"]);
    // No beat looks in between: the busy share covers the time since the last look.
    a.write_config("[node]\nadvert_period = \"1h\"\n");
    a.start();
    let _busy = Busy::start();
    let mut looks = Vec::new();
    let near = (0..5).any(|_| {
        a.json(&["status"]);
        let (cpu, memory) = by_the_system();
        let status = a.json(&["status"]);
        let figure = |key: &str| status[key].as_f64().unwrap();
        let used = 100.0 - figure("free_memory") / figure("total_memory") * 100.0;
        looks.push((cpu, figure("cpu_percent"), memory, used));
        (figure("cpu_percent") - cpu).abs() <= 10.0 && (used - memory).abs() <= 10.0
    });
    assert!(near, "cpu by the system, by sedge, memory by the system, by sedge: {looks:?}");
    assert!(looks.last().unwrap().1 > 25.0, "one of two processors is busy: {looks:?}");
}

#[test]
fn row_041_a_killed_node_is_offline_and_nothing_is_routed_to_it() {
    let [a, mut b, c] = three();
    b.json(&["deploy", UPPER, "--id", "upper"]);
    a.until_offered("upper", "berta");
    b.kill();
    for machine in [&a, &c] {
        until("it is evicted", || machine.json(&["node", "show", "berta"])["status"] == "offline");
        let berta = machine.json(&["node", "show", "berta"]);
        assert_eq!(berta["healthy"], false);
        let (_, error) = machine.fails(&["call", "upper", "--input", "x"]);
        assert_eq!(error["kind"], "not_found", "{error}");
        let (_, error) = machine.fails(&["call", "upper", "--input", "x", "--on", "berta"]);
        assert_ne!(error["kind"], "timeout", "{error}");
    }
    b.start();
    until("it is back", || a.json(&["node", "show", "berta"])["status"] == "online");
    a.until_offered("upper", "berta");
    assert_eq!(a.json(&["call", "upper", "--input", "x"])["output"], "X");
}

#[test]
fn row_044_a_draining_node_is_skipped_and_its_functions_still_run() {
    let [a, b, mut c] = three();
    c.json(&["deploy", UPPER, "--id", "before"]);
    a.until_offered("before", "carla");
    let drained = a.json(&["node", "drain", "carla"]);
    assert_eq!((&drained["draining"], &drained["changed"]), (&json!(true), &json!(true)));
    let deployed = a.json(&["deploy", UPPER, "--id", "upper", "--to", "all"]);
    let deployed = deployed.as_array().unwrap();
    assert_eq!(deployed.len(), 3);
    for it in deployed {
        let skipped = it["node_name"] == "carla";
        assert_eq!(it["skipped"], skipped, "{it}");
        assert_eq!(it["content"].is_null(), skipped, "{it}");
    }
    assert_eq!(named(&a.json(&["nodes"]), "carla")["draining"], true);
    assert_eq!(a.json(&["call", "before", "--input", "x"])["output"], "X");
    let (_, error) = a.fails(&["deploy", UPPER, "--id", "late", "--to", "carla"]);
    assert_eq!(error["code"], "draining");

    // It is still draining after a crash, and where others can do the work, they do.
    c.kill();
    c.start();
    c.json(&["deploy", UPPER, "--id", "late", "--to", "anna"]);
    b.json(&["deploy", UPPER, "--id", "before"]);
    until("both are back", || named(&a.json(&["nodes"]), "carla")["draining"] == true);
    a.until_offered("before", "berta");
    a.until_offered("before", "carla");
    assert_eq!(a.json(&["call", "before", "--input", "x"])["node_name"], "berta");
    assert_eq!(a.json(&["call", "before", "--input", "x", "--on", "carla"])["output"], "X");
    assert_eq!(a.json(&["node", "undrain", "carla"])["draining"], false);
    a.json(&["deploy", UPPER, "--id", "late", "--to", "carla"]);
}

#[test]
fn row_045_rebalance_makes_one_move_and_the_function_answers() {
    let (a, b) = (Machine::up("anna"), Machine::up("berta"));
    a.pair(&b);
    for id in ["one", "two"] {
        a.json(&["deploy", UPPER, "--id", id]);
    }
    let would = b.json(&["rebalance", "--dry-run"]);
    assert_eq!(would.as_array().unwrap().len(), 1);
    assert_eq!(named(&b.json(&["nodes"]), "anna")["functions"], json!(["one", "two"]));
    // Asked of the other one: the full node hands the function over itself.
    let moved = b.json(&["rebalance"]);
    assert_eq!(moved.as_array().unwrap().len(), 1, "{moved}");
    assert_eq!((&moved[0]["from_name"], &moved[0]["to_name"]), (&json!("anna"), &json!("berta")));
    let function = moved[0]["function"].as_str().unwrap();
    for machine in [&a, &b] {
        let answer = machine.json(&["call", function, "--input", "x"]);
        assert_eq!((&answer["output"], &answer["node_name"]), (&json!("X"), &json!("berta")));
    }
    assert_eq!(a.json(&["rebalance"]), json!([]));

    let gone = a.json(&["node", "drain", "berta", "--evacuate"]);
    assert_eq!(gone[0]["to_name"], "anna");
    assert_eq!(a.json(&["call", function, "--input", "x"])["node_name"], "anna");
}

#[test]
fn row_046_the_summary_of_the_swarm_has_every_key() {
    let [a, b, mut c] = three();
    a.json(&["deploy", UPPER, "--id", "upper", "--to", "all"]);
    a.json(&["call", "upper", "--input", "x", "--on", "berta"]);
    a.json(&["node", "drain", "berta"]);
    c.kill();
    until("the dead one is noticed", || a.json(&["health"])["online"] == 2);
    until("the task is counted", || a.json(&["health"])["total_invocations"] == 1);
    let health = a.json(&["health"]);
    // The keys of seed 000, section 1.1: the summary, and the check of all.
    let figures = [
        ("total_nodes", 3),
        ("online", 2),
        ("draining", 1),
        ("total_functions", 2),
        ("total_invocations", 1),
        ("healthy_nodes", 2),
        ("unhealthy_nodes", 1),
    ];
    for (key, value) in figures {
        assert_eq!(health[key], value, "{key}: {health}");
    }
    assert!((health["health_percent"].as_f64().unwrap() - 200.0 / 3.0).abs() < 0.01);
    let berta = named(&health["nodes"], "berta");
    assert_eq!(berta["id"], b.id());
    let carla = named(&health["nodes"], "carla");
    assert_eq!((&carla["status"], &carla["healthy"]), (&json!("offline"), &json!(false)));
    assert_eq!((&berta["functions"], &berta["draining"]), (&json!(1), &json!(true)));
    assert_eq!(berta["advice"], "Normal");
}
