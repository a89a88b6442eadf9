//! The modules under test, compiled as the extension compiles them.

#[path = "../../../src/mapping.rs"]
pub mod mapping;
#[path = "../../../src/record/mod.rs"]
pub mod record;
