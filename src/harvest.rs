//! One run from beginning to end. It decides what is read and where transactions end:
//! the network never holds one, each batch with its lineage and checkpoint is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Failure;
use crate::fetch::{Event, Fetcher, KeyRange, Order, Part, Request};
use crate::geonature::{Client, Stop, Traffic};
use crate::mapping::{FieldMapping, Layout};
use crate::record;
use crate::run::{self, Counts};
use crate::source::Source;
use crate::synthese::{Parsed, Synthese};
use crate::worker::Task;
use crate::{check, postgres, probe, retry, settings};

/// How long threads may take to end before they are left behind.
const PATIENCE: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A batch is written when this has passed without news, full or not.
const IDLE: Duration = Duration::from_secs(2);
const PAGES_PER_SLICE: i64 = 20;
const MAX_SLICES: i64 = 64;
/// Exports without a numeric key are read again when their total moved while they were read.
const MAX_PASSES: usize = 3;
/// Keys beyond what a double holds exactly: no server counts that far.
const ALL_KEYS: (i64, i64) = (-(1 << 53), 1 << 53);
const ALL_PAGES: (i64, i64) = (0, i32::MAX as i64 - 1);

/// What a worker has in hand.
pub struct Session<'a> {
    pub task: &'a Task,
    pub source: Source,
    pub owner: pg_sys::Oid,
    pub search_path: &'a str,
    pub client: Client,
    pub traffic: Arc<Traffic>,
}

/// Does a task and writes how it ended. Never fails: what can't be written goes to the log.
pub fn work(task: &Task, search_path: &str) {
    let begun = postgres::transaction(|| {
        let Some(source) = Source::load(task.source_id)? else {
            return Ok(None);
        };
        Ok(run::begin(task, &source.name)?.then_some(source))
    });
    let source = match begun {
        Ok(Some(source)) => source,
        Ok(None) => return,
        Err(failure) => {
            log!("gn_harvest: run {} could not begin: {failure}", task.run_id);
            return;
        }
    };
    let name = source.name.clone();
    let traffic = Arc::new(Traffic::new());
    let outcome = postgres::guarded(|| begin_and_do(task, source, search_path, &traffic));
    let written = postgres::uncancelled(|| {
        postgres::transaction(|| run::end(task, &outcome, Some(&traffic)))
    });
    if let Err(failure) = written {
        log!(
            "gn_harvest: the end of run {} of source \"{name}\" could not be written: {failure}",
            task.run_id
        );
    }
}

fn begin_and_do(
    task: &Task,
    source: Source,
    search_path: &str,
    traffic: &Arc<Traffic>,
) -> Result<(), Failure> {
    let stop = Arc::new(Stop::new());
    let client = probe::client(&source, traffic, &stop)?;
    let owner = postgres::transaction(|| owner(&source))?;
    let session = Session {
        task,
        source,
        owner,
        search_path,
        client,
        traffic: Arc::clone(traffic),
    };
    let result = match task.mode.as_str() {
        "check" => check::run(&session),
        "retry" => retry::run(&session),
        _ => {
            postgres::transaction(|| within_hours(&session.source)).and_then(|()| harvest(&session))
        }
    };
    stop.set();
    result.map_err(|failure| failure.refused_to(&session.source.owner))
}

fn owner(source: &Source) -> Result<pg_sys::Oid, Failure> {
    Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT max(oid) FROM pg_roles WHERE rolname = $1",
        &[source.owner.as_str().into()],
    )?
    .ok_or_else(|| {
        Failure::new(
            "42704",
            format!(
                "role \"{}\", which owns the source, does not exist",
                source.owner
            ),
        )
        .hint("Name another with gn_harvest.alter_source(name, owner => '...').")
    })
}

