//! What cargo knows about the dependencies.

use std::path::Path;
use std::process::Command;

use cargo_metadata::MetadataCommand;

/// One third-party package that is built here.
#[derive(Debug)]
pub(crate) struct Package {
    /// Name and version.
    pub(crate) name: String,
    /// The licence expression of its manifest.
    pub(crate) license: Option<String>,
}

/// Cargo could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CargoError {
    /// The compiler did not name this machine's target.
    #[error("`rustc -vV` names no host")]
    Host,
    /// `cargo metadata` failed.
    #[error("cargo metadata failed")]
    Metadata(#[from] cargo_metadata::Error),
}

/// Returns the packages that this machine's build needs, tests included, other than our own.
pub(crate) fn foreign_packages(root: &Path) -> Result<Vec<Package>, CargoError> {
    let version = Command::new("rustc").arg("-vV").current_dir(root).output();
    let version = version.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    let version = version.map_err(|_| CargoError::Host)?;
    let host = version.lines().find_map(|it| it.strip_prefix("host: "));
    let host = host.ok_or(CargoError::Host)?;
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .other_options(["--filter-platform".to_owned(), host.to_owned()])
        .exec()?;
    let foreign = metadata.packages.iter().filter(|it| it.source.is_some());
    let package = |it: &cargo_metadata::Package| Package {
        name: format!("{} {}", it.name, it.version),
        license: it.license.clone(),
    };
    Ok(foreign.map(package).collect())
}
