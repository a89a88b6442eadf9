//! Forgetting by hand what is too old.

use pgrx::prelude::*;

use crate::retention;

/// Removes all that is older than the settings of retention say.
#[pg_extern(requires = ["retention"])]
fn prune_history()
-> TableIterator<'static, (name!(runs, i64), name!(alerts, i64), name!(rejected, i64))> {
    let removed = retention::prune().unwrap_or_else(|failure| failure.raise());
    TableIterator::once((removed.runs, removed.alerts, removed.rejected))
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.prune_history() IS 'Removes now what is older than gn_harvest.run_retention, alert_retention and rejected_retention say; returns how many runs, alerts and discarded records. For superusers; the scheduler does the same by itself, in small steps.';",
    name = "retention_functions",
    requires = [prune_history]
);
