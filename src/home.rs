//! Where this database is at home. A copy of it (a dump restored, a clone, copied files) runs nothing by itself until
//! someone says that it may; a standby that is promoted goes on, because it takes the place of what it followed.

use pgrx::JsonB;
use pgrx::prelude::*;

use crate::error::Failure;
use crate::postgres;

/// Moves in here, when this server was a standby and has been promoted: same system, same database, other files.
pub fn follow_promotion() -> Result<(), Failure> {
    if !postgres::began_as_standby() {
        return Ok(());
    }
    postgres::transaction(|| {
        let moved = Spi::connect(|client| -> Result<bool, Failure> {
            let rows = client.select(
                "SELECT FROM gn_harvest.home h
                 WHERE h.place <> $1 AND h.place -> 'system' = $1 -> 'system' AND h.place -> 'database' = $1 -> 'database'",
                Some(1),
                &[JsonB(postgres::place()).into()],
            )?;
            Ok(!rows.is_empty())
        })?;
        if moved {
            Spi::run_with_args(
                "UPDATE gn_harvest.home SET place = $1, settled_at = now(), settled_by = 'promotion'",
                &[JsonB(postgres::place()).into()],
            )?;
            log!("gn_harvest: this server has been promoted; schedules go on here");
        }
        Ok(())
    })
}
