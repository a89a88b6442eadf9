//! What a run is going to read: full or incremental, in which order, from which date; found out by asking the source.

use chrono::{DateTime, Utc};
use pgrx::prelude::*;

use crate::alert::ColumnChange;
use crate::bootstrap::{self, FileToRead};
use crate::deletion::{self, Means};
use crate::error::Failure;
use crate::fetch::Order;
use crate::geonature::Page;
use crate::harvest::Session;
use crate::mapping::{FieldMapping, Layout};
use crate::publication::Exports;
use crate::run;
use crate::slices::{self, Unfinished};
use crate::source::Contract;
use crate::{postgres, probe, record};

const PAGES_PER_SLICE: i64 = 100;
/// Each slice ends with a page that is not full: few of them for a small export.
const LEAST_PAGES: i64 = 4;
const MAX_SLICES: i64 = 64;
/// Keys beyond what a double holds exactly: no server counts that far.
const ALL_KEYS: (i64, i64) = (-(1 << 53), 1 << 53);
/// Bounds for keys that fit in PostgreSQL's integer: a server refuses others on such a column (error 500).
const INTEGER_KEYS: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);
const ALL_PAGES: (i64, i64) = (0, i32::MAX as i64 - 1);

/// What a run is going to read.
pub struct Reading {
    pub layout: Layout,
    pub order: Order,
    pub filters: Vec<(String, String)>,
    /// Becomes the source's watermark if the run succeeds.
    pub watermark: Option<String>,
    pub full: bool,
    pub resumed: bool,
    /// How it learns of deletions.
    pub means: Means,
    pub exports: Exports,
    /// From when on changes were asked for, and the source's clock when they were.
    pub since: Option<String>,
    pub clock: DateTime<Utc>,
    /// What is read in place of the export.
    pub file: Option<FileToRead>,
}

impl Reading {
    /// Whether what is missing of the ranges read has to be noted.
    pub fn compares(&self) -> bool {
        self.full && self.means != Means::None && self.file.is_none()
    }

    /// How the records that are read are laid out: those of a file may be otherwise than those of the export.
    pub fn records_layout(&self) -> &Layout {
        self.file.as_ref().map_or(&self.layout, |file| &file.layout)
    }

    pub fn is_numeric(&self) -> bool {
        matches!(self.order, Order::Windows { .. })
    }
}

/// What there is to read.
pub enum Prepared {
    Reading(Box<Reading>),
    /// The export has no record.
    Empty {
        reconcile: bool,
    },
}

/// Asks the source what there is to read.
pub fn prepare(session: &Session) -> Result<Prepared, Failure> {
    let mappings = postgres::transaction(|| session.source.field_mappings())?;
    let fingerprint = session.source.fingerprint(&mappings);
    let (reading, reconcile) = match decide_mode(session, &fingerprint)? {
        Mode::Full {
            reconcile,
            unfinished,
        } => (
            prepare_full(session, &mappings, reconcile, unfinished)?,
            reconcile,
        ),
        Mode::Incremental => match prepare_incremental(session, &mappings)? {
            Increment::Reading(reading) => (Some(*reading), false),
            Increment::Empty => (None, false),
            Increment::NotEnough => {
                compare_instead(session, &fingerprint)?;
                (prepare_full(session, &mappings, true, None)?, true)
            }
        },
    };
    let Some(reading) = reading else {
        return Ok(Prepared::Empty { reconcile });
    };
    probe::require_usable(&session.source, &reading.layout)?;
    Ok(Prepared::Reading(Box::new(reading)))
}

enum Mode {
    Full {
        reconcile: bool,
        unfinished: Option<Unfinished>,
    },
    Incremental,
}

