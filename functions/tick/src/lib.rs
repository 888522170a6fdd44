//! A component that is called at times: it keeps the time and how often that was, and fails at the third.

wit_bindgen::generate!({ path: "wit", world: "tick", generate_all });

use fermyon::spin::key_value::Store;

struct Tick;

export!(Tick);

impl Guest for Tick {
    fn handle_cron_event(metadata: Metadata) -> Result<(), Error> {
        let other = |error| Error::Other(format!("{error:?}"));
        let store = Store::open("default").map_err(other)?;
        let before = store.get("ticks").map_err(other)?;
        let before = before.and_then(|it| String::from_utf8(it).ok()?.parse::<u64>().ok());
        let ticks = before.unwrap_or(0) + 1;
        store.set("time", metadata.timestamp.to_string().as_bytes()).map_err(other)?;
        store.set("ticks", ticks.to_string().as_bytes()).map_err(other)?;
        if ticks == 3 { Err(Error::Other("the third".to_owned())) } else { Ok(()) }
    }
}
