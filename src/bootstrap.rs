//! The first full run of a source that names a file: what the partner's GeoNature wrote last night is read instead of
//! the export, through the same rules, and increments go on from it by the API. Nothing is deleted for not being in it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Failure;
use crate::fetch::file::{Beginning, FileReader, FileRequest, LAST_PLACE, Latest, ReadItems, look};
use crate::fetch::{FetchError, Slice};
use crate::file::{self, Format, Kinds};
use crate::geonature::{Client, Page, parse_file_url};
use crate::harvest::Session;
use crate::mapping::{self, COLUMNS, FieldMapping, GeometryOrigin, Layout, Origin};
use crate::publication::Exports;
use crate::record::{self, Batch, Reason};
use crate::run;
use crate::source::{Source, TargetKind};
use crate::target::{Parsed, Reader};
use crate::{postgres, probe, settings, slices};

/// Records that are looked at before a file is read.
const SAMPLE: usize = 100;
/// A file that has fewer records than this share of what the export announces is not its file, or an old one.
const LEAST_SHARE: f64 = 0.9;
/// What is known of the source from a file is as of this long before the file's own date. Dates of change are the
/// partner's local time, without a zone, and the file's date is UTC: no zone is more than twelve hours behind it, and
/// twelve more are left for the writing of the file, whose contents are as of when that began.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// The file that a run reads.
pub struct FileToRead {
    client: Client,
    /// What of it is read is filled in when it is known.
    request: FileRequest,
    /// How its records are read.
    pub layout: Layout,
    /// What tells it from the next one at its address; another one when it was replaced under way.
    mark: RefCell<Option<String>>,
    /// The settings of the run without the file: whoever goes on with it needs both to be the same.
    fingerprint: String,
    /// Its address, and when it was written.
    pub described: String,
    /// Records that the export announces.
    pub announced: Option<i64>,
    /// What of the partner's selection it holds.
    pub selection: Option<i64>,
    /// Records that are left to read, as far as is known, when an earlier run has read a part.
    pub left: Option<i64>,
    pub resumed: bool,
    /// When it was written, by its own date, else not after the server gave it.
    written: Cell<DateTime<Utc>>,
    /// Known when it was read to its end.
    latest: RefCell<Option<String>>,
    records: Cell<Option<i64>>,
}

/// The address of the file, when the run that is being prepared has to read it.
pub fn wanted(source: &Source, reconcile: bool) -> Option<&str> {
    let first = source.last_full_at.is_none() && !reconcile;
    source.bootstrap_url.as_deref().filter(|_| first)
}

/// Bytes that a file, and a record of it, may have.
fn limits() -> (u64, usize) {
    let bytes = |megabytes: i32| megabytes as u64 * 1024 * 1024;
    let longest = bytes(settings::MAX_BODY.get());
    (bytes(settings::MAX_FILE.get()), longest as usize)
}

/// A file at an address, as the export's own answers let it be understood.
pub struct Looked {
    pub client: Client,
    pub beginning: Beginning,
    pub layout: Layout,
    kinds: Kinds,
}

/// Looks at the beginning of a file; fails when it is not the file of this export.
pub fn look_at(
    session: &Session,
    address: &str,
    mappings: &[FieldMapping],
    (sample, api): (&Page, &Layout),
) -> Result<Looked, Failure> {
    let source = &session.source;
    let client = probe::client_without_secrets(source, &session.traffic, session.client.stop())?;
    let items: Vec<&str> = sample.items().collect();
    let kinds = Kinds::of(&items, sample.geojson);
    let url = parse_file_url(address)?;
    let (asked, known, limits) = (client.clone(), kinds.clone(), limits());
    let beginning = postgres::in_background(move || look(&asked, &url, limits, SAMPLE, &known))?
        .map_err(unreadable)?;
    if beginning.items.is_empty() {
        return Err(no_records());
    }
    let layout = file_layout(source, mappings, &beginning, api)?;
    Ok(Looked {
        client,
        beginning,
        layout,
        kinds,
    })
}

/// Finds out what of the file there is to read; where an earlier run has read a part of it, what is left.
pub fn prepare(
    session: &Session,
    address: &str,
    mappings: &[FieldMapping],
    (sample, api): (&Page, &Layout),
) -> Result<FileToRead, Failure> {
    let source = &session.source;
    let looked = look_at(session, address, mappings, (sample, api))?;
    let head = &looked.beginning.head;
    let (most, longest) = limits();
    let items: Vec<&str> = looked.beginning.items.iter().map(String::as_str).collect();
    let whole = source.target == TargetKind::Records || keeps_dates(&looked);
    let written = head.modified.map_or("unknown date".to_owned(), in_utc);
    let mut file = FileToRead {
        client: looked.client,
        request: FileRequest {
            url: parse_file_url(address)?,
            most,
            longest,
            kinds: looked.kinds,
            geojson: looked.layout.geojson,
            whole,
            rows: source.page_size as usize,
            queue: source.connections,
            slice: Slice {
                no: 0,
                remaining: Vec::new(),
            },
            mark: None,
        },
        layout: looked.layout,
        mark: RefCell::new(head.mark()),
        fingerprint: source.fingerprint(mappings),
        described: format!("{address} of {written}"),
        announced: sample.total.map(|total| total as i64),
        selection: Exports::of(source, &items).selection,
        left: None,
        resumed: false,
        written: Cell::new(head.as_of()),
        latest: RefCell::default(),
        records: Cell::default(),
    };
    postgres::transaction(|| {
        file.take_up(session)?;
        run::set_read_from(session.task.run_id, &file.described)
    })?;
    Ok(file)
}

