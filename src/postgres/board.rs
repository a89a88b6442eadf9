//! What the launcher, its visitors and sessions tell each other, in shared memory: it is there only when the library was
//! preloaded, and is empty after a start or a crash. Nothing is written to disk for it: a server at rest stays at rest.

use pgrx::lwlock::PgLwLock;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_guard, pg_sys};

use super::server::is_preloaded;

/// Databases that are remembered; past them the longest unseen makes room.
const PLACES: usize = 256;
/// Bytes of a time zone's name; a longer one is not told.
const ZONE: usize = 64;

/// The last visit of a database that came to its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visit {
    /// Oid of the database; 0: none.
    pub database: u32,
    /// When, as PostgreSQL counts.
    pub at: i64,
    /// What went wrong, as a hash of its words; 0: nothing.
    pub trouble: u64,
}

#[derive(Clone, Copy)]
struct Board {
    visits: [Visit; PLACES],
    /// No worker slot was free when one was wanted last: for a visitor, for a run.
    slots_missed: [bool; 2],
    /// The server's own time zone, which a session can't see behind its own; NULs after it.
    zone: [u8; ZONE],
}

// SAFETY: plain values without a pointer.
unsafe impl PGRXSharedMemory for Board {}

impl Default for Board {
    fn default() -> Self {
        Board {
            visits: [Visit::default(); PLACES],
            slots_missed: [false; 2],
            zone: [0; ZONE],
        }
    }
}

// SAFETY: nobody else has a lock of this name.
static BOARD: PgLwLock<Board> = unsafe { PgLwLock::new(c"gn_harvest") };

/// Asks for the shared memory; called from `_PG_init` while preloading.
pub fn ask_for_board() {
    pgrx::pg_shmem_init!(BOARD);
}

/// The last visit of a database, if it was visited since the server was started.
pub fn last_visit(database: pg_sys::Oid) -> Option<Visit> {
    let wanted = database.to_u32();
    is_preloaded()
        .then(|| BOARD.share().visits)?
        .into_iter()
        .find(|visit| visit.database == wanted)
}

/// Notes that a visit has come to its end; returns what the one before it had noted.
pub fn note_visit(database: pg_sys::Oid, trouble: u64) -> Option<Visit> {
    if !is_preloaded() {
        return None;
    }
    // SAFETY: a look at the clock.
    let at = unsafe { pg_sys::GetCurrentTimestamp() };
    let wanted = database.to_u32();
    let mut board = BOARD.exclusive();
    let known = board.visits.iter().position(|v| v.database == wanted);
    let place = known.or_else(|| {
        let oldest = board.visits.iter().enumerate();
        oldest.min_by_key(|(_, v)| v.at).map(|(place, _)| place)
    })?;
    let before = known.map(|place| board.visits[place]);
    board.visits[place] = Visit {
        database: wanted,
        at,
        trouble,
    };
    before
}

/// What a worker slot is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Visitor,
    Run,
}

/// Notes whether a worker slot was found; true when it is the first miss of all, which is worth a line in the log.
pub fn note_slot(wanted_for: Slot, missed: bool) -> bool {
    if !is_preloaded() {
        return missed;
    }
    let mut board = BOARD.exclusive();
    let first = missed && board.slots_missed == [false; 2];
    board.slots_missed[wanted_for as usize] = missed;
    first
}

/// Tells the other processes the time zone of the server, as the launcher sees it.
pub fn tell_zone(name: &str) {
    let mut zone = [0; ZONE];
    if let Some(place) = zone.get_mut(..name.len()) {
        place.copy_from_slice(name.as_bytes());
    }
    if BOARD.share().zone != zone {
        BOARD.exclusive().zone = zone;
    }
}

/// The time zone of the server, once the launcher has told it.
pub fn server_zone() -> Option<String> {
    let zone = is_preloaded().then(|| BOARD.share().zone)?;
    let name: Vec<u8> = zone.into_iter().take_while(|byte| *byte != 0).collect();
    String::from_utf8(name).ok().filter(|name| !name.is_empty())
}
