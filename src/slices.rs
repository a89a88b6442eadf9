//! The slices of a run: how its range of keys is cut, who has claimed which, what of each is read, and what another run
//! takes over.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::fetch::Slice;
use crate::run::changed_under_way;

/// The unfinished full run whose slices can be taken over, with its watermark. What a reconciling one found missing
/// grows stale: after a day it begins anew.
pub struct Unfinished {
    pub run_id: i64,
    pub mode: String,
    pub watermark: Option<String>,
    /// Records that it did not get to, as far as it knew.
    pub left: Option<i64>,
}

pub fn unfinished(source_id: i32, fingerprint: &str) -> Result<Option<Unfinished>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT r.id, r.watermark, r.mode, greatest(r.total - r.done, 0)
             FROM gn_harvest.run r
             WHERE r.source_id = $1 AND r.settings = $2 AND r.status <> 'running'
               AND EXISTS (SELECT FROM gn_harvest.slice sl WHERE sl.run_id = r.id)
               AND (r.mode <> 'reconcile' OR r.created_at > now() - interval '1 day')
             ORDER BY r.id DESC LIMIT 1",
            Some(1),
            &[source_id.into(), fingerprint.into()],
        )?;
        match rows.into_iter().next() {
            Some(row) => Ok(row.get::<i64>(1)?.map(|run_id| Unfinished {
                run_id,
                mode: row.get::<String>(3).ok().flatten().unwrap_or_default(),
                watermark: row.get::<String>(2).ok().flatten(),
                left: row.get::<i64>(4).ok().flatten(),
            })),
            None => Ok(None),
        }
    })
}

/// Voids the slices of a run and begins one in their place, which the caller has claimed. Those that are void stay,
/// empty: they count as read.
pub fn begin_anew(run_id: i64, slice: i32, greatest: i64) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.slice SET whole = 'empty', done = '{}' WHERE run_id = $1",
        &[run_id.into()],
    )?;
    Spi::run_with_args(
        "INSERT INTO gn_harvest.slice (run_id, no, cut_by, whole, claimed_by)
         VALUES ($1, $2, $1, int8range(0, $3, '[]'), pg_backend_pid())",
        &[run_id.into(), slice.into(), greatest.into()],
    )?;
    Ok(())
}

/// The last slice of a run, whatever is left of it.
pub fn last(run_id: i64) -> Result<i32, Failure> {
    let last = Spi::get_one_with_args::<i32>(
        "SELECT max(no) FROM gn_harvest.slice WHERE run_id = $1",
        &[run_id.into()],
    )?;
    last.ok_or_else(changed_under_way)
}

/// Hands the slices of an unfinished run to this one, with the watermark that they were read for.
pub fn take_over(run_id: i64, unfinished: &Unfinished) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.slice SET run_id = $1, claimed_by = NULL WHERE run_id = $2",
        &[run_id.into(), unfinished.run_id.into()],
    )?;
    Spi::run_with_args(
        "UPDATE gn_harvest.missing SET run_id = $1 WHERE run_id = $2",
        &[run_id.into(), unfinished.run_id.into()],
    )?;
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET resumes = $2, watermark = $3 WHERE id = $1",
        &[
            run_id.into(),
            unfinished.run_id.into(),
            unfinished.watermark.clone().into(),
        ],
    )?;
    Ok(())
}

/// Copies what an unfinished run has left to read, for a plan of the run that will go on with it.
pub fn borrow(run_id: i64, unfinished: &Unfinished) -> Result<(), Failure> {
    Spi::run_with_args(
        "INSERT INTO gn_harvest.slice (run_id, no, whole, done, cut_by)
         SELECT $1, no, whole, done, cut_by FROM gn_harvest.slice WHERE run_id = $2",
        &[run_id.into(), unfinished.run_id.into()],
    )?;
    Spi::run_with_args(
        "INSERT INTO gn_harvest.missing (run_id, id_synthese, key_number, source_key)
         SELECT $1, id_synthese, key_number, source_key FROM gn_harvest.missing WHERE run_id = $2",
        &[run_id.into(), unfinished.run_id.into()],
    )?;
    Ok(())
}

/// Forgets what a plan has read and found missing.
pub fn forget_plan(run_id: i64) -> Result<(), Failure> {
    for statement in [
        "DELETE FROM gn_harvest.slice WHERE run_id = $1",
        "DELETE FROM gn_harvest.missing WHERE run_id = $1",
        "DELETE FROM gn_harvest.seen WHERE run_id = $1",
    ] {
        Spi::run_with_args(statement, &[run_id.into()])?;
    }
    Ok(())
}

/// Cuts the keys from `least` to `greatest` into `count` slices of the same width.
pub fn cut(run_id: i64, least: i64, greatest: i64, count: i64) -> Result<(), Failure> {
    Spi::run_with_args(
        "INSERT INTO gn_harvest.slice (run_id, no, cut_by, whole)
         SELECT $1, n, $1, int8range(first, CASE WHEN n = $4 - 1 THEN $3 + 1 ELSE first + width END)
         FROM (SELECT n, $2 + n * width AS first, width
               FROM (SELECT greatest(1, ceil(($3::numeric - $2 + 1) / $4)::bigint) AS width) w, generate_series(0, $4::integer - 1) n) cut
         WHERE first <= $3",
        &[run_id.into(), least.into(), greatest.into(), count.into()],
    )?;
    Ok(())
}

