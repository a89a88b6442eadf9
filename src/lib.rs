//! gn_harvest: keeps this database in step with partner GeoNature instances, from inside the database.
//! This file is the table of contents; the way of a record is fetch -> record -> synthese or records, led by harvest.

use pgrx::prelude::*;

mod alert;
mod api;
mod batch;
mod bootstrap;
mod check;
mod clock;
mod deletion;
mod error;
mod gather;
mod handover;
mod harvest;
mod home;
mod intake;
mod launcher;
mod plan;
mod postgres;
mod probe;
mod publication;
mod reading;
mod records;
mod retention;
mod retry;
mod run;
mod scheduler;
mod settings;
mod slices;
mod source;
mod synthese;
mod target;
mod upkeep;
mod visitor;
mod worker;
mod writer;
mod writers;

// Without PostgreSQL: compiled by tests/pure as well, which uses more of them than the extension does.
#[allow(dead_code, unused_imports)]
mod fetch;
#[allow(dead_code, unused_imports)]
mod file;
#[allow(dead_code, unused_imports)]
mod geonature;
#[allow(dead_code, unused_imports)]
mod mapping;
#[allow(dead_code, unused_imports)]
mod record;
#[allow(dead_code, unused_imports)]
mod schedule;
#[allow(dead_code, unused_imports)]
mod status_page;

pg_module_magic!(name, version);

extension_sql_file!("../sql/language.sql", name = "language");
extension_sql_file!(
    "../sql/source.sql",
    name = "source",
    requires = ["source_functions", "schedule_functions"]
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
    "../sql/tally.sql",
    name = "tally",
    requires = ["harvested", "rejected"]
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
    "../sql/alert.sql",
    name = "alert",
    requires = ["language", "source", "privileges", "alert_functions"]
);
extension_sql_file!(
    "../sql/schedule.sql",
    name = "schedule",
    requires = ["language", "run", "schedule_functions"]
);
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = [
        "language",
        "run",
        "tally",
        "privileges",
        "alert",
        "schedule"
    ]
);
extension_sql_file!(
    "../sql/dashboard.sql",
    name = "dashboard",
    requires = ["views"]
);
extension_sql_file!(
    "../sql/metrics.sql",
    name = "metrics",
    requires = ["dashboard"]
);
extension_sql_file!(
    "../sql/status_page.sql",
    name = "status_page",
    requires = ["dashboard", "alert", "status_page_functions"]
);
extension_sql_file!(
    "../sql/retention.sql",
    name = "retention",
    requires = ["run", "tally", "alert"]
);
extension_sql_file!(
    "../sql/record.sql",
    name = "record",
    requires = ["source", "harvested", "privileges"]
);
extension_sql_file!(
    "../sql/record_api.sql",
    name = "record_api",
    requires = ["record"]
);
extension_sql_file!(
    "../sql/source_api.sql",
    name = "source_api",
    requires = [
        "source",
        "run",
        "tally",
        "record",
        "run_functions",
        "run_api",
        "alert_api"
    ]
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
    "../sql/gn2pg.sql",
    name = "gn2pg",
    requires = ["source_api", "run_api"]
);
extension_sql_file!(
    "../sql/alert_api.sql",
    name = "alert_api",
    requires = ["alert", "views", "schedule"]
);
extension_sql_file!(
    "../sql/channel_api.sql",
    name = "channel_api",
    requires = ["alert_api"]
);
extension_sql_file!(
    "../sql/publication.sql",
    name = "publication",
    requires = ["source", "privileges"]
);
extension_sql_file!(
    "../sql/publication_filter.sql",
    name = "publication_filter",
    requires = ["publication"]
);
extension_sql_file!(
    "../sql/publication_observations.sql",
    name = "publication_observations",
    requires = ["publication_filter"]
);
extension_sql_file!(
    "../sql/publication_metadata.sql",
    name = "publication_metadata",
    requires = ["publication_filter"]
);
extension_sql_file!(
    "../sql/publication_watch.sql",
    name = "publication_watch",
    requires = ["publication_filter"]
);
extension_sql_file!(
    "../sql/publication_keep.sql",
    name = "publication_keep",
    requires = ["publication_watch"]
);
extension_sql_file!(
    "../sql/publish_api.sql",
    name = "publish_api",
    requires = [
        "publication_observations",
        "publication_metadata",
        "publication_keep"
    ]
);
extension_sql_file!(
    "../sql/grants.sql",
    name = "grants",
    requires = [
        "metrics",
        "retention_functions",
        "status_page",
        "source_api",
        "mapping_api",
        "metadata_api",
        "rejected_api",
        "record_api",
        "run_api",
        "gn2pg",
        "alert_api",
        "channel_api",
        "publish_api"
    ],
    finalize
);

/// Called once by each process that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    postgres::note_loading();
    settings::register();
    if postgres::is_preloaded() && !postgres::is_being_upgraded() {
        launcher::register();
    }
}
