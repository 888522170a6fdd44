//! A simulated machine: its folder, disk and clock outlive the node that runs on it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sedge_base::{ByteSize, Clock, Dice, NodeId, TaskScope, Timestamp};
use sedge_node::{Config, ConfigError, Gauges, Home, Node, StartError, StartOptions, World};
use sedge_store::{Disk, DiskDouble};
use sedge_trust::{Identity, KeyFileError, Owner};
use tokio::time::Instant;

use crate::engine::{EngineDouble, Ran};
use crate::net::SimNet;

/// When every simulation begins: 2026-11-21, at noon.
const BEGINNING: Timestamp = Timestamp::from_millis(1_795_262_400_000);

/// How the nodes are configured: what takes long on a person's machine is short here.
const CONFIG: &str = "
[node]
lan_discovery = false
max_tasks = 16
task_time = '8s'
[functions]
pool = 1
max_concurrent = 1
[plugins]
enabled = false
";

/// By how much longer a machine waits than the one before it until it stands for election.
const ELECTION_STEP: Duration = Duration::from_millis(40);

/// Why a machine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// Its keys could not be stored.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Its configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its node does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Something of its last life is left over.
    #[error("{machine} still holds {count} references to its dead node")]
    Undead {
        /// The machine's name.
        machine: String,
        /// How many.
        count: usize,
    },
}

/// A machine of a simulation.
#[derive(Debug)]
pub struct Machine {
    /// Its number, from 0.
    pub index: usize,
    /// Its node's name, such as `n0`.
    pub name: String,
    /// Its node's id.
    pub id: NodeId,
    /// Its disk.
    pub disk: Arc<DiskDouble>,
    home: PathBuf,
    clock: Clock,
    /// By how many milliseconds its clock is wrong.
    wrong_by: Arc<AtomicI64>,
    /// Up to so many members are all connected with each other, when its owner says so.
    full_mesh: Option<usize>,
    ran: Arc<Ran>,
    /// By how many milliseconds its engine is slower than it says.
    slower_by: Arc<AtomicU64>,
    life: Option<Life>,
    past: Vec<Weak<Node>>,
}

/// A machine's node from a start to the next crash, and everything that dies with it.
#[derive(Debug, Clone)]
pub struct Life {
    /// The node.
    pub node: Arc<Node>,
    /// Everything that runs on the machine.
    pub scope: TaskScope,
}

impl Machine {
    /// Makes a machine with keys by the dice and a folder in `homes`; it is not switched on yet.
    ///
    /// # Errors
    ///
    /// [`MachineError::Key`].
    pub fn new(
        index: usize,
        homes: &Path,
        dice: &mut Dice,
        ran: &Arc<Ran>,
    ) -> Result<Self, MachineError> {
        let home = homes.join(format!("n{index}"));
        let mut keys = [0; 64];
        for word in keys.chunks_exact_mut(8) {
            word.copy_from_slice(&dice.roll().to_le_bytes());
        }
        let identity = Identity::from_bytes(&keys);
        identity.store(&home)?;
        owner(dice).store(&home)?;
        let wrong_by = Arc::new(AtomicI64::new(0));
        let (began, by) = (Instant::now(), Arc::clone(&wrong_by));
        let clock = Clock::kept(move || {
            let right = BEGINNING.plus(began.elapsed()).as_millis();
            Timestamp::from_millis(right.saturating_add_signed(by.load(Ordering::SeqCst)))
        });
        Ok(Self {
            index,
            name: format!("n{index}"),
            id: identity.node_id(),
            disk: Arc::new(DiskDouble::new(dice.fork())),
            home,
            clock,
            wrong_by,
            full_mesh: None,
            ran: Arc::clone(ran),
            slower_by: Arc::default(),
            life: None,
            past: Vec::new(),
        })
    }

    /// Returns the key of the swarm that the node founded, if it still holds it.
    ///
    /// # Errors
    ///
    /// [`MachineError::Key`].
    pub fn owner(&self) -> Result<Option<Owner>, MachineError> {
        Ok(Owner::load(&self.home)?)
    }

