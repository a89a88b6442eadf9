//! Replays the dead letters of a source from what was kept of them, through the same way as a harvest.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::harvest::{Session, phase};
use crate::run::{self, Counts};
use crate::synthese::{self, Parsed, Synthese};
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
    let mut after = 0;
    loop {
        check_for_interrupts!();
        let (items, last) =
            postgres::transaction(|| letters(source.id, session.task.run_id, after))?;
        let Some(last) = last else {
            return postgres::transaction(|| synthese::forget_awaited_taxa(source.id));
        };
        after = last;
        let texts: Vec<&str> = items.iter().map(String::as_str).collect();
        let geojson = texts.iter().all(|text| is_feature(text));
        let layout = probe::layout(source, &mappings, &texts, geojson)?;
        let batch = record::parse_page(texts.into_iter(), &layout, &synthese.lengths());
        let page = vec![Parsed { items, batch }];
        postgres::transaction(|| {
            let mut counts = Counts::default();
            synthese.write(page, &mut counts)?;
            counts.pages = 0;
            run::add(session.task.run_id, &counts, None)
        })?;
    }
}

fn waiting(source_id: i32) -> Result<i64, Failure> {
    Ok(Spi::get_one_with_args::<i64>(
        "SELECT count(*) FROM gn_harvest.rejected WHERE source_id = $1 AND discarded_at IS NULL",
        &[source_id.into()],
    )?
    .unwrap_or(0))
}

/// The next letters after a number, and the number of the last; none when there are no more.
fn letters(source_id: i32, run_id: i64, after: i64) -> Result<(Vec<String>, Option<i64>), Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT id, payload::text FROM gn_harvest.rejected
             WHERE source_id = $1 AND discarded_at IS NULL AND id > $2 AND last_run <> $3
             ORDER BY id LIMIT $4",
            None,
            &[
                source_id.into(),
                after.into(),
                run_id.into(),
                i64::from(settings::BATCH_SIZE.get()).into(),
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
