//! Reads the slices of a run and writes what comes: parts are gathered into batches, and each batch, with its lineage,
//! its checkpoint and what was found missing, is one transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use crate::batch::{Compare, Place, numbers};
use crate::bootstrap::{self, FileToRead};
use crate::error::Failure;
use crate::fetch::file::FileReader;
use crate::fetch::{Event, Fetcher, KeyRange, Part, Request, Slice};
use crate::handover::{self, Handover, Pages, Span};
use crate::harvest::{Session, phase, within_hours};
use crate::intake::Intake;
use crate::reading::Reading;
use crate::record::Batch;
use crate::run::{self, Counts};
use crate::target::{self, Parsed, Target};
use crate::writers::Writers;
use crate::{postgres, probe, settings, slices};

/// How long threads may take to end before they are left behind.
const PATIENCE: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A batch is written when this has passed without news, full or not.
const IDLE: Duration = Duration::from_secs(2);
/// A batch is written when its records have come in this many bytes, however few they are: large ones take memory too.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// Exports without a numeric key are read again when they changed while they were read.
const MAX_PASSES: usize = 3;
/// Batches into which the share of a writer is cut, when it is not large.
const BATCHES_OF_A_WRITER: usize = 4;

/// What a reading has seen, beside the records.
#[derive(Debug, Default)]
pub struct Seen {
    /// The export's own totals, as its answers said.
    pub least_total: Option<u64>,
    pub greatest_total: Option<u64>,
    /// Keys that an incremental run with a log of deletions has read.
    pub keys: Vec<i64>,
    /// Records that the source hides: of the windows where they are, nothing can be said to be missing.
    pub hidden: u64,
    /// Pages by number shifted in every reading: records may have been passed over.
    pub unsteady: bool,
}

impl Seen {
    fn note(&mut self, total: Option<u64>) {
        if let Some(total) = total {
            self.least_total = Some(self.least_total.map_or(total, |least| least.min(total)));
            self.greatest_total = Some(
                self.greatest_total
                    .map_or(total, |greatest| greatest.max(total)),
            );
        }
    }

    /// Whether the export's total changed while it was read.
    pub fn moved(&self) -> bool {
        self.least_total != self.greatest_total
    }
}

/// Reads by page numbers. A record that comes or goes shifts the pages behind it, and another that would have been next
/// is passed over: then all is read again. One of each leaves the count as it was, but dates of change betray it; as they
/// betray mere updates too, a second reading with an unmoved count is enough: to be lost, a record would have to be passed
/// over in each.
pub fn read_until_still(
    session: &Session,
    reading: &Reading,
    target: &mut dyn Target,
) -> Result<(Seen, usize), Failure> {
    let mut before = mark(session, reading)?;
    let mut passes = 1;
    loop {
        let mut seen = read(session, reading, target)?;
        let after = mark(session, reading)?;
        let counted_same =
            !seen.moved() && (after.total, after.counted) == (before.total, before.counted);
        if (counted_same && (after == before || passes > 1)) || passes == MAX_PASSES {
            seen.unsteady = !counted_same;
            return Ok((seen, passes));
        }
        passes += 1;
        before = after;
        postgres::transaction(|| slices::read_again(session.task.run_id))?;
    }
}

fn mark(session: &Session, reading: &Reading) -> Result<probe::Mark, Failure> {
    let (client, source) = (&session.client, &session.source);
    let column = reading.layout.action_date.as_deref();
    probe::mark(
        client,
        source,
        column,
        reading.clock,
        reading.since.as_deref(),
    )
}

/// Reads all slices and writes what comes, or has it written. What a writer that failed has left is read again.
pub fn read(
    session: &Session,
    reading: &Reading,
    target: &mut dyn Target,
) -> Result<Seen, Failure> {
    let mut writers = Writers::muster(session, reading)?;
    let mut seen = Seen::default();
    loop {
        let intake = match &reading.file {
            None => Intake::Export(start_export(session, reading, target)?),
            Some(file) => Intake::File(start_file(session, file, target)?, file),
        };
        let mut writer = Writer {
            session,
            reading,
            target,
            writers: &mut writers,
            parts: Vec::new(),
            rows: 0,
            bytes: 0,
            seen: &mut seen,
        };
        let result = writer.follow(&intake);
        intake.stop(PATIENCE);
        result?;
        let Some(others) = writers.take() else {
            return Ok(seen);
        };
        others.finish(session)?;
        if !postgres::transaction(|| release_lost(session.task.run_id))? {
            return Ok(seen);
        }
    }
}

