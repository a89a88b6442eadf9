//! What tests, `make demo` and `make up` have in common: a private cluster with a GeoNature-shaped
//! target database and the extension, and a way to ask it in SQL.

mod cluster;
mod database;
mod published;

pub use cluster::{Cluster, Stop};
pub use database::{Database, Row, describe, rows};
pub use published::{ExportServer, python};