    /// Returns the machine's keys.
    ///
    /// # Errors
    ///
    /// [`MachineError::Key`].
    pub fn identity(&self) -> Result<Identity, MachineError> {
        Ok(Identity::load_or_create(&self.home)?)
    }

    /// Returns what runs now; `None` while the machine is off.
    pub const fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    /// Returns the machine's clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sets by how many milliseconds the clock is wrong.
    pub fn set_wrong_by(&self, millis: i64) {
        self.wrong_by.store(millis, Ordering::SeqCst);
    }

    /// Makes the engine slower by so many milliseconds; nothing that the node says changes.
    pub fn set_slower_by(&self, millis: u64) {
        self.slower_by.store(millis, Ordering::SeqCst);
    }

    /// Says up to how many members are all connected with each other, from the next start on.
    pub const fn set_full_mesh(&mut self, members: usize) {
        self.full_mesh = Some(members);
    }

    /// Starts the node; does nothing when it runs.
    ///
    /// # Errors
    ///
    /// [`MachineError`]; the machine stays off.
    pub async fn start(&mut self, net: &SimNet) -> Result<(), MachineError> {
        if self.life.is_some() {
            return Ok(());
        }
        self.undead()?;
        let scope = TaskScope::mortal();
        let engine = EngineDouble {
            machine: self.index,
            ran: Arc::clone(&self.ran),
            slower_by: Arc::clone(&self.slower_by),
            scope: scope.child(),
        };
        let world = World {
            network: Some(Arc::new(net.clone())),
            clock: Some(self.clock.clone()),
            scope: Some(scope.clone()),
            disk: Disk::Double(Arc::clone(&self.disk)),
            gauges: Some(self.gauges()),
            engine: Some(Arc::new(engine)),
        };
        let options = StartOptions {
            name: Some(self.name.clone()),
            no_model: true,
            world,
            ..StartOptions::default()
        };
        let home = Home::open(&self.home).map_err(StartError::Home)?;
        let mut config = Config::parse(CONFIG, "the simulation's")?;
        config.node.full_mesh = self.full_mesh.unwrap_or(config.node.full_mesh);
        // The voters' engine has dice of its own: each voter has one patience, and nobody another's.
        config.quorum.election += ELECTION_STEP * u32::try_from(self.index).unwrap_or(0);
        config.quorum.election_most = config.quorum.election + Duration::from_millis(1);
        let started = Node::start(home, config, options).await;
        match started {
            Ok(node) => {
                self.life = Some(Life { node, scope });
                Ok(())
            }
            Err(error) => {
                scope.kill().await;
                Err(error.into())
            }
        }
    }

    /// Returns figures that differ from machine to machine, so that routing has something to weigh.
    fn gauges(&self) -> Gauges {
        let gib = 4 + self.index as u64;
        Gauges {
            cpu_percent: 10.0,
            free_memory: ByteSize::from_mib(1024 * gib),
            total_memory: ByteSize::from_mib(16 * 1024),
            resident: ByteSize::from_mib(40),
        }
    }

    /// Cuts the power: nothing is told, tidied or flushed. Does nothing when it is off.
    pub async fn crash(&mut self, net: &SimNet) {
        let Some(Life { node, scope }) = self.life.take() else { return };
        net.kill(self.id);
        scope.kill().await;
        self.past.push(Arc::downgrade(&node));
    }

    /// Stops the node in good order. Does nothing when it is off.
    pub async fn stop(&mut self) {
        let Some(Life { node, scope }) = self.life.take() else { return };
        node.shutdown().await;
        scope.kill().await;
        self.past.push(Arc::downgrade(&node));
    }

    /// Checks that nothing of earlier lives is left in memory.
    ///
    /// # Errors
    ///
    /// [`MachineError::Undead`].
    pub fn undead(&mut self) -> Result<(), MachineError> {
        let count = self.past.iter().map(Weak::strong_count).sum();
        if count > 0 {
            return Err(MachineError::Undead { machine: self.name.clone(), count });
        }
        self.past.clear();
        Ok(())
    }
}

fn owner(dice: &mut Dice) -> Owner {
    let mut seed = [0; 32];
    for word in seed.chunks_exact_mut(8) {
        word.copy_from_slice(&dice.roll().to_le_bytes());
    }
    Owner::from_seed(&seed)
}
