//! What the target makes of the first page: it is written for real, looked at, and taken back.

use std::collections::BTreeMap;

use pgrx::prelude::*;

use super::{OK, Report, WARNING, list};
use crate::error::Failure;
use crate::geonature::Page;
use crate::harvest::Session;
use crate::mapping::Layout;
use crate::run::Counts;
use crate::source::{Format, Load, TargetKind};
use crate::target::{self, Opened};
use crate::{postgres, probe, settings};

/// The target alone, when the partner gave nothing to try it with.
pub(super) fn look(session: &Session, report: &mut Report) -> Result<(), Failure> {
    let opened = postgres::rehearsal(|| Ok(load_of(session, &mut Opened::open(session)?)));
    match opened {
        Ok(load) => {
            say_target(session, Ok(()), report)?;
            say_load(load, report);
            Ok(())
        }
        Err(failure) => say_target(session, Err(failure), report),
    }
}

/// Why the fast load that was asked for would not be used, if so; none when it was not asked for.
type Chosen = Option<Result<Option<String>, Failure>>;

fn load_of(session: &Session, opened: &mut Opened) -> Chosen {
    let synthese = opened.synthese()?;
    let wanted = session.source.load == Load::Fast;
    wanted.then(|| synthese.load().map(|why| why.map(str::to_owned)))
}

fn say_load(load: Chosen, report: &mut Report) {
    match load {
        None => {}
        Some(Ok(None)) => report.say(
            "load",
            OK,
            "fast: the triggers and functions of the target are ones that are known",
        ),
        Some(Ok(Some(why))) => report.advise(
            "load",
            WARNING,
            format!("standard, not fast: {why}"),
            "The fast load does the work of GeoNature's own triggers only; alter_source(name, load => 'standard') says that this is meant.",
        ),
        Some(Err(failure)) => report.failed("load", failure),
    }
}

fn say_target(
    session: &Session,
    opened: Result<(), Failure>,
    report: &mut Report,
) -> Result<(), Failure> {
    match opened {
        Ok(()) if session.source.target == TargetKind::Records => {
            let detail = match postgres::transaction(has_postgis)? {
                true => {
                    "gn_harvest.record; PostGIS is here, so views of create_record_view have the geometry"
                }
                false => {
                    "gn_harvest.record; without PostGIS, views of create_record_view have no geometry"
                }
            };
            report.say("target", OK, detail);
        }
        Ok(()) => report.say(
            "target",
            OK,
            format!(
                "gn_synthese.synthese is here, and open to role \"{}\"",
                session.source.owner
            ),
        ),
        Err(failure) if failure.is_cancel() => return Err(failure),
        Err(failure) => report.failed(
            "target",
            failure.explained(&session.source.owner, settings::lock_timeout()),
        ),
    }
    Ok(())
}

fn has_postgis() -> Result<bool, Failure> {
    let query = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis')";
    Ok(Spi::get_one::<bool>(query)?.unwrap_or(false))
}

/// Writes the first page for real, looks at it, and takes it back.
pub(super) fn try_out(
    session: &Session,
    layout: Layout,
    page: Page,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Err(failure) = probe::require_usable(&session.source, &layout) {
        report.failed("records", failure);
        return look(session, report);
    }
    let rehearsed = postgres::rehearsal(|| {
        let mut opened = Opened::open(session)?;
        let reader = opened.target().reader();
        let pages = vec![target::parse(&reader, &layout, page.items())];
        let (texts, batches) = target::apart(pages);
        let mut counts = Counts::default();
        opened.target().write(&texts, batches, &mut counts)?;
        let formats = opened.synthese().map(|synthese| synthese.formats());
        let load = load_of(session, &mut opened);
        let sample = sample_row(session)?;
        let reasons = rejections(session)?;
        Ok(Rehearsed {
            counts,
            formats,
            load,
            sample,
            reasons,
            unknown: unknown(session)?,
        })
    });
    match rehearsed {
        Ok(mut rehearsed) => {
            say_target(session, Ok(()), report)?;
            say_load(rehearsed.load.take(), report);
            rehearsed.say(report);
            Ok(())
        }
        Err(failure) => say_target(session, Err(failure), report),
    }
}