/// Whether writers have left something, which can be read again then.
fn release_lost(run_id: i64) -> Result<bool, Failure> {
    let lost = slices::release_claims(run_id)?;
    if lost {
        run::warn(
            run_id,
            "a writer ended before its work was done: what it had not written was read again",
        )?;
    }
    Ok(lost)
}

/// Starts to read the file, what of it nobody has written. Where that is nothing, its dates are still to be read.
fn start_file(
    session: &Session,
    file: &FileToRead,
    target: &dyn Target,
) -> Result<FileReader<Parsed>, Failure> {
    let run_id = session.task.run_id;
    let slice = postgres::transaction(|| match slices::claim(run_id)? {
        Some(slice) => Ok(slice),
        None => Ok(Slice {
            no: slices::last(run_id)?,
            remaining: Vec::new(),
        }),
    })?;
    file.start(slice, &target.reader())
}

/// Starts to read the export: slices are asked for and given later.
fn start_export(
    session: &Session,
    reading: &Reading,
    target: &dyn Target,
) -> Result<Fetcher<Parsed>, Failure> {
    let source = &session.source;
    let mut request = Request::new(source.export_id, reading.order.clone());
    request.filters = reading.filters.clone();
    request.page_size = source.page_size;
    request.connections = source.connections;
    request.queue = source.connections;
    request.uncapped = source.uncapped_pages;
    let (layout, reader) = (reading.layout.clone(), target.reader());
    let parse = Arc::new(move |page: &crate::geonature::Page| {
        let parsed = target::parse(&reader, &layout, page.items());
        let batch = &parsed.batch;
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
            keys: numbers(batch).collect(),
            ..keys
        };
        (parsed, keys)
    });
    let client = session.client.clone();
    Ok(Fetcher::start(client, request, parse, postgres::spawn)?)
}

/// Gathers parts into batches and writes them.
struct Writer<'a> {
    session: &'a Session<'a>,
    reading: &'a Reading,
    target: &'a mut dyn Target,
    writers: &'a mut Option<Writers>,
    parts: Vec<Part<Parsed>>,
    rows: usize,
    bytes: u64,
    seen: &'a mut Seen,
}

