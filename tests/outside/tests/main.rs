//! gn_harvest from outside: a real server, the installed extension, a simulated GeoNature over HTTP, answers in SQL.
//! One file a behaviour; all share one cluster and each test has a database of its own.

mod cancel;
mod contract;
mod deletions;
mod equality;
mod harvest;
mod identity;
mod losses;
mod metadata;
mod rejects;
mod resume;
mod start;
mod support;
mod surface;
mod target;
mod truth;
mod unchanged;