fn within_hours(source: &Source) -> Result<(), Failure> {
    let Some(hours) = &source.allowed_hours else {
        return Ok(());
    };
    if Spi::get_one_with_args::<bool>(
        "SELECT gn_harvest.within_hours($1, localtime)",
        &[hours.as_str().into()],
    )?
    .unwrap_or(true)
    {
        return Ok(());
    }
    Err(Failure::new(run::OUT_OF_HOURS, format!("source \"{}\" may only be harvested from {}", source.name, hours.replace('-', " to ")))
        .detail("What has been written stays; a run within these hours goes on from there.")
        .hint("alter_source(name, allowed_hours => '...') changes them; clear => '{allowed_hours}' lifts them."))
}

/// What a run is going to read.
struct Reading {
    layout: Layout,
    order: Order,
    filters: Vec<(String, String)>,
    /// Becomes the source's watermark if the run succeeds.
    watermark: Option<String>,
    full: bool,
    resumed: bool,
}

fn harvest(session: &Session) -> Result<(), Failure> {
    let source = &session.source;
    phase(session, "asking the source", None)?;
    let mappings = postgres::transaction(|| source.field_mappings())?;
    let full = decide_mode(session)?;
    let reading = if full {
        prepare_full(session, &mappings)?
    } else {
        prepare_incremental(session, &mappings)?
    };
    probe::require_usable(&reading.layout)?;
    let mut synthese = postgres::transaction(|| {
        contract(session, &reading.layout)?;
        Synthese::open(
            source,
            session.task.run_id,
            session.owner,
            session.search_path,
        )
    })?;
    phase(session, "harvesting", None)?;
    let mut passes = 1;
    let mut totals = read(session, &reading, &mut synthese)?;
    while matches!(reading.order, Order::Pages { .. }) && totals.moved() && passes < MAX_PASSES {
        passes += 1;
        postgres::transaction(|| reset_pages(session.task.run_id))?;
        totals = read(session, &reading, &mut synthese)?;
    }
    postgres::transaction(|| conclude(session, &reading, &totals, passes))
}

pub fn phase(session: &Session, text: &str, total: Option<i64>) -> Result<(), Failure> {
    run::phase(session.task.run_id, &session.source.name, text, total)
}

/// Whether the run is a full one; writes what it is.
fn decide_mode(session: &Session) -> Result<bool, Failure> {
    let source = &session.source;
    postgres::transaction(|| {
        let unfinished = run::unfinished_full(source.id, &source.fingerprint())?.is_some();
        let full = match session.task.mode.as_str() {
            "full" => true,
            "incremental" if source.watermark.is_none() => {
                return Err(Failure::new(
                    "55000",
                    format!("source \"{}\" has no watermark to start from", source.name),
                )
                .detail("No full run of it has succeeded, or its export has no date of change.")
                .hint("Run it with mode => 'full', or 'auto'."));
            }
            "incremental" => false,
            _ => source.watermark.is_none() || unfinished,
        };
        let (mode, fingerprint) = if full {
            ("full", Some(source.fingerprint()))
        } else {
            ("incremental", None)
        };
        Spi::run_with_args(
            "UPDATE gn_harvest.run SET mode = $2, settings = $3 WHERE id = $1",
            &[session.task.run_id.into(), mode.into(), fingerprint.into()],
        )?;
        Ok(full)
    })
}

