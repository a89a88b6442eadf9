//! A PostgreSQL cluster of our own, in a directory of our own, reached by a unix socket only.
//! PostgreSQL refuses to run as root: then it runs as the system's user `postgres`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Database, directory};

/// Database that test databases are copied from.
const TEMPLATE: &str = "geonature";
/// Its name while it is made.
const UNFINISHED: &str = "geonature_unfinished";
/// No TCP port is opened; the number only names the socket.
const PORT: &str = "54321";

/// How a cluster is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Fast,
    /// As a crash.
    Immediate,
}

/// A cluster; stopped and removed when dropped, unless it was made to stay.
pub struct Cluster {
    directory: PathBuf,
    bin: PathBuf,
    stays: bool,
    made: AtomicU32,
    /// CREATE DATABASE … TEMPLATE wants the template for itself.
    copying: Mutex<()>,
}

impl Cluster {
    /// A cluster in a temporary directory, with the target database, removed when dropped.
    pub fn temporary(settings: &[(&str, &str)]) -> Cluster {
        let directory = tempfile::Builder::new()
            .prefix("gn_harvest.")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        Cluster::start_in(&directory, settings, false)
    }

    /// A cluster in a directory that stays until `Cluster::down`.
    pub fn staying(directory: &Path, settings: &[(&str, &str)]) -> Cluster {
        fs::create_dir_all(directory).expect("the directory of the cluster");
        Cluster::start_in(directory, settings, true)
    }

