//! `wasi:keyvalue@0.2.0-draft2`: the same keys and values as [`super::key_value`], in the words of a proposal.

use sedge_store::{ChangeError, Fault, KeyValues};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::key_value::{behind, close, get, open};
use super::wasi::Wasi;

/// Buckets and their keys.
pub(super) const STORE: &str = "wasi:keyvalue/store@0.2.0-draft2";
/// What happens in one step or not at all.
pub(super) const ATOMICS: &str = "wasi:keyvalue/atomics@0.2.0-draft2";
/// Several keys at once.
pub(super) const BATCH: &str = "wasi:keyvalue/batch@0.2.0-draft2";

/// The keys of one page.
const PAGE: usize = 1000;
/// How often an increment that others disturb is tried again.
const MOST_TRIES: usize = 100;

/// What guests are told when something does not work.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.to_string())
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        Self::Other(error.to_string())
    }
}

/// One page of keys, and where the next one begins.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<String>,
}

/// A key, and the value that was seen.
#[derive(Debug, Clone)]
struct Seen {
    of: KeyValues,
    key: String,
    value: Option<Vec<u8>>,
}

/// Why a swap was not made.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    StoreError(Error),
    #[component(name = "cas-failed")]
    CasFailed(Resource<Seen>),
}

/// Links all three.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    link_store(linker)?;
    link_atomics(linker)?;
    link_batch(linker)
}

fn link_store(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    let mut buckets = linker.instance(STORE)?;
    buckets.resource("bucket", ResourceType::host::<KeyValues>(), close)?;
    buckets.func_wrap("open", |mut store: StoreContextMut<'_, Wasi>, (label,): (String,)| {
        let opened = match open(store.data(), &label) {
            Some(opened) => Ok(store.data_mut().table.push(opened)?),
            None => Err(Error::AccessDenied),
        };
        Ok((opened,))
    })?;
    buckets.func_wrap_async(
        "[method]bucket.get",
        |store, (this, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((get(&of, key).await.map_err(Error::from),))
            })
        },
    )?;
    buckets.func_wrap_async(
        "[method]bucket.set",
        |store, (this, key, value): (Resource<KeyValues>, String, Vec<u8>)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((of.change(vec![(key, Some(value))]).await.map_err(Error::from),))
            })
        },
    )?;
    buckets.func_wrap_async(
        "[method]bucket.delete",
        |store, (this, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((of.change(vec![(key, None)]).await.map_err(Error::from),))
            })
        },
    )?;
    buckets.func_wrap_async(
        "[method]bucket.exists",
        |store, (this, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((get(&of, key).await.map(|it| it.is_some()).map_err(Error::from),))
            })
        },
    )?;
    buckets.func_wrap_async(
        "[method]bucket.list-keys",
        |store, (this, cursor): (Resource<KeyValues>, Option<String>)| {
            Box::new(async move {
                let keys = behind(&store, &this)?.keys(cursor, PAGE).await;
                let page = keys.map(|keys| {
                    let cursor = keys.last().filter(|_| keys.len() == PAGE).cloned();
                    KeyResponse { keys, cursor }
                });
                Ok((page.map_err(Error::from),))
            })
        },
    )
}

fn link_atomics(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    let mut atomics = linker.instance(ATOMICS)?;
    atomics.resource("cas", ResourceType::host::<Seen>(), |mut store, handle| {
        drop(store.data_mut().table.delete(Resource::<Seen>::new_own(handle))?);
        Ok(())
    })?;
    atomics.func_wrap_async(
        "[static]cas.new",
        |mut store, (bucket, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &bucket)?;
                Ok((see(&mut store, of, key).await?,))
            })
        },
    )?;
    atomics.func_wrap(
        "[method]cas.current",
        |store: StoreContextMut<'_, Wasi>, (this,): (Resource<Seen>,)| {
            let value = store.data().table.get(&this)?.value.clone();
            Ok((Ok::<_, Error>(value),))
        },
    )?;
    atomics.func_wrap_async("swap", |mut store, (cas, to): (Resource<Seen>, Vec<u8>)| {
        Box::new(async move {
            let Seen { of, key, value } = store.data_mut().table.delete(cas)?;
            let swapped = match of.swap(key.clone(), value, to).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(match see(&mut store, of, key).await? {
                    Ok(newer) => CasError::CasFailed(newer),
                    Err(error) => CasError::StoreError(error),
                }),
                Err(error) => Err(CasError::StoreError(error.into())),
            };
            Ok((swapped,))
        })
    })?;
    atomics.func_wrap_async(
        "increment",
        |store, (bucket, key, delta): (Resource<KeyValues>, String, i64)| {
            Box::new(async move {
                let of = behind(&store, &bucket)?;
                Ok((increment(&of, &key, delta).await,))
            })
        },
    )
}

/// Looks at a key, for a swap later.
async fn see(
    store: &mut StoreContextMut<'_, Wasi>,
    of: KeyValues,
    key: String,
) -> wasmtime::Result<Result<Resource<Seen>, Error>> {
    let value = match get(&of, key.clone()).await {
        Ok(value) => value,
        Err(fault) => return Ok(Err(fault.into())),
    };
    Ok(Ok(store.data_mut().table.push(Seen { of, key, value })?))
}

/// Adds to a number, which is kept as text.
async fn increment(of: &KeyValues, key: &str, delta: i64) -> Result<i64, Error> {
    for _ in 0..MOST_TRIES {
        let before = get(of, key.to_owned()).await?;
        let number = match &before {
            None => Some(0),
            Some(bytes) => std::str::from_utf8(bytes).ok().and_then(|it| it.parse::<i64>().ok()),
        };
        let Some(after) = number.and_then(|it| it.checked_add(delta)) else {
            return Err(Error::Other("the value is no number, or too large a one".to_owned()));
        };
        if of.swap(key.to_owned(), before, after.to_string().into_bytes()).await? {
            return Ok(after);
        }
    }
    Err(Error::Other("others changed the value all the time".to_owned()))
}

fn link_batch(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    let mut batch = linker.instance(BATCH)?;
    batch.func_wrap_async(
        "get-many",
        |store, (bucket, keys): (Resource<KeyValues>, Vec<String>)| {
            Box::new(async move {
                let values = behind(&store, &bucket)?.get(keys.clone()).await;
                let pairs = values.map(|it| keys.into_iter().zip(it).collect::<Vec<_>>());
                Ok((pairs.map_err(Error::from),))
            })
        },
    )?;
    batch.func_wrap_async(
        "set-many",
        |store, (bucket, pairs): (Resource<KeyValues>, Vec<(String, Vec<u8>)>)| {
            Box::new(async move {
                let changes = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
                Ok((behind(&store, &bucket)?.change(changes).await.map_err(Error::from),))
            })
        },
    )?;
    batch.func_wrap_async(
        "delete-many",
        |store, (bucket, keys): (Resource<KeyValues>, Vec<String>)| {
            Box::new(async move {
                let changes = keys.into_iter().map(|key| (key, None)).collect();
                Ok((behind(&store, &bucket)?.change(changes).await.map_err(Error::from),))
            })
        },
    )
}