fn prepare_full(session: &Session, mappings: &[FieldMapping]) -> Result<Reading, Failure> {
    let (source, client) = (&session.source, &session.client);
    let sample = probe::sample(client, source)?;
    let items: Vec<&str> = sample.items().collect();
    if items.is_empty() {
        return Err(empty_export(source));
    }
    let layout = probe::layout(source, mappings, &items, sample.geojson)?;
    let clock = sample.server_date.unwrap_or_else(Utc::now);
    let mut watermark = match &layout.action_date {
        Some(column) => probe::changes(client, source, column, clock, None)?.greatest,
        None => None,
    };
    let total = sample.total.map(|total| total as i64);
    let unfinished =
        postgres::transaction(|| run::unfinished_full(source.id, &source.fingerprint()))?;
    let resumed = unfinished.is_some() && layout.key_is_number;
    let order = match &layout.key {
        Some(key) if layout.key_is_number => {
            let width = if let (Some(unfinished), true) = (&unfinished, resumed) {
                postgres::transaction(|| run::take_over(session.task.run_id, unfinished))?;
                // What changed since that run began is still to be asked for.
                watermark = unfinished.watermark.clone();
                i64::from(source.page_size)
            } else {
                cut_keys(session, &layout, total)?
            };
            Order::Windows {
                key: key.clone(),
                width: Some(width),
            }
        }
        key => {
            postgres::transaction(|| {
                run::forget_slices(source.id)?;
                // Page numbers mean nothing to a later run: nothing of this one can be taken up.
                Spi::run_with_args(
                    "UPDATE gn_harvest.run SET settings = NULL WHERE id = $1",
                    &[session.task.run_id.into()],
                )?;
                run::cut(session.task.run_id, ALL_PAGES.0, ALL_PAGES.1, 1)
            })?;
            Order::Pages {
                order_by: key.clone(),
            }
        }
    };
    announce(session, total, None, watermark.as_deref())?;
    Ok(Reading {
        layout,
        order,
        filters: source.filters(),
        watermark,
        full: true,
        resumed,
    })
}

fn empty_export(source: &Source) -> Failure {
    Failure::new("02000", format!("the export of source \"{}\" is empty", source.name))
        .detail("It has no record, so there is nothing to tell its columns by.")
        .hint("Ask the partner whether its view and its filters are right; SELECT * FROM gn_harvest.check_source(...) shows what was asked.")
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
    let slices = (total / (page * PAGES_PER_SLICE) + 1).min(MAX_SLICES);
    postgres::transaction(|| {
        run::forget_slices(source.id)?;
        run::cut(session.task.run_id, least, greatest, slices)
    })?;
    Ok((((greatest - least) / total).saturating_add(1))
        .saturating_mul(page)
        .max(page))
}

