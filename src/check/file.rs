//! The file that a first full run may read in place of the export: whether the one that was named is right, or whether
//! the partner has one that nobody named.

use super::{OK, Report, WARNING};
use crate::bootstrap::{self, Looked};
use crate::error::Failure;
use crate::file::{self, Format};
use crate::geonature::{Credentials, FileHead, Page, parse_file_url};
use crate::harvest::Session;
use crate::mapping::{FieldMapping, GeometryOrigin, Layout};
use crate::record::{self, Lengths};
use crate::{postgres, probe};

const CHECK: &str = "file";

pub(super) fn look(
    session: &Session,
    mappings: &[FieldMapping],
    export: (&Page, &Layout),
    report: &mut Report,
) -> Result<(), Failure> {
    let source = &session.source;
    let Some(address) = &source.bootstrap_url else {
        return match source.last_full_at.is_none() && source.filters.is_empty() {
            true => search(session, export.1, report),
            false => Ok(()),
        };
    };
    match bootstrap::look_at(session, address, mappings, export) {
        Ok(looked) => {
            say(session, address, &looked, report);
            Ok(())
        }
        Err(failure) if failure.is_cancel() => Err(failure),
        Err(failure) => {
            report.failed(CHECK, failure);
            Ok(())
        }
    }
}

fn say(session: &Session, address: &str, looked: &Looked, report: &mut Report) {
    let beginning = &looked.beginning;
    let format = match (beginning.format, looked.layout.geojson) {
        (Format::Csv, _) => "CSV",
        (Format::Json, true) => "GeoJSON",
        (Format::Json, false) => "JSON",
    };
    let items = beginning.items.iter().map(String::as_str);
    let batch = record::parse_page(items, &looked.layout, &Lengths::default());
    let (read, all) = (batch.records.len(), beginning.items.len());
    let detail = format!("{address}: {format}, {}", described(&beginning.head));
    if session.source.last_full_at.is_some() {
        let detail = format!("{detail}; it is no more read: a full run has succeeded");
        return report.say(CHECK, OK, detail);
    }
    if read < all {
        let detail = format!(
            "{detail}; {} of the first {all} records are refused",
            all - read
        );
        let hint = "A run keeps them in gn_harvest.rejected_record, each with its reason, as it does with those of the export.";
        return report.advise(CHECK, WARNING, detail, hint);
    }
    let detail = format!("{detail}; the first {all} records are understood");
    match beginning.head.mark() {
        Some(_) => report.say(CHECK, OK, detail),
        None => report.advise(
            CHECK,
            WARNING,
            format!("{detail}; its server gives neither ETag nor Last-Modified"),
            "A run that breaks has to read it from its beginning again.",
        ),
    }
}

fn described(head: &FileHead) -> String {
    let size = head.length.map(bootstrap::in_megabytes);
    let written = head.modified.map(bootstrap::in_utc);
    format!(
        "{}, written {}",
        size.as_deref().unwrap_or("of unknown size"),
        written.as_deref().unwrap_or("at an unknown date")
    )
}

/// Whether there is a file under the name that GeoNature gives it. That comes of the export's label, which only an
/// account may see.
fn search(session: &Session, layout: &Layout, report: &mut Report) -> Result<(), Failure> {
    let source = &session.source;
    if !matches!(source.credentials(), Credentials::Login { .. }) {
        return Ok(());
    }
    let (client, export) = (session.client.clone(), source.export_id);
    let label = postgres::in_background(move || client.export_label(export))?;
    let Ok(Some(label)) = label else {
        return Ok(());
    };
    let formats: &[&str] = match layout.geometry {
        GeometryOrigin::Feature => &["geojson"],
        _ => &["json", "geojson", "csv"],
    };
    let client = probe::client_without_secrets(source, &session.traffic, session.client.stop())?;
    for format in formats {
        let stem = file::stem(&label);
        let address = format!("{}/api/media/exports/schedules/{stem}.{format}", source.url);
        let Ok(url) = parse_file_url(&address) else {
            return Ok(());
        };
        let asked = client.clone();
        if let Ok(Some(head)) = postgres::in_background(move || asked.file_head(&url))? {
            let quoted = |text: &str| text.replace('\'', "''");
            let detail = format!(
                "the partner writes this export into a file: {address}, {}",
                described(&head)
            );
            let hint = format!(
                "SELECT gn_harvest.alter_source('{}', bootstrap_url => '{}'); lets the first full run read it, which spares the partner most of the work.",
                quoted(&source.name),
                quoted(&address)
            );
            report.advise(CHECK, OK, detail, hint);
            return Ok(());
        }
    }
    Ok(())
}
