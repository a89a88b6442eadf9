//! A simulated GeoNature for the tests of gn_harvest: a real HTTP server on loopback that
//! answers as a GeoNature with its export module does, holds as many observations as wanted,
//! lets a test change them, and misbehaves on demand.
//!
//! ```no_run
//! use geonature_simulator::{Config, Fault, Route, Rule, Simulator};
//!
//! let partner = Simulator::start(Config { observations: 5000, ..Config::default() })?;
//! partner.update(partner.ids()[0], &serde_json::json!({"nombre_min": 3, "nombre_max": 4}))?;
//! partner.add_fault(Rule::times(Route::Export, 1, Fault::Hang));
//! println!("{} {:?}", partner.url(), partner.token(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admin;
mod answer;
mod caller;
mod clock;
mod connection;
mod control;
mod csv;
mod faults;
mod files;
mod generate;
mod geometry;
mod json;
mod metadata;
mod misbehave;
mod nomenclature;
mod observation;
mod query;
mod random;
mod render;
mod routes;
mod server;
mod sessions;
mod state;
mod statistics;
mod store;
mod taxon;
mod truth;
mod views;

pub use control::{Outcome, View};
pub use faults::{Fault, Route, Rule};
pub use random::Draw;
pub use server::Simulator;
pub use state::{Config, Shared};
pub use statistics::{RouteFigures, SeenRequest, Statistics};
