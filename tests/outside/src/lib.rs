//! What tests, `make demo`, `make up` and `make bench` have in common: a private cluster with a GeoNature-shaped
//! target database and the extension, and a way to ask it in SQL.

mod cluster;
mod database;
pub mod gn2pg;
mod published;

pub use cluster::{Cluster, Stop};
pub use database::{Database, Row, describe, rows};
pub use published::{ExportServer, python};

/// A path that is given from the directory of this crate.
fn directory(relative: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}
