//! `make down DIRECTORY`: ends what `up` started, by pid, and removes it.

use std::fs;
use std::path::PathBuf;

use gn_harvest_outside::Cluster;

fn main() {
    let directory = PathBuf::from(
        std::env::args()
            .nth(1)
            .expect("the directory of the cluster"),
    );
    for name in ["cen", "lpo"] {
        let Ok(pid) = fs::read_to_string(directory.join(format!("{name}.pid"))) else {
            continue;
        };
        let program =
            fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        if let (true, Ok(pid)) = (program.contains("geonature-simulator"), pid.trim().parse()) {
            // SAFETY: a signal to a program that `up` started, as its command line shows.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
    Cluster::down(&directory);
    println!("It is down.");
}
