//! What can go wrong in a run, as PostgreSQL and people are told of it: SQLSTATE, message, detail, hint.
//! Secrets never get here: `geonature::FetchError` holds none.

use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

use crate::geonature::FetchError;

/// A failure with the four things that PostgreSQL says of an error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Five characters.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// It is the partner's server that says so.
    pub at_partner: bool,
}

impl Failure {
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Failure {
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            at_partner: false,
        }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn is_cancel(&self) -> bool {
        self.sqlstate == "57014"
    }

    /// With what PostgreSQL's own words leave out, when it ended a run that writes as `owner`.
    pub fn explained(self, owner: &str, lock_timeout: std::time::Duration) -> Self {
        if self.detail.is_some() || self.hint.is_some() {
            return self;
        }
        match self.sqlstate.as_str() {
            "55P03" => self
                .detail(format!(
                    "Another session holds a lock that the run has waited for longer than gn_harvest.lock_timeout ({} s).",
                    lock_timeout.as_secs_f64()
                ))
                .hint("What has been written stays: run it again when that session is done; pg_locks and pg_stat_activity show it."),
            "42501" => self
                .detail(format!("The run reads and writes the target as role \"{owner}\", which owns the source."))
                .hint("GRANT it what is missing (the README lists what a run needs), or name another owner with gn_harvest.alter_source(name, owner => '...')."),
            _ => self,
        }
    }

    /// A value that has to be unique is there already.
    pub fn is_duplicate(&self) -> bool {
        self.sqlstate == "23505"
    }

    /// Another session was faster, or may have been: what is in the database has to be looked at again.
    pub fn is_overtaken(&self) -> bool {
        self.is_duplicate() || self.is_conflict()
    }

    /// PostgreSQL rolled the transaction back for the sake of another one, a deadlock mostly: the same may pass now.
    pub fn is_conflict(&self) -> bool {
        self.sqlstate.starts_with("40")
    }

    /// Whether the fault may be that of one record: then a batch is split until the record stands alone.
    /// Rights, resources, locks, shutdown and read-only servers are nobody's record.
    pub fn concerns_records(&self) -> bool {
        const WHOLE: [&str; 10] = ["08", "25", "40", "42", "53", "54", "55", "57", "58", "XX"];
        // A trigger's own SQL may be wrong for one record only; XX000 is also how PostGIS says "topology".
        let class = self.sqlstate.get(..2).unwrap_or("XX");
        self.sqlstate == "XX000" || !WHOLE.contains(&class)
    }

    /// Raises it as a PostgreSQL ERROR.
    pub fn raise(self) -> ! {
        ErrorReport::from(self).report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }
}

impl From<Failure> for ErrorReport {
    fn from(failure: Failure) -> Self {
        let code = PgSqlErrorCode::from(encode_sqlstate(&failure.sqlstate) as isize);
        let mut report = ErrorReport::new(code, failure.message, "gn_harvest");
        if let Some(detail) = failure.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = failure.hint {
            report = report.set_hint(hint);
        }
        report
    }
}

impl From<CaughtError> for Failure {
    fn from(caught: CaughtError) -> Self {
        let report = match &caught {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
            CaughtError::RustPanic { ereport, .. } => ereport,
        };
        Failure {
            sqlstate: decode_sqlstate(report.sql_error_code() as i32),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
            at_partner: false,
        }
    }
}

impl From<pgrx::spi::Error> for Failure {
    fn from(error: pgrx::spi::Error) -> Self {
        Failure::new("XX000", format!("SPI: {error}"))
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Failure {
            sqlstate: error.sqlstate().to_owned(),
            message: error.message(),
            detail: error.detail(),
            hint: error.hint(),
            at_partner: true,
        }
    }
}

fn decode_sqlstate(code: i32) -> String {
    (0..5)
        .map(|i| char::from((((code >> (6 * i)) & 0x3f) as u8).wrapping_add(b'0')))
        .collect()
}

fn encode_sqlstate(text: &str) -> i32 {
    text.bytes().take(5).enumerate().fold(0, |code, (i, byte)| {
        code | (i32::from(byte.wrapping_sub(b'0') & 0x3f) << (6 * i))
    })
}
