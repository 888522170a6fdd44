//! Makes a component of a core module: the module in, the component out.
//!
//! Compilers with bindings leave a section in the module that says which world it is for. A module without one is taken
//! for the world `function`, whose exports a compiler without bindings can make by hand.

use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

wit_bindgen::generate!({ path: "../../crates/sedge-functions/wit", world: "function" });

/// The world of a module that names none.
const WORLD: &str = include_str!("../../../crates/sedge-functions/wit/function.wit");

/// How the name of a section begins that tells a module's world.
const SECTION: &str = "component-type";

/// What a module for the world `function` must export.
const EXPORTS: [(&str, ExternalKind, &str); 3] = [
    ("process", ExternalKind::Func, "function"),
    ("cabi_realloc", ExternalKind::Func, "function"),
    ("memory", ExternalKind::Memory, "memory"),
];

struct Component;

export!(Component);

impl Guest for Component {
    fn process(mut module: Vec<u8>) -> Result<Vec<u8>, String> {
        let seen = Seen::of(&module).map_err(|err| format!("the module is damaged: {err}"))?;
        if let Some(import) = seen.old_import {
            return Err(format!(
                "the module imports `{import}`, an interface from before components; build it for \
                 wasm32-wasip2, or without a C library for wasm32-unknown-unknown"
            ));
        }
        if !seen.has_world {
            seen.check_exports()?;
            embed(&mut module).map_err(|err| format!("{err:#}"))?;
        }
        let made = ComponentEncoder::default().validate(true).module(&module);
        made.and_then(|mut it| it.encode()).map_err(|err| format!("{err:#}"))
    }
}

/// What a module shows of itself.
#[derive(Default)]
struct Seen {
    has_world: bool,
    exports: Vec<(String, ExternalKind)>,
    imports: Vec<String>,
    old_import: Option<String>,
}

impl Seen {
    fn of(module: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut seen = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::CustomSection(section) => {
                    seen.has_world |= section.name().starts_with(SECTION);
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        seen.exports.push((export.name.to_owned(), export.kind));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        let name = format!("{}.{}", import.module, import.name);
                        if import.module.starts_with("wasi_") && seen.old_import.is_none() {
                            seen.old_import = Some(name.clone());
                        }
                        seen.imports.push(name);
                    }
                }
                _ => {}
            }
        }
        Ok(seen)
    }

    /// Says what a module for the world `function` lacks.
    fn check_exports(&self) -> Result<(), String> {
        let has = |(name, kind, _): &&(&str, ExternalKind, &str)| {
            !self.exports.iter().any(|it| it.0 == *name && it.1 == *kind)
        };
        let missing: Vec<_> = EXPORTS.iter().filter(has).collect();
        if missing.is_empty() && self.imports.is_empty() {
            return Ok(());
        }
        let mut lacks: Vec<_> =
            missing.iter().map(|(name, _, kind)| format!("the {kind} `{name}` is not exported")).collect();
        lacks.extend(self.imports.first().map(|it| format!("`{it}` is imported, which nobody gives")));
        Err(format!("it has no section `{SECTION}`, and {}", lacks.join(", ")))
    }
}

/// Puts the section into the module that says it is for the world `function`.
fn embed(module: &mut Vec<u8>) -> Result<(), Box<dyn core::error::Error>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("function.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("function"))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)?;
    Ok(())
}
