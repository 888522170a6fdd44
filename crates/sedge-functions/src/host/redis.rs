//! `fermyon:spin/redis@2.0.0`: servers of Redis that the deployment names and the node lets functions reach.

use std::sync::Arc;

use tokio::sync::Mutex;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use super::wasi::Wasi;
use crate::redis::{Address, Link, RedisError, Reply};

/// The interface's name.
pub(super) const SPIN: &str = "fermyon:spin/redis@2.0.0";

/// The most connections of one guest.
const MOST_OPEN: usize = 8;
/// The longest answer, in bytes of our memory.
const MOST_ANSWER: u64 = 8 << 20;

/// What guests are told when something does not work.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "invalid-address")]
    InvalidAddress,
    #[component(name = "too-many-connections")]
    TooManyConnections,
    #[component(name = "type-error")]
    WrongType,
    #[component(name = "other")]
    Other(String),
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        match error {
            RedisError::Prohibited { .. } => Self::InvalidAddress,
            other => Self::Other(other.to_string()),
        }
    }
}

/// One argument of a command.
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
enum RedisParameter {
    #[component(name = "int64")]
    Number(i64),
    #[component(name = "binary")]
    Bytes(Vec<u8>),
}

/// One part of an answer.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
enum RedisResult {
    #[component(name = "nil")]
    Nil,
    #[component(name = "status")]
    Status(String),
    #[component(name = "int64")]
    Number(i64),
    #[component(name = "binary")]
    Bytes(Vec<u8>),
}

/// A connection behind a guest's handle.
#[derive(Debug, Clone)]
struct Server(Arc<Mutex<Link>>);

impl Server {
    async fn ask(&self, parts: &[&[u8]]) -> Result<Reply, Error> {
        match self.0.lock().await.ask(parts, MOST_ANSWER).await? {
            Reply::Error(words) if words.starts_with("WRONGTYPE") => Err(Error::WrongType),
            Reply::Error(words) => Err(Error::Other(words)),
            other => Ok(other),
        }
    }

    /// Asks for what takes a key and several values.
    async fn ask_many(&self, first: &[&str], values: &[String]) -> Result<u32, Error> {
        let first = first.iter().map(|it| it.as_bytes());
        let parts: Vec<&[u8]> = first.chain(values.iter().map(String::as_bytes)).collect();
        match self.ask(&parts).await? {
            Reply::Number(count) => u32::try_from(count).map_err(|_| Error::WrongType),
            _ => Err(Error::WrongType),
        }
    }

    async fn execute(
        &self,
        command: &str,
        arguments: &[RedisParameter],
    ) -> Result<Vec<RedisResult>, Error> {
        let arguments = arguments.iter().map(|it| match it {
            RedisParameter::Number(number) => number.to_string().into_bytes(),
            RedisParameter::Bytes(bytes) => bytes.clone(),
        });
        let parts: Vec<Vec<u8>> =
            std::iter::once(command.as_bytes().to_vec()).chain(arguments).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut results = Vec::new();
        flatten(self.ask(&parts).await?, &mut results)?;
        Ok(results)
    }
}

/// Puts an answer into a list, without the lists in it.
fn flatten(reply: Reply, results: &mut Vec<RedisResult>) -> Result<(), Error> {
    results.push(match reply {
        Reply::Nil => RedisResult::Nil,
        Reply::Status(word) => RedisResult::Status(word),
        Reply::Number(number) => RedisResult::Number(number),
        Reply::Bytes(bytes) => RedisResult::Bytes(bytes),
        Reply::Error(words) => return Err(Error::Other(words)),
        Reply::List(items) => return items.into_iter().try_for_each(|it| flatten(it, results)),
    });
    Ok(())
}