fn prepare_incremental(session: &Session, mappings: &[FieldMapping]) -> Result<Reading, Failure> {
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
        return Err(empty_export(source));
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
        Some(key) => (Order::Windows { key, width: None }, ALL_KEYS),
        None => (
            Order::Pages {
                order_by: layout.key.clone(),
            },
            ALL_PAGES,
        ),
    };
    postgres::transaction(|| run::cut(session.task.run_id, all.0, all.1, 1))?;
    announce(
        session,
        changes.page.total_filtered.map(|n| n as i64),
        Some(&since),
        later.as_deref(),
    )?;
    Ok(Reading {
        layout,
        order,
        filters,
        watermark: later,
        full: false,
        resumed: false,
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
fn contract(session: &Session, layout: &Layout) -> Result<(), Failure> {
    let mut names: Vec<String> = layout
        .recognised
        .iter()
        .map(|(name, _)| name.clone())
        .chain(layout.ignored.iter().cloned())
        .chain(layout.unknown.iter().cloned())
        .collect();
    names.sort_unstable();
    names.dedup();
    if let Some(before) = &session.source.export_columns {
        let gone: Vec<&str> = before
            .iter()
            .filter(|name| !names.contains(name))
            .map(String::as_str)
            .collect();
        let come: Vec<&str> = names
            .iter()
            .filter(|name| !before.contains(name))
            .map(String::as_str)
            .collect();
        if !gone.is_empty() {
            run::warn(
                session.task.run_id,
                &format!("columns that the export no longer has: {}", gone.join(", ")),
            )?;
        }
        if !come.is_empty() {
            run::warn(
                session.task.run_id,
                &format!("columns that are new in the export: {}", come.join(", ")),
            )?;
        }
    }
    Spi::run_with_args(
        "UPDATE gn_harvest.source_state SET export_columns = $2 WHERE source_id = $1 AND export_columns IS DISTINCT FROM $2",
        &[session.source.id.into(), names.into()],
    )?;
    Ok(())
}

/// What the answers of a reading said of the export's size.
#[derive(Debug, Default)]
struct Totals {
    least: Option<u64>,
    greatest: Option<u64>,
}

impl Totals {
    fn note(&mut self, total: Option<u64>) {
        if let Some(total) = total {
            self.least = Some(self.least.map_or(total, |least| least.min(total)));
            self.greatest = Some(self.greatest.map_or(total, |greatest| greatest.max(total)));
        }
    }

    fn moved(&self) -> bool {
        self.least != self.greatest
    }
}

/// Reads all slices and writes what comes.
fn read(session: &Session, reading: &Reading, synthese: &mut Synthese) -> Result<Totals, Failure> {
    let source = &session.source;
    let mut request = Request::new(source.export_id, reading.order.clone());
    request.filters = reading.filters.clone();
    request.page_size = source.page_size;
    request.connections = source.connections;
    request.queue = source.connections;
    request.uncapped = source.uncapped_pages;
    let (layout, lengths) = (reading.layout.clone(), synthese.lengths());
    let parse = Arc::new(move |page: &crate::geonature::Page| {
        let batch = record::parse_page(page.items(), &layout, &lengths);
        let keys = KeyRange::of(
            batch
                .records
                .iter()
                .filter_map(|(_, record)| record.key_number),
        );
        // Rejected records have keys too.
        let keys = KeyRange {
            first: [keys.first, batch.first_key].into_iter().flatten().min(),
            last: keys.last.max(batch.last_key),
            ..keys
        };
        (
            Parsed {
                items: page.items().map(str::to_owned).collect(),
                batch,
            },
            keys,
        )
    });
    let fetcher = Fetcher::start(session.client.clone(), request, parse, postgres::spawn)?;
    let mut writer = Writer {
        session,
        synthese,
        parts: Vec::new(),
        rows: 0,
        totals: Totals::default(),
    };
    let result = writer.follow(&fetcher);
    fetcher.stop(PATIENCE);
    result.map(|()| writer.totals)
}

/// Gathers parts into batches and writes them.
struct Writer<'a> {
    session: &'a Session<'a>,
    synthese: &'a mut Synthese,
    parts: Vec<Part<Parsed>>,
    rows: usize,
    totals: Totals,
}

impl Writer<'_> {
    fn follow(&mut self, fetcher: &Fetcher<Parsed>) -> Result<(), Failure> {
        let batch_size = settings::BATCH_SIZE.get() as usize;
        let (mut beat, mut news) = (Instant::now(), Instant::now());
        let mut open = true;
        loop {
            check_for_interrupts!();
            postgres::reload_if_asked();
            while open && fetcher.hungry() {
                open = self.feed(fetcher)?;
            }
            match fetcher.recv_timeout(Duration::from_millis(100)) {
                Some(Event::Part(part)) => {
                    news = Instant::now();
                    self.totals.note(part.total);
                    self.rows += part.rows;
                    self.parts.push(part);
                    if self.rows >= batch_size {
                        self.flush()?;
                    }
                }
                Some(Event::Failed(error)) => {
                    // What came whole is kept: the next run need not ask for it again.
                    self.flush()?;
                    return Err(error.into());
                }
                Some(Event::Finished) => return self.flush(),
                Some(Event::SliceDone(_)) => {}
                None if news.elapsed() > IDLE && !self.parts.is_empty() => self.flush()?,
                None => {}
            }
            if beat.elapsed() > HEARTBEAT {
                postgres::transaction(|| {
                    run::set_traffic(self.session.task.run_id, &self.session.traffic)
                })?;
                beat = Instant::now();
            }
        }
    }

    /// Claims a slice for the threads; false when there is none left.
    fn feed(&mut self, fetcher: &Fetcher<Parsed>) -> Result<bool, Failure> {
        match postgres::transaction(|| run::claim_slice(self.session.task.run_id))? {
            Some(slice) => {
                fetcher.add_slice(slice);
                Ok(true)
            }
            None => {
                fetcher.no_more_slices();
                Ok(false)
            }
        }
    }

    /// Writes what has been gathered, with the checkpoint, in one transaction.
    fn flush(&mut self) -> Result<(), Failure> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.parts);
        self.rows = 0;
        let covered: Vec<(i32, (i64, i64))> = parts
            .iter()
            .map(|part| (part.slice, part.covered))
            .collect();
        let hidden: u64 = parts.iter().map(|part| part.hidden).sum();
        let pages: Vec<Parsed> = parts.into_iter().map(|part| part.value).collect();
        let run_id = self.session.task.run_id;
        postgres::transaction(|| {
            within_hours(&self.session.source)?;
            let mut counts = Counts {
                hidden: hidden as i64,
                ..Counts::default()
            };
            self.synthese.write(&pages, &mut counts)?;
            for (slice, (first, last)) in &covered {
                run::checkpoint(run_id, *slice, *first, *last)?;
            }
            run::add(run_id, &counts, Some(&self.session.traffic))
        })
    }
}

