//! The real GN2PG, as people install it: in a virtual environment of its own, with settings of the caller's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use geonature_simulator::Simulator;

use crate::{Database, directory};

/// A version of GN2PG, with the packages that it was tried with.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub name: &'static str,
    /// How its settings call the number of an export.
    export: &'static str,
}

pub const V1_9: Version = Version {
    name: "1.9",
    export: "export_id",
};
pub const V1_10: Version = Version {
    name: "1.10",
    export: "data_export_id",
};

/// GN2PG's command line program, installed from PyPI the first time that it is wanted.
fn program(version: Version) -> PathBuf {
    let list = directory("gn2pg").join(format!("{}.txt", version.name));
    let home = directory("../../target").join(format!("gn2pg-{}", version.name));
    said(Command::new(directory("../venv")).arg(list).arg(&home));
    home.join("bin/gn2pg_cli")
}

/// What a program says; panics with it when the program fails.
fn said(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {}", text.concat());
    text.concat()
}

/// One source of GN2PG's settings.
pub struct Settings<'s> {
    pub name: &'s str,
    pub partner: &'s Simulator,
    pub export: u32,
    pub data_type: &'s str,
    /// Further lines of its [source.query_strings].
    pub query: &'s str,
    /// Lines of its [tuning]; what they leave out has GN2PG's own default.
    pub tuning: &'s str,
}

/// GN2PG in a database, importing into the schema gn2pg_import.
pub struct Gn2pg<'d> {
    version: Version,
    database: &'d Database<'d>,
    home: tempfile::TempDir,
}

impl<'d> Gn2pg<'d> {
    /// Makes its schema and its triggers, by its own commands.
    pub fn set_up(version: Version, database: &'d Database<'d>, settings: &Settings) -> Self {
        let home = tempfile::tempdir().expect("a home");
        fs::create_dir_all(home.path().join(".gn2pg/log")).expect("its directories");
        let gn2pg = Gn2pg {
            version,
            database,
            home,
        };
        gn2pg.configure(settings);
        gn2pg.call(&["db", "--json-tables-create"]);
        gn2pg.call(&["db", "--custom-script", "to_gnsynthese"]);
        gn2pg
    }

    pub fn configure(&self, settings: &Settings) {
        let text = format!(
            "[db]\ndb_host = \"\"\ndb_port = {}\ndb_user = \"postgres\"\ndb_password = \"x\"\ndb_name = \"{}\"\n\
             db_schema_import = \"gn2pg_import\"\n\
             [[source]]\nname = \"{}\"\nuser_name = \"moissonneur\"\nuser_password = \"moissonneur\"\nurl = \"{}\"\n\
             {} = {}\ndata_type = \"{}\"\n[source.query_strings]\norderby = \"id_synthese\"\n{}\n\
             [tuning]\n{}\n",
            self.database.cluster.port(),
            self.database.name,
            settings.name,
            settings.partner.url(),
            self.version.export,
            settings.export,
            settings.data_type,
            settings.query,
            settings.tuning,
        );
        fs::write(self.home.path().join(".gn2pg/settings.toml"), text).expect("its settings");
    }

    pub fn download(&self) -> String {
        self.call(&["download", "--full"])
    }

    pub fn update(&self) -> String {
        self.call(&["download", "--update"])
    }

    /// Its exit status tells nothing: tests look at what it wrote.
    fn call(&self, arguments: &[&str]) -> String {
        said(
            Command::new(program(self.version))
                .args(arguments)
                .arg("settings.toml")
                .env("HOME", self.home.path())
                .env("PGHOST", self.database.cluster.host())
                .env("LC_ALL", "C.UTF-8"),
        )
    }
}
