//! `fermyon:spin/sqlite@2.0.0`: a database for each label of an application.

use sedge_store::{Database, DatabaseError, Table, Value as Kept};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::wasi::Wasi;
use crate::guard::Guarded as _;

/// The interface's name.
pub(super) const SPIN: &str = "fermyon:spin/sqlite@2.0.0";

/// The most connections of one guest.
const MOST_OPEN: usize = 16;

/// What guests are told when something does not work.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-database")]
    NoSuchDatabase,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "invalid-connection")]
    InvalidConnection,
    #[component(name = "database-full")]
    DatabaseFull,
    #[component(name = "io")]
    Io(String),
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full => Self::DatabaseFull,
            other => Self::Io(other.to_string()),
        }
    }
}

/// One value, as guests see it.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Value {
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "real")]
    Real(f64),
    #[component(name = "text")]
    Text(String),
    #[component(name = "blob")]
    Blob(Vec<u8>),
    #[component(name = "null")]
    Null,
}

impl From<Kept> for Value {
    fn from(value: Kept) -> Self {
        match value {
            Kept::Null => Self::Null,
            Kept::Integer(it) => Self::Integer(it),
            Kept::Real(it) => Self::Real(it),
            Kept::Text(it) => Self::Text(it),
            Kept::Blob(it) => Self::Blob(it),
        }
    }
}

impl From<Value> for Kept {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(it) => Self::Integer(it),
            Value::Real(it) => Self::Real(it),
            Value::Text(it) => Self::Text(it),
            Value::Blob(it) => Self::Blob(it),
        }
    }
}

/// One row.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct RowResult {
    values: Vec<Value>,
}

/// What a statement answers.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct QueryResult {
    columns: Vec<String>,
    rows: Vec<RowResult>,
}

impl From<Table> for QueryResult {
    fn from(Table { columns, rows }: Table) -> Self {
        let row = |it: Vec<Kept>| RowResult { values: it.into_iter().map(Value::from).collect() };
        Self { columns, rows: rows.into_iter().map(row).collect() }
    }
}

/// Opens the database of a label, if the function may.
async fn open(
    store: &mut StoreContextMut<'_, Wasi>,
    label: &str,
) -> wasmtime::Result<Result<Resource<Database>, Error>> {
    let wasi = store.data_mut();
    let share = &wasi.belongings.share;
    // Whether there is a label that was not given is nobody's business.
    let Some(kept) = wasi.belongings.store(&share.sqlite_databases, label) else {
        return Ok(Err(Error::AccessDenied));
    };
    if wasi.databases == MOST_OPEN {
        return Ok(Err(Error::Io(format!("{MOST_OPEN} connections are open already"))));
    }
    match kept.database(&share.app, label).await {
        Ok(database) => {
            wasi.databases += 1;
            Ok(Ok(wasi.table.push(database)?))
        }
        Err(error) => Ok(Err(error.into())),
    }
}

/// Links it.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    let mut spin = linker.instance(SPIN)?;
    spin.resource("connection", ResourceType::host::<Database>(), |mut store, handle| {
        let wasi = store.data_mut();
        drop(wasi.table.delete(Resource::<Database>::new_own(handle))?);
        wasi.databases = wasi.databases.saturating_sub(1);
        Ok(())
    })?;
    spin.func_wrap_async("[static]connection.open", |mut store, (label,): (String,)| {
        Box::new(async move { Ok((open(&mut store, &label).await?,)) })
    })?;
    spin.func_wrap_async(
        "[method]connection.execute",
        |mut store, (this, statement, values): (Resource<Database>, String, Vec<Value>)| {
            Box::new(async move {
                let wasi = store.data_mut();
                let until = wasi.guard().deadline();
                let database = wasi.table.get(&this)?.clone();
                let values = values.into_iter().map(Kept::from).collect();
                let answered = database.execute(statement, values, until).await;
                Ok((answered.map(QueryResult::from).map_err(Error::from),))
            })
        },
    )
}
