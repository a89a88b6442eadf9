//! What sql/source.sql and sql/source_api.sql need to know of addresses, columns and statements.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::mapping::{self, Kind};
use crate::record::{self, Reason};
use crate::{geonature, postgres, settings};

/// A base address of a GeoNature in its canonical form, or an error that says what is wrong with it.
#[pg_extern(immutable, strict)]
fn normalise_url(url: &str) -> String {
    let parsed = parse(url);
    if let Err(error) = geonature::refuse_literal(&parsed) {
        Failure::from(error).raise();
    }
    parsed.as_str().trim_end_matches('/').to_owned()
}

/// The address of a file in its canonical form, or an error that says what is wrong with it.
#[pg_extern(immutable, strict)]
fn normalise_file_url(url: &str) -> String {
    match geonature::parse_file_url(url) {
        Ok(parsed) => parsed.into(),
        Err(error) => Failure::from(error).raise(),
    }
}

/// Scheme, host and port of an address: what a secret is given for.
#[pg_extern(immutable, strict)]
fn url_host(url: &str) -> String {
    parse(url).origin().ascii_serialization()
}

/// Refuses an address whose host this server may not ask. Not in the trigger: a dump is restored elsewhere, too.
#[pg_extern(stable, strict)]
fn check_allowed_host(url: &str) {
    if let Err(error) = settings::allowed_hosts().check(&parse(url)) {
        Failure::from(error).raise();
    }
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

/// Those that map_field can feed: the same, and the parts of a record that only a column of the export can give.
#[pg_extern(immutable)]
fn field_columns() -> Vec<String> {
    let parts = mapping::PARTS.iter().map(|part| (*part).to_owned());
    target_columns().into_iter().chain(parts).collect()
}

/// Refuses a constant that could not be written into a column.
#[pg_extern(immutable, strict)]
fn check_constant(column: &str, constant: &str) {
    let refused = |message: String| Failure::new("22023", message);
    let Some(index) = mapping::column_index(column) else {
        refused(format!(
            "column \"{column}\" can not be filled with a constant"
        ))
        .hint("Name a column of the export with source_column => ...")
        .raise()
    };
    if let Err(why) = record::constant(mapping::COLUMNS[index].kind, constant) {
        refused(format!(
            "\"{constant}\" can not be a value of column \"{column}\""
        ))
        .detail(why)
        .hint("Give a value of the column's type; a code for a nomenclature.")
        .raise()
    }
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
        "adopt_gn2pg" => c"SELECT gn_harvest.adopt_gn2pg(***)",
        "add_channel" => c"SELECT gn_harvest.add_channel(***)",
        _ => c"SELECT gn_harvest.set_credentials(***)",
    });
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.normalise_url(text) IS 'The address of a GeoNature in its canonical form, or an error that says what is wrong with it.';
     COMMENT ON FUNCTION gn_harvest.normalise_file_url(text) IS 'The address of a file in its canonical form, or an error that says what is wrong with it.';
     COMMENT ON FUNCTION gn_harvest.url_host(text) IS 'Scheme, host and port of an address.';
     COMMENT ON FUNCTION gn_harvest.check_allowed_host(text) IS 'Refuses an address whose host is not among gn_harvest.allowed_hosts.';
     COMMENT ON FUNCTION gn_harvest.target_columns() IS 'Columns of gn_synthese.synthese that a harvest fills with values of the export: those that protected_columns knows.';
     COMMENT ON FUNCTION gn_harvest.field_columns() IS 'Columns of gn_synthese.synthese that map_field can feed.';
     COMMENT ON FUNCTION gn_harvest.check_constant(text, text) IS 'Refuses a constant that could not be written into a column.';
     COMMENT ON FUNCTION gn_harvest.mappable_columns() IS 'Columns whose values map_value can map.';
     COMMENT ON FUNCTION gn_harvest.rejection_reasons() IS 'Reason codes of rejected_record, each explained in the README.';
     COMMENT ON FUNCTION gn_harvest.hide_statement(text) IS 'Hides the running statement, which holds a secret, from pg_stat_activity and from the log of errors.';",
    name = "source_functions",
    requires = [normalise_url, normalise_file_url, url_host, check_allowed_host, target_columns, field_columns, check_constant, mappable_columns, rejection_reasons, hide_statement]
);
