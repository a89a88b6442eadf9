//! Alerts: rules that watch the sources, and channels that tell people.

// Without PostgreSQL: compiled by tests/pure as well.
pub mod rule;
pub mod text;
