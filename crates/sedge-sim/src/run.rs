//! One run from its seed to its report: a calm beginning, trouble, healing, and the checks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Dice, TaskScope, Timestamp};
use sedge_node::Target;
use sedge_trust::token::{Limit, LimitError, TokenError};
use tokio::time::{Instant, sleep, sleep_until};

use crate::books::{Books, TaskNote};
use crate::check;
use crate::engine::Ran;
use crate::hostile::Hostile;
use crate::machine::{Machine, MachineError};
use crate::net::{SimNet, Weather};
use crate::plan::{CALLS, IDEMPOTENT, ONCE, Plan, Step, Work};
use crate::quorum;
use crate::work::{self, Tokens};

/// How long every node is given to find the others again: longer than the longest wait between two
/// dials, and a few heartbeats.
const HEALS_IN: Duration = Duration::from_secs(25);
/// How long the beginning may take at most.
const CALM: Duration = Duration::from_secs(60);

/// Why a run could not even begin; what goes wrong in a run stands in its report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A machine does not start.
    #[error("a machine does not start")]
    Machine(#[from] MachineError),
    /// The owner's key cannot make the tokens of the run.
    #[error("no tokens")]
    Token(#[from] TokenError),
    /// A limit of a token of the run is wrong.
    #[error("no limits")]
    Limit(#[from] LimitError),
    /// A machine does not join in calm weather.
    #[error("the machines do not come together: {why}")]
    Apart {
        /// The last lines of the story.
        why: String,
    },
}

/// What a run has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed; everything follows from it.
    pub seed: u64,
    /// What happened, one line each, with the time since the beginning in seconds.
    pub story: Vec<String>,
    /// Which rules were broken; empty is well.
    pub broken: Vec<String>,
    /// Mixed from every arrival on the network, when and where: equal for equal runs.
    pub trace: u64,
    /// How many tasks were asked for, and how many succeeded.
    pub tasks: (usize, usize),
}

/// Plays the run of a seed; the machines' folders are made in `homes`, which is empty.
///
/// Call it on a current-thread runtime whose time is paused: on another one it takes minutes, and
/// two runs of a seed differ.
///
/// # Errors
///
/// [`RunError`] when it could not begin.
///
/// # Cancel safety
///
/// Dropping the future leaves background work on the runtime, which ends with it.
pub async fn run(seed: u64, homes: &Path) -> Result<Report, RunError> {
    let mut dice = Dice::new(seed);
    let plan = Plan::new(&mut dice.fork());
    let net = SimNet::new(dice.fork());
    let stage = TaskScope::mortal();
    let postman = net.clone();
    stage.spawn("postman", async move |_| postman.carry().await);
    let played = async {
        let mut run = Run::begin(&plan, net.clone(), homes, &mut dice).await?;
        run.trouble(&plan, &mut dice).await;
        run.heal().await;
        Ok::<_, RunError>(run.end().await)
    }
    .await;
    stage.kill().await;
    net.clear();
    let books = played?;
    let pages = books.pages();
    let done = |it: &&TaskNote| it.end.as_ref().is_some_and(|it| it.failure.is_none());
    Ok(Report {
        seed,
        story: pages.story.clone(),
        broken: pages.broken.clone(),
        trace: net.trace(),
        tasks: (pages.tasks.len(), pages.tasks.iter().filter(done).count()),
    })
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) net: SimNet,
    pub(crate) books: Books,
    pub(crate) ran: Arc<Ran>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) names: Vec<String>,
    pub(crate) tokens: Tokens,
    /// Whether there is a quorum.
    pub(crate) quorum: bool,
    pub(crate) hostile: Option<Hostile>,
}

