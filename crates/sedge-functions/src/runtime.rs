//! The engine, its cache and its places, shared by all functions of a node.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use sedge_base::{ByteSize, ContentId, ErrorKind, TaskScope};
use sedge_capability::Name;
use sedge_store::Store;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::cache::Cache;
use crate::call::CallError;
use crate::component::Encoder;
use crate::deploy::{self, DeployError, Deployment};
use crate::engine;
use crate::events::{CodeNotKept, CodeRefused, Deployed};
use crate::function::Function;
use crate::host::{self, Belongings, Surroundings, Wasi, Way};
use crate::limits::Limits;
use crate::outbound::{Client, NoSecrets, Outbound, Reach, Secrets, Walls};
use crate::redis::Channel;
use crate::spin::Share;
use crate::ticker::{Running, Ticker};
use crate::{CacheError, FunctionsConfig};

/// Compiles and runs functions.
pub struct Runtime {
    shared: Arc<Shared>,
    linker: Linker<Wasi>,
    cache: Arc<Cache>,
    config: FunctionsConfig,
    secrets: Arc<dyn Secrets>,
    store: Option<Store>,
    walls: Arc<Walls>,
    client: Client,
    compiling: Semaphore,
    encoder: Encoder,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why functions cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The engine does not start; mostly the address space is limited.
    #[error("the Wasm engine does not start: {reason}; a smaller `functions.pool` needs less")]
    Engine {
        /// The engine's words.
        reason: String,
    },
    /// There is no thread for the interrupting clock.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// There is no TLS.
    #[error("this build's cryptography lacks what TLS needs: {reason}")]
    Tls {
        /// The words of what speaks it.
        reason: String,
    },
    /// The folder for precompiled code cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl RuntimeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine { .. } | Self::Thread(_) => ErrorKind::Unavailable,
            Self::Tls { .. } => ErrorKind::Unsupported,
            Self::Cache(err) => err.kind(),
        }
    }
}

/// What every function needs from its runtime.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) scope: TaskScope,
    ticker: Ticker,
    places: Semaphore,
    most_running: u32,
    waiting: AtomicU32,
    most_waiting: u32,
}

/// A place among the running tasks, kept until it is dropped.
pub(crate) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    _running: Running<'a>,
}

impl Runtime {
    /// Starts the engine; precompiled code is kept in the folder `cache`.
    ///
    /// Long tasks run in `scope`; when it stops, they end as cancelled.
    ///
    /// # Errors
    ///
    /// See [`RuntimeError`].
    pub fn new(
        config: FunctionsConfig,
        cache: &Path,
        scope: &TaskScope,
    ) -> Result<Self, RuntimeError> {
        let no_engine = |err: wasmtime::Error| RuntimeError::Engine { reason: format!("{err:#}") };
        let engine = engine::engine(&config).map_err(no_engine)?;
        let linker = host::linker(&engine).map_err(no_engine)?;
        let cache = Cache::open(cache, &engine, config.cache_size)?;
        let ticker = Ticker::start(&engine).map_err(RuntimeError::Thread)?;
        let most_running = engine::admission(&config);
        let no_tls = |err: rustls::Error| RuntimeError::Tls { reason: err.to_string() };
        let client = Client::new().map_err(no_tls)?;
        let shared = Shared {
            engine,
            scope: scope.child(),
            ticker,
            places: Semaphore::new(most_running as usize),
            most_running,
            waiting: AtomicU32::new(0),
            most_waiting: config.max_waiting,
        };
        Ok(Self {
            shared: Arc::new(shared),
            linker,
            cache: Arc::new(cache),
            walls: Arc::new(config.walls.clone()),
            config,
            secrets: Arc::new(NoSecrets),
            store: None,
            client,
            // The compiler uses every core by itself.
            compiling: Semaphore::new(1),
            encoder: Encoder::new(),
        })
    }

    /// Returns the runtime with secrets that the host may add to requests.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Returns the runtime with a store for what applications keep; without one they keep nothing.
    #[must_use]
    pub fn with_store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Returns how many tasks run at the same time at most.
    pub fn capacity(&self) -> u32 {
        self.shared.most_running
    }

    /// Makes a function of a component: checks it, compiles it away from the runtime's threads
    /// unless this node compiled it before, and links it.
    ///
    /// # Errors
    ///
    /// See [`DeployError`]; what was deployed before is untouched.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives no function; a compilation that has begun runs to its end.
    pub async fn deploy(&self, deployment: Deployment) -> Result<Arc<Function>, DeployError> {
        let limits = self.limits().within(&deployment.limits);
        self.deploy_under(deployment, limits).await
    }

    /// Returns the limits of a function that asks for none.
    pub(crate) fn limits(&self) -> Limits {
        Limits::of_config(&self.config)
    }

    /// Returns the largest component that is taken.
    pub(crate) const fn most(&self) -> ByteSize {
        self.config.max_component_size
    }

