//! How fast a file is cut into records, and these are read: `cargo run --release --example file_speed -- FILE`.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use gn_harvest_pure::file::{Kinds, Splitter};
use gn_harvest_pure::mapping::Layout;
use gn_harvest_pure::record::{Lengths, parse_page};

const PIECE: usize = 128 * 1024;
const ROWS: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a file")?;
    let (mut cutting, mut reading) = (Duration::ZERO, Duration::ZERO);
    let (mut records, mut rejected) = (0, 0);
    let mut file = File::open(&path)?;
    let mut splitter = Splitter::new(64 * 1024 * 1024, Kinds::default());
    let mut piece = vec![0; PIECE];
    let mut items: Vec<String> = Vec::new();
    let mut layout = None;
    loop {
        let size = file.read(&mut piece)?;
        let begun = Instant::now();
        let result = match size {
            0 => splitter.finish(true, &mut items),
            size => splitter.feed(&piece[..size], &mut items),
        };
        result.map_err(|broken| broken.to_string())?;
        cutting += begun.elapsed();
        if items.len() < ROWS && size > 0 {
            continue;
        }
        let begun = Instant::now();
        let texts: Vec<&str> = items.iter().map(String::as_str).collect();
        let layout = match &mut layout {
            Some(layout) => layout,
            none => {
                let feature = texts
                    .first()
                    .is_some_and(|text| text.contains("\"properties\""));
                none.insert(Layout::recognise(&[], &texts, feature, &[], None, None)?)
            }
        };
        let batch = parse_page(texts.into_iter(), layout, &Lengths::default());
        records += batch.records.len();
        rejected += batch.rejected.len();
        reading += begun.elapsed();
        items.clear();
        if size == 0 {
            break;
        }
    }
    let megabytes = splitter.read() as f64 / 1e6;
    let rate = |time: Duration| megabytes / time.as_secs_f64();
    println!(
        "{megabytes:.0} MB, {records} records, {rejected} rejected: cut at {:.0} MB/s, cut and read at {:.0} MB/s",
        rate(cutting),
        rate(cutting + reading)
    );
    Ok(())
}
