//! A source as a run reads it: settings, what earlier runs have learnt, and its secrets.

use pgrx::prelude::*;
use serde::Deserialize;

use crate::error::Failure;
use crate::geonature::{Credentials, Secret};
use crate::mapping::{FieldMapping, FieldSource};

/// Settings and state of a source, read once when a run begins.
#[derive(Debug, Deserialize)]
pub struct Source {
    pub id: i32,
    pub name: String,
    pub url: String,
    pub export_id: i32,
    pub target: TargetKind,
    pub format: Format,
    pub filters: serde_json::Map<String, serde_json::Value>,
    pub key_column: Option<String>,
    pub date_column: Option<String>,
    pub connections: usize,
    /// Workers that write for a full run; none: gn_harvest.writers.
    pub writers: Option<usize>,
    pub page_size: u32,
    pub uncapped_pages: bool,
    pub load: Load,
    pub retry_budget: u32,
    pub look_back_seconds: i64,
    pub allowed_hours: Option<String>,
    pub protected_columns: Vec<String>,
    pub on_unknown_value: OnUnknownValue,
    pub on_uuid_conflict: OnUuidConflict,
    pub max_loss: f64,
    pub priority: i32,
    pub contract: Contract,
    pub ca_certificate: Option<String>,
    pub metadata_export_id: Option<i32>,
    pub deletion_export_id: Option<i32>,
    pub metadata_mode: MetadataMode,
    /// unique_dataset_id; there in mode `single_dataset`, and only then.
    pub target_dataset: Option<String>,
    pub create_persons: bool,
    pub organisms_by_name: bool,
    pub owner: String,
    /// The file that the first full run reads in place of the export.
    pub bootstrap_url: Option<String>,
    pub id_source: Option<i32>,
    pub watermark: Option<String>,
    pub watermark_column: Option<String>,
    pub deletion_watermark: Option<String>,
    /// End of its last full run; none after an adoption, whatever the watermark.
    pub last_full_at: Option<String>,
    /// What the partner's marker said of its selection at the last run.
    pub selection: Option<i64>,
    pub export_columns: Option<Vec<String>>,
    pub column_formats: std::collections::HashMap<String, Format>,
    login: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// Where the records of a source go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Observations, into gn_synthese.synthese, with their metadata.
    Synthese,
    /// Whatever they are, into gn_harvest.record.
    Records,
}

/// How new observations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// With every trigger of the target.
    Standard,
    /// With the work of GeoNature's own triggers done for whole batches.
    Fast,
}

/// How an export writes nomenclatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Auto,
    Codes,
    Labels,
}

/// What a change of the export's columns does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contract {
    /// The run says what has changed.
    Warn,
    /// The run fails until someone agrees.
    Freeze,
    /// Nothing is said.
    Evolve,
}

/// What becomes of a value that the local referential does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknownValue {
    Default,
    Null,
    Reject,
}

/// What becomes of a record whose UUID another source owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUuidConflict {
    Reject,
    Skip,
    TakeOver,
    Priority,
}

/// What a run does about frameworks, datasets and actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataMode {
    /// Creates them and keeps them up to date.
    Full,
    /// Creates them, then leaves them to local people.
    CreateOnly,
    /// Writes none: observations of datasets that were mapped go where `map_dataset` says, the others wait.
    Mapped,
    /// Writes none: every observation goes into `target_dataset`.
    SingleDataset,
}

impl MetadataMode {
    /// Whether a run may write metadata.
    pub fn writes(self) -> bool {
        matches!(self, MetadataMode::Full | MetadataMode::CreateOnly)
    }
}

impl Source {
    /// Reads a source; none if it is gone or not committed yet.
    pub fn load(source_id: i32) -> Result<Option<Source>, Failure> {
        let text = Spi::get_one_with_args::<String>(
            "SELECT (to_jsonb(s) || to_jsonb(st) || coalesce(to_jsonb(c), '{}')
                     || jsonb_build_object('look_back_seconds', floor(extract(epoch FROM s.look_back))::bigint))::text
             FROM gn_harvest.source s
             JOIN gn_harvest.source_state st ON st.source_id = s.id
             LEFT JOIN gn_harvest.credential c ON c.source_id = s.id
             WHERE s.id = $1",
            &[source_id.into()],
        );
        match text {
            Ok(Some(text)) => serde_json::from_str(&text)
                .map(Some)
                // The text of a serde error holds values: it could hold a secret.
                .map_err(|error| {
                    Failure::new(
                        "XX000",
                        format!(
                            "the settings of source {source_id} can not be read (line {})",
                            error.line()
                        ),
                    )
                }),
            Ok(None) | Err(pgrx::spi::Error::InvalidPosition) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub fn credentials(&self) -> Credentials {
        match (&self.token, &self.login, &self.password) {
            (Some(token), ..) => Credentials::Token(Secret::new(token.clone())),
            (None, Some(login), Some(password)) => Credentials::Login {
                login: login.clone(),
                password: Secret::new(password.clone()),
            },
            _ => Credentials::Public,
        }
    }

    /// The extra filters of the export, as query parameters.
    pub fn filters(&self) -> Vec<(String, String)> {
        self.filters
            .iter()
            .map(|(name, value)| {
                (
                    name.clone(),
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                )
            })
            .collect()
    }

    /// What is read: when it changes, slices and watermark say nothing any more.
    pub fn reading(&self) -> String {
        let filters = serde_json::Value::Object(self.filters.clone());
        format!(
            "{} {} {filters} {:?} {:?} {:?}",
            self.url, self.export_id, self.key_column, self.date_column, self.target
        )
    }

    /// What is read and how its columns are understood: a run of another fingerprint is not resumed, or the target
    /// would be half of one mind and half of the other until the next full run.
    pub fn fingerprint(&self, mappings: &[FieldMapping]) -> String {
        format!("{} {:?} {mappings:?}", self.reading(), self.format)
    }

    /// Decisions of `map_field`.
    pub fn field_mappings(&self) -> Result<Vec<FieldMapping>, Failure> {
        Spi::connect(|client| {
            let rows = client.select(
                "SELECT target_column, source_column, constant FROM gn_harvest.field_mapping WHERE source_id = $1 ORDER BY 1",
                None,
                &[self.id.into()],
            )?;
            let mut mappings = Vec::with_capacity(rows.len());
            for row in rows {
                let source = match (row.get::<String>(2)?, row.get::<String>(3)?) {
                    (Some(column), _) => FieldSource::Export(column),
                    (None, constant) => FieldSource::Constant(constant.unwrap_or_default()),
                };
                mappings.push(FieldMapping {
                    target: row.get::<String>(1)?.unwrap_or_default(),
                    source,
                });
            }
            Ok(mappings)
        })
    }
}
