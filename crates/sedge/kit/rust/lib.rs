//! A function over bytes: a name in, a greeting out.

wit_bindgen::generate!({ path: "wit", world: "function" });

struct Greeter;

export!(Greeter);

impl Guest for Greeter {
    /// Answers one task; every task has a fresh instance.
    fn process(input: Vec<u8>) -> Result<Vec<u8>, String> {
        let name = String::from_utf8(input).map_err(|_| "the input is not text".to_string())?;
        match name.trim() {
            "" => Err("say a name".to_string()),
            name => Ok(format!("Hello, {name}!").into_bytes()),
        }
    }
}
