//! What is deployed here: a name, the content behind it, and its options.

use rusqlite::{Connection, Row, params};
use sedge_base::{ContentId, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// One deployed function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The name that callers use; up to 256 bytes.
    pub name: String,
    /// The component.
    pub content: ContentId,
    /// How it runs, as JSON; up to 1 MiB.
    pub options: String,
    /// When it was deployed.
    pub deployed_at: Timestamp,
}

/// What is deployed here.
#[derive(Debug, Clone, Copy)]
pub struct Deployments<'a>(pub(crate) &'a Store);

impl Deployments<'_> {
    /// Stores a deployment; one of the same name is replaced.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was stored then.
    pub async fn put(&self, deployment: Deployment) -> Result<(), Fault> {
        Fault::check_len("the name", deployment.name.len(), row::MAX_NAME)?;
        Fault::check_len("the options", deployment.options.len(), row::MAX_JSON)?;
        let work = move |database: &Connection| {
            let Deployment { name, content, options, deployed_at } = deployment;
            let at = row::to_column("date", deployed_at.as_millis())?;
            let sql = "INSERT OR REPLACE INTO deployments VALUES (?1, ?2, ?3, ?4)";
            database.execute(sql, params![name, content.to_string(), options, at])?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns the deployment of that name, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, name: &str) -> Result<Option<Deployment>, Fault> {
        let name = name.to_owned();
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM deployments WHERE name = ?1";
            Ok(row::rows(database, sql, [name], read)?.into_iter().next())
        };
        self.0.read(work).await
    }

    /// Returns every deployment by name, 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<Deployment>, Fault> {
        let sql = "SELECT * FROM deployments ORDER BY name LIMIT 10000";
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }

    /// Forgets the deployment of that name; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was removed then.
    pub async fn remove(&self, name: &str) -> Result<bool, Fault> {
        let name = name.to_owned();
        let work = move |database: &Connection| {
            Ok(database.execute("DELETE FROM deployments WHERE name = ?1", [name])? == 1)
        };
        self.0.write(work).await
    }
}

fn read(row: &Row<'_>) -> Result<Deployment, Fault> {
    Ok(Deployment {
        name: row.get("name")?,
        content: row::id(row, "content", "content id")?,
        options: row.get("options")?,
        deployed_at: row::date(row, "deployed_ms")?,
    })
}
