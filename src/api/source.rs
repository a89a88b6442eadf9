//! What sql/source.sql and sql/source_api.sql need to know of addresses, columns and statements.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::mapping::{self, Kind};
use crate::record::Reason;
use crate::{geonature, postgres};

/// A base address of a GeoNature in its canonical form, or an error that says what is wrong with it.
#[pg_extern(immutable, strict)]
fn normalise_url(url: &str) -> String {
    let parsed = parse(url);
    if let Err(error) = geonature::refuse_literal(&parsed) {
        Failure::from(error).raise();
    }
    parsed.as_str().trim_end_matches('/').to_owned()
}

/// Scheme, host and port of an address: what a secret is given for.
#[pg_extern(immutable, strict)]
fn url_host(url: &str) -> String {
    parse(url).origin().ascii_serialization()
}

fn parse(url: &str) -> url::Url {
    geonature::parse_url(url).unwrap_or_else(|error| Failure::from(error).raise())
}

/// Columns of gn_synthese.synthese that a harvest fills from values of the export.
#[pg_extern(immutable)]
fn target_columns() -> Vec<String> {
    mapping::COLUMNS
        .iter()
        .map(|column| column.target.to_owned())
        .collect()
}

/// Of which those whose values stand for an entry of a local referential.
#[pg_extern(immutable)]
fn mappable_columns() -> Vec<String> {
    let coded = mapping::COLUMNS
        .iter()
        .filter(|column| {
            matches!(
                column.kind,
                Kind::Nomenclature(_) | Kind::Taxon | Kind::Habitat
            )
        })
        .map(|column| column.target.to_owned());
    coded
        .chain(std::iter::once("id_area_attachment".to_owned()))
        .collect()
}

/// Codes of the reasons for which a record is rejected.
#[pg_extern(immutable)]
fn rejection_reasons() -> Vec<String> {
    Reason::ALL
        .iter()
        .map(|reason| reason.code().to_owned())
        .collect()
}

/// The running statement holds a secret: hides it from pg_stat_activity and from the log of errors.
#[pg_extern(strict)]
fn hide_statement(function: &str) {
    postgres::hide_statement(match function {
        "add_source" => c"SELECT gn_harvest.add_source(***)",
        _ => c"SELECT gn_harvest.set_credentials(***)",
    });
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.normalise_url(text) IS 'The address of a GeoNature in its canonical form, or an error that says what is wrong with it.';
     COMMENT ON FUNCTION gn_harvest.url_host(text) IS 'Scheme, host and port of an address.';
     COMMENT ON FUNCTION gn_harvest.target_columns() IS 'Columns of gn_synthese.synthese that a harvest fills: those that map_field and protected_columns know.';
     COMMENT ON FUNCTION gn_harvest.mappable_columns() IS 'Columns whose values map_value can map.';
     COMMENT ON FUNCTION gn_harvest.rejection_reasons() IS 'Reason codes of rejected_record, each explained in the README.';
     COMMENT ON FUNCTION gn_harvest.hide_statement(text) IS 'Hides the running statement, which holds a secret, from pg_stat_activity and from the log of errors.';",
    name = "source_functions",
    requires = [normalise_url, url_host, target_columns, mappable_columns, rejection_reasons, hide_statement]
);