impl Writer<'_> {
    fn follow(&mut self, intake: &Intake) -> Result<(), Failure> {
        let (mut beat, mut news) = (Instant::now(), Instant::now());
        let mut open = true;
        loop {
            check_for_interrupts!();
            postgres::reload_if_asked();
            if let Some(writers) = self.writers {
                writers.look_after(self.session)?;
            }
            while open && intake.hungry() {
                open = self.feed(intake)?;
            }
            // A writer that is being sent something takes it piece by piece.
            let hurry = self.writers.as_ref().is_some_and(Writers::is_sending);
            let glance = Duration::from_millis(if hurry { 5 } else { 100 });
            match postgres::shown_as_waiting(|| intake.recv_timeout(glance)) {
                Some(Event::Part(part)) => {
                    news = Instant::now();
                    self.seen.note(part.total);
                    if let Some(file) = &self.reading.file {
                        file.note_end(part.covered);
                    }
                    self.rows += part.rows;
                    self.bytes += part.bytes;
                    self.parts.push(part);
                    if self.rows >= self.batch_size() || self.bytes >= BATCH_BYTES {
                        self.flush()?;
                    }
                }
                Some(Event::Failed(error)) => {
                    // What came whole is kept: the next run need not ask for it again.
                    self.flush()?;
                    return Err(intake.failure(error));
                }
                Some(Event::Finished) => {
                    intake.finished();
                    return self.flush();
                }
                Some(Event::Restarted { slice, mark }) => self.begin_anew(slice, mark)?,
                Some(Event::SliceDone(_)) => {}
                None if news.elapsed() > IDLE && !self.parts.is_empty() => self.flush()?,
                None => {}
            }
            if beat.elapsed() > HEARTBEAT {
                postgres::transaction(|| {
                    run::set_traffic(self.session.task.run_id, &self.session.traffic)
                })?;
                if let Some(text) = intake.progress() {
                    phase(self.session, &text, None)?;
                }
                beat = Instant::now();
            }
        }
    }

    /// Claims a slice for the threads; false when there is none left.
    fn feed(&mut self, intake: &Intake) -> Result<bool, Failure> {
        let Intake::Export(fetcher) = intake else {
            return Ok(false);
        };
        match postgres::transaction(|| slices::claim(self.session.task.run_id))? {
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

    /// The file is another one than before. What came of that one and is written already stays; what is not, does not
    /// count, and must not come after what comes of this one.
    fn begin_anew(&mut self, slice: i32, mark: Option<String>) -> Result<(), Failure> {
        let Some(file) = &self.reading.file else {
            return Ok(());
        };
        self.parts.clear();
        (self.rows, self.bytes) = (0, 0);
        if let Some(writers) = self.writers {
            writers.settle(self.session)?;
        }
        let (session, run_id) = (self.session, self.session.task.run_id);
        postgres::transaction(|| {
            let read_before = run::fetched(run_id)?.0 > 0;
            if read_before && session.task.planned().is_some() {
                return Err(bootstrap::replaced_under_a_plan());
            }
            if read_before {
                run::warn(run_id, bootstrap::READ_AGAIN)?;
            }
            file.restarted(session, slice, mark)
        })
    }

    /// Records of a batch. Several writers get some each before the end, so that they end together.
    fn batch_size(&self) -> usize {
        let most = settings::BATCH_SIZE.get() as usize;
        match (&*self.writers, self.seen.greatest_total) {
            (Some(writers), Some(total)) => {
                let share = total as usize / (writers.count() * BATCHES_OF_A_WRITER);
                share.max(most / BATCHES_OF_A_WRITER).min(most)
            }
            _ => most,
        }
    }

    /// Writes what has been gathered, or hands it to be written.
    fn flush(&mut self) -> Result<(), Failure> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.parts);
        (self.rows, self.bytes) = (0, 0);
        self.seen.hidden += parts.iter().map(|part| part.hidden).sum::<u64>();
        if !self.reading.full && self.reading.means.tells() {
            self.seen
                .keys
                .extend(parts.iter().flat_map(|part| numbers(&part.value.batch)));
        }
        let compare = match (self.reading.compares(), self.reading.is_numeric()) {
            (false, _) => Compare::Nothing,
            (true, true) => Compare::Keys,
            (true, false) => Compare::Texts,
        };
        let place = Place {
            run_id: self.session.task.run_id,
            source: &self.session.source,
            layout: self.reading.records_layout(),
            compare,
            leader: None,
        };
        let (pages, batches) = match self.writers {
            None => apart(parts),
            Some(writers) => {
                let message = announce(self.session, self.target, parts)?;
                postgres::give_memory_back();
                let Some(message) = writers.hand_over(self.session, message)? else {
                    return Ok(());
                };
                // None is left to write it.
                let pages = Handover::decode(&message)?.pages;
                let batches = place.parse(&pages, self.target);
                (pages, batches)
            }
        };
        let traffic = Some(&*self.session.traffic);
        place.write(&pages, batches, self.target, traffic)
    }
}

/// Finds out what writers have to know of parts; all of it, to be handed to one. What was parsed is gone
/// before that is put together, and the texts before a writer is waited for.
fn announce(
    session: &Session,
    target: &mut dyn Target,
    parts: Vec<Part<Parsed>>,
) -> Result<Vec<u8>, Failure> {
    let pages: Vec<&Parsed> = parts.iter().map(|part| &part.value).collect();
    let findings = target::patiently(target, &session.source, |target| {
        within_hours(&session.source)?;
        let mut counts = Counts::default();
        let findings = target.prepare(&pages, &mut counts)?;
        if !counts.is_nothing() {
            run::add(session.task.run_id, &counts, None)?;
        }
        Ok(findings)
    })?;
    let texts: Vec<(Span, Vec<String>)> = parts
        .into_iter()
        .map(|part| (span(&part), part.value.items))
        .collect();
    postgres::give_memory_back();
    let pages = texts.iter().map(|(span, items)| (*span, &items[..]));
    Ok(handover::encode(&findings, pages))
}

fn apart(parts: Vec<Part<Parsed>>) -> (Pages, Vec<Batch>) {
    let mut pages = Pages::default();
    let mut batches = Vec::with_capacity(parts.len());
    for part in parts {
        pages.add(span(&part), part.value.items);
        batches.push(part.value.batch);
    }
    (pages, batches)
}

fn span(part: &Part<Parsed>) -> Span {
    Span {
        slice: part.slice,
        covered: part.covered,
        hidden: part.hidden,
    }
}
