//! What can be asked of the partner: is it there, does it let us in, what does its export look like.

use std::collections::HashSet;

use chrono::Utc;

use super::file;
use super::{ERROR, OK, Report, WARNING, list};
use crate::deletion::departures;
use crate::error::Failure;
use crate::geonature::{Credentials, Page, PageQuery, Probe};
use crate::harvest::Session;
use crate::mapping::{COLUMNS, DatasetOrigin, GeometryOrigin, Layout, Origin};
use crate::publication::Exports;
use crate::record::{self, Lengths};
use crate::source::{MetadataMode, TargetKind};
use crate::{postgres, probe};

/// Asks it all. None when nothing came that a record could be made of.
pub(super) fn ask(
    session: &Session,
    report: &mut Report,
) -> Result<Option<(Layout, Page)>, Failure> {
    if !reachable(session, report)? || !credentials(session, report)? {
        return Ok(None);
    }
    let source = &session.source;
    let query = PageQuery {
        limit: Some(source.page_size),
        filters: source.filters(),
        ..PageQuery::default()
    };
    let page = match probe::page(&session.client, source.export_id, query) {
        Ok(page) => page,
        Err(failure) if failure.is_cancel() => return Err(failure),
        Err(failure) => {
            report.failed("export", failure);
            return Ok(None);
        }
    };
    export(session, &page, report);
    let items: Vec<&str> = page.items().collect();
    if items.is_empty() {
        report.advise(
            "records",
            ERROR,
            "the export has no record",
            "Ask the partner whether its view is right, and look at the source's filters.",
        );
        return Ok(None);
    }
    let mappings = postgres::transaction(|| source.field_mappings())?;
    let layout = probe::layout(source, &mappings, &items, page.geojson)?;
    key(&layout, &items, report);
    date(session, &layout, &page, report)?;
    let exports = Exports::of(source, &items);
    deletions(session, &layout, &exports, &page, report)?;
    if source.target == TargetKind::Records {
        let names = layout.export_columns();
        let detail = format!(
            "{} columns, each kept as it is: {}",
            names.len(),
            list(&names)
        );
        report.say("columns", OK, detail);
        geometry(&layout, report);
    } else {
        let single_dataset = source.metadata_mode == MetadataMode::SingleDataset;
        columns(&layout, &exports, single_dataset, report);
    }
    file::look(session, &mappings, (&page, &layout), report)?;
    Ok(Some((layout, page)))
}

fn reachable(session: &Session, report: &mut Report) -> Result<bool, Failure> {
    let client = session.client.clone();
    let probe: Probe = match postgres::in_background(move || client.probe())? {
        Ok(probe) => probe,
        Err(error) => {
            report.failed("reachable", error.into());
            return Ok(false);
        }
    };
    if !probe.geonature {
        report.advise(
            "reachable",
            ERROR,
            format!("{} answers with status {}, but not as a GeoNature", probe.url, probe.status),
            "Give the address under which GeoNature's api is: https://host/geonature, without what follows.",
        );
        return Ok(false);
    }
    report.say(
        "reachable",
        OK,
        format!(
            "{} answers in {} ms",
            session.source.url,
            probe.elapsed.as_millis()
        ),
    );
    let tells_secret = !matches!(session.source.credentials(), Credentials::Public);
    match (probe.https, tells_secret) {
        (true, _) => report.say(
            "tls",
            OK,
            "the connection is encrypted, the certificate is valid",
        ),
        (false, true) => report.advise(
            "tls",
            WARNING,
            "the connection is not encrypted: the secret can be read on the way",
            "Use https.",
        ),
        (false, false) => report.say("tls", WARNING, "the connection is not encrypted"),
    }
    Ok(true)
}

