//! WKT, EWKT and GeoJSON: whatever comes is refused, or is a well-formed WKB in longitude
//! and latitude.
#![no_main]

use gn_harvest_fuzz::record::{hash, parse_date, parse_geometry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    parse_date(text);
    if let Ok(geometry) = parse_geometry(text) {
        let mut rest = geometry.wkb.as_slice();
        shape(&mut rest);
        assert!(rest.is_empty(), "bytes are left after the geometry");
        hash::geometry(Some(&geometry.wkb));
    }
});

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, after) = rest.split_at(N);
    *rest = after;
    taken.try_into().expect("as many bytes as were split off")
}

fn count(rest: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(rest))
}

fn position(rest: &mut &[u8]) -> (f64, f64) {
    let (x, y) = (
        f64::from_le_bytes(take(rest)),
        f64::from_le_bytes(take(rest)),
    );
    assert!(x.abs() <= 180.0 && y.abs() <= 90.0);
    (x, y)
}

/// Decodes one geometry and checks its rings and counts.
fn shape(rest: &mut &[u8]) {
    assert_eq!(take(rest), [1], "little endian");
    match count(rest) {
        1 => {
            position(rest);
        }
        2 => {
            let points = count(rest);
            assert!(points >= 2);
            (0..points).for_each(|_| {
                position(rest);
            });
        }
        3 => {
            let rings = count(rest);
            assert!(rings >= 1);
            for _ in 0..rings {
                let points = count(rest);
                assert!(points >= 4);
                let ring: Vec<_> = (0..points).map(|_| position(rest)).collect();
                assert_eq!(ring.first(), ring.last());
            }
        }
        4..=7 => {
            let parts = count(rest);
            assert!(parts >= 1);
            (0..parts).for_each(|_| shape(rest));
        }
        other => panic!("{other} is no type of geometry"),
    }
}