fn reset_pages(run_id: i64) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.slice SET done = '{}', claimed_by = NULL WHERE run_id = $1",
        &[run_id.into()],
    )?;
    Ok(())
}

/// The run has read all: says what does not add up, moves the watermark.
fn conclude(
    session: &Session,
    reading: &Reading,
    totals: &Totals,
    passes: usize,
) -> Result<(), Failure> {
    let (run_id, source) = (session.task.run_id, &session.source);
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET source_total = $2 WHERE id = $1",
        &[
            run_id.into(),
            totals.greatest.map(|total| total as i64).into(),
        ],
    )?;
    if reading.full {
        say_what_does_not_add_up(session, reading, totals, passes)?;
    }
    if reading.full && reading.watermark.is_none() {
        run::warn(
            run_id,
            "the export has no usable date of change: every run is a full one",
        )?;
    }
    Spi::run_with_args(
        "UPDATE gn_harvest.source_state
         SET watermark = $2, watermark_column = $3, last_full_at = CASE WHEN $4 THEN clock_timestamp() ELSE last_full_at END
         WHERE source_id = $1",
        &[source.id.into(), reading.watermark.clone().into(), reading.layout.action_date.clone().into(), reading.full.into()],
    )?;
    run::forget_slices(source.id)
}

fn say_what_does_not_add_up(
    session: &Session,
    reading: &Reading,
    totals: &Totals,
    passes: usize,
) -> Result<(), Failure> {
    let run_id = session.task.run_id;
    let (fetched, repeated, hidden) = Spi::connect(|client| -> Result<(i64, i64, i64), Failure> {
        let row = client
            .select(
                "SELECT fetched, repeated, hidden FROM gn_harvest.run WHERE id = $1",
                Some(1),
                &[run_id.into()],
            )?
            .first();
        Ok((
            row.get::<i64>(1)?.unwrap_or(0),
            row.get::<i64>(2)?.unwrap_or(0),
            row.get::<i64>(3)?.unwrap_or(0),
        ))
    })?;
    if hidden > 0 {
        run::warn(
            run_id,
            &format!(
                "the source counts {hidden} records that it does not serve; a GeoJSON export leaves out those without geometry"
            ),
        )?;
    }
    if repeated > 0 {
        run::warn(
            run_id,
            &format!("the export's view gave {repeated} records more than once"),
        )?;
    }
    if passes > 1 {
        run::warn(
            run_id,
            &format!(
                "the export has no numeric key and changed while it was read: it was read {passes} times"
            ),
        )?;
    }
    let least = totals.least.unwrap_or(0) as i64;
    if !reading.resumed && passes == 1 && fetched + hidden < least {
        run::warn(
            run_id,
            &format!(
                "the source announces {least} records and gave {}",
                fetched + hidden
            ),
        )?;
    }
    Ok(())
}
