//! Where this database is at home. A copy of it (a dump restored, a clone, copied files) runs nothing by itself until
//! someone says that it may; a standby that is promoted goes on, because it takes the place of what it followed.

use pgrx::JsonB;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Failure;
use crate::postgres;

/// Moves in here, when this server was a standby and has been promoted (same system, same database, other files), and
/// out, when it has been recovered from an archive into the files of the original.
pub fn settle() -> Result<(), Failure> {
    if postgres::began_as_standby() {
        postgres::transaction(follow_promotion)
    } else if postgres::began_by_recovery() {
        postgres::transaction(leave_after_recovery)
    } else {
        Ok(())
    }
}

fn follow_promotion() -> Result<(), Failure> {
    let here = || JsonB(postgres::place());
    let moved = found(
        "SELECT FROM gn_harvest.home h
         WHERE h.place <> $1 AND h.place -> 'system' = $1 -> 'system' AND h.place -> 'database' = $1 -> 'database'
           AND NOT h.place ? 'recovered'",
        &[here().into()],
    )?;
    if moved {
        Spi::run_with_args(
            "UPDATE gn_harvest.home SET place = $1, settled_at = now(), settled_by = 'promotion'",
            &[here().into()],
        )?;
        log!("gn_harvest: this server has been promoted; schedules go on here");
    }
    Ok(())
}

/// gn_harvest.is_at_home() knows it by itself for as long as the server runs; this is for afterwards.
fn leave_after_recovery() -> Result<(), Failure> {
    let stayed = found(
        "SELECT FROM gn_harvest.home h WHERE h.settled_at < pg_postmaster_start_time() AND NOT h.place ? 'recovered'",
        &[],
    )?;
    if stayed {
        Spi::run("UPDATE gn_harvest.home SET place = place || '{\"recovered\": true}'")?;
    }
    Ok(())
}

fn found(query: &str, arguments: &[DatumWithOid]) -> Result<bool, Failure> {
    Spi::connect(|client| Ok(!client.select(query, Some(1), arguments)?.is_empty()))
}