fn credentials(session: &Session, report: &mut Report) -> Result<bool, Failure> {
    match session.source.credentials() {
        Credentials::Public => report.say("credentials", OK, "none: the export has to be public"),
        Credentials::Token(_) => {
            report.say("credentials", OK, "a token, sent in the header api-key")
        }
        Credentials::Login { login, .. } => {
            let client = session.client.clone();
            match postgres::in_background(move || client.modules())? {
                Ok(modules) if modules.iter().any(|module| module.code == "EXPORTS") => {
                    report.say(
                        "credentials",
                        OK,
                        format!("logged in as {login}; the module of exports is open to it"),
                    );
                }
                Ok(_) => report.advise(
                    "credentials",
                    WARNING,
                    format!("logged in as {login}, which has no right on the module of exports"),
                    "Ask the partner to grant it reading (R) on the module EXPORTS.",
                ),
                Err(error) => {
                    report.failed("credentials", error.into());
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn export(session: &Session, page: &Page, report: &mut Report) {
    let source = &session.source;
    let shape = if page.geojson {
        "a GeoJSON FeatureCollection"
    } else {
        "a list of records"
    };
    let license = page
        .license
        .as_ref()
        .and_then(|license| license.name.clone())
        .unwrap_or_else(|| "none".to_owned());
    report.say(
        "export",
        OK,
        format!(
            "export {} gives {shape}; licence: {license}; {} ms for {} records",
            source.export_id,
            page.elapsed.as_millis(),
            page.len()
        ),
    );
    let total = page
        .total
        .map_or("an unknown number of".to_owned(), |total| total.to_string());
    report.say(
        "total",
        OK,
        format!(
            "{total} records; {} with the source's filters",
            page.total_filtered
                .map_or("?".to_owned(), |n| n.to_string())
        ),
    );
    if page.limit > 0 && page.limit < source.page_size {
        report.advise(
            "page_cap",
            OK,
            format!("the server gives at most {} records a page, not the {} asked for", page.limit, source.page_size),
            "Runs adapt to it. Larger pages cost the partner less: it may raise max_page_size_api, or agree to uncapped_pages.",
        );
    } else {
        report.say(
            "page_cap",
            OK,
            format!("pages of {} records", source.page_size),
        );
    }
    if let (Some(filtered), true) = (page.total_filtered, page.geojson)
        && filtered <= u64::from(page.limit)
        && (page.len() as u64) < filtered
    {
        report.say("hidden", WARNING, format!("{} records of the first page are not served: a GeoJSON export leaves out those without geometry", filtered - page.len() as u64));
    }
}

fn key(layout: &Layout, items: &[&str], report: &mut Report) {
    let Some(name) = &layout.key else {
        report.advise(
            "key",
            ERROR,
            "no column identifies a record",
            "Name it with gn_harvest.alter_source(name, key_column => '...').",
        );
        return;
    };
    let batch = record::parse_page(items.iter().copied(), layout, &Lengths::default());
    let keys: HashSet<&str> = batch
        .records
        .iter()
        .filter_map(|(_, record)| record.key.as_deref())
        .collect();
    let repeated = batch.records.len() - keys.len();
    if repeated > 0 {
        report.advise(
            "key",
            WARNING,
            format!("\"{name}\" comes twice for {repeated} of {} records: the view multiplies rows", batch.records.len()),
            "Each is harvested once. The partner can mend the view: joins on actors, protocols or territories have to be aggregated.",
        );
    } else if layout.key_is_number {
        report.say(
            "key",
            OK,
            format!("\"{name}\", a number: the export is read in windows of it"),
        );
    } else {
        report.advise(
            "key",
            WARNING,
            format!("\"{name}\" is not a number: the export is read by page numbers, which cost more and shift when it changes"),
            "A view with id_synthese is better; or name a numeric column with alter_source(name, key_column => '...').",
        );
    }
}

fn date(
    session: &Session,
    layout: &Layout,
    page: &Page,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(column) = &layout.action_date else {
        report.advise(
            "increments",
            WARNING,
            "no column says when a record changed last: every run is a full one",
            "The partner can add derniere_action to the view; or name the column with alter_source(name, date_column => '...').",
        );
        return Ok(());
    };
    // Nothing has changed in three thousand years from now: a filter that is heeded leaves nothing.
    let mut filters = session.source.filters();
    filters.push((
        format!("filter_d_up_{column}"),
        "5000-01-01 00:00:00".to_owned(),
    ));
    let query = PageQuery {
        limit: Some(1),
        filters,
        ..PageQuery::default()
    };
    match probe::page(&session.client, session.source.export_id, query) {
        Ok(none) if none.is_empty() => {
            let clock = page.server_date.unwrap_or_else(Utc::now);
            let latest =
                probe::changes(&session.client, &session.source, column, clock, None)?.greatest;
            report.say(
                "increments",
                OK,
                format!(
                    "\"{column}\" can be asked for; latest change: {}",
                    latest.unwrap_or_else(|| "none".to_owned())
                ),
            );
        }
        Ok(_) => report.advise(
            "increments",
            WARNING,
            format!(
                "the server does not filter on \"{column}\": an incremental run reads everything"
            ),
            "The column has to be a timestamp, not a date, in the partner's view.",
        ),
        Err(failure) if failure.is_cancel() => return Err(failure),
        Err(failure) => report.failed("increments", failure),
    }
    Ok(())
}

fn deletions(
    session: &Session,
    layout: &Layout,
    exports: &Exports,
    page: &Page,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Some(export) = exports.deletions {
        match departures::read(session, export, "5000-01-01 00:00:00") {
            Ok(_) => report.say(
                "deletions",
                OK,
                format!("export {export} tells what was deleted or left"),
            ),
            Err(failure) if failure.is_cancel() => return Err(failure),
            Err(failure) => report.failed("deletions", failure),
        }
        return Ok(());
    }
    if layout.whole && !layout.key_is_id_synthese() {
        report.advise(
            "deletions",
            WARNING,
            "the log of deletions speaks of observations by id_synthese: it says nothing of these records",
            "gn_harvest.run(name, 'reconcile') deletes here what the export no longer has.",
        );
        return Ok(());
    }
    if !matches!(session.source.credentials(), Credentials::Login { .. }) {
        report.advise(
            "deletions",
            WARNING,
            "the log of deletions wants a login: without it deletions are not told",
            "Give a login with gn_harvest.set_credentials(name, login => '...', password => '...').",
        );
        return Ok(());
    }
    let since = page
        .server_date
        .unwrap_or_else(Utc::now)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string();
    let client = session.client.clone();
    match postgres::in_background(move || client.deletions(&since))? {
        Ok(_) => report.say("deletions", OK, "the log of deletions can be read"),
        Err(error) => report.failed("deletions", error.into()),
    }
    Ok(())
}

fn columns(layout: &Layout, exports: &Exports, single_dataset: bool, report: &mut Report) {
    let recognised: Vec<String> = layout
        .recognised
        .iter()
        .map(|(name, target)| format!("{name} -> {target}"))
        .collect();
    report.say(
        "columns",
        OK,
        format!("{} recognised: {}", recognised.len(), list(&recognised)),
    );
    if !layout.unknown.is_empty() {
        report.advise(
            "unknown_columns",
            WARNING,
            format!("not recognised, not harvested: {}", list(&layout.unknown)),
            "gn_harvest.map_field(source, column, source_column => '...') says where one goes.",
        );
    }
    let silent: Vec<&str> = COLUMNS
        .iter()
        .zip(&layout.columns)
        .filter(|(_, origin)| **origin == Origin::Absent)
        .map(|(column, _)| column.target)
        .collect();
    if !silent.is_empty() {
        report.say(
            "silent_columns",
            OK,
            format!(
                "the export says nothing of them, they take the target's default: {}",
                list(&silent)
            ),
        );
    }
    geometry(layout, report);
    metadata(layout, exports, single_dataset, report);
}

fn geometry(layout: &Layout, report: &mut Report) {
    match &layout.geometry {
        GeometryOrigin::Wkt(name) => report.say(
            "geometry",
            OK,
            format!("WKT in \"{name}\", at full precision"),
        ),
        GeometryOrigin::Feature => report.say(
            "geometry",
            OK,
            "GeoJSON, which GeoNature rounds to 6 decimals (10 cm)",
        ),
        GeometryOrigin::Xy(x, y) => report.say(
            "geometry",
            WARNING,
            format!("points only, from \"{x}\" and \"{y}\""),
        ),
        GeometryOrigin::None => report.say("geometry", WARNING, "the export has no geometry"),
    }
}

fn metadata(layout: &Layout, exports: &Exports, single_dataset: bool, report: &mut Report) {
    match &layout.dataset {
        _ if single_dataset => report.say("metadata", OK, "every record goes into target_dataset"),
        DatasetOrigin::Embedded { .. } => report.say("metadata", OK, "datasets and frameworks come whole in each record"),
        _ if exports.metadata.is_some() => report.say(
            "metadata",
            OK,
            format!("datasets and frameworks come from export {}", exports.metadata.unwrap_or_default()),
        ),
        DatasetOrigin::Names { .. } => report.say("metadata", WARNING, "datasets and frameworks come by UUID and name only"),
        DatasetOrigin::None => report.advise(
            "metadata",
            ERROR,
            "the export does not say to which dataset its records belong",
            "Ask the partner to add jdd_uuid, or name its column with gn_harvest.map_field(source, 'id_dataset', source_column => '...').",
        ),
    }
}