    fn start_in(directory: &Path, settings: &[(&str, &str)], stays: bool) -> Cluster {
        let cluster = Cluster {
            directory: directory.to_owned(),
            bin: bin_directory(),
            stays,
            made: AtomicU32::new(0),
            copying: Mutex::new(()),
        };
        if is_root() {
            let (user, group) = postgres_ids();
            chown(directory, Some(user), Some(group)).expect("the directory for the user postgres");
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("permissions");
        if !cluster.data().exists() {
            let data = cluster.data().display().to_string();
            cluster.run(
                "initdb",
                &[
                    "-D",
                    &data,
                    "-A",
                    "trust",
                    "-U",
                    "postgres",
                    "-E",
                    "UTF8",
                    "--locale=C.UTF-8",
                    "--no-sync",
                ],
            );
            cluster.configure(settings);
        }
        cluster.start();
        cluster
    }

    /// A standby of this cluster, with a directory of its own, following it.
    pub fn standby(&self) -> Cluster {
        let standby = Cluster::beside(self);
        let data = standby.data().display().to_string();
        let host = self.host();
        self.run(
            "pg_basebackup",
            &[
                "-h",
                &host,
                "-p",
                PORT,
                "-U",
                "postgres",
                "-D",
                &data,
                "-R",
                "-c",
                "fast",
                "-X",
                "stream",
                "--no-sync",
            ],
        );
        standby.configure(&[]);
        standby.start();
        standby
    }

    /// A copy of the files of this cluster, which has to be stopped.
    pub fn copy_of_files(&self) -> Cluster {
        let copy = Cluster::beside(self);
        let status = Command::new("cp")
            .arg("-a")
            .args([self.data(), copy.data()])
            .status()
            .expect("cp");
        assert!(status.success());
        copy.configure(&[]);
        copy.start();
        copy
    }

    /// Writes a file into the data directory of a cluster that is stopped.
    pub fn write_file(&self, name: &str, text: &str) {
        let file = self.data().join(name);
        fs::write(&file, text).expect("the file");
        if is_root() {
            let (user, group) = postgres_ids();
            chown(&file, Some(user), Some(group)).expect("the file for the user postgres");
        }
    }

    fn beside(other: &Cluster) -> Cluster {
        let directory = tempfile::Builder::new()
            .prefix("gn_harvest.")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let cluster = Cluster {
            directory,
            bin: other.bin.clone(),
            stays: false,
            made: AtomicU32::new(0),
            copying: Mutex::new(()),
        };
        if is_root() {
            let (user, group) = postgres_ids();
            chown(&cluster.directory, Some(user), Some(group))
                .expect("the directory for the user postgres");
        }
        fs::set_permissions(&cluster.directory, fs::Permissions::from_mode(0o755))
            .expect("permissions");
        cluster
    }

    /// Ends a standby's recovery; returns when it is a primary.
    pub fn promote(&self) {
        let data = self.data().display().to_string();
        self.run("pg_ctl", &["-D", &data, "-w", "-t", "120", "promote"]);
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn log(&self) -> String {
        fs::read(self.directory.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// The directory of the socket: PGHOST.
    pub fn host(&self) -> String {
        self.directory.display().to_string()
    }

    pub fn port(&self) -> &'static str {
        PORT
    }

    fn configure(&self, settings: &[(&str, &str)]) {
        let host = self.host();
        let usual = [
            ("listen_addresses", ""),
            ("port", PORT),
            ("unix_socket_directories", host.as_str()),
            ("fsync", if self.stays { "on" } else { "off" }),
            ("shared_buffers", "256MB"),
            ("max_connections", "100"),
            ("max_worker_processes", "32"),
            ("log_line_prefix", "%m [%p] %b %u@%d "),
        ];
        // Usual settings first: PostgreSQL takes the last of those given twice.
        let text: String = usual
            .iter()
            .chain(settings)
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect();
        let file = self.data().join("postgresql.conf");
        let before = fs::read_to_string(&file).expect("postgresql.conf");
        fs::write(&file, before + &text).expect("postgresql.conf");
    }

    /// Starts the server, again after a stop.
    pub fn start(&self) {
        let (data, log) = (
            self.data().display().to_string(),
            self.directory.join("log").display().to_string(),
        );
        self.run(
            "pg_ctl",
            &["-D", &data, "-l", &log, "-w", "-t", "120", "start"],
        );
    }

    pub fn stop(&self, how: Stop) {
        let mode = if how == Stop::Fast {
            "fast"
        } else {
            "immediate"
        };
        self.run(
            "pg_ctl",
            &[
                "-D",
                &self.data().display().to_string(),
                "-m",
                mode,
                "-w",
                "stop",
            ],
        );
    }

    /// Waits until the server answers again after it has restarted by itself.
    pub fn wait_until_up(&self, seconds: u64) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let output = self
                .psql_command("postgres")
                .args(["-X", "-c", "SELECT 1"])
                .output()
                .expect("psql");
            if output.status.success() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the server is not up after {seconds} s"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops a cluster that stayed and removes its directory.
    pub fn down(directory: &Path) {
        let bin = bin_directory();
        let data = directory.join("data");
        if data.join("postmaster.pid").exists() {
            run_as_postgres(
                &bin,
                "pg_ctl",
                &[
                    "-D",
                    &data.display().to_string(),
                    "-m",
                    "fast",
                    "-w",
                    "stop",
                ],
            );
        }
        let _ = fs::remove_dir_all(directory);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        run_as_postgres(&self.bin, program, arguments);
    }

    /// Runs psql with a script, in a directory; panics with what it said when it fails.
    pub fn psql(&self, database: &str, directory: &Path, arguments: &[&str]) -> String {
        let output = self
            .psql_command(database)
            .current_dir(directory)
            .args(["-X", "-v", "ON_ERROR_STOP=1"])
            .args(arguments)
            .output()
            .expect("psql");
        assert!(
            output.status.success(),
            "psql {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A program of this PostgreSQL, such as pg_dump.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// psql on a database of this cluster, for what tests want of it.
    pub fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.program("psql"));
        command
            .env("PGHOST", self.host())
            .env("PGPORT", PORT)
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database)
            .stdin(Stdio::null());
        command
    }

    /// Makes the database that the others are copied from, once.
    pub fn prepare_target(&self) {
        let _alone = self
            .copying
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let postgres = Database::existing(self, "postgres");
        if postgres.value(&format!(
            "SELECT count(*) FROM pg_database WHERE datname = '{TEMPLATE}'"
        )) == "0"
        {
            // Under another name until it is whole: one test's failure here is not to puzzle the others.
            postgres.run(&format!("DROP DATABASE IF EXISTS {UNFINISHED}"));
            postgres.run(&format!("CREATE DATABASE {UNFINISHED}"));
            for what in [["-f", "target.sql"], ["-c", "CREATE EXTENSION gn_harvest"]] {
                self.psql(
                    UNFINISHED,
                    &directory("../target"),
                    &["-q", what[0], what[1]],
                );
            }
            postgres.run(&format!("ALTER DATABASE {UNFINISHED} RENAME TO {TEMPLATE}"));
        }
    }

    /// A fresh copy of the target database, with the extension; dropped with the value.
    pub fn database(&self) -> Database<'_> {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.prepare_target();
        let _alone = self
            .copying
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        Database::existing(self, "postgres")
            .run(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        Database::own(self, name)
    }

    /// A fresh empty database, without anything.
    pub fn empty_database(&self) -> Database<'_> {
        let name = format!("empty_{}", self.made.fetch_add(1, Ordering::Relaxed));
        Database::existing(self, "postgres")
            .run(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        Database::own(self, name)
    }

    /// Stops at the end of the process: for a cluster that all tests share.
    pub fn stop_at_exit(&self) {
        static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
        extern "C" fn stop_all() {
            for directory in DIRECTORIES
                .lock()
                .map(|list| list.clone())
                .unwrap_or_default()
            {
                Cluster::down(&directory);
            }
        }
        DIRECTORIES
            .lock()
            .expect("the list of clusters")
            .push(self.directory.clone());
        // SAFETY: a plain function, registered once a cluster.
        unsafe { libc::atexit(stop_all) };
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stays {
            Cluster::down(&self.directory);
        }
    }
}

fn bin_directory() -> PathBuf {
    let pg_config = std::env::var("PG_CONFIG")
        .unwrap_or_else(|_| "/usr/lib/postgresql/15/bin/pg_config".to_owned());
    let output = Command::new(&pg_config)
        .arg("--bindir")
        .output()
        .unwrap_or_else(|error| panic!("{pg_config}: {error}"));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn is_root() -> bool {
    // SAFETY: no argument, can't fail.
    unsafe { libc::geteuid() == 0 }
}

fn postgres_ids() -> (u32, u32) {
    let id = |flag: &str| -> u32 {
        let output = Command::new("id")
            .args([flag, "postgres"])
            .output()
            .expect("id");
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .expect("the system's user postgres")
    };
    (id("-u"), id("-g"))
}

fn run_as_postgres(bin: &Path, program: &str, arguments: &[&str]) {
    let program = bin.join(program);
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // A backtrace in every error's DETAIL is not what users see.
    command
        .args(arguments)
        .current_dir("/")
        .env_remove("RUST_BACKTRACE")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    let log = tempfile::tempfile().expect("a temporary file");
    let status = command
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log.try_clone().expect("a handle"))
        .status()
        .expect("the program");
    if !status.success() {
        use std::io::{Read, Seek};
        let (mut log, mut text) = (log, String::new());
        let _ = log.rewind();
        let _ = log.read_to_string(&mut text);
        panic!("{command:?}: {text}");
    }
}
