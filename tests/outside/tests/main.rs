//! gn_harvest from outside: a real server, the installed extension, a simulated GeoNature over HTTP, answers in SQL.
//! One file a behaviour; all share one cluster and each test has a database of its own.

mod contract;
mod deletions;
mod equality;
mod harvest;
mod losses;
mod rejects;
mod support;
mod surface;
mod target;
mod truth;
