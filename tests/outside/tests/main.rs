//! gn_harvest from outside: a real server, the installed extension, a simulated GeoNature over HTTP, answers in SQL.
//! One file a behaviour; all share one cluster and each test has a database of its own.

mod cancel;
mod clocks;
mod harvest;
mod moving_source;
mod resume;
mod roles;
mod start;
mod support;
