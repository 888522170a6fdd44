//! A component that is called by messages: it keeps them all, in their order, and fails at one that says `fail`.

wit_bindgen::generate!({ path: "wit", world: "hear", generate_all });

use exports::fermyon::spin::inbound_redis::{Error, Guest, Payload};
use fermyon::spin2_0_0::key_value::Store;

struct Hear;

export!(Hear);

impl Guest for Hear {
    fn handle_message(message: Payload) -> Result<(), Error> {
        let store = Store::open("default").map_err(|_| Error::Error)?;
        if message == b"fail" {
            return Err(Error::Error);
        }
        let mut heard = store.get("heard").map_err(|_| Error::Error)?.unwrap_or_default();
        if !heard.is_empty() {
            heard.push(b',');
        }
        heard.extend_from_slice(&message);
        store.set("heard", &heard).map_err(|_| Error::Error)
    }
}
