//! The scheduled files: written once as a nightly task would, then served from disk, in part
//! or whole, while the data goes on changing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::json;
use crate::random::mix;
use crate::state::Partner;
use crate::views::{Export, Rows};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Json,
    GeoJson,
    Csv,
}

impl Format {
    pub fn named(extension: &str) -> Option<Self> {
        Some(match extension {
            "json" => Self::Json,
            "geojson" => Self::GeoJson,
            "csv" => Self::Csv,
            _ => return None,
        })
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::GeoJson => "application/geo+json",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// A file on disk, gone with the last one who reads it.
#[derive(Debug)]
pub struct PublishedFile {
    pub path: PathBuf,
    pub length: u64,
    /// UTC by the partner's clock, in microseconds.
    pub published: i64,
    pub etag: String,
}

impl Drop for PublishedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

pub struct PublishedFiles {
    files: Mutex<HashMap<String, Arc<PublishedFile>>>,
}

static WRITTEN: AtomicU64 = AtomicU64::new(0);

impl PublishedFiles {
    pub fn new() -> Self {
        Self {
            files: Mutex::default(),
        }
    }

    /// The next reader finds what the partner holds then.
    pub fn forget(&self) {
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The file of that name, written now if it never was. `None`: no such scheduled export.
    pub fn get(&self, name: &str, partner: &Partner) -> io::Result<Option<Arc<PublishedFile>>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(name) {
            return Ok(Some(file.clone()));
        }
        let Some((export, format)) = scheduled(name, partner) else {
            return Ok(None);
        };
        let file = Arc::new(publish(partner, export, format)?);
        files.insert(name.to_owned(), file.clone());
        Ok(Some(file))
    }
}

fn scheduled<'a>(name: &str, partner: &'a Partner) -> Option<(&'a Export, Format)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let format = Format::named(extension)?;
    let export = partner
        .exports
        .values()
        .find(|export| export.file_stem() == stem)?;
    let possible =
        export.rows == Rows::Observations && (format != Format::GeoJson || export.geometry);
    possible.then_some((export, format))
}

fn publish(partner: &Partner, export: &Export, format: Format) -> io::Result<PublishedFile> {
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let name = format!("geonature-simulator-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut out = BufWriter::new(File::create(&path)?);
    match format {
        Format::Csv => write_csv(partner, export, &mut out)?,
        Format::Json => write_json(partner, export, &mut out, false)?,
        Format::GeoJson => write_json(partner, export, &mut out, true)?,
    }
    let length = out
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .metadata()?
        .len();
    let published = partner.clock.utc();
    let check = mix(published as u64 ^ length) as u32;
    let etag = format!(
        "\"{}.{:06}-{length}-{check}\"",
        published / 1_000_000,
        published % 1_000_000
    );
    Ok(PublishedFile {
        path,
        length,
        published,
        etag,
    })
}

fn write_json(
    partner: &Partner,
    export: &Export,
    out: &mut impl Write,
    geojson: bool,
) -> io::Result<()> {
    let mut renderer = partner.renderer(export);
    renderer.separator = b'T';
    out.write_all(if geojson {
        b"{\"type\": \"FeatureCollection\", \"features\": ["
    } else {
        b"["
    })?;
    let mut first = true;
    let mut item = Vec::new();
    for position in 0..partner.store.len() {
        let row = partner.store.observation(position);
        if export.hidden.contains(&row.id) || (geojson && row.geometry.is_none()) {
            continue;
        }
        item.clear();
        renderer.file_item(&mut item, &row, geojson);
        let item = json::in_ascii(&String::from_utf8_lossy(&item));
        for _ in 0..=export.duplicates.get(&row.id).copied().unwrap_or(0) {
            if !std::mem::take(&mut first) {
                out.write_all(b", ")?;
            }
            out.write_all(&item)?;
        }
    }
    out.write_all(if geojson { b"]}" } else { b"]" })
}

fn write_csv(partner: &Partner, export: &Export, out: &mut impl Write) -> io::Result<()> {
    let renderer = partner.renderer(export);
    let names: Vec<String> = export
        .columns
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    writeln!(out, "{}", names.join(";"))?;
    for position in 0..partner.store.len() {
        let row = partner.store.observation(position);
        if export.hidden.contains(&row.id) {
            continue;
        }
        let cells: Vec<String> = export
            .columns
            .iter()
            .map(|column| {
                let tampered = renderer.tampered.get(&row.id);
                let value = match tampered.and_then(|columns| columns.get(&column.name)) {
                    Some(json) => json.clone().unwrap_or_else(|| "null".to_owned()),
                    None => renderer.value_text(&row, &column.field),
                };
                let text = match serde_json::from_str(&value) {
                    Ok(serde_json::Value::String(text)) => text,
                    Ok(serde_json::Value::Null) => String::new(),
                    _ => value,
                };
                format!("\"{}\"", text.replace('"', "\"\""))
            })
            .collect();
        writeln!(out, "{}", cells.join(";"))?;
    }
    Ok(())
}