impl Run {
    /// Switches every machine on, brings them together, and deploys what everybody has.
    async fn begin(
        plan: &Plan,
        net: SimNet,
        homes: &Path,
        dice: &mut Dice,
    ) -> Result<Self, RunError> {
        let (books, ran) = (Books::new(), Arc::new(Ran::default()));
        let mut machines = Vec::new();
        for index in 0..plan.machines {
            let mut machine = Machine::new(index, homes, &mut dice.fork(), &ran)?;
            machine.set_full_mesh(plan.full_mesh);
            machine.start(&net).await?;
            machines.push(machine);
        }
        let names = machines.iter().map(|it| it.name.clone()).collect();
        let tokens = mint(&machines[0])?;
        let quorum = plan.quorum;
        let run = Self { net, books, ran, machines, names, tokens, quorum, hostile: None };
        for joiner in &run.machines[1..] {
            run.admit(joiner.index);
            let deadline = Instant::now() + CALM;
            while !run.books.pages().readmitted.contains(&joiner.index) {
                if Instant::now() > deadline {
                    let why = run.books.pages().story.join("; ");
                    return Err(RunError::Apart { why });
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        run.books.pages().readmitted.clear();
        // A heartbeat, so that everybody has heard of everybody.
        sleep(Duration::from_secs(3)).await;
        if let Some(life) = run.machines[0].life() {
            for function in [ONCE, IDEMPOTENT] {
                work::deploy(&run.books, &life.node, function, Target::All).await;
            }
        }
        sleep(Duration::from_secs(3)).await;
        if plan.quorum && !quorum::found(&run.machines, CALM).await {
            return Err(RunError::Apart { why: "no coordinator in calm weather".to_owned() });
        }
        Ok(run)
    }

    fn admit(&self, joiner: usize) {
        let (owner, joiner) = (&self.machines[0], &self.machines[joiner]);
        if let (Some(inviting), Some(joining)) = (owner.life(), joiner.life()) {
            work::admit(&self.books, (inviting, owner), (joining, joiner));
        }
    }

    /// Lets everything happen that the plan says.
    async fn trouble(&mut self, plan: &Plan, dice: &mut Dice) {
        let began = Instant::now();
        if plan.hostile {
            let last = plan.machines - 1;
            let victims = self.machines[..last].iter().map(|it| it.id).collect();
            self.machines[last].crash(&self.net).await;
            self.books.say(format!("n{last} turns against the others"));
            let id = self.machines[last].id;
            self.hostile = Some(Hostile::begin(&self.net, id, victims, dice.fork()));
        }
        for (when, step) in &plan.steps {
            sleep_until(began + *when).await;
            self.step(step).await;
        }
    }

    /// Returns whether the machine has become something else than a node.
    pub(crate) fn is_hostile(&self, machine: usize) -> bool {
        self.hostile.is_some() && machine + 1 == self.machines.len()
    }

    async fn step(&mut self, step: &Step) {
        let id = |it: &usize| self.machines[*it].id;
        match step {
            Step::Work(work) => return self.work(work),
            Step::Cut(from, to) => self.net.cut(id(from), id(to)),
            Step::Mend(from, to) => self.net.mend(id(from), id(to)),
            Step::Weather(from, to, weather) => self.net.set_weather(id(from), id(to), *weather),
            Step::Crash(who) | Step::Start(who) if self.is_hostile(*who) => return,
            Step::Crash(who) => self.machines[*who].crash(&self.net).await,
            Step::Start(who) => return self.start(*who).await,
            Step::Clock(who, millis) => self.machines[*who].set_wrong_by(*millis),
            Step::Full(who, full) => self.machines[*who].disk.set_full(*full),
            Step::Slow(who, slowest) => self.machines[*who].disk.set_slowest(*slowest),
        }
        self.books.say(format!("{step:?}"));
    }

    async fn start(&mut self, who: usize) {
        let started = self.machines[who].start(&self.net).await;
        match started {
            Ok(()) => self.books.say(format!("Start({who})")),
            Err(MachineError::Start(error)) if error.kind() == sedge_base::ErrorKind::Exhausted => {
                self.books.say(format!("n{who} does not start: {error}"));
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let source = error.source().map(ToString::to_string).unwrap_or_default();
                self.books.broken(format!("n{who} does not start: {error}: {source}"));
            }
        }
    }

    fn work(&self, work: &Work) {
        let life = |it: usize| self.machines[it].life();
        match work {
            Work::Task(task) => {
                if let Some(life) = life(task.on) {
                    work::ask(&self.books, life, &self.names, task.clone(), &self.tokens);
                }
            }
            Work::Deploy { on, name, to } => {
                let Some(life) = life(*on) else { return };
                let to_whom = to.map_or_else(|| "all".to_owned(), |it| self.names[it].clone());
                self.books.say(format!("{name} begun on n{on} for {to_whom}"));
                let target = to.map_or(Target::All, |it| Target::Node(self.names[it].clone()));
                let (books, node, name) =
                    (self.books.clone(), Arc::clone(&life.node), name.clone());
                life.scope.spawn("deployer", async move |_| {
                    work::deploy(&books, &node, &name, target).await;
                });
            }
            Work::Revoke(who) => {
                if let Some(owner) = life(0) {
                    let (net, out) = (self.net.clone(), self.machines[*who].id);
                    // A hostile member lets in whom it likes.
                    let honest = self.machines.iter().filter(|it| !self.is_hostile(it.index));
                    let ids: BTreeMap<_, _> = honest.map(|it| (it.name.clone(), it.id)).collect();
                    let admits = move |name: &str| net.admits(*ids.get(name)?, out);
                    work::revoke(&self.books, owner, &self.machines[*who], admits);
                }
            }
            Work::Readmit(who) => self.admit(*who),
            Work::Quorum(asked) => {
                if let Some(life) = life(asked.on) {
                    quorum::ask(&self.books, life, asked);
                }
            }
            Work::RevokeToken => {
                if let Some(owner) = life(0) {
                    work::revoke_token(&self.books, owner, &self.tokens);
                }
            }
        }
    }

    /// Ends every fault, and waits until everybody has had the time to find the others again.
    async fn heal(&mut self) {
        self.books.say("everything is mended");
        for from in &self.machines {
            for to in self.machines.iter().filter(|it| it.id != from.id) {
                self.net.mend(from.id, to.id);
                self.net.set_weather(from.id, to.id, Weather::default());
            }
            from.disk.set_full(false);
            from.disk.set_slowest(Duration::ZERO);
            from.set_wrong_by(0);
        }
        for who in 0..self.machines.len() {
            if !self.is_hostile(who) {
                let started = self.machines[who].start(&self.net).await;
                if let Err(error) = started {
                    self.books.broken(format!("n{who} does not start again: {error}"));
                }
            }
        }
        if let Some(hostile) = self.hostile.as_ref() {
            hostile.stop().await;
            self.net.kill(self.machines[self.machines.len() - 1].id);
            self.work(&Work::Revoke(self.machines.len() - 1));
        }
        sleep(HEALS_IN).await;
    }

    /// Checks everything, and stops the nodes.
    async fn end(mut self) -> Books {
        check::check(&self).await;
        for machine in &mut self.machines {
            machine.stop().await;
            if let Err(error) = machine.undead() {
                self.books.broken(error.to_string());
            }
        }
        // What was said last is still under way.
        sleep(Duration::from_secs(2)).await;
        let left = self.net.connections();
        if left > 0 {
            self.books.broken(format!("{left} connections are left when every node has stopped"));
        }
        self.books
    }
}

fn mint(owner: &Machine) -> Result<Tokens, RunError> {
    let Some(key) = owner.owner()? else {
        return Err(RunError::Apart { why: "the first machine owns no swarm".to_owned() });
    };
    let until = Limit::Until(Timestamp::from_millis(4_000_000_000_000));
    let revocable = key.mint(&[until])?.to_text()?;
    let counted = key.mint(&[Limit::Calls(CALLS)])?.to_text()?;
    Ok(Tokens { revocable, counted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Script;
    use crate::plan::TaskWork;

    /// Brings machines together that nothing happens to, and lets `work` happen.
    async fn among(machines: usize, work: impl AsyncFnOnce(&mut Run)) {
        let homes = tempfile::tempdir().unwrap();
        let mut dice = Dice::new(1);
        let net = SimNet::new(dice.fork());
        let stage = TaskScope::mortal();
        let postman = net.clone();
        stage.spawn("postman", async move |_| postman.carry().await);
        let plan =
            Plan { machines, hostile: false, full_mesh: 8, quorum: false, steps: Vec::new() };
        let mut run = Run::begin(&plan, net, homes.path(), &mut dice).await.unwrap();
        work(&mut run).await;
        run.heal().await;
        assert_eq!(run.end().await.pages().broken, Vec::<String>::new());
        stage.kill().await;
    }

    fn task(function: &'static str, takes: Duration) -> Step {
        let script = Script { tag: 1, takes, chunks: 1, fails: false };
        let work = TaskWork { on: 0, pin: None, function, script, token: None };
        Step::Work(Work::Task(work))
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_may_run_once_only_is_lost_with_its_machine() {
        among(3, async |run| {
            for to in [1, 2] {
                let deploy = Work::Deploy { on: 0, name: "new0".to_owned(), to: Some(to) };
                run.step(&Step::Work(deploy)).await;
                sleep(Duration::from_secs(3)).await;
            }
            run.step(&task("new0", Duration::from_secs(4))).await;
            sleep(Duration::from_secs(1)).await;
            let ran = run.ran.of(1);
            run.step(&Step::Crash(ran[0])).await;
            sleep(Duration::from_secs(10)).await;
            assert_eq!(run.ran.of(1), ran, "nobody else begins it");
            let end = run.books.pages().tasks[0].end.clone().unwrap();
            assert_eq!(end.failure.unwrap().code, "node_lost");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_refuses_and_the_machine_goes_on() {
        among(3, async |run| {
            run.step(&Step::Full(0, true)).await;
            run.step(&task(ONCE, Duration::from_millis(1))).await;
            sleep(Duration::from_secs(1)).await;
            let end = run.books.pages().tasks[0].end.clone().unwrap();
            assert_eq!(end.failure.unwrap().kind, sedge_base::ErrorKind::Exhausted);
        })
        .await;
    }

    fn numbered(tag: u32, takes: Duration) -> Step {
        let script = Script { tag, takes, chunks: 1, fails: false };
        let work = TaskWork { on: 0, pin: None, function: "new0", script, token: None };
        Step::Work(Work::Task(work))
    }

    async fn findings(run: &Run, code: &str) -> Vec<String> {
        let found = run.machines[0].life().unwrap().node.examine().await;
        found.into_iter().filter(|it| it.code == code).map(|it| it.subject).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_says_it_is_idle_and_answers_slowly_gets_no_more_work() {
        among(3, async |run| {
            for to in [1, 2] {
                let deploy = Work::Deploy { on: 0, name: "new0".to_owned(), to: Some(to) };
                run.step(&Step::Work(deploy)).await;
                sleep(Duration::from_secs(3)).await;
            }
            // Both say that they have nothing to do; whoever is asked first turns out to be slow.
            run.step(&numbered(1, Duration::from_millis(1))).await;
            sleep(Duration::from_secs(3)).await;
            let liar = run.ran.of(1)[0];
            run.machines[liar].set_slower_by(4000);
            assert!(findings(run, "slower_than_said").await.is_empty());
            for tag in 2..12 {
                run.step(&numbered(tag, Duration::from_millis(1))).await;
                sleep(Duration::from_secs(5)).await;
            }
            let on_liar = (2..12).filter(|tag| run.ran.of(*tag) == [liar]).count();
            assert_eq!(on_liar, 1, "after the first slow answer it is not believed any more");
            let told = findings(run, "slower_than_said").await;
            assert_eq!(told, [run.names[liar].clone()]);
            let words = run.machines[0].life().unwrap().node.decision(None).await.unwrap().words;
            assert!(words.contains("as measured"), "{words}");
            run.machines[liar].set_slower_by(0);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_that_are_wrong_by_an_hour_are_reported_and_change_nothing_wrongly() {
        among(3, async |run| {
            for to in [1, 2] {
                let deploy = Work::Deploy { on: 0, name: "new0".to_owned(), to: Some(to) };
                run.step(&Step::Work(deploy)).await;
            }
            sleep(Duration::from_secs(3)).await;
            run.step(&Step::Clock(1, 3_600_000)).await;
            run.step(&Step::Clock(2, -3_600_000)).await;
            sleep(Duration::from_secs(5)).await;
            assert_eq!(findings(run, "clock_differs").await, ["n1", "n2"]);
            // They stay members, run tasks, and countersign; tokens without an end hold.
            for (tag, pin, token) in
                [(1, 1, None), (2, 2, None), (3, 1, Some(crate::plan::Pass::Revocable))]
            {
                let script =
                    Script { tag, takes: Duration::from_millis(1), chunks: 1, fails: false };
                let work = TaskWork { on: 0, pin: Some(pin), function: "new0", script, token };
                run.step(&Step::Work(Work::Task(work))).await;
                sleep(Duration::from_secs(3)).await;
                let end = run.books.pages().tasks.last().unwrap().end.clone().unwrap();
                assert!(end.failure.is_none(), "{tag}: {:?}", end.failure);
                assert!(end.receipt.is_some());
            }
            let online = run.machines[0].life().unwrap().node.health().online;
            assert_eq!(online, 3);
            for who in [1, 2] {
                run.step(&Step::Clock(who, 0)).await;
            }
            sleep(Duration::from_secs(5)).await;
            assert!(findings(run, "clock_differs").await.is_empty());
        })
        .await;
    }
}
