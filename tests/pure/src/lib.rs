//! The modules of the extension that need no PostgreSQL, compiled without pgrx.
//! That they compile here proves that they do not import it.

/// The parts of alerts that touch nothing.
#[path = "../../../src/alert"]
pub mod alert {
    pub mod findings;
    pub mod judge;
    pub mod letter;
    pub mod payload;
    pub mod rule;
    pub mod text;
}
#[path = "../../../src/fetch.rs"]
pub mod fetch;
#[path = "../../../src/file/mod.rs"]
pub mod file;
#[path = "../../../src/geonature/mod.rs"]
pub mod geonature;
#[path = "../../../src/mapping.rs"]
pub mod mapping;
#[path = "../../../src/record/mod.rs"]
pub mod record;
#[path = "../../../src/schedule/mod.rs"]
pub mod schedule;
#[path = "../../../src/status_page/mod.rs"]
pub mod status_page;
#[path = "../../../src/plan/tally.rs"]
pub mod tally;