impl FileToRead {
    /// Takes what an earlier run has left of the same file, or all of it.
    fn take_up(&mut self, session: &Session) -> Result<(), Failure> {
        let (run_id, source_id) = (session.task.run_id, session.source.id);
        let planned = session.task.planned().is_some();
        let settings = self.settings();
        if !planned {
            run::set_settings(run_id, settings.as_deref())?;
        }
        let unfinished = match &settings {
            Some(settings) => slices::unfinished(source_id, settings)?,
            None => None,
        };
        match (&unfinished, planned) {
            (Some(unfinished), false) => slices::take_over(run_id, unfinished)?,
            (Some(unfinished), true) => slices::borrow(run_id, unfinished)?,
            (None, true) => slices::cut(run_id, 0, LAST_PLACE, 1)?,
            (None, false) => {
                slices::forget(source_id)?;
                slices::cut(run_id, 0, LAST_PLACE, 1)?;
            }
        }
        self.resumed = unfinished.is_some();
        self.left = unfinished.and_then(|unfinished| unfinished.left);
        Ok(())
    }

    /// What another run has to share to go on with this one; none when the file can not be told from the next.
    fn settings(&self) -> Option<String> {
        let mark = self.mark.borrow();
        let mark = mark.as_ref()?;
        let url = &self.request.url;
        Some(format!("{} file {url} {mark}", self.fingerprint))
    }

    /// The file is another one than before: what was read of that one is void. In a transaction.
    pub fn restarted(
        &self,
        session: &Session,
        slice: i32,
        mark: Option<String>,
    ) -> Result<(), Failure> {
        let run_id = session.task.run_id;
        *self.mark.borrow_mut() = mark;
        if session.task.planned().is_none() {
            run::set_settings(run_id, self.settings().as_deref())?;
        }
        slices::begin_anew(run_id, slice, LAST_PLACE)
    }

    /// Starts to read what of a slice is left.
    pub fn start(&self, slice: Slice, reader: &Reader) -> Result<FileReader<Parsed>, Failure> {
        let request = FileRequest {
            slice,
            mark: self.mark.borrow().clone(),
            ..self.request.clone()
        };
        let (reader, layout) = (Arc::clone(reader), self.layout.clone());
        let read: ReadItems<Parsed> =
            Arc::new(move |items, horizon| read(&reader, &layout, items, horizon));
        FileReader::start(self.client.clone(), request, read, postgres::spawn).map_err(unreadable)
    }

    /// It was read to its end.
    pub fn finished(&self, reader: &FileReader<Parsed>) {
        self.written.set(reader.head().as_of());
        self.latest.replace(reader.latest());
    }

    /// Notes how many records it has, as its last part tells.
    pub fn note_end(&self, (first, last): (i64, i64)) {
        if last == LAST_PLACE {
            self.records.set(Some(first));
        }
    }

    /// From when on changes are asked for, as the source writes dates: what the file tells, and never later than it can
    /// know of. None: its records have no date of change.
    pub fn watermark(&self) -> Option<String> {
        let latest = self.latest.borrow();
        let date = record::parse_date(latest.as_ref()?)?;
        Some(date.min(self.known_until()).format(DATE).to_string())
    }

    /// From when on deletions are asked for.
    pub fn deletions_since(&self) -> String {
        let until = || self.known_until().format(DATE).to_string();
        self.watermark().unwrap_or_else(until)
    }

    fn known_until(&self) -> NaiveDateTime {
        (self.written.get() - MARGIN).naive_utc()
    }

    /// What is to be said when the file has much less than the export announces.
    pub fn shortage(&self) -> Option<String> {
        let (records, announced) = (self.records.get()?, self.announced?);
        let few = (records as f64) < announced as f64 * LEAST_SHARE;
        few.then(|| {
            format!(
                "the file has {records} records, the export announces {announced}: it is old, or of another export, or leaves out records without geometry; a run with mode => 'full' reads the export itself"
            )
        })
    }
}

const DATE: &str = "%Y-%m-%d %H:%M:%S%.f";