/// What writing the first page did before it was taken back.
struct Rehearsed {
    counts: Counts,
    /// None when nothing is written in codes or labels.
    formats: Option<Vec<(&'static str, Format)>>,
    load: Chosen,
    sample: Option<String>,
    reasons: Vec<String>,
    unknown: Vec<String>,
}

impl Rehearsed {
    fn say(self, report: &mut Report) {
        if let Some(formats) = &self.formats {
            say_formats(formats, report);
        }
        let counts = &self.counts;
        let written = counts.inserted + counts.updated + counts.unchanged;
        let detail = format!(
            "of {} records of the first page {written} would be there afterwards ({} new), {} rejected, {} skipped",
            counts.fetched, counts.inserted, counts.rejected, counts.skipped
        );
        if counts.rejected > 0 {
            report.advise(
                "records",
                WARNING,
                format!("{detail}: {}", self.reasons.join("; ")),
                "They are kept in gn_harvest.rejected_record until they can be written.",
            );
        } else {
            report.say("records", OK, detail);
        }
        if !self.unknown.is_empty() {
            report.advise(
                "unknown_values",
                WARNING,
                format!("values that the local referentials do not know: {}", list(&self.unknown)),
                "gn_harvest.map_value(source, column, value, local value) maps them; on_unknown_value says what becomes of them meanwhile.",
            );
        }
        if let Some(sample) = self.sample {
            report.say("sample", OK, sample);
        }
    }
}

fn say_formats(formats: &[(&'static str, Format)], report: &mut Report) {
    let mut by_format: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (column, format) in formats {
        by_format
            .entry(if *format == Format::Labels {
                "labels"
            } else {
                "codes"
            })
            .or_default()
            .push(column);
    }
    let summary: Vec<String> = by_format
        .iter()
        .map(|(format, columns)| format!("{format} in {} columns", columns.len()))
        .collect();
    report.say(
        "codes_or_labels",
        OK,
        if summary.is_empty() {
            "no nomenclature in the first page".to_owned()
        } else {
            summary.join(", ")
        },
    );
}

/// One row as it was written, by the target's own names. Read as the source's owner, as all of the target.
fn sample_row(session: &Session) -> Result<Option<String>, Failure> {
    if session.source.target == TargetKind::Records {
        return Ok(Spi::get_one_with_args::<String>(
            "SELECT (SELECT jsonb_pretty(jsonb_strip_nulls(r.item)) FROM gn_harvest.record r
                     WHERE r.source_id = $1 ORDER BY r.changed_at DESC, r.id LIMIT 1)",
            &[session.source.id.into()],
        )?);
    }
    let written = Spi::get_one_with_args::<i64>(
        "SELECT (SELECT id_synthese FROM gn_harvest.harvested
                 WHERE source_id = $1 AND first_run = $2 ORDER BY key_number, source_key LIMIT 1)",
        &[session.source.id.into(), session.task.run_id.into()],
    )?;
    postgres::as_role(session.owner, session.search_path, || {
        Ok(Spi::get_one_with_args::<String>(
            "SELECT (SELECT jsonb_pretty(jsonb_strip_nulls(to_jsonb(s) - 'the_geom_point' - 'the_geom_local'))
                     FROM gn_synthese.synthese s WHERE s.id_synthese = $1)",
            &[written.into()],
        )?)
    })
}

fn rejections(session: &Session) -> Result<Vec<String>, Failure> {
    Spi::connect(|client| {
        let query = "SELECT format('%s × %s%s', count(*), reason, ' (' || min(message) || ')') FROM gn_harvest.rejected
                     WHERE source_id = $1 AND last_run = $2 GROUP BY reason ORDER BY count(*) DESC LIMIT 10";
        let mut reasons = Vec::new();
        for row in client.select(
            query,
            None,
            &[session.source.id.into(), session.task.run_id.into()],
        )? {
            reasons.extend(row.get::<String>(1)?);
        }
        Ok(reasons)
    })
}

fn unknown(session: &Session) -> Result<Vec<String>, Failure> {
    Spi::connect(|client| {
        let query = "SELECT format('%s \"%s\" (%s)', column_name, source_value, occurrences) FROM gn_harvest.unmapped
                     WHERE source_id = $1 AND last_run = $2 ORDER BY occurrences DESC, 1 LIMIT 40";
        let mut values = Vec::new();
        for row in client.select(
            query,
            None,
            &[session.source.id.into(), session.task.run_id.into()],
        )? {
            values.extend(row.get::<String>(1)?);
        }
        Ok(values)
    })
}
