//! Replays the dead letters of a source from what was kept of them, through the same way as a harvest.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::harvest::{Session, phase};
use crate::mapping::FieldMapping;
use crate::record::{Batch, Reason};
use crate::run::{self, Counts};
use crate::source::MetadataMode;
use crate::synthese::{Parsed, Synthese};
use crate::{postgres, probe, record, settings};

/// Tries each dead letter that waits once more.
pub fn run(session: &Session) -> Result<(), Failure> {
    let source = &session.source;
    let total = postgres::transaction(|| waiting(source.id))?;
    phase(session, "retrying", Some(total))?;
    let mappings = postgres::transaction(|| source.field_mappings())?;
    let mut synthese = postgres::transaction(|| {
        Synthese::open(
            source,
            session.task.run_id,
            session.owner,
            session.search_path,
        )
    })?;
    replay(session, &mut synthese, &mappings, &Which::All)
}

/// Which dead letters are tried.
enum Which {
    All,
    /// Those that wait for one of these datasets.
    Datasets(Vec<String>),
    /// Those that wait for any dataset.
    AnyDataset,
}

/// Tries, at the end of a run, the dead letters that wait for a dataset that is here now.
pub fn run_resolvable(session: &Session, synthese: &mut Synthese) -> Result<(), Failure> {
    let source = &session.source;
    let samples = postgres::transaction(|| waiting_for_datasets(source.id, session.task.run_id))?;
    if samples.is_empty() {
        return Ok(());
    }
    let mappings = postgres::transaction(|| source.field_mappings())?;
    let which = if source.metadata_mode == MetadataMode::SingleDataset {
        Which::AnyDataset
    } else {
        let (items, values): (Vec<String>, Vec<String>) = samples.into_iter().unzip();
        let (_, batch) = parse(session, synthese, &mappings, &items)?;
        let here = postgres::transaction(|| synthese.datasets_here(batch))?;
        Which::Datasets(values.into_iter().filter(|v| here.contains(v)).collect())
    };
    match &which {
        Which::Datasets(values) if values.is_empty() => Ok(()),
        which => {
            phase(session, "retrying", None)?;
            replay(session, synthese, &mappings, which)
        }
    }
}

fn replay(
    session: &Session,
    synthese: &mut Synthese,
    mappings: &[FieldMapping],
    which: &Which,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        check_for_interrupts!();
        let (items, last) = postgres::transaction(|| {
            letters(session.source.id, session.task.run_id, after, which)
        })?;
        let Some(last) = last else { return Ok(()) };
        after = last;
        let (items, batch) = parse(session, synthese, mappings, &items)?;
        let page = vec![Parsed { items, batch }];
        postgres::transaction(|| {
            let mut counts = Counts::default();
            synthese.write(page, &mut counts)?;
            counts.pages = 0;
            run::add(session.task.run_id, &counts, None)
        })?;
    }
}

fn parse(
    session: &Session,
    synthese: &Synthese,
    mappings: &[FieldMapping],
    items: &[String],
) -> Result<(Vec<String>, Batch), Failure> {
    let texts: Vec<&str> = items.iter().map(String::as_str).collect();
    let geojson = texts.iter().all(|text| is_feature(text));
    let layout = probe::layout(&session.source, mappings, &texts, geojson)?;
    let batch = record::parse_page(texts.into_iter(), &layout, &synthese.lengths());
    Ok((items.to_vec(), batch))
}

/// A record for each dataset that records wait for (at most some hundreds), with the dataset's UUID; "" for none.
fn waiting_for_datasets(source_id: i32, run_id: i64) -> Result<Vec<(String, String)>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT DISTINCT ON (value) payload::text, coalesce(value, '') FROM gn_harvest.rejected
             WHERE source_id = $1 AND reason = 'unmapped_dataset' AND discarded_at IS NULL AND last_run <> $2
             ORDER BY value LIMIT 500",
            None,
            &[source_id.into(), run_id.into()],
        )?;
        let mut samples = Vec::with_capacity(rows.len());
        for row in rows {
            samples.extend(row.get::<String>(1)?.zip(row.get::<String>(2)?));
        }
        Ok(samples)
    })
}

fn waiting(source_id: i32) -> Result<i64, Failure> {
    Ok(Spi::get_one_with_args::<i64>(
        "SELECT count(*) FROM gn_harvest.rejected WHERE source_id = $1 AND discarded_at IS NULL",
        &[source_id.into()],
    )?
    .unwrap_or(0))
}

/// The next letters after a number, and the number of the last; none when there are no more.
fn letters(
    source_id: i32,
    run_id: i64,
    after: i64,
    which: &Which,
) -> Result<(Vec<String>, Option<i64>), Failure> {
    let (reason, values) = match which {
        Which::All => (None, None),
        Which::Datasets(values) => (Some(Reason::UnmappedDataset.code()), Some(values.clone())),
        Which::AnyDataset => (Some(Reason::UnmappedDataset.code()), None),
    };
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT id, payload::text FROM gn_harvest.rejected
             WHERE source_id = $1 AND discarded_at IS NULL AND id > $2 AND last_run <> $3
               AND ($5::text IS NULL OR reason = $5) AND ($6::text[] IS NULL OR value = ANY ($6))
             ORDER BY id LIMIT $4",
            None,
            &[
                source_id.into(),
                after.into(),
                run_id.into(),
                i64::from(settings::BATCH_SIZE.get()).into(),
                reason.into(),
                values.into(),
            ],
        )?;
        let mut items = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows {
            last = row.get::<i64>(1)?;
            items.extend(row.get::<String>(2)?);
        }
        Ok((items, last))
    })
}

fn is_feature(item: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
        properties: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Kind>(item)
        .is_ok_and(|kind| kind.kind.as_deref() == Some("Feature") && kind.properties.is_some())
}
