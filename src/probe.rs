//! The questions that a run asks a source before it reads it: what its export looks like, from which key to which,
//! until when. Each is a request in a thread, so that a cancel acts at once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::error::Failure;
use crate::geonature::{Client, Credentials, Endpoint, Limits, Page, PageQuery, Stop, Traffic};
use crate::mapping::{COLUMNS, DatasetOrigin, FieldMapping, Layout, MappingError, Origin};
use crate::postgres;
use crate::record::{self, Lengths};
use crate::settings;
use crate::source::{MetadataMode, Source, TargetKind};

/// Rows of the sample from which columns are recognised.
const SAMPLE: u32 = 100;
/// Dates further ahead of the server's own clock than this are no dates of change: no time zone is that far.
const AHEAD: chrono::TimeDelta = chrono::TimeDelta::days(1);

/// A client for a source, with the settings of the server.
pub fn client(
    source: &Source,
    traffic: &Arc<Traffic>,
    stop: &Arc<Stop>,
) -> Result<Client, Failure> {
    client_with(source, source.credentials(), traffic, stop)
}

/// A client that knows no secret, for what is open to everyone, wherever it is.
pub fn client_without_secrets(
    source: &Source,
    traffic: &Arc<Traffic>,
    stop: &Arc<Stop>,
) -> Result<Client, Failure> {
    client_with(source, Credentials::Public, traffic, stop)
}

fn client_with(
    source: &Source,
    credentials: Credentials,
    traffic: &Arc<Traffic>,
    stop: &Arc<Stop>,
) -> Result<Client, Failure> {
    let endpoint = Endpoint::new(&source.url, credentials)?;
    let limits = Limits {
        connect_timeout: Duration::from_secs(settings::CONNECT_TIMEOUT.get() as u64),
        request_timeout: Duration::from_secs(settings::REQUEST_TIMEOUT.get() as u64),
        max_body_bytes: settings::MAX_BODY.get() as u64 * 1024 * 1024,
        retry_budget: source.retry_budget,
        user_agent: settings::user_agent(),
        allowed_hosts: settings::allowed_hosts(),
        ca_pem: source
            .ca_certificate
            .as_ref()
            .map(|pem| pem.clone().into_bytes()),
        ..Limits::default()
    };
    let (traffic, stop) = (Arc::clone(traffic), Arc::clone(stop));
    Ok(postgres::with_signals_blocked(move || {
        Client::with_spawn(endpoint, limits, traffic, stop, postgres::spawn)
    })?)
}

/// Asks for one page, in a thread.
pub fn page(client: &Client, export_id: i32, query: PageQuery) -> Result<Page, Failure> {
    let client = client.clone();
    Ok(postgres::in_background(move || {
        client.page(export_id, &query)
    })??)
}

/// The first rows of the export: what its columns are.
pub fn sample(client: &Client, source: &Source) -> Result<Page, Failure> {
    let query = PageQuery {
        limit: Some(SAMPLE.min(source.page_size)),
        filters: source.filters(),
        ..PageQuery::default()
    };
    page(client, source.export_id, query)
}

/// Recognises the columns of some items.
pub fn layout(
    source: &Source,
    mappings: &[FieldMapping],
    items: &[&str],
    geojson: bool,
) -> Result<Layout, Failure> {
    layout_of(source, mappings, &[], items, geojson)
}

/// The same where the export is known to have columns that these items may lack; without names, theirs are all.
pub fn layout_of(
    source: &Source,
    mappings: &[FieldMapping],
    names: &[String],
    items: &[&str],
    geojson: bool,
) -> Result<Layout, Failure> {
    let (key, date) = (source.key_column.as_deref(), source.date_column.as_deref());
    let recognised = match source.target {
        TargetKind::Synthese => Layout::recognise(names, items, geojson, mappings, key, date),
        TargetKind::Records => Layout::recognise_whole(names, items, geojson, key, date),
    };
    let mut layout = recognised.map_err(|error| {
        let hint = match &error {
            MappingError::NoSuchColumn(_) => {
                "gn_harvest.check_source(...) lists the columns of the export."
            }
            _ => "Change it with gn_harvest.map_field(...).",
        };
        Failure::new("22023", error.to_string()).hint(hint)
    })?;
    if source.metadata_mode == MetadataMode::SingleDataset {
        // What the export says of its datasets is of no account, right or wrong.
        layout.dataset = DatasetOrigin::None;
    }
    Ok(layout)
}

