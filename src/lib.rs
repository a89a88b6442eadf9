//! gn_harvest: keeps this database in step with partner GeoNature instances, from inside the database.
//! This file is the table of contents; the way of a record is fetch -> record -> synthese, led by harvest.

use pgrx::prelude::*;

mod api;
mod check;
mod deletion;
mod error;
mod gather;
mod handover;
mod harvest;
mod plan;
mod postgres;
mod probe;
mod reading;
mod retry;
mod run;
mod settings;
mod source;
mod synthese;
mod target;
mod upkeep;
mod worker;
mod writer;
mod writers;

// Without PostgreSQL: compiled by tests/pure as well, which uses more of them than the extension does.
#[allow(dead_code, unused_imports)]
mod fetch;
#[allow(dead_code, unused_imports)]
mod geonature;
#[allow(dead_code, unused_imports)]
mod mapping;
#[allow(dead_code, unused_imports)]
mod record;

pg_module_magic!(name, version);

extension_sql_file!("../sql/language.sql", name = "language");
extension_sql_file!(
    "../sql/source.sql",
    name = "source",
    requires = ["source_functions"]
);
extension_sql_file!("../sql/run.sql", name = "run", requires = ["source"]);
extension_sql_file!(
    "../sql/harvested.sql",
    name = "harvested",
    requires = ["source", "run"]
);
extension_sql_file!(
    "../sql/rejected.sql",
    name = "rejected",
    requires = ["source"]
);
extension_sql_file!(
    "../sql/metadata.sql",
    name = "metadata",
    requires = ["source"]
);
extension_sql_file!(
    "../sql/privileges.sql",
    name = "privileges",
    requires = ["source"]
);
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = ["language", "run", "harvested", "rejected", "privileges"]
);
extension_sql_file!(
    "../sql/source_api.sql",
    name = "source_api",
    requires = ["source", "run", "harvested", "run_functions", "run_api"]
);
extension_sql_file!(
    "../sql/mapping_api.sql",
    name = "mapping_api",
    requires = ["harvested"]
);
extension_sql_file!(
    "../sql/metadata_api.sql",
    name = "metadata_api",
    requires = ["metadata", "views"]
);
extension_sql_file!(
    "../sql/rejected_api.sql",
    name = "rejected_api",
    requires = ["rejected"]
);
extension_sql_file!(
    "../sql/run_api.sql",
    name = "run_api",
    requires = ["views", "run_functions"]
);
extension_sql_file!(
    "../sql/grants.sql",
    name = "grants",
    requires = [
        "source_api",
        "mapping_api",
        "metadata_api",
        "rejected_api",
        "run_api"
    ],
    finalize
);

/// Called once by each process that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::register();
}
