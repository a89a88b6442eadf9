//! gn_harvest.metrics as Prometheus gets it: by Debian's prometheus-sql-exporter, with the configuration that we ship.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::people::*;
use crate::support::*;

struct Exporter {
    process: Child,
    port: u16,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Exporter {
    fn start(configuration: &Path) -> Self {
        // Free a moment ago; the exporter can not choose one itself.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let process = Command::new("prometheus-sql-exporter")
            .arg("-config.file")
            .arg(configuration)
            .arg("-web.listen-address")
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-sql-exporter: make setup installs it");
        Self { process, port }
    }

    /// What it answers at /metrics; nothing while it is not up.
    fn metrics(&self) -> String {
        let mut answer = String::new();
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
        asked.map(|_| answer).unwrap_or_default()
    }
}

/// The labels and the value of the samples of a measure.
fn samples<'m>(metrics: &'m str, name: &str) -> Vec<(&'m str, f64)> {
    let wanted = format!("metric=\"gn_harvest_{name}\"");
    metrics
        .lines()
        .filter(|line| line.starts_with("sql_gn_harvest{") && line.contains(&wanted))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(labels, value)| (labels, value.parse().expect("a number")))
        .collect()
}

#[test]
fn the_real_exporter_gives_every_measure_to_prometheus() {
    let database = cluster().database();
    let partner = partner(80);
    add_source(&database, "L''Aulne \"été\"", &partner, 3, "");
    run_well(&database, "L''Aulne \"été\"", "auto");
    let reader = role(&database, "metrics");
    database.run(&format!("SELECT gn_harvest.grant_reader('{reader}')"));

    // The file as it is shipped, but for the database that it names.
    let shipped = include_str!("../../../examples/prometheus-sql-exporter.yml");
    const NAMED: &str = "postgres://postgres@/geonature?host=/var/run/postgresql&sslmode=disable";
    assert!(shipped.contains(NAMED) && shipped.contains("interval: 1m"));
    let configuration = tempfile::NamedTempFile::new().expect("a file");
    let here = format!(
        "postgres://{reader}@/{}?host={}&port={}&sslmode=disable",
        database.name,
        database.cluster.host(),
        database.cluster.port()
    );
    std::fs::write(
        configuration.path(),
        shipped
            .replace(NAMED, &here)
            .replace("interval: 1m", "interval: 1s"),
    )
    .expect("written");

    let exporter = Exporter::start(configuration.path());
    until(60, "the exporter has read the view", || {
        !samples(&exporter.metrics(), "observations").is_empty()
    });
    let metrics = exporter.metrics();
    let held = samples(&metrics, "observations");
    assert_eq!(held.len(), 1, "{metrics}");
    assert_eq!(held[0].1, 80.0);
    assert!(
        held[0].0.contains("source=\"L'Aulne \\\"été\\\"\""),
        "{}",
        held[0].0
    );
    assert!(held[0].0.contains("unit=\"observations\""), "{}", held[0].0);
    let platform = samples(&metrics, "platform_observations");
    assert_eq!((platform.len(), platform[0].1), (1, 80.0));
    assert!(platform[0].0.contains("source=\"\""), "{}", platform[0].0);
    // Every row of the view is a sample.
    let rows = database.number("SELECT count(*) FROM gn_harvest.metrics");
    let all = metrics
        .lines()
        .filter(|line| line.starts_with("sql_gn_harvest{"))
        .count();
    assert_eq!(all as i64, rows);
    let failed = metrics
        .lines()
        .find(|line| line.starts_with("sql_exporter_last_scrape_failed{"));
    assert!(
        failed.is_some_and(|line| line.ends_with(" 0")),
        "{failed:?}"
    );

    // And it follows what happens.
    database.run("SELECT gn_harvest.pause_source('L''Aulne \"été\"')");
    until(60, "the pause is seen", || {
        samples(&exporter.metrics(), "enabled")
            .first()
            .is_some_and(|(_, value)| *value == 0.0)
    });
    drop(exporter);
    database.wait_until(
        60,
        &format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = '{reader}'"),
    );
    database.run(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}"));
}