/// Claims the next slice that nobody works on, if there is one, with what of it remains to be read. In a CTE: a subquery
/// that is joined may be run again for each row of the table, and would claim slices that nobody then reads.
pub fn claim(run_id: i64) -> Result<Option<Slice>, Failure> {
    let claimed = Spi::connect_mut(|client| -> Result<_, Failure> {
        let rows = client.update(
            "WITH next AS MATERIALIZED (
                 SELECT run_id, no FROM gn_harvest.slice
                 WHERE run_id = $1 AND claimed_by IS NULL AND int8multirange(whole) <> done
                 ORDER BY no LIMIT 1 FOR UPDATE SKIP LOCKED)
             UPDATE gn_harvest.slice sl
             SET claimed_by = pg_backend_pid()
             FROM next
             WHERE sl.run_id = next.run_id AND sl.no = next.no
             RETURNING sl.no,
                       ARRAY(SELECT lower(r) FROM unnest(int8multirange(sl.whole) - sl.done) r ORDER BY 1),
                       ARRAY(SELECT upper(r) - 1 FROM unnest(int8multirange(sl.whole) - sl.done) r ORDER BY 1)",
            None,
            &[run_id.into()],
        )?;
        match rows.into_iter().next() {
            None => Ok(None),
            Some(row) => Ok(Some((
                row.get::<i32>(1)?.unwrap_or_default(),
                row.get::<Vec<i64>>(2)?.unwrap_or_default(),
                row.get::<Vec<i64>>(3)?.unwrap_or_default(),
            ))),
        }
    })?;
    Ok(claimed.map(|(no, first, last)| Slice {
        no,
        remaining: first.into_iter().zip(last).collect(),
    }))
}

/// Notes that the keys from `first` to `last` of a slice are read and written; in the transaction that writes them.
pub fn checkpoint(run_id: i64, slice: i32, first: i64, last: i64) -> Result<(), Failure> {
    let written = Spi::connect_mut(|client| -> Result<bool, Failure> {
        let rows = client.update(
            "UPDATE gn_harvest.slice SET done = done + int8multirange(int8range($3, $4, '[]') * whole)
             WHERE run_id = $1 AND no = $2 RETURNING no",
            None,
            &[run_id.into(), slice.into(), first.into(), last.into()],
        )?;
        Ok(!rows.is_empty())
    })?;
    if written {
        Ok(())
    } else {
        Err(changed_under_way())
    }
}

/// Lets what is not read and written yet of a run be claimed again; false when everything is.
pub fn release_claims(run_id: i64) -> Result<bool, Failure> {
    let released = Spi::get_one_with_args::<i64>(
        "WITH released AS (
             UPDATE gn_harvest.slice SET claimed_by = NULL WHERE run_id = $1 AND int8multirange(whole) <> done RETURNING 1)
         SELECT count(*) FROM released",
        &[run_id.into()],
    )?;
    Ok(released.unwrap_or(0) > 0)
}

/// Fails when a part of what a run set out to read is not read: its success would hide it for good.
pub fn require_all_read(run_id: i64) -> Result<(), Failure> {
    let left = Spi::get_one_with_args::<i64>(
        "SELECT count(*) FROM gn_harvest.slice WHERE run_id = $1 AND done <> int8multirange(whole)",
        &[run_id.into()],
    )?
    .unwrap_or(0);
    if left == 0 {
        return Ok(());
    }
    Err(Failure::new(
        "XX000",
        format!("{left} parts of the export were not read to their end"),
    )
    .detail("What came has been written; the run does not pass for a whole one.")
    .hint("Run it again, and report this with the server's log."))
}

/// Forgets what was read, and what was found missing: the run is done, or another begins anew.
pub fn forget(source_id: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.slice sl USING gn_harvest.run r WHERE r.id = sl.run_id AND r.source_id = $1",
        &[source_id.into()],
    )?;
    Spi::run_with_args(
        "DELETE FROM gn_harvest.missing m USING gn_harvest.run r WHERE r.id = m.run_id AND r.source_id = $1",
        &[source_id.into()],
    )?;
    Ok(())
}

/// Slices that no run will take up; those of an unfinished full run stay.
pub fn forget_passing(source_id: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.slice sl USING gn_harvest.run r
         WHERE r.id = sl.run_id AND r.source_id = $1 AND r.settings IS NULL",
        &[source_id.into()],
    )?;
    Spi::run_with_args(
        "DELETE FROM gn_harvest.missing m USING gn_harvest.run r
         WHERE r.id = m.run_id AND r.source_id = $1 AND r.settings IS NULL",
        &[source_id.into()],
    )?;
    Ok(())
}

/// Lets the pages of an export without a numeric key be read once more.
pub fn read_again(run_id: i64) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.slice SET done = '{}', claimed_by = NULL WHERE run_id = $1",
        &[run_id.into()],
    )?;
    Ok(())
}