/// Fails when no record of the export could ever be written.
pub fn require_usable(source: &Source, layout: &Layout) -> Result<(), Failure> {
    if source.target == TargetKind::Records {
        return match layout.key {
            Some(_) => Ok(()),
            None => Err(keyless(layout)),
        };
    }
    let missing: Vec<&str> = COLUMNS
        .iter()
        .zip(&layout.columns)
        .filter(|(column, origin)| {
            column.required && column.target != "date_max" && **origin == Origin::Absent
        })
        .map(|(column, _)| column.target)
        .collect();
    if !missing.is_empty() || layout.key.is_none() {
        let mut lacking: Vec<&str> = missing;
        lacking.extend(layout.key.is_none().then_some("entity_source_pk_value"));
        return Err(Failure::new("42703", "the export lacks columns that an observation can not do without")
            .detail(format!("Nothing feeds {}.", lacking.join(", ")))
            .hint("Ask the partner to add them, or fill them with gn_harvest.map_field(source, column, source_column => ... or constant => ...)."));
    }
    if layout.dataset == DatasetOrigin::None && source.metadata_mode != MetadataMode::SingleDataset
    {
        return Err(Failure::new("42703", "the export does not say to which dataset its records belong")
            .detail("It has neither jdd_data nor jdd_uuid.")
            .hint("Ask the partner to add jdd_uuid, name its column with gn_harvest.map_field(source, 'id_dataset', source_column => ...), or put everything into one dataset: alter_source(name, metadata_mode => 'single_dataset', target_dataset => ...)."));
    }
    Ok(())
}

fn keyless(layout: &Layout) -> Failure {
    Failure::new("42703", "nothing tells the records of the export apart")
        .detail(format!(
            "It has neither id_synthese, nor id, nor a UUID. Its columns: {}.",
            layout.export_columns().join(", ")
        ))
        .hint("Name the column that does: gn_harvest.alter_source(name, key_column => '...').")
}

/// The least or the greatest key of the export.
pub fn extreme_key(
    client: &Client,
    source: &Source,
    layout: &Layout,
    greatest: bool,
) -> Result<Option<i64>, Failure> {
    let Some(key) = &layout.key else {
        return Ok(None);
    };
    let order_by = if greatest {
        format!("{key}:desc")
    } else {
        key.clone()
    };
    let query = PageQuery {
        limit: Some(1),
        order_by: Some(order_by),
        filters: source.filters(),
        ..PageQuery::default()
    };
    let found = page(client, source.export_id, query)?;
    let batch = record::parse_page(found.items(), layout, &Lengths::default());
    Ok(batch.last_key)
}

/// What has changed since `since` (all, without it), by the source's own dates.
pub struct Changes {
    /// The greatest date of change, as the source wrote it.
    pub greatest: Option<String>,
    pub page: Page,
}

/// What an export looked like at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub total: Option<u64>,
    /// Of which those that were asked for.
    pub counted: Option<u64>,
    greatest: Option<String>,
}

/// Asks for the record that changed last, leaving out dates that lie in the future of the server's own clock.
pub fn changes(
    client: &Client,
    source: &Source,
    date_column: &str,
    clock: DateTime<Utc>,
    since: Option<&str>,
) -> Result<Changes, Failure> {
    let horizon = (clock + AHEAD).format("%Y-%m-%d %H:%M:%S").to_string();
    let mut filters = source.filters();
    filters.push((format!("filter_d_lo_{date_column}"), horizon));
    filters.extend(since.map(|since| (format!("filter_d_up_{date_column}"), since.to_owned())));
    let query = PageQuery {
        limit: Some(1),
        order_by: Some(format!("{date_column}:desc")),
        filters,
        ..PageQuery::default()
    };
    let page = page(client, source.export_id, query)?;
    let items: Vec<&str> = page.items().collect();
    let greatest = match items.first() {
        None => None,
        Some(_) => {
            let layout = layout(source, &[], &items, page.geojson)?;
            record::parse_page(items.iter().copied(), &layout, &Lengths::default()).greatest_action
        }
    };
    // A source that leaves the filter out may still answer with a date of the future.
    let greatest = greatest.filter(|date| {
        record::parse_date(date).is_some_and(|date| date <= (clock + AHEAD).naive_utc())
    });
    Ok(Changes { greatest, page })
}

/// What the export looks like now: the same before and after means that nothing came, went or changed in between.
pub fn mark(
    client: &Client,
    source: &Source,
    date_column: Option<&str>,
    clock: DateTime<Utc>,
    since: Option<&str>,
) -> Result<Mark, Failure> {
    let (page, greatest) = match date_column {
        Some(column) => {
            let changes = changes(client, source, column, clock, since)?;
            (changes.page, changes.greatest)
        }
        None => {
            let query = PageQuery {
                limit: Some(1),
                filters: source.filters(),
                ..PageQuery::default()
            };
            (page(client, source.export_id, query)?, None)
        }
    };
    Ok(Mark {
        total: page.total,
        counted: page.total_filtered,
        greatest,
    })
}

/// From where an incremental run asks: the watermark less the look-back, as the source's filters want it.
pub fn since(watermark: &str, look_back_seconds: i64) -> Option<String> {
    let from: NaiveDateTime = record::parse_date(watermark)?
        .checked_sub_signed(chrono::TimeDelta::seconds(look_back_seconds))?;
    Some(from.format("%Y-%m-%d %H:%M:%S%.f").to_string())
}