/// What the run is to do; writes it. An unfinished full run is taken up by one of the same kind.
fn decide_mode(session: &Session, fingerprint: &str) -> Result<Mode, Failure> {
    let source = &session.source;
    postgres::transaction(|| {
        let unfinished = slices::unfinished(source.id, fingerprint)?;
        let unfinished_mode = unfinished
            .as_ref()
            .map(|unfinished| unfinished.mode.clone());
        let planned = session.task.planned();
        let mode = match planned.unwrap_or(&session.task.mode) {
            "incremental" if source.watermark.is_none() => {
                return Err(Failure::new(
                    "55000",
                    format!("source \"{}\" has no watermark to start from", source.name),
                )
                .detail("No full run of it has succeeded, or its export has no date of change.")
                .hint("Run it with mode => 'full', or 'auto'."));
            }
            "auto" => match unfinished_mode {
                Some(mode) => mode,
                // Rows that were adopted have yet to be compared, whatever is known of their dates.
                None if source.watermark.is_none() || source.last_full_at.is_none() => {
                    "full".to_owned()
                }
                None => "incremental".to_owned(),
            },
            asked => asked.to_owned(),
        };
        if planned.is_none() {
            let fingerprint = (mode != "incremental").then_some(fingerprint);
            Spi::run_with_args(
                "UPDATE gn_harvest.run SET mode = $2, settings = $3 WHERE id = $1",
                &[
                    session.task.run_id.into(),
                    mode.as_str().into(),
                    fingerprint.into(),
                ],
            )?;
        }
        Ok(match mode.as_str() {
            "incremental" => Mode::Incremental,
            mode => Mode::Full {
                reconcile: mode == "reconcile",
                unfinished: unfinished.filter(|unfinished| unfinished.mode == mode),
            },
        })
    })
}

/// The partner publishes another selection than at the last run: what came in bears no new date.
fn compare_instead(session: &Session, fingerprint: &str) -> Result<(), Failure> {
    let run_id = session.task.run_id;
    postgres::transaction(|| {
        if session.task.planned().is_none() {
            Spi::run_with_args(
                "UPDATE gn_harvest.run SET mode = 'reconcile', settings = $2 WHERE id = $1",
                &[run_id.into(), fingerprint.into()],
            )?;
        }
        run::warn(
            run_id,
            "the partner has changed what it publishes: everything is read and compared",
        )
    })
}

fn prepare_full(
    session: &Session,
    mappings: &[FieldMapping],
    reconcile: bool,
    unfinished: Option<Unfinished>,
) -> Result<Option<Reading>, Failure> {
    let (source, client) = (&session.source, &session.client);
    let sample = probe::sample(client, source)?;
    let items: Vec<&str> = sample.items().collect();
    if items.is_empty() {
        return Ok(None);
    }
    let layout = probe::layout(source, mappings, &items, sample.geojson)?;
    if let (Some(address), None) = (bootstrap::wanted(source, reconcile), &unfinished) {
        let file = bootstrap::prepare(session, address, mappings, (&sample, &layout))?;
        return Ok(Some(reading_of_file(session, &sample, layout, file)?));
    }
    let clock = sample.server_date.unwrap_or_else(Utc::now);
    let mut watermark = match &layout.action_date {
        Some(column) => probe::changes(client, source, column, clock, None)?.greatest,
        None => None,
    };
    let total = sample
        .total_filtered
        .or(sample.total)
        .map(|total| total as i64);
    let numeric = layout.key.clone().filter(|_| layout.key_is_number);
    let unfinished = unfinished.filter(|_| numeric.is_some());
    let resumed = unfinished.is_some();
    let mut expected = total;
    if let Some(unfinished) = &unfinished {
        // What changed since that run began is still to be asked for.
        watermark = unfinished.watermark.clone();
        expected = unfinished.left.or(total);
    }
    // Before there are slices: whoever takes them over needs the watermark.
    announce(session, expected, None, watermark.as_deref())?;
    let order = match (numeric, unfinished) {
        (Some(key), Some(unfinished)) => {
            let run_id = session.task.run_id;
            postgres::transaction(|| match session.task.planned() {
                None => slices::take_over(run_id, &unfinished),
                Some(_) => slices::borrow(run_id, &unfinished),
            })?;
            Order::Windows {
                key,
                width: Some(i64::from(source.page_size)),
            }
        }
        (Some(key), None) => Order::Windows {
            key,
            width: Some(cut_keys(session, &layout, total)?),
        },
        (None, _) => {
            postgres::transaction(|| cut_pages(session))?;
            Order::Pages {
                order_by: layout.key.clone(),
            }
        }
    };
    let exports = Exports::of(source, &items);
    let means = deletion::means(session, &layout, &exports, reconcile);
    Ok(Some(Reading {
        layout,
        order,
        filters: source.filters(),
        watermark,
        full: true,
        resumed,
        means,
        exports,
        since: None,
        clock,
        file: None,
    }))
}

