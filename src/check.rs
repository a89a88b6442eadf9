//! check_source: what works and what does not, before the first run. One row a check.
//! Nothing stays in the target: the sample is written in a transaction that is rolled back.

mod file;
mod partner;
mod target;

use pgrx::prelude::*;

use crate::error::Failure;
use crate::harvest::Session;
use crate::postgres;

const OK: &str = "ok";
const WARNING: &str = "warning";
const ERROR: &str = "error";
/// Names shown of a longer list.
const SHOWN: usize = 40;

/// The rows of the answer, in order.
#[derive(Default)]
struct Report(Vec<Line>);

struct Line {
    check: &'static str,
    status: &'static str,
    detail: String,
    hint: Option<String>,
}

impl Report {
    fn say(&mut self, check: &'static str, status: &'static str, detail: impl Into<String>) {
        self.0.push(Line {
            check,
            status,
            detail: detail.into(),
            hint: None,
        });
    }

    fn advise(
        &mut self,
        check: &'static str,
        status: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Line {
            check,
            status,
            detail: detail.into(),
            hint: Some(hint.into()),
        });
    }

    fn failed(&mut self, check: &'static str, failure: Failure) {
        let detail = match &failure.detail {
            Some(detail) => format!("{} ({detail})", failure.message),
            None => failure.message.clone(),
        };
        self.0.push(Line {
            check,
            status: ERROR,
            detail,
            hint: failure.hint,
        });
    }
}

/// Asks the partner and the target, and keeps the answers for the caller. A cancel ends it.
pub fn run(session: &Session) -> Result<(), Failure> {
    let mut report = Report::default();
    let checked = partner::ask(session, &mut report).and_then(|found| match found {
        Some((layout, page)) => target::try_out(session, layout, page, &mut report),
        None => target::look(session, &mut report),
    });
    match checked {
        Err(failure) if failure.is_cancel() => return Err(failure),
        Err(failure) => report.failed("check", failure),
        Ok(()) => {}
    }
    postgres::transaction(|| schedule(session, &mut report))?;
    postgres::transaction(|| keep(session.task.run_id, &report))
}

/// Whether the source runs by itself, and when.
fn schedule(session: &Session, report: &mut Report) -> Result<(), Failure> {
    let (status, detail, hint) = Spi::connect(|client| -> Result<_, Failure> {
        let row = client
            .select(
                "SELECT status, detail, hint FROM gn_harvest.schedule_check($1)",
                Some(1),
                &[session.source.id.into()],
            )?
            .first();
        let word = |column| -> Result<_, Failure> { Ok(row.get::<String>(column)?) };
        Ok((word(1)?, word(2)?.unwrap_or_default(), word(3)?))
    })?;
    let status = if status.as_deref() == Some(OK) {
        OK
    } else {
        WARNING
    };
    match hint {
        Some(hint) => report.advise("schedule", status, detail, hint),
        None => report.say("schedule", status, detail),
    }
    Ok(())
}

fn keep(run_id: i64, report: &Report) -> Result<(), Failure> {
    for (no, line) in report.0.iter().enumerate() {
        Spi::run_with_args(
            "INSERT INTO gn_harvest.check_result (run_id, no, \"check\", status, detail, hint) VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                run_id.into(),
                (no as i32 + 1).into(),
                line.check.into(),
                line.status.into(),
                line.detail.replace('\0', "").into(),
                line.hint.clone().into(),
            ],
        )?;
    }
    Ok(())
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}
