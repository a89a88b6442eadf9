//! gn_harvest from outside: a real server, the installed extension, a simulated GeoNature over HTTP, answers in SQL.
//! One file a behaviour; all share one cluster and each test has a database of its own.

mod bare_server;
mod cancel;
mod check_source;
mod clocks;
mod contract;
mod deletions;
mod equality;
mod faults;
mod harvest;
mod identity;
mod losses;
mod metadata;
mod moving_source;
mod people;
mod plan;
mod politeness;
mod readme;
mod redirects;
mod rejects;
mod resume;
mod roles;
mod secrets;
mod start;
mod stopping;
mod support;
mod surface;
mod target;
mod truth;
mod unchanged;
mod writers;
