//! The GeoNature API as a client sees it: session, export pages, deletion log.
//! What it relies on was observed on GeoNature 2.17 with gn_module_export 1.8;
//! nothing here touches PostgreSQL, and everything may be called from any thread.

mod address;
mod allowed;
mod ask;
mod client;
mod control;
mod courier;
mod deletions;
mod endpoint;
mod error;
mod exchange;
mod exports;
mod file;
mod mask;
mod page;
mod post;
mod redirect;
mod retry;
mod session;
mod stream;

pub use address::{forbidden as forbidden_address, refuse_literal};
pub use allowed::AllowedHosts;
pub(crate) use client::Patience;
pub use client::{Client, Module, Probe};
pub use control::{Spawn, Stop, Traffic, plain_spawn};
pub use deletions::Deletion;
pub use endpoint::{Credentials, Endpoint, Limits, Secret, parse_url};
pub use error::{FetchError, Seen};
pub use file::{Chunk, Download, FileHead, parse_file_url};
pub use mask::Mask;
pub use page::{License, Page, PageQuery, Shape};
pub use post::{Post, parse_secret_url};