/// Connects to a server, if the function may.
async fn open(
    store: &mut StoreContextMut<'_, Wasi>,
    address: &str,
) -> wasmtime::Result<Result<Resource<Server>, Error>> {
    let wasi = store.data_mut();
    let address = address.parse::<Address>().ok();
    let way = address.as_ref().and_then(|it| wasi.gate.way_to(it.aim()));
    let Some((address, way)) = address.zip(way) else { return Ok(Err(Error::InvalidAddress)) };
    if wasi.servers == MOST_OPEN {
        return Ok(Err(Error::TooManyConnections));
    }
    match Link::open(&address, &way.walls, &way.client).await {
        Ok(link) => {
            wasi.servers += 1;
            Ok(Ok(wasi.table.push(Server(Arc::new(Mutex::new(link))))?))
        }
        Err(error) => Ok(Err(error.into())),
    }
}

/// Returns the connection behind a guest's handle.
fn behind(
    store: &StoreContextMut<'_, Wasi>,
    handle: &Resource<Server>,
) -> wasmtime::Result<Server> {
    Ok(store.data().table.get(handle)?.clone())
}

/// Links it.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    let mut spin = linker.instance(SPIN)?;
    spin.resource("connection", ResourceType::host::<Server>(), |mut store, handle| {
        let wasi = store.data_mut();
        drop(wasi.table.delete(Resource::<Server>::new_own(handle))?);
        wasi.servers = wasi.servers.saturating_sub(1);
        Ok(())
    })?;
    spin.func_wrap_async("[static]connection.open", |mut store, (address,): (String,)| {
        Box::new(async move { Ok((open(&mut store, &address).await?,)) })
    })?;
    spin.func_wrap_async(
        "[method]connection.publish",
        |store, (this, channel, payload): (Resource<Server>, String, Vec<u8>)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                let told = server.ask(&[b"PUBLISH", channel.as_bytes(), &payload]).await;
                Ok((told.map(drop),))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.get",
        |store, (this, key): (Resource<Server>, String)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                let found = server.ask(&[b"GET", key.as_bytes()]).await.and_then(|it| match it {
                    Reply::Nil => Ok(None),
                    Reply::Bytes(bytes) => Ok(Some(bytes)),
                    _ => Err(Error::WrongType),
                });
                Ok((found,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.set",
        |store, (this, key, value): (Resource<Server>, String, Vec<u8>)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                let told = server.ask(&[b"SET", key.as_bytes(), &value]).await;
                Ok((told.map(drop),))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.execute",
        |store, (this, command, arguments): (Resource<Server>, String, Vec<RedisParameter>)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                Ok((server.execute(&command, &arguments).await,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.incr",
        |store, (this, key): (Resource<Server>, String)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                let told = server.ask(&[b"INCR", key.as_bytes()]).await.and_then(|it| match it {
                    Reply::Number(number) => Ok(number),
                    _ => Err(Error::WrongType),
                });
                Ok((told,))
            })
        },
    )?;
    link_sets(&mut spin)
}

/// Links what takes or gives several values.
fn link_sets(spin: &mut LinkerInstance<'_, Wasi>) -> wasmtime::Result<()> {
    spin.func_wrap_async(
        "[method]connection.del",
        |store, (this, keys): (Resource<Server>, Vec<String>)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                Ok((server.ask_many(&["DEL"], &keys).await,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.sadd",
        |store, (this, key, values): (Resource<Server>, String, Vec<String>)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                Ok((server.ask_many(&["SADD", &key], &values).await,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.srem",
        |store, (this, key, values): (Resource<Server>, String, Vec<String>)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                Ok((server.ask_many(&["SREM", &key], &values).await,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]connection.smembers",
        |store, (this, key): (Resource<Server>, String)| {
            Box::new(async move {
                let server = behind(&store, &this)?;
                let members = server.ask(&[b"SMEMBERS", key.as_bytes()]).await;
                Ok((members.and_then(texts),))
            })
        },
    )
}

/// Returns the texts in a list of them.
fn texts(reply: Reply) -> Result<Vec<String>, Error> {
    let Reply::List(items) = reply else { return Err(Error::WrongType) };
    let text = |it: Reply| match it {
        Reply::Bytes(bytes) => String::from_utf8(bytes).map_err(|_| Error::WrongType),
        _ => Err(Error::WrongType),
    };
    items.into_iter().map(text).collect()
}
