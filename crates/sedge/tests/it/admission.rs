//! Machines that come in without a spoken code, and those that do not.

use std::process::{Child, Output, Stdio};
use std::time::Duration;

use sedge_base::{Clock, NodeId, Timestamp};
use sedge_trust::Identity;
use sedge_trust::admission::{
    Answer, Book, Desk, Knock, MODES, Mode, ModeSettings, Origin, PAIR_TOKEN, PAIR_TOKEN_TTL,
    PairToken, Refusal, Transcript, Typed, Verdict,
};
use serde_json::Value;

use crate::machine::{Machine, UPPER, until};

const TOKEN: &str = "a-secret-of-the-two-of-us";
const WRONG: &str = "a-secret-of-somebody-else";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A machine that owns its swarm and answers strangers as its configuration says.
fn core(admission: &str) -> Machine {
    let mut core = Machine::new("core", vec!["--no-model"]);
    core.write_config(&format!("[admission]\n{admission}\n"));
    core.start();
    core
}

/// Where the core answers strangers.
fn place(core: &Machine) -> String {
    core.json(&["admission", "list"])["addresses"][0].as_str().unwrap().to_owned()
}

/// A knock that goes on in a process of its own.
fn knock(machine: &Machine, at: &str) -> Child {
    let mut command = machine.command(&["join", "--at", at, "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns what a knock said last, and how it ended.
fn ended(knock: Child) -> (Option<i32>, Value) {
    let Output { status, stdout, .. } = knock.wait_with_output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    let last = text.lines().last().map_or(Value::Null, |it| serde_json::from_str(it).unwrap());
    (status.code(), last)
}

fn pending(core: &Machine) -> Vec<Value> {
    core.json(&["admission", "list"])["pending"].as_array().unwrap().clone()
}

/// Waits until so many nodes wait, connected.
#[track_caller]
fn until_waiting(core: &Machine, count: usize) {
    until("nodes wait at the door", || {
        pending(core).iter().filter(|it| it["connected"] == true).count() == count
    });
}

/// As much of a machine's key as its person reads out.
fn key(machine: &Machine) -> String {
    machine.id()[..16].to_owned()
}

#[track_caller]
fn until_connected(core: &Machine, edge: &Machine) {
    for (here, there) in [(core, edge), (edge, core)] {
        until("both see each other online", || {
            let nodes = here.json(&["nodes"]);
            let mut nodes = nodes.as_array().unwrap().iter();
            nodes.any(|it| it["id"] == there.id() && it["status"] == "online")
        });
    }
}

fn members(machine: &Machine) -> u64 {
    machine.json(&["status"])["members"].as_u64().unwrap()
}

/// The entries of one kind in a machine's audit, as their subjects.
fn audited(machine: &Machine, kind: &str) -> Vec<String> {
    let trail = machine.json(&["audit"]);
    let entries = trail["entries"].as_array().unwrap().iter().filter(|it| it["kind"] == kind);
    entries.map(|it| it["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn row_012_a_wrong_token_is_refused_and_the_right_one_lets_in() {
    let mut core = Machine::new("core", vec!["--no-model"]);
    core.write_config(&format!(
        "[admission]\nmodes = ['token']\ntoken_file = 'tokens.toml'\n[admission.tokens]\nedge-1 = '{TOKEN}'\n"
    ));
    let file = core.home().join("tokens.toml");
    std::fs::write(&file, format!("edge-2 = '{TOKEN}-too'\n")).unwrap();
    let output = core.run(&["up", "--no-model", "--api", "127.0.0.1:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("tokens.toml") && said.contains("mode"), "open to others: {said}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    core.start();
    let (edge, stranger) = (Machine::up("edge-1"), Machine::up("edge-9"));
    let at = place(&core);
    let (exit, error) = edge.fails(&["join", "--at", &at, "--token", WRONG]);
    assert_eq!((exit, &error["code"]), (5, &"invalid_token".into()), "{error}");
    assert_eq!(error["message"], "invalid authentication token");
    assert!(error["hint"].as_str().unwrap().contains("[admission]"), "{error}");
    let (_, error) = edge.fails(&["join", "--at", &at]);
    assert_eq!(error["message"], "invalid authentication token");
    let (exit, error) = stranger.fails(&["join", "--at", &at, "--token", TOKEN]);
    assert_eq!((exit, &error["message"]), (6, &"edge not in allowed list".into()), "{error}");
    assert_eq!((members(&core), members(&edge)), (1, 1));
    assert_eq!(audited(&core, "admission.refused").len(), 3);

    let joined = edge.json(&["join", "--at", &at, "--token", TOKEN]);
    assert_eq!(joined["admitted"]["mode"], "token", "{joined}");
    assert_eq!(joined["admitted"]["trust"], "trusted");
    until_connected(&core, &edge);
    assert_eq!(audited(&core, "admission.admitted"), [edge.id()]);
    let second = Machine::up("edge-2");
    let joined = second.json(&["join", "--at", &at, "--token", &format!("{TOKEN}-too")]);
    assert_eq!(joined["members"], 3, "from the file");
}

#[test]
fn row_013_a_person_approves_rejects_and_revokes() {
    let core = core("modes = ['tofu']");
    let edge = Machine::up("edge-1");
    let at = place(&core);
    let asking = knock(&edge, &at);
    until_waiting(&core, 1);
    let waits = &pending(&core)[0];
    assert_eq!((&waits["node"], &waits["name"]), (&edge.id().into(), &"edge-1".into()));
    assert_eq!(waits["trust"], "tofu_pending");
    assert_eq!(waits["approve"], format!("sedge admission approve {}", key(&edge)));
    assert_eq!((members(&core), members(&edge)), (1, 1));
    let settled = core.json(&["admission", "approve", "edge-1"]);
    assert_eq!((&settled["status"], &settled["told"]), (&"approved".into(), &true.into()));
    let (exit, joined) = ended(asking);
    assert_eq!((exit, &joined["admitted"]["mode"]), (Some(0), &"tofu".into()), "{joined}");
    until_connected(&core, &edge);
    core.json(&["deploy", UPPER, "--id", "fn-1", "--to", "edge-1"]);
    core.until_offered("fn-1", "edge-1");
    assert_eq!(core.json(&["call", "fn-1", "--input", "let in"])["output"], "LET IN");

    core.json(&["revoke", "edge-1"]);
    assert_eq!(members(&core), 1);
    until("the edge is disconnected", || members(&edge) == 1);
    assert_eq!(core.json(&["admission", "list"])["approved"], serde_json::json!([]));
    let (_, error) = core.fails(&["call", "fn-1", "--input", "gone"]);
    assert_eq!(error["kind"], "not_found", "{error}");

    // It has to ask again, and is told no.
    let asking = knock(&edge, &at);
    until_waiting(&core, 1);
    core.json(&["admission", "reject", &key(&edge)]);
    let (exit, said) = ended(asking);
    assert_eq!((exit, &said["error"]["message"]), (Some(6), &"TOFU request rejected".into()));
    assert_eq!(audited(&core, "admission.rejected"), [edge.id()]);

    let (exit, error) = edge.fails(&["join", "--at", &at, "--wait", "0s"]);
    assert_eq!((exit, &error["message"]), (10, &"TOFU approval pending".into()), "{error}");
    assert_eq!(pending(&core).len(), 1, "it stays on the list");
    let (exit, error) = core.fails(&["admission", "approve", "nobody"]);
    assert_eq!((exit, &error["code"]), (3, &"no_request".into()), "{error}");
}

#[test]
fn row_014_an_approval_is_for_the_key_that_waits_not_for_whoever_claims_its_name() {
    let core = core("modes = ['tofu']");
    let (first, second) = (Machine::up("edge"), Machine::up("edge"));
    let at = place(&core);
    let knocks = [&first, &second].map(|it| knock(it, &at));
    until_waiting(&core, 2);
    let (exit, error) = core.fails(&["admission", "approve", "edge"]);
    assert_eq!((exit, &error["code"]), (2, &"several_requests".into()), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&key(&first)) && message.contains(&key(&second)), "{message}");

    core.json(&["admission", "approve", &key(&first)]);
    let [(exit, joined), (other_exit, refused)] = knocks.map(ended);
    assert_eq!((exit, &joined["admitted"]["mode"]), (Some(0), &"tofu".into()), "{joined}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert_eq!(other_exit, Some(4), "{refused}");
    assert!(message.starts_with("edge ID already in use"), "{refused}");
    until_connected(&core, &first);

    // As long as the name is the first one's, the second is refused at once.
    let (_, error) = second.fails(&["join", "--at", &at]);
    assert_eq!(error["code"], "id_in_use", "{error}");
    assert_eq!((members(&core), members(&second)), (2, 1));
    assert_eq!(audited(&core, "admission.id_in_use"), [second.id(), second.id()]);
}

#[test]
fn row_015_an_approved_edge_connects_without_asking_after_a_restart_of_the_core() {
    let mut core = core("modes = ['tofu']");
    let (edge, away) = (Machine::up("edge-1"), Machine::up("edge-2"));
    let at = place(&core);
    let asking = knock(&edge, &at);
    until_waiting(&core, 1);
    core.json(&["admission", "approve", &key(&edge)]);
    assert_eq!(ended(asking).0, Some(0));
    until_connected(&core, &edge);
    // One that has left when the yes comes.
    away.fails(&["join", "--at", &at, "--wait", "0s"]);
    assert_eq!(core.json(&["admission", "approve", &key(&away)])["told"], false);

    core.kill();
    core.start();
    until_connected(&core, &edge);
    assert!(pending(&core).is_empty());
    let joined = away.json(&["join", "--at", &place(&core), "--wait", "0s"]);
    assert_eq!(joined["admitted"]["mode"], "tofu", "{joined}");
    until_connected(&core, &away);
    assert!(pending(&core).is_empty(), "nobody was asked");
    assert_eq!(members(&core), 3);
}

#[test]
fn row_016_six_wrong_answers_ban_and_a_right_one_is_a_login_for_a_day() {
    let mut core = core(&format!(
        "modes = ['challenge']\n[admission.devices.edge-1]\nsecret = '{TOKEN}'\ntrust = 'privileged'"
    ));
    let edge = Machine::up("edge-1");
    let login = |core: &Machine, secret: &str| {
        let at = place(core);
        edge.fails(&["join", "--at", &at, "--token", secret]).1
    };
    for _ in 0..5 {
        assert_eq!(login(&core, WRONG)["code"], "wrong_answer");
    }
    login(&core, WRONG);
    let began = core.json(&["admission", "list"])["banned"][0].clone();
    let ban_ms = began["until"].as_u64().unwrap() - began["at"].as_u64().unwrap();
    assert_eq!((&began["node"], ban_ms), (&edge.id().into(), 15 * 60 * 1000));
    let until = Timestamp::from_millis(began["until"].as_u64().unwrap());
    let expected = format!("banned until {until}: 5 wrong proofs within 15 minutes");
    assert_eq!(login(&core, TOKEN)["message"], expected, "the right answer comes too late");
    core.kill();
    core.start();
    assert_eq!(login(&core, TOKEN)["message"], expected, "a restart changes nothing");
    assert_eq!(audited(&core, "admission.banned"), [edge.id()]);
    core.json(&["admission", "unban", &key(&edge)]);

    let joined = edge.json(&["join", "--at", &place(&core), "--token", TOKEN]);
    assert_eq!(joined["admitted"]["trust"], "privileged", "{joined}");
    let login = core.json(&["admission", "list"])["sessions"][0].clone();
    assert_eq!(login["ends"].as_u64().unwrap() - login["began"].as_u64().unwrap(), DAY_MS);
    assert_eq!(login["ends"], joined["admitted"]["ends"], "the membership ends with it");
    until_connected(&core, &edge);
    // Before it ends, the same command begins a new day.
    let again = edge.json(&["join", "--at", &place(&core), "--token", TOKEN]);
    assert!(again["admitted"]["ends"].as_u64() >= joined["admitted"]["ends"].as_u64());
    until_connected(&core, &edge);
    // But nobody else's.
    let other = self::core("modes = ['dev']");
    let (exit, error) = edge.fails(&["join", "--at", &place(&other)]);
    assert_eq!((exit, &error["code"]), (4, &"already_member".into()), "{error}");
    assert_eq!(members(&edge), 2);
}

/// A day passes only on a clock that a test sets.
fn a_pairing_token_ends_after_a_day() {
    let mode = MODES.into_iter().find(|it| it.0 == PAIR_TOKEN).unwrap();
    let modes: Vec<Box<dyn Mode>> = vec![mode.1(&ModeSettings::default())];
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let mut desk = Desk::new(modes, Book::default());
    let token = PairToken::generate().unwrap();
    let expires = desk.issue(&token, clock.now(), PAIR_TOKEN_TTL).unwrap().expires;
    assert_eq!(expires.since(clock.now()), Duration::from_secs(24 * 60 * 60));
    clock.set(expires);
    let joiner = Identity::generate().unwrap();
    let transcript = Transcript {
        owner: NodeId::from_bytes([1; 32]),
        joiner: joiner.node_id(),
        challenge: Transcript::fresh().unwrap(),
        nonce: Transcript::fresh().unwrap(),
        name: "edge".to_owned(),
    };
    let answer = Answer::new(&joiner, &transcript, Some(&Typed::PairToken(token)));
    let (name_taken, revoked, origin) = (false, false, Origin::Elsewhere);
    let (transcript, answer, now) = (&transcript, &answer, clock.now());
    let judged = desk.knock(&Knock { transcript, answer, origin, name_taken, revoked, now });
    let late = Refusal::ExpiredPairToken { at: expires };
    assert_eq!(judged.verdict, Verdict::Refused(late));
}

#[test]
fn row_017_a_pairing_token_pairs_once_and_ends_after_a_day() {
    a_pairing_token_ends_after_a_day();

    let mut core = core("modes = ['pair-token']");
    let (one, two) = (Machine::up("edge-1"), Machine::up("edge-2"));
    let made = core.json(&["admission", "pair-token"]);
    let token = made["token"].as_str().unwrap();
    let listed = core.json(&["admission", "list"])["pair_tokens"][0].clone();
    let life = listed["expires"].as_u64().unwrap() - listed["at"].as_u64().unwrap();
    assert_eq!((life, &listed["expires"]), (DAY_MS, &made["expires"]));
    let pair = |edge: &Machine, core: &Machine| {
        edge.fails(&["join", "--at", &place(core), "--pair-token", token])
    };
    let joined = one.json(&["join", "--at", &place(&core), "--pair-token", token]);
    assert_eq!(joined["admitted"]["mode"], "pair-token", "{joined}");
    until_connected(&core, &one);
    let (exit, error) = pair(&two, &core);
    assert_eq!((exit, &error["code"]), (6, &"used_pair_token".into()), "{error}");
    core.kill();
    core.start();
    let (_, error) = pair(&two, &core);
    assert_eq!(error["code"], "used_pair_token", "a restart changes nothing: {error}");

    let brief = core.json(&["admission", "pair-token", "--ttl", "1s"]);
    let expires = Timestamp::from_millis(brief["expires"].as_u64().unwrap());
    until("its time is over", || Clock::machine().now() >= expires);
    let brief = brief["token"].as_str().unwrap();
    let (_, error) = two.fails(&["join", "--at", &place(&core), "--pair-token", brief]);
    assert_eq!(error["code"], "expired_pair_token", "{error}");

    let drawn = core.run(&["admission", "pair-token", "--qr"]);
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    assert!(drawn.lines().filter(|it| it.contains('▀')).count() > 10, "{drawn}");
    assert!(drawn.contains("sedge join --at 127.0.0.1:"), "{drawn}");
    assert_eq!(members(&core), 2);
}

#[test]
fn row_018_dev_lets_in_on_loopback_and_a_list_of_modes_falls_through() {
    let dev = core("modes = ['dev']");
    let edge = Machine::up("edge-1");
    let joined = edge.json(&["join", "--at", &place(&dev)]);
    assert_eq!(joined["admitted"]["mode"], "dev", "{joined}");
    until_connected(&dev, &edge);
    let log = std::fs::read_to_string(dev.folder().join("log")).unwrap();
    assert!(log.contains("EVERY program of this machine is admitted"), "{log}");
    let exposed = Machine::new("exposed", Vec::new());
    exposed.write_config("[admission]\nmodes = ['dev']\n");
    let output =
        exposed.run(&["up", "--no-model", "--api", "127.0.0.1:0", "--listen", "0.0.0.0:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`dev`") && said.contains("loopback"), "{said}");

    let core = core(&format!("modes = ['token', 'tofu']\n[admission.tokens]\nedge-2 = '{TOKEN}'"));
    let (known, unknown) = (Machine::up("edge-2"), Machine::up("edge-3"));
    let at = place(&core);
    let joined = known.json(&["join", "--at", &at, "--token", TOKEN]);
    assert_eq!(joined["admitted"]["mode"], "token", "{joined}");
    let asking = knock(&unknown, &at);
    until_waiting(&core, 1);
    assert_eq!(pending(&core)[0]["node"], unknown.id());
    core.json(&["admission", "approve", &key(&unknown)]);
    let (_, joined) = ended(asking);
    assert_eq!(joined["admitted"]["mode"], "tofu", "{joined}");
    until_connected(&core, &unknown);

    // Whoever typed a token does not go on with somebody who did not prove to know it.
    let wrong = Machine::up("edge-4");
    let (exit, error) = wrong.fails(&["join", "--at", &at, "--token", WRONG]);
    assert_eq!((exit, &error["code"]), (10, &"token_not_taken".into()), "{error}");
    assert!(error["message"].as_str().unwrap().contains("edge not in allowed list"), "{error}");
    assert_eq!(pending(&core)[0]["node"], wrong.id(), "it fell through all the same");
}

#[test]
fn a_machine_without_admission_answers_no_knock() {
    let (core, edge) = (Machine::up("core"), Machine::up("edge"));
    assert_eq!(core.json(&["status"])["mesh"], serde_json::json!([]));
    assert_eq!(core.json(&["admission", "list"])["open"], false);
    let invitation = core.json(&["invite", "--no-wait"]);
    let at = invitation["addresses"][0].as_str().unwrap();
    let (exit, error) = edge.fails(&["join", "--at", at]);
    assert_eq!((exit, &error["code"]), (6, &"codes_only".into()), "{error}");
    // The knock did not burn the code.
    let joined = edge.json(&["join", invitation["code"].as_str().unwrap(), "--at", at]);
    assert_eq!(joined["inviter_name"], "core");
    let (_, error) = core.fails(&["admission", "approve", "edge"]);
    assert_eq!(error["message"], "pending requests unsupported (edge auth mode is not tofu)");
    let (_, error) = core.fails(&["admission", "pair-token"]);
    assert_eq!(error["code"], "mode_off", "{error}");
}

#[test]
fn who_was_revoked_or_banned_does_not_come_back_by_a_secret() {
    let core = core(&format!("modes = ['token']\n[admission.tokens]\nedge-1 = '{TOKEN}'"));
    let edge = Machine::up("edge-1");
    let at = place(&core);
    let join = ["join", "--at", &at, "--token", TOKEN];
    edge.json(&join);
    until_connected(&core, &edge);
    core.json(&["revoke", "edge-1"]);
    until("the edge knows", || members(&edge) == 1);
    let (_, error) = edge.fails(&join);
    assert_eq!(error["code"], "revoked", "{error}");
    core.pair(&edge);

    let banned = core.json(&["admission", "ban", "edge-1", "--for", "1h", "--reason", "lost"]);
    assert_eq!((&banned["status"], &banned["name"]), (&"banned".into(), &"edge-1".into()));
    assert_eq!(members(&core), 1, "a member is revoked first");
    until("the edge knows", || members(&edge) == 1);
    let (_, error) = edge.fails(&join);
    assert!(error["message"].as_str().unwrap().ends_with(": lost"), "{error}");
    let (_, error) = core.fails(&["admission", "ban", &core.id()]);
    assert_eq!(error["code"], "is_owner", "{error}");
    assert_eq!(core.json(&["admission", "unban", &edge.id()])["status"], "unbanned");
    let (exit, _) = core.fails(&["admission", "unban", &edge.id()]);
    assert_eq!(exit, 3);
}
