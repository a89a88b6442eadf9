//! A worker that writes for the worker of a run: it takes batches from a queue and writes each, with its lineage and its
//! checkpoint, in one transaction. It asks the source nothing and decides nothing about the run; when it fails, what it
//! has not written is read again. It ends when the queue does, and with the worker of the run.

use std::time::Duration;

use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::batch::{Compare, Place};
use crate::error::Failure;
use crate::handover::Handover;
use crate::harvest;
use crate::mapping::Layout;
use crate::postgres;
use crate::postgres::queue::{self, Queue};
use crate::run;
use crate::settings;
use crate::source::Source;
use crate::synthese::Synthese;
use crate::target::Target;
use crate::worker::{self, SEPARATOR};

/// backend_type in pg_stat_activity.
pub const WRITER_TYPE: &str = "gn_harvest writer";

/// What a writer is started for.
#[derive(Debug, Clone, Copy)]
pub struct Post {
    pub run_id: i64,
    pub source_id: i32,
    /// The worker of the run.
    pub leader: i32,
    /// That of the queue.
    pub address: u32,
}

impl Post {
    pub fn encode(&self) -> String {
        let numbers = [
            i64::from(postgres::database().to_u32()),
            self.run_id,
            i64::from(self.source_id),
            i64::from(self.leader),
            i64::from(self.address),
        ];
        numbers.map(|n| n.to_string()).join(&SEPARATOR.to_string())
    }

    fn decode(text: &str) -> Option<(pg_sys::Oid, Post)> {
        let mut numbers = text.split(SEPARATOR).map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        let database = u32::try_from(next()?).ok()?;
        let post = Post {
            run_id: next()?,
            source_id: next()?.try_into().ok()?,
            leader: next()?.try_into().ok()?,
            address: next()?.try_into().ok()?,
        };
        Some((database.into(), post))
    }
}

/// Where a writer begins.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gn_harvest_writer(_argument: pg_sys::Datum) {
    postgres::attach_signals();
    postgres::keep_little_memory();
    let Some((database, post)) = Post::decode(BackgroundWorker::get_extra()) else {
        log!("gn_harvest: a writer was started without a run");
        return;
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    let Some(mut queue) = queue::join(post.address) else {
        return;
    };
    let outcome = postgres::guarded(|| {
        let search_path = postgres::transaction(|| {
            worker::prepare_session(&settings::LOCK_TIMEOUT.get().to_string())
        })?;
        serve(&post, &search_path, &mut queue)
    });
    if let Err(failure) = outcome {
        let text = format!("a writer of this run failed: {failure}");
        if let Err(unsaid) = postgres::transaction(|| run::warn(post.run_id, &text)) {
            log!("gn_harvest: run {}: {text} ({unsaid})", post.run_id);
        }
    }
}

fn serve(post: &Post, search_path: &str, queue: &mut Queue) -> Result<(), Failure> {
    let Some(setup) = next(queue)? else {
        return Ok(());
    };
    let (layout, compares) = serde_json::from_slice::<(Layout, bool)>(&setup).map_err(|error| {
        Failure::new(
            "XX000",
            format!("a writer was not told what to read: {error}"),
        )
    })?;
    let (source, owner) = postgres::transaction(|| {
        let source = Source::load(post.source_id)?.ok_or_else(run::changed_under_way)?;
        let owner = harvest::owner(&source)?;
        Ok((source, owner))
    })?;
    postgres::report_activity(&format!(
        "gn_harvest: run {} of source {}: writing for process {}",
        post.run_id, source.name, post.leader
    ));
    let mut synthese = postgres::transaction(|| open(&source, post.run_id, owner, search_path))?;
    let place = Place {
        run_id: post.run_id,
        source: &source,
        layout: &layout,
        compare: if compares {
            Compare::Keys
        } else {
            Compare::Nothing
        },
        leader: Some(post.leader),
    };
    while let Some(message) = next(queue)? {
        let handover = Handover::decode(&message)?;
        drop(message);
        synthese.follow(&handover.findings);
        let batches = place.parse(&handover.pages, &synthese);
        place.write(&handover.pages, batches, &mut synthese, None)?;
        queue.count_one();
    }
    Ok(())
}

/// The target; fails when the load that was asked for is not allowed any more.
fn open(
    source: &Source,
    run_id: i64,
    owner: pg_sys::Oid,
    search_path: &str,
) -> Result<Synthese, Failure> {
    let synthese = Synthese::open(source, run_id, owner, search_path)?;
    synthese.load()?;
    Ok(synthese)
}

/// The next message; none when the other end has no more, or is gone.
fn next(queue: &mut Queue) -> Result<Option<Vec<u8>>, Failure> {
    loop {
        match queue.receive() {
            Ok(Some(message)) => return Ok(Some(message)),
            Ok(None) => postgres::wait_latch(Duration::from_secs(1)),
            Err(_) => return Ok(None),
        }
        postgres::reload_if_asked();
    }
}