    /// Returns what makes components, once it was needed.
    pub(crate) const fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Makes a function as [`deploy`](Self::deploy) does, under limits that may be wider than those
    /// of deployed ones; memory cannot be, because every instance's place has that size.
    pub(crate) async fn deploy_under(
        &self,
        deployment: Deployment,
        limits: Limits,
    ) -> Result<Arc<Function>, DeployError> {
        let started = Instant::now();
        let id = deploy::check(&deployment, self.config.max_component_size)?;
        let (component, precompiled) = self.component(id, &deployment.wasm).await?;
        let Deployment {
            name, summary, env, args, share, outbound, mut labels, idempotence, ..
        } = deployment;
        let way = self.way(&name, outbound)?;
        let heard = share.as_ref().is_some_and(|it| !it.channels.is_empty());
        self.may_hear(share.as_ref().map(|it| it.channels.as_slice()).unwrap_or_default())?;
        labels.extend(share.iter().flat_map(Share::labels));
        let store = self.store.clone();
        let belongings = Arc::new(Belongings { share: share.unwrap_or_default(), store });
        let surroundings = Surroundings { env, args, belongings, way };
        let engine = &self.shared.engine;
        let (entry, replayable) = deploy::link(engine, &self.linker, &component, surroundings)?;
        if heard && !entry.handles_messages() {
            let must_be = "of a component that exports `fermyon:spin/inbound-redis`";
            return Err(DeployError::Setting { what: "channels", must_be });
        }
        Deployed { name: &name, content: id, precompiled, took: started.elapsed() }.emit();
        let descriptor = Function::describe(name, summary, labels, limits).with_proof(
            idempotence,
            replayable,
            id,
        );
        Ok(Arc::new(Function::new(descriptor, entry, limits, Arc::clone(&self.shared))))
    }

    /// Checks that the node's configuration lets functions reach the servers of channels, as far as that is known without
    /// looking up names.
    fn may_hear(&self, channels: &[Channel]) -> Result<(), DeployError> {
        let refused = |it: &&Channel| {
            let aim = it.address.aim();
            let literal = match aim.host() {
                "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
                host => host.parse::<IpAddr>().ok(),
            };
            let known = literal.map(|it| SocketAddr::new(it, aim.port));
            self.walls.reach == Reach::None || known.is_some_and(|it| !self.walls.allow(aim, &[it]))
        };
        match channels.iter().find(refused) {
            None => Ok(()),
            Some(channel) => Err(DeployError::Unreachable { address: channel.address.to_string() }),
        }
    }

    pub(crate) fn walls(&self) -> &Walls {
        &self.walls
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns how requests of a function leave, if it has places to send them to.
    fn way(&self, name: &Name, outbound: Outbound) -> Result<Option<Arc<Way>>, DeployError> {
        if outbound.is_empty() {
            return Ok(None);
        }
        if self.walls.reach == Reach::None {
            let must_be = "empty: `functions.outbound` of this node is `none`";
            return Err(DeployError::Setting { what: "outbound places", must_be });
        }
        let (walls, client) = (Arc::clone(&self.walls), self.client.clone());
        let secrets = Arc::clone(&self.secrets);
        Ok(Some(Arc::new(Way { function: name.to_string(), outbound, secrets, walls, client })))
    }

    /// Returns the component, and whether it was compiled before.
    async fn component(
        &self,
        id: ContentId,
        wasm: &Bytes,
    ) -> Result<(Component, bool), DeployError> {
        let Ok(_turn) = self.compiling.acquire().await else { return Err(DeployError::Stopping) };
        let (engine, cache) = (self.shared.engine.clone(), Arc::clone(&self.cache));
        let wasm = wasm.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            match cache.load(&engine, id) {
                Ok(Some(component)) => return Ok((component, true)),
                Ok(None) => {}
                Err(why) => CodeRefused { path: &cache.path(id), why: &why }.emit(),
            }
            let component = Component::from_binary(&engine, &wasm)
                .map_err(|err| DeployError::Refused { reason: format!("{err:#}") })?;
            if let Err(why) = cache.store(id, &component) {
                CodeNotKept { path: &cache.path(id), why: &why }.emit();
            }
            Ok((component, false))
        });
        compiled.await.unwrap_or(Err(DeployError::Stopping))
    }
}

impl Shared {
    /// Waits for a place among the running tasks, until the deadline at most.
    pub(crate) async fn admit(
        &self,
        deadline: Instant,
        limits: &Limits,
    ) -> Result<Place<'_>, CallError> {
        let late = CallError::Timeout { limit: limits.time };
        if limits.time.is_zero() {
            return Err(late);
        }
        let permit = match self.places.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = self.wait()?;
                match timeout_at(deadline, self.places.acquire()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(CallError::Stopping),
                    Err(_) => return Err(late),
                }
            }
        };
        Ok(Place { _permit: permit, _running: self.ticker.run() })
    }

    fn wait(&self) -> Result<Waiting<'_>, CallError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        if before >= self.most_waiting {
            return Err(CallError::Busy { running: self.most_running, waiting: before });
        }
        Ok(waiting)
    }
}

/// One task that waits for a place.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
