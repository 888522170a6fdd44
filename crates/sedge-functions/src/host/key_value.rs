//! `fermyon:spin/key-value@2.0.0`: keys with values of an application, on disk before they are acknowledged.

use sedge_store::{Change, ChangeError, Fault, KeyValues};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::wasi::Wasi;

/// The interface's name.
pub(super) const SPIN: &str = "fermyon:spin/key-value@2.0.0";

/// The most keys that are told at once.
const MOST_KEYS: usize = 10_000;

/// What guests are told when something does not work.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "store-table-full")]
    StoreTableFull,
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
        match error {
            ChangeError::Full => Self::StoreTableFull,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Returns the store of a label, if the function may open it.
pub(super) fn open(wasi: &Wasi, label: &str) -> Option<KeyValues> {
    let belongings = &wasi.belongings;
    let store = belongings.store(&belongings.share.key_value_stores, label)?;
    Some(store.key_values(&belongings.share.app, label))
}

/// Returns the store behind a guest's handle.
pub(super) fn behind(
    store: &StoreContextMut<'_, Wasi>,
    handle: &Resource<KeyValues>,
) -> wasmtime::Result<KeyValues> {
    Ok(store.data().table.get(handle)?.clone())
}

/// Forgets a guest's handle.
pub(super) fn close(mut store: StoreContextMut<'_, Wasi>, handle: u32) -> wasmtime::Result<()> {
    drop(store.data_mut().table.delete(Resource::<KeyValues>::new_own(handle))?);
    Ok(())
}

/// Returns the value of one key.
pub(super) async fn get(of: &KeyValues, key: String) -> Result<Option<Vec<u8>>, Fault> {
    Ok(of.get(vec![key]).await?.pop().flatten())
}

/// Makes one change.
async fn change(of: &KeyValues, change: Change) -> Result<(), Error> {
    of.change(vec![change]).await.map_err(Error::from)
}

/// Links it.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    let mut spin = linker.instance(SPIN)?;
    spin.resource("store", ResourceType::host::<KeyValues>(), close)?;
    spin.func_wrap(
        "[static]store.open",
        |mut store: StoreContextMut<'_, Wasi>, (label,): (String,)| {
            // Whether there is a label that was not given is nobody's business.
            let opened = match open(store.data(), &label) {
                Some(opened) => Ok(store.data_mut().table.push(opened)?),
                None => Err(Error::AccessDenied),
            };
            Ok((opened,))
        },
    )?;
    spin.func_wrap_async(
        "[method]store.get",
        |store, (this, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((get(&of, key).await.map_err(Error::from),))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]store.set",
        |store, (this, key, value): (Resource<KeyValues>, String, Vec<u8>)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((change(&of, (key, Some(value))).await,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]store.delete",
        |store, (this, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((change(&of, (key, None)).await,))
            })
        },
    )?;
    spin.func_wrap_async(
        "[method]store.exists",
        |store, (this, key): (Resource<KeyValues>, String)| {
            Box::new(async move {
                let of = behind(&store, &this)?;
                Ok((get(&of, key).await.map(|it| it.is_some()).map_err(Error::from),))
            })
        },
    )?;
    spin.func_wrap_async("[method]store.get-keys", |store, (this,): (Resource<KeyValues>,)| {
        Box::new(async move {
            let of = behind(&store, &this)?;
            Ok((of.keys(None, MOST_KEYS).await.map_err(Error::from),))
        })
    })
}