/// Reads a file in place of the export. Its records are told apart by their places, so that it is read in one go.
fn reading_of_file(
    session: &Session,
    sample: &Page,
    layout: Layout,
    file: FileToRead,
) -> Result<Reading, Failure> {
    announce(session, file.left.or(file.announced), None, None)?;
    let items: Vec<&str> = sample.items().collect();
    let exports = Exports {
        selection: file.selection,
        ..Exports::of(&session.source, &items)
    };
    Ok(Reading {
        order: Order::Windows {
            key: layout.key.clone().unwrap_or_default(),
            width: None,
        },
        filters: Vec::new(),
        watermark: None,
        full: true,
        resumed: file.resumed,
        means: deletion::means(session, &layout, &exports, false),
        exports,
        since: None,
        clock: sample.server_date.unwrap_or_else(Utc::now),
        layout,
        file: Some(file),
    })
}

/// Page numbers mean nothing to a later run: nothing of this one can be taken up.
fn cut_pages(session: &Session) -> Result<(), Failure> {
    begin_anew(session)?;
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET settings = NULL WHERE id = $1",
        &[session.task.run_id.into()],
    )?;
    slices::cut(session.task.run_id, ALL_PAGES.0, ALL_PAGES.1, 1)
}

/// What an unfinished run has left is moot; a plan does not touch it.
fn begin_anew(session: &Session) -> Result<(), Failure> {
    match session.task.planned() {
        None => slices::forget(session.source.id),
        Some(_) => Ok(()),
    }
}

/// Cuts the export's keys into slices; returns the width of the first window.
fn cut_keys(session: &Session, layout: &Layout, total: Option<i64>) -> Result<i64, Failure> {
    let (source, client) = (&session.source, &session.client);
    let least = probe::extreme_key(client, source, layout, false)?;
    let greatest = probe::extreme_key(client, source, layout, true)?;
    let (least, greatest) = least
        .zip(greatest)
        .filter(|(least, greatest)| least <= greatest)
        .unwrap_or(ALL_KEYS);
    let page = i64::from(source.page_size);
    let total = total.unwrap_or(0).max(1);
    let pages = total / page;
    let at_once = (source.connections as i64).min(pages / LEAST_PAGES);
    let slices = (pages / PAGES_PER_SLICE + 1).max(at_once).min(MAX_SLICES);
    postgres::transaction(|| {
        begin_anew(session)?;
        slices::cut(session.task.run_id, least, greatest, slices)
    })?;
    Ok((((greatest - least) / total).saturating_add(1))
        .saturating_mul(page)
        .max(page))
}

/// What an increment would be.
enum Increment {
    Reading(Box<Reading>),
    /// The export has no record.
    Empty,
    /// It would not tell all that has changed.
    NotEnough,
}

fn prepare_incremental(session: &Session, mappings: &[FieldMapping]) -> Result<Increment, Failure> {
    let (source, client) = (&session.source, &session.client);
    let (Some(watermark), Some(column)) = (&source.watermark, &source.watermark_column) else {
        return Err(Failure::new("55000", "the source has no watermark")
            .hint("Run it with mode => 'full'."));
    };
    let since = probe::since(watermark, source.look_back_seconds).ok_or_else(|| {
        Failure::new(
            "22007",
            format!("the watermark \"{watermark}\" is not a date"),
        )
        .hint("Run it with mode => 'full'.")
    })?;
    // The first answer also tells the server's clock, without which the future is not known: two questions.
    let sample = probe::sample(client, source)?;
    let items: Vec<&str> = sample.items().collect();
    if items.is_empty() {
        return Ok(Increment::Empty);
    }
    let exports = Exports::of(source, &items);
    if source.selection.is_some() && exports.selection != source.selection {
        return Ok(Increment::NotEnough);
    }
    let layout = probe::layout(source, mappings, &items, sample.geojson)?;
    let clock = sample.server_date.unwrap_or_else(Utc::now);
    let changes = probe::changes(client, source, column, clock, Some(&since))?;
    let later = [Some(watermark.clone()), changes.greatest]
        .into_iter()
        .flatten()
        .max_by_key(|date| record::parse_date(date));
    let mut filters = source.filters();
    filters.push((format!("filter_d_up_{column}"), since.clone()));
    let numeric = layout.key.clone().filter(|_| layout.key_is_number);
    let (order, all) = match numeric {
        Some(key) => (
            Order::Windows { key, width: None },
            postgres::transaction(|| key_bounds(source.id))?,
        ),
        None => (
            Order::Pages {
                order_by: layout.key.clone(),
            },
            ALL_PAGES,
        ),
    };
    postgres::transaction(|| slices::cut(session.task.run_id, all.0, all.1, 1))?;
    announce(
        session,
        changes.page.total_filtered.map(|n| n as i64),
        Some(&since),
        later.as_deref(),
    )?;
    let means = deletion::means(session, &layout, &exports, false);
    Ok(Increment::Reading(Box::new(Reading {
        layout,
        order,
        filters,
        watermark: later,
        full: false,
        means,
        exports,
        resumed: false,
        since: Some(since),
        clock,
        file: None,
    })))
}

