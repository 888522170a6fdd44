//! `fermyon:spin/variables@2.0.0` and `wasi:config/store`: the variables that an application gives to a
//! component.

use wasmtime::component::{Linker, Val};

use super::wasi::Wasi;

/// The interface of applications.
pub(super) const SPIN: &str = "fermyon:spin/variables@2.0.0";
/// The same in the words of a proposal for WASI.
pub(super) const CONFIG: &str = "wasi:config/store@0.2.0-draft-2024-09-27";

/// Links both.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    linker.instance(SPIN)?.func_new("get", |store, _, params, results| {
        let name = text(params)?;
        let found = match store.data().belongings.share.variables.get(name) {
            Some(value) => Ok(string(value)),
            None if is_name(name) => Err(failure("undefined", name)),
            None => Err(failure("invalid-name", name)),
        };
        answer(results, Val::Result(found.map(Some).map_err(Some)))
    })?;
    let mut config = linker.instance(CONFIG)?;
    config.func_new("get", |store, _, params, results| {
        let found = store.data().belongings.share.variables.get(text(params)?).map(|it| string(it));
        answer(results, Val::Result(Ok(Some(Box::new(Val::Option(found))))))
    })?;
    config.func_new("get-all", |store, _, _, results| {
        let pair =
            |(key, value): (&String, &String)| Val::Tuple(vec![*string(key), *string(value)]);
        let all = store.data().belongings.share.variables.iter().map(pair).collect();
        answer(results, Val::Result(Ok(Some(Box::new(Val::List(all))))))
    })
}

/// Returns the one text that a guest has handed over.
fn text(params: &[Val]) -> wasmtime::Result<&str> {
    match params {
        [Val::String(text)] => Ok(text),
        _ => Err(wasmtime::Error::msg("a text is wanted")),
    }
}

fn answer(results: &mut [Val], value: Val) -> wasmtime::Result<()> {
    match results {
        [result] => *result = value,
        _ => return Err(wasmtime::Error::msg("one answer is wanted")),
    }
    Ok(())
}

fn string(text: &str) -> Box<Val> {
    Box::new(Val::String(text.to_owned()))
}

fn failure(case: &str, name: &str) -> Box<Val> {
    Box::new(Val::Variant(case.to_owned(), Some(string(name))))
}

/// Returns whether a text can be the name of a variable.
fn is_name(text: &str) -> bool {
    let sound = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    text.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && text.bytes().all(sound)
}
