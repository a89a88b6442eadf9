//! Starting a worker.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::worker::{self, Task};
use crate::{postgres, run};

/// Starts a worker for a source and returns the number of its run; with `wait`, when it has ended.
#[pg_extern(strict)]
fn start_worker(source_id: i32, mode: &str, started_by: &str, wait: bool, allow_loss: bool) -> i64 {
    start(source_id, mode, started_by, wait, allow_loss).unwrap_or_else(|failure| failure.raise())
}

fn start(
    source_id: i32,
    mode: &str,
    started_by: &str,
    wait: bool,
    allow_loss: bool,
) -> Result<i64, Failure> {
    if postgres::snapshot_is_fixed() {
        return Err(Failure::new("25001", "a run can not be followed from this transaction")
            .detail("It is REPEATABLE READ or SERIALIZABLE: it would never see what the worker writes.")
            .hint("Call it in a READ COMMITTED transaction, or outside one."));
    }
    run::require_same_version()?;
    let ready = run::readiness(source_id)?;
    if ready
        .xmins
        .iter()
        .any(|xid| postgres::is_own_transaction(*xid))
    {
        return Err(Failure::new(
            "55000",
            format!(
                "source \"{}\" has changes that are not committed",
                ready.name
            ),
        )
        .detail("The worker is a session of its own and would not see them.")
        .hint("COMMIT first, then call it again."));
    }
    if mode != "check" {
        if !ready.enabled && mode != "drop" && !mode.starts_with("plan ") {
            return Err(
                Failure::new("55000", format!("source \"{}\" is paused", ready.name))
                    .detail(ready.paused_reason.unwrap_or_default())
                    .hint(format!(
                        "SELECT gn_harvest.resume_source('{}');",
                        ready.name.replace('\'', "''")
                    )),
            );
        }
        if ready.working {
            return Err(run::already_running(&ready.name));
        }
    }
    let run_id =
        Spi::get_one::<i64>("SELECT nextval('gn_harvest.run_id_seq')")?.unwrap_or_default();
    let task = Task {
        run_id,
        source_id,
        mode: mode.to_owned(),
        started_by: started_by.to_owned(),
        allow_loss,
        settled: None,
    };
    worker::run(&task, wait)?;
    if !run::exists(run_id)? {
        // Another session was faster by a moment, or the worker could not even connect.
        return Err(if run::readiness(source_id)?.working {
            run::already_running(&ready.name)
        } else {
            Failure::new(
                "58000",
                format!("the worker of run {run_id} ended before it could begin"),
            )
            .hint("The server's log says why.")
        });
    }
    Ok(run_id)
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.start_worker(integer, text, text, boolean, boolean) IS 'Starts a background worker for a source and returns the number of its run.';",
    name = "run_functions",
    requires = [start_worker]
);
