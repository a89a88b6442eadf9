//! Where the parts of a reading come from: the export, or the file that was written of it.

use std::time::Duration;

use crate::bootstrap::{self, FileToRead};
use crate::error::Failure;
use crate::fetch::file::FileReader;
use crate::fetch::{Event, FetchError, Fetcher};
use crate::target::Parsed;

pub enum Intake<'f> {
    Export(Fetcher<Parsed>),
    File(FileReader<Parsed>, &'f FileToRead),
}

impl Intake<'_> {
    /// Whether another slice would be welcome; a file is one.
    pub fn hungry(&self) -> bool {
        match self {
            Intake::Export(fetcher) => fetcher.hungry(),
            Intake::File(..) => false,
        }
    }

    /// The next event, if one comes in time.
    pub fn recv_timeout(&self, time: Duration) -> Option<Event<Parsed>> {
        match self {
            Intake::Export(fetcher) => fetcher.recv_timeout(time),
            Intake::File(reader, _) => reader.recv_timeout(time),
        }
    }

    pub fn failure(&self, error: FetchError) -> Failure {
        match self {
            Intake::Export(_) => error.into(),
            Intake::File(..) => bootstrap::unreadable(error),
        }
    }

    /// How far it has come, in words, where the number of records does not say it.
    pub fn progress(&self) -> Option<String> {
        match self {
            Intake::Export(_) => None,
            Intake::File(reader, _) => Some(bootstrap::in_words(reader.progress())),
        }
    }

    /// Everything has come.
    pub fn finished(&self) {
        if let Intake::File(reader, file) = self {
            file.finished(reader);
        }
    }

    /// Ends the threads, those that end within `patience`; the others are left behind.
    pub fn stop(self, patience: Duration) -> bool {
        match self {
            Intake::Export(fetcher) => fetcher.stop(patience),
            Intake::File(reader, _) => reader.stop(patience),
        }
    }
}
