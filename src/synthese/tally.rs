//! Counts by taxon and dataset, which triggers on the lineage add to (sql/tally.sql): kept short while a run writes, and the
//! valid names that its taxa are counted under.

use pgrx::prelude::*;

use super::Synthese;
use crate::error::Failure;

/// Batches between two foldings: what they add to the counts is a few hundred rows each.
const FOLD_EVERY: u32 = 16;

/// How many batches have been written since the counts of the source were last folded.
#[derive(Default)]
pub struct Tally(u32);

impl Tally {
    /// A batch is written. In its transaction.
    pub fn written(&mut self, source_id: i32) -> Result<(), Failure> {
        self.0 += 1;
        if self.0 < FOLD_EVERY {
            return Ok(());
        }
        self.0 = 0;
        fold(source_id)
    }
}

/// Puts together what was added to the counts of a source.
pub fn fold(source_id: i32) -> Result<(), Failure> {
    Spi::run_with_args("SELECT gn_harvest.fold_tally($1)", &[source_id.into()])?;
    Ok(())
}

impl Synthese {
    /// Learns the valid name of taxa of the source: of all, or of those that have none yet. In a transaction.
    pub fn learn_valid_names(&mut self, all: bool) -> Result<(), Failure> {
        let taxa = Spi::get_one_with_args::<Vec<i32>>(
            "SELECT array_agg(DISTINCT n.cd_nom) FROM gn_harvest.taxon_tally n
             WHERE n.source_id = $1
               AND ($2 OR NOT EXISTS (SELECT FROM gn_harvest.taxon t WHERE t.cd_nom = n.cd_nom))",
            &[self.source_id.into(), all.into()],
        )?;
        let Some(taxa) = taxa else { return Ok(()) };
        let (names, valid): (Vec<i32>, Vec<i32>) =
            self.as_owner(|_| valid_names(taxa))?.into_iter().unzip();
        Spi::run_with_args(
            "INSERT INTO gn_harvest.taxon AS t (cd_nom, cd_ref)
             SELECT n.cd_nom, n.cd_ref FROM unnest($1::int[], $2::int[]) n(cd_nom, cd_ref) ORDER BY n.cd_nom
             ON CONFLICT (cd_nom) DO UPDATE SET cd_ref = EXCLUDED.cd_ref WHERE t.cd_ref <> EXCLUDED.cd_ref",
            &[names.into(), valid.into()],
        )?;
        Ok(())
    }
}

/// (cd_nom, cd_ref) of those that Taxref knows with a valid name. As the source's owner.
fn valid_names(taxa: Vec<i32>) -> Result<Vec<(i32, i32)>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT cd_nom, cd_ref FROM taxonomie.taxref WHERE cd_nom = ANY ($1) AND cd_ref IS NOT NULL",
            None,
            &[taxa.into()],
        )?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.extend(row.get::<i32>(1)?.zip(row.get::<i32>(2)?));
        }
        Ok(found)
    })
}
