//! The default models, fetched by the real fetcher into a cache that test runs share.

use std::path::PathBuf;

use sedge_base::Cancel;
use sedge_gateway::{DEFAULT_CHAT, DEFAULT_EMBEDDING, Installed, Models, SourceSettings};

/// The folder that keeps model files between test runs.
fn cache() -> PathBuf {
    std::env::var_os("SEDGE_TEST_MODELS").map_or_else(
        || {
            let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
            home.join(".cache/sedge/models")
        },
        PathBuf::from,
    )
}

/// Brings a default model into the cache; stops with every source's reason when none has it.
#[track_caller]
fn ensure(id: &str) -> Installed {
    let models = Models::open(&cache(), SourceSettings::default()).unwrap();
    match models.ensure(id, &Cancel::new(), &mut |_| {}) {
        Ok(installed) => installed,
        Err(err) => panic!("{err}"),
    }
}

#[test]
fn the_default_models_can_be_had() {
    for id in [DEFAULT_CHAT, DEFAULT_EMBEDDING] {
        let installed = ensure(id);
        assert_eq!(std::fs::metadata(&installed.path).unwrap().len(), installed.size.as_bytes());
    }
}
