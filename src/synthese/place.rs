//! The place of a source in the target: its row in gn_synthese.t_sources, and the lineage that it takes up again.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::source::Source;

/// The source's row in gn_synthese.t_sources, made or brought up to date.
pub fn ensure_t_source(source: &Source) -> Result<i32, Failure> {
    let described = format!("gn_harvest: export {} of {}", source.export_id, source.url);
    let kept = match source.id_source {
        None => None,
        Some(id_source) => Spi::get_one_with_args::<i32>(
            "SELECT max(id_source) FROM gn_synthese.t_sources WHERE id_source = $1",
            &[id_source.into()],
        )?,
    };
    let found = match kept {
        Some(id_source) => Some(id_source),
        None => Spi::get_one_with_args::<i32>(
            "SELECT max(id_source) FROM gn_synthese.t_sources WHERE name_source = $1",
            &[source.name.as_str().into()],
        )?,
    };
    let Some(id_source) = found else {
        return Spi::get_one_with_args::<i32>(
            "INSERT INTO gn_synthese.t_sources (name_source, desc_source, entity_source_pk_field, url_source)
             VALUES ($1, $2, 'id_synthese', left($3, 255)) RETURNING id_source",
            &[source.name.as_str().into(), described.into(), source.url.as_str().into()],
        )?
        .ok_or_else(|| Failure::new("XX000", "gn_synthese.t_sources gave no id_source"));
    };
    Spi::run_with_args(
        "UPDATE gn_synthese.t_sources SET name_source = $2, desc_source = $3, url_source = left($4, 255)
         WHERE id_source = $1 AND (name_source, desc_source, url_source) IS DISTINCT FROM ($2, $3, left($4, 255))",
        &[id_source.into(), source.name.as_str().into(), described.into(), source.url.as_str().into()],
    )?;
    Ok(id_source)
}

/// A source of the same name that was dropped: its lineage waits for the one that comes back.
pub struct FormerSource {
    pub source_id: i32,
    pub id_source: i32,
}

pub fn former_source(name: &str) -> Result<Option<FormerSource>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT source_id, id_source FROM gn_harvest.former_source WHERE name = $1 AND target = 'synthese' ORDER BY dropped_at DESC LIMIT 1",
            Some(1),
            &[name.into()],
        )?;
        match rows.into_iter().next() {
            None => Ok(None),
            Some(row) => {
                Ok(row
                    .get::<i32>(1)?
                    .zip(row.get::<i32>(2)?)
                    .map(|(source_id, id_source)| FormerSource {
                        source_id,
                        id_source,
                    }))
            }
        }
    })
}

pub fn take_lineage_over(source_id: i32, former: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "WITH taken AS (
             UPDATE gn_harvest.harvested SET source_id = $1 WHERE source_id = $2 RETURNING id_synthese)
         UPDATE gn_harvest.source_state SET observations = observations + (SELECT count(id_synthese) FROM taken) WHERE source_id = $1",
        &[source_id.into(), former.into()],
    )?;
    Spi::run_with_args(
        "DELETE FROM gn_harvest.former_source WHERE source_id = $1",
        &[former.into()],
    )?;
    Ok(())
}
