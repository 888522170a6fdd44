//! Values as columns hold them, and back.

use std::str::FromStr;

use rusqlite::Row;
use sedge_base::Timestamp;

use crate::fault::Fault;

/// The largest JSON text in any area, in bytes.
pub(crate) const MAX_JSON: usize = 1 << 20;

/// The longest name, key or kind, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// Returns a whole number as a column holds it; what does not fit is refused.
pub(crate) fn to_column(what: &'static str, number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::Value { what })
}

/// Reads a whole number that is never negative.
pub(crate) fn number(row: &Row<'_>, column: &str, what: &'static str) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| Fault::Value { what })
}

/// Reads a date.
pub(crate) fn date(row: &Row<'_>, column: &str) -> Result<Timestamp, Fault> {
    number(row, column, "date").map(Timestamp::from_millis)
}

/// Reads an id.
pub(crate) fn id<T: FromStr>(row: &Row<'_>, column: &str, what: &'static str) -> Result<T, Fault> {
    row.get::<_, String>(column)?.parse().map_err(|_| Fault::Value { what })
}

/// Runs a query and reads every row of its answer.
pub(crate) fn rows<T>(
    database: &rusqlite::Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = database.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// Returns the number of rows that a caller may ask for at once.
pub(crate) fn limit(asked: usize) -> i64 {
    i64::try_from(asked.min(10_000)).unwrap_or(10_000)
}
