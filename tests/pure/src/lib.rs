//! The modules of the extension that need no PostgreSQL, compiled without pgrx.
//! That they compile here proves that they do not import it.

#[path = "../../../src/fetch.rs"]
pub mod fetch;
#[path = "../../../src/geonature/mod.rs"]
pub mod geonature;
#[path = "../../../src/mapping.rs"]
pub mod mapping;
#[path = "../../../src/record/mod.rs"]
pub mod record;
#[path = "../../../src/schedule/mod.rs"]
pub mod schedule;
#[path = "../../../src/plan/tally.rs"]
pub mod tally;
