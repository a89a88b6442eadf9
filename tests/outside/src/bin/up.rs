//! `make up DIRECTORY`: a private cluster and two simulated partners, left running to play with.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gn_harvest_outside::Cluster;

fn main() {
    let directory = PathBuf::from(
        std::env::args()
            .nth(1)
            .expect("the directory of the cluster"),
    );
    if directory.join("data/postmaster.pid").exists() {
        println!("It is up already (make down ends it).");
        print!(
            "{}",
            fs::read_to_string(directory.join("readme")).unwrap_or_default()
        );
        return;
    }
    let cluster = Cluster::staying(&directory, &[]);
    cluster.prepare_target();
    let mut text = format!(
        "\nThe database, with the extension:\n  psql -h {} -p {} -U postgres geonature\n",
        cluster.host(),
        cluster.port()
    );
    for (name, seed, observations) in [("cen", "1", "20000"), ("lpo", "2", "5000")] {
        let port = start_partner(&directory, name, seed, observations);
        text.push_str(&format!(
            "\nPartner {name}, {observations} observations: http://127.0.0.1:{port}\n  login moissonneur, password moissonneur\n  \
             exports: 1 labels (GeoJSON), 2 codes, 3 codes with metadata, 5 labels, 6 public; token of export n: jeton-export-n\n  \
             SELECT gn_harvest.add_source('{name}', 'http://127.0.0.1:{port}', 3, token => 'jeton-export-3');\n  \
             SELECT * FROM gn_harvest.check_source('{name}');\n  SELECT * FROM gn_harvest.run('{name}') \\gx\n"
        ));
    }
    text.push_str("\nmake down ends it all and removes it.\n");
    fs::write(directory.join("readme"), &text).expect("a file in the directory");
    print!("{text}");
}

/// Starts a partner that outlives this program; returns its port.
#[allow(
    clippy::zombie_processes,
    reason = "it goes on when this program has ended"
)]
fn start_partner(directory: &Path, name: &str, seed: &str, observations: &str) -> String {
    let log = directory.join(format!("{name}.log"));
    let file = fs::File::create(&log).expect("the partner's log");
    #[expect(
        clippy::zombie_processes,
        reason = "it lives on when this program has ended"
    )]
    let child = Command::new(simulator())
        .args([
            "--name",
            name,
            "--seed",
            seed,
            "--observations",
            observations,
        ])
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a handle"))
        .stderr(file)
        .process_group(0)
        .spawn()
        .expect("the simulated GeoNature");
    fs::write(
        directory.join(format!("{name}.pid")),
        child.id().to_string(),
    )
    .expect("the partner's pid");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let lines = BufReader::new(fs::File::open(&log).expect("the partner's log")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let after = line.split_once("http://127.0.0.1:")?.1;
            Some(
                after
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>(),
            )
        });
        if let Some(port) = port {
            return port;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "partner {name} does not start: see {}",
            log.display()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn simulator() -> PathBuf {
    std::env::current_exe()
        .expect("the path of this program")
        .with_file_name("geonature-simulator")
}
