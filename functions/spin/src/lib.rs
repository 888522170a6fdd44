//! Counts who came by: the visits in a key-value store, the visitors in a database.

use anyhow::Result;
use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::key_value::Store;
use spin_sdk::sqlite::{Connection, Value};
use spin_sdk::{http_component, variables};

#[http_component]
fn handle(request: Request) -> Result<impl IntoResponse> {
    let path = request.header("spin-path-info").and_then(|it| it.as_str()).unwrap_or("/");
    let who = path.trim_start_matches('/');

    let store = Store::open_default()?;
    let before = store.get("visits")?.and_then(|it| String::from_utf8(it).ok()?.parse().ok());
    let visits = before.unwrap_or(0_u64) + 1;
    store.set("visits", visits.to_string().as_bytes())?;

    let database = Connection::open_default()?;
    database.execute("CREATE TABLE IF NOT EXISTS visitors (name TEXT UNIQUE)", &[])?;
    let insert = "INSERT OR IGNORE INTO visitors VALUES (?)";
    database.execute(insert, &[Value::Text(who.to_owned())])?;
    let found = database.execute("SELECT name FROM visitors ORDER BY name", &[])?;
    let known: Vec<&str> = found.rows().filter_map(|it| it.get("name")).collect();

    let greeting = variables::get("greeting")?;
    let body = format!("{greeting}, {who}: visit {visits}, known are {}", known.join(", "));
    Ok(Response::builder().status(200).header("content-type", "text/plain").body(body).build())
}