pub fn in_utc(date: DateTime<Utc>) -> String {
    date.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How far a reading has come, for people.
pub fn in_words((read, length): (u64, Option<u64>)) -> String {
    let read = in_megabytes(read);
    match length {
        Some(length) => format!("reading the file: {read} of {}", in_megabytes(length)),
        None => format!("reading the file: {read}"),
    }
}

pub fn in_megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Called by a thread: the records of some texts, and the latest change up to a date.
fn read(
    reader: &Reader,
    layout: &Layout,
    mut items: Vec<String>,
    horizon: NaiveDateTime,
) -> (Parsed, Option<Latest>) {
    let texts: Vec<&str> = items.iter().map(String::as_str).collect();
    let batch = reader(&texts, layout);
    let latest = latest(&batch, horizon);
    for (position, rejection) in &batch.rejected {
        // A page of the API is JSON as a whole; of a file only a record that was read is known to be.
        if rejection.reason == Reason::BadJson {
            let item = std::mem::take(&mut items[*position]);
            items[*position] = file::storable(item);
        }
    }
    (Parsed { items, batch }, latest)
}

fn latest(batch: &Batch, horizon: NaiveDateTime) -> Option<Latest> {
    let dates = batch.records.iter().filter_map(|(_, record)| {
        let text = record.action_date.as_deref()?;
        let date = record::parse_date(text).filter(|date| *date <= horizon)?;
        Some((date, text))
    });
    dates.max().map(|(date, text)| (date, text.to_owned()))
}

/// Whether a date goes into the target as the text that it is: a file writes it otherwise than the API.
fn keeps_dates(looked: &Looked) -> bool {
    let columns = COLUMNS.iter().zip(&looked.layout.columns);
    let mut texts = columns.filter_map(|(column, origin)| match (column.kind, origin) {
        (mapping::Kind::Timestamp, _) => None,
        (_, Origin::Export(name)) => Some(name),
        _ => None,
    });
    texts.any(|name| looked.kinds.get(name) == file::Kind::Moment)
}

/// How the records of a file are read: as those of the export, or not at all.
fn file_layout(
    source: &Source,
    mappings: &[FieldMapping],
    beginning: &Beginning,
    api: &Layout,
) -> Result<Layout, Failure> {
    let items: Vec<&str> = beginning.items.iter().map(String::as_str).collect();
    let geojson =
        beginning.format == Format::Json && items.first().is_some_and(|item| is_feature(item));
    let found: HashSet<String> = mapping::column_names(&items, geojson).into_iter().collect();
    let names = api.export_columns();
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !found.contains(*name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let detail = format!("Columns that only the export has: {}.", missing.join(", "));
        return Err(not_its_file(detail));
    }
    if api.geometry == GeometryOrigin::Feature && !geojson {
        return Err(without_geometry());
    }
    let read = probe::layout_of(source, mappings, &names, &items, geojson)?;
    if api.key_is_number && !read.key_is_number {
        let key = api.key.as_deref().unwrap_or_default();
        return Err(not_its_file(format!("Its \"{key}\" is no number.")));
    }
    Ok(Layout {
        geojson,
        ..api.clone()
    })
}

#[derive(Deserialize)]
struct Feature<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, rename = "properties")]
    _properties: &'a RawValue,
}

fn is_feature(item: &str) -> bool {
    serde_json::from_str::<Feature>(item).is_ok_and(|feature| feature.kind == "Feature")
}

const OTHERWISE: &str = "with gn_harvest.alter_source(name, bootstrap_url => '...'), or read everything through the API: alter_source(name, clear => '{bootstrap_url}').";

fn not_its_file(detail: String) -> Failure {
    Failure::new("42703", "the file to begin with is not that of the export")
        .detail(detail)
        .hint(format!(
            "Give the file of this export, written after its last change, {OTHERWISE}"
        ))
}

fn without_geometry() -> Failure {
    Failure::new("42703", "the file to begin with has no geometry")
        .detail("The export gives its geometries as GeoJSON only.")
        .hint(format!("Give the file that ends with .geojson {OTHERWISE}"))
}

/// A file without records says nothing of the export.
fn no_records() -> Failure {
    Failure::new("22032", "the file to begin with has no record").hint(format!(
        "Ask the partner whether the export is scheduled, give another file {OTHERWISE}"
    ))
}

/// Said when it happens in the middle of a run.
pub const READ_AGAIN: &str =
    "the file was replaced by another while it was read: that one was read from its beginning";

/// What a plan has counted can not be taken back.
pub fn replaced_under_a_plan() -> Failure {
    Failure::new(
        "55000",
        "the file was replaced by another while it was read",
    )
    .hint("Plan it again: SELECT * FROM gn_harvest.plan(name);")
}

/// A failure to read the file, told from one to read the export.
pub fn unreadable(error: FetchError) -> Failure {
    let failure = Failure::from(error.clone());
    match error {
        FetchError::Stopped | FetchError::Internal(_) => failure,
        FetchError::FileMissing { .. }
        | FetchError::FileBroken { .. }
        | FetchError::FileTooLarge { .. }
        | FetchError::HostNotAllowed { .. }
        | FetchError::InvalidFileUrl { .. } => failure,
        _ => Failure {
            message: format!(
                "the file to begin with could not be read: {}",
                failure.message
            ),
            ..failure
        }
        .hint(format!(
            "What came of it stays, and the next run goes on from there. Give another file {OTHERWISE}"
        )),
    }
}
