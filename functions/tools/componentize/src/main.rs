//! Makes a component of a core module: `componentize CORE.wasm OUT.wasm [WIT_FOLDER WORLD]`.
//!
//! With a WIT folder the world is embedded first, which compilers without bindings leave out.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (from, to, world) = match args.as_slice() {
        [from, to] => (from, to, None),
        [from, to, folder, world] => (from, to, Some((folder, world))),
        _ => return Err("usage: componentize CORE.wasm OUT.wasm [WIT_FOLDER WORLD]".into()),
    };
    let mut module = fs::read(from)?;
    if let Some((folder, world)) = world {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(Path::new(folder))?;
        let world = resolve.select_world(&[package], Some(world))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    let adapter = (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    // It is left out of what asks for nothing of the older WASI.
    let encoder = ComponentEncoder::default().validate(true).module(&module)?;
    let component = encoder.adapter(adapter.0, adapter.1)?.encode()?;
    fs::write(to, component)?;
    Ok(())
}