/// Bounds that hold every key of the source and that its column can be compared with: what is held tells its type.
fn key_bounds(source_id: i32) -> Result<(i64, i64), Failure> {
    let large = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM gn_harvest.harvested WHERE source_id = $1 AND key_number NOT BETWEEN $2 AND $3)",
        &[
            source_id.into(),
            INTEGER_KEYS.0.into(),
            INTEGER_KEYS.1.into(),
        ],
    )?;
    Ok(match large {
        Some(true) => ALL_KEYS,
        _ => INTEGER_KEYS,
    })
}

fn announce(
    session: &Session,
    total: Option<i64>,
    since: Option<&str>,
    watermark: Option<&str>,
) -> Result<(), Failure> {
    postgres::transaction(|| {
        Spi::run_with_args(
            "UPDATE gn_harvest.run SET total = $2, watermark_from = $3, watermark = $4 WHERE id = $1",
            &[
                session.task.run_id.into(),
                total.into(),
                since.into(),
                watermark.into(),
            ],
        )?;
        Ok(())
    })
}

/// Remembers the export's columns; what changed is said.
pub fn contract(session: &Session, layout: &Layout) -> Result<(), Failure> {
    if let Some(warning) = changed_columns(session, layout)? {
        run::warn(session.task.run_id, &warning)?;
    }
    Spi::run_with_args(
        "UPDATE gn_harvest.source_state SET export_columns = $2 WHERE source_id = $1 AND export_columns IS DISTINCT FROM $2",
        &[session.source.id.into(), layout.export_columns().into()],
    )?;
    Ok(())
}

/// What is to be said of a change of the export's columns; fails where they may not change.
pub fn changed_columns(session: &Session, layout: &Layout) -> Result<Option<String>, Failure> {
    let names = layout.export_columns();
    let Some(changes) = session
        .source
        .export_columns
        .as_ref()
        .and_then(|before| difference(before, &names))
    else {
        return Ok(None);
    };
    let changes = ColumnChange {
        frozen: session.source.contract == Contract::Freeze,
        ..changes
    };
    let words = in_words(&changes);
    if session.source.contract != Contract::Evolve {
        session.findings.columns.replace(Some(changes));
    }
    match session.source.contract {
        Contract::Evolve => Ok(None),
        Contract::Warn => Ok(Some(format!(
            "the columns of the export have changed: {words}"
        ))),
        Contract::Freeze => {
            let name = session.source.name.replace('\'', "''");
            Err(Failure::new("42703", "the columns of the export have changed")
                .detail(format!("{words}."))
                .hint(format!("Ask the partner. SELECT gn_harvest.accept_columns('{name}'); agrees to them.")))
        }
    }
}

/// What has gone and what is new; none when nothing is.
fn difference(before: &[String], now: &[String]) -> Option<ColumnChange> {
    let list = |names: &[String], others: &[String]| -> Vec<String> {
        let missing = names.iter().filter(|name| !others.contains(name));
        missing.cloned().collect()
    };
    let change = ColumnChange {
        gone: list(before, now),
        new: list(now, before),
        frozen: false,
    };
    (change != ColumnChange::default()).then_some(change)
}

fn in_words(change: &ColumnChange) -> String {
    let parts: Vec<String> = [("gone", &change.gone), ("new", &change.new)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word}: {}", names.join(", ")))
        .collect();
    parts.join("; ")
}
