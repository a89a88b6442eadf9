//! Replays the dead letters of a source from what was kept of them, through the same way as a harvest.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::harvest::{Session, phase, require_same_source};
use crate::mapping::{self, FieldMapping};
use crate::record::Reason;
use crate::run::{self, Counts};
use crate::source::MetadataMode;
use crate::synthese;
use crate::target::{self, Opened, Parsed, Target};
use crate::{postgres, probe, settings};

/// Tries each dead letter that waits once more.
pub fn run(session: &Session) -> Result<(), Failure> {
    let source = &session.source;
    let total = postgres::transaction(|| waiting(source.id))?;
    phase(session, "retrying", Some(total))?;
    let mappings = postgres::transaction(|| source.field_mappings())?;
    let mut opened = postgres::transaction(|| {
        require_same_source(source)?;
        Opened::open(session)
    })?;
    replay(session, opened.target(), &mappings, &Which::All)?;
    postgres::transaction(|| {
        opened.tell()?;
        synthese::forget_awaited_taxa(source.id)
    })
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
pub fn run_resolvable(session: &Session, target: &mut dyn Target) -> Result<(), Failure> {
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
        let texts = items.iter().map(String::as_str);
        let mut here = Vec::new();
        for page in parse(session, &mappings, target, texts)? {
            here.extend(postgres::transaction(|| target.datasets_here(page.batch))?);
        }
        Which::Datasets(values.into_iter().filter(|v| here.contains(v)).collect())
    };
    match &which {
        Which::Datasets(values) if values.is_empty() => Ok(()),
        which => {
            phase(session, "retrying", None)?;
            replay(session, target, &mappings, which)
        }
    }
}

fn replay(
    session: &Session,
    target: &mut dyn Target,
    mappings: &[FieldMapping],
    which: &Which,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        check_for_interrupts!();
        let letters = postgres::transaction(|| {
            letters(session.source.id, session.task.run_id, after, which)
        })?;
        let Some(last) = letters.last() else {
            target.replaying(None);
            return Ok(());
        };
        after = last.id;
        for reason in [
            None,
            Some(Reason::DuplicateUuid),
            Some(Reason::DuplicateKey),
        ] {
            let again: Vec<&str> = letters
                .iter()
                .filter(|letter| letter.duplicate == reason)
                .map(|letter| letter.payload.as_str())
                .collect();
            if again.is_empty() {
                continue;
            }
            target.replaying(reason);
            target::patiently(target, &session.source, |target| {
                let pages = parse(session, mappings, target, again.iter().copied())?;
                let (texts, batches) = target::apart(pages);
                let mut counts = Counts::default();
                target.write(&texts, batches, &mut counts)?;
                counts.pages = 0;
                run::add(session.task.run_id, &counts, None)
            })?;
        }
    }
}

/// A record that waits, with its text as it came.
struct Letter {
    id: i64,
    payload: String,
    /// It was refused as a duplicate, and of which kind.
    duplicate: Option<Reason>,
}

/// Reads letters again as pages: those of a GeoJSON export, and those of a flat one (an export may have changed).
fn parse<'l>(
    session: &Session,
    mappings: &[FieldMapping],
    target: &dyn Target,
    letters: impl Iterator<Item = &'l str>,
) -> Result<Vec<Parsed>, Failure> {
    let (features, flat): (Vec<&str>, Vec<&str>) = letters.partition(|text| is_feature(text));
    let mut pages = Vec::new();
    for (texts, geojson) in [(features, true), (flat, false)] {
        if texts.is_empty() {
            continue;
        }
        // Broken items may lack columns that the export has, and that a mapping names.
        let mut names = mapping::column_names(&texts, geojson);
        names.extend(session.source.export_columns.iter().flatten().cloned());
        names.sort_unstable();
        names.dedup();
        let layout = probe::layout_of(&session.source, mappings, &names, &texts, geojson)?;
        pages.push(target::parse(&target.reader(), &layout, texts));
    }
    Ok(pages)
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
            let payload = row.get::<String>(1)?.map(synthese::from_json);
            samples.extend(payload.zip(row.get::<String>(2)?));
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

/// The next letters after a number that this run has not tried.
fn letters(source_id: i32, run_id: i64, after: i64, which: &Which) -> Result<Vec<Letter>, Failure> {
    let (reason, values) = match which {
        Which::All => (None, None),
        Which::Datasets(values) => (Some(Reason::UnmappedDataset.code()), Some(values.clone())),
        Which::AnyDataset => (Some(Reason::UnmappedDataset.code()), None),
    };
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT id, payload::text, reason FROM gn_harvest.rejected
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
        let mut letters = Vec::with_capacity(rows.len());
        for row in rows {
            let reason = row.get::<String>(3)?.unwrap_or_default();
            letters.push(Letter {
                id: row.get::<i64>(1)?.unwrap_or_default(),
                payload: synthese::from_json(row.get::<String>(2)?.unwrap_or_default()),
                duplicate: Reason::from_code(&reason).filter(|reason| {
                    matches!(reason, Reason::DuplicateUuid | Reason::DuplicateKey)
                }),
            });
        }
        Ok(letters)
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
