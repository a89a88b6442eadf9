//! gn_harvest from outside: a real server, the installed extension, a simulated GeoNature over HTTP, answers in SQL.
//! One file a behaviour; all share one cluster and each test has a database of its own.

mod bare_server;
mod check_source;
mod contract;
mod deletions;
mod equality;
mod faults;
mod harvest;
mod identity;
mod losses;
mod metadata;
mod politeness;
mod redirects;
mod rejects;
mod secrets;
mod stopping;
mod support;
mod target;
mod truth;
mod unchanged;
