//! The functions of the SQL surface that need Rust: thin, without logic. The others are in sql/*_api.sql.

mod alert;
mod retention;
mod run;
mod schedule;
mod source;
mod status_page;
