//! A partner that publishes: a GeoNature-shaped database with the export module's schema, and the module's API on it,
//! by the query classes that it uses itself (tests/partner/server.py).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::{Cluster, Database, directory};

impl Cluster {
    /// A fresh source database: the target's schemas, and those of the export module.
    pub fn source_database(&self) -> Database<'_> {
        let database = self.database();
        self.psql(
            &database.name,
            &directory("../target"),
            &["-q", "-f", "schema/gn_exports.sql"],
        );
        database
    }
}

/// The export module's API on a database; stopped with the value.
pub struct ExportServer {
    child: Child,
    port: u16,
}

impl ExportServer {
    /// Serves a database, as a role.
    pub fn start(database: &Database, role: &str) -> ExportServer {
        let uri = format!(
            "postgresql+psycopg2://{role}@/{}?host={}&port={}",
            database.name,
            database.cluster.host(),
            database.cluster.port()
        );
        let mut child = Command::new(python())
            .arg(directory("../partner").join("server.py"))
            .arg(uri)
            .env("FLASK_SQLALCHEMY_DB", "server.db")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the partner's server");
        let output = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("its port");
        let port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("the partner's server has not started: {line:?}"));
        ExportServer { child, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for ExportServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter that has the query classes; its environment is made once.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new(directory("../partner").join("venv"))
            .output()
            .expect("tests/partner/venv");
        assert!(
            output.status.success(),
            "tests/partner/venv: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}
