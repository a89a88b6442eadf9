//! What the server is, as each of its processes knows it: how the library was loaded, where the data are, settings.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::PgMemoryContexts;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Failure;

/// Set in the postmaster, before it has children: each inherits it.
static PRELOADED: AtomicBool = AtomicBool::new(false);
static BEGAN_AS_STANDBY: AtomicBool = AtomicBool::new(false);
static BEGAN_BY_RECOVERY: AtomicBool = AtomicBool::new(false);

/// Notes how the library is loaded; called once, from `_PG_init`.
pub fn note_loading() {
    // SAFETY: a plain value of the main thread.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        PRELOADED.store(true, Ordering::Relaxed);
        // The postmaster works in the data directory. The files are gone once recovery has ended.
        super::ask_for_board();
        let standby = Path::new("standby.signal").exists();
        let recovery = Path::new("recovery.signal").exists();
        BEGAN_AS_STANDBY.store(standby, Ordering::Relaxed);
        BEGAN_BY_RECOVERY.store(recovery && !standby, Ordering::Relaxed);
    }
}

pub fn is_preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

/// Whether this server, since it was started, has been a standby.
pub fn began_as_standby() -> bool {
    BEGAN_AS_STANDBY.load(Ordering::Relaxed)
}

/// Whether this server was started to recover from an archive, to its end or to a point in time.
pub fn began_by_recovery() -> bool {
    BEGAN_BY_RECOVERY.load(Ordering::Relaxed)
}

/// Started by pg_upgrade, for itself.
pub fn is_being_upgraded() -> bool {
    // SAFETY: a plain value, set when the server starts.
    unsafe { pg_sys::IsBinaryUpgrade }
}

pub fn is_in_recovery() -> bool {
    // SAFETY: a look at shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The value of a setting; none when there is none of that name.
pub fn setting(name: &CStr) -> Option<String> {
    // SAFETY: a C string; PostgreSQL gives one that lives until the setting changes, which is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}

/// A text setting that refuses what `check` refuses.
pub fn define_checked_setting(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    (context, flags): (GucContext, GucFlags),
    check: unsafe extern "C-unwind" fn(
        *mut *mut std::ffi::c_char,
        *mut *mut std::ffi::c_void,
        pg_sys::GucSource::Type,
    ) -> bool,
) {
    // SAFETY: the hook is one of those below, which are guarded.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            setting,
            context,
            flags,
            Some(check),
            None,
            None,
        );
    }
}

/// Refuses a time zone that nobody knows. Empty: that of the server.
#[pg_guard]
pub unsafe extern "C-unwind" fn check_time_zone(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL gives a pointer to a text or to null.
    let given = unsafe { given(value) };
    let known = crate::schedule::zone(&given).is_some();
    let hint = c"Give a name such as 'Europe/Paris', 'Indian/Reunion' or 'UTC', or '' for that of the server.";
    accept(known || given.is_empty(), hint)
}

/// Refuses a moment that is not one. Empty: the clock.
#[pg_guard]
pub unsafe extern "C-unwind" fn check_moment(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as above.
    let given = unsafe { given(value) };
    let known = crate::schedule::parse_time(&given).is_some();
    let hint = c"Give a moment with its offset, such as '2026-03-29T03:00:00+02:00'.";
    accept(known || given.is_empty(), hint)
}

/// Refuses a list of hosts of which something is not understood. Empty: every host.
#[pg_guard]
pub unsafe extern "C-unwind" fn check_hosts(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL gives a pointer to a text or to null.
    let given = unsafe { given(value) };
    accept(
        crate::geonature::AllowedHosts::misread(&given).is_none(),
        c"Give host names, domains and ports such as 'gn.example.org, *.example.fr, [2001:db8::1]:8443', or '' for every host.",
    )
}

/// # Safety
/// `value` points to a C string or to null.
unsafe fn given(value: *mut *mut std::ffi::c_char) -> String {
    // SAFETY: the caller's.
    unsafe {
        match value.is_null() || (*value).is_null() {
            true => String::new(),
            false => CStr::from_ptr(*value).to_string_lossy().into_owned(),
        }
    }
}

fn accept(good: bool, hint: &CStr) -> bool {
    if !good {
        // SAFETY: a copy in the memory of the statement that sets it.
        unsafe { pg_sys::GUC_check_errhint_string = pg_sys::pstrdup(hint.as_ptr()) };
    }
    good
}

/// A database that may be visited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitable {
    pub oid: pg_sys::Oid,
    pub name: String,
}

/// The databases that take connections and are no templates. Works in a process that is connected to none, which can
/// read no catalog but those that all databases share, and those only by hand.
pub fn visitable_databases() -> Result<Vec<Visitable>, Failure> {
    super::transaction(|| {
        let mut found = Vec::new();
        // SAFETY: as the launcher of autovacuum does it: in a transaction, the lock held until its end, each row read
        // before the next is asked for.
        unsafe {
            let table = pg_sys::table_open(
                pg_sys::DatabaseRelationId,
                pg_sys::AccessShareLock as pg_sys::LOCKMODE,
            );
            let scan = pg_sys::table_beginscan_catalog(table, 0, std::ptr::null_mut());
            loop {
                let row = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
                if row.is_null() {
                    break;
                }
                let database = pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_database>();
                // A limit of -2 marks a DROP DATABASE that broke off.
                if (*database).datallowconn
                    && !(*database).datistemplate
                    && (*database).datconnlimit != -2
                {
                    found.push(Visitable {
                        oid: (*database).oid,
                        name: CStr::from_ptr((*database).datname.data.as_ptr())
                            .to_string_lossy()
                            .into_owned(),
                    });
                }
            }
            pg_sys::table_endscan(scan);
            pg_sys::table_close(table, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        }
        Ok(found)
    })
}

/// Memory for what a loop that never ends allocates outside transactions: it is given back before the next use.
pub struct VisitMemory(PgMemoryContexts);

impl VisitMemory {
    pub fn new() -> Self {
        let mut top = PgMemoryContexts::TopMemoryContext;
        // SAFETY: the context lives as long as the process.
        VisitMemory(unsafe { top.switch_to(|_| PgMemoryContexts::new("gn_harvest visit")) })
    }

    /// `work` opens no transaction: its end would leave for other memory.
    pub fn within<R>(&mut self, work: impl FnOnce() -> R) -> R {
        // SAFETY: nothing that is allocated here is used after it: what `work` returns is Rust's.
        unsafe {
            self.0.reset();
            self.0.switch_to(|_| work())
        }
    }
}

/// What tells this place from a copy of it: the system, the database, and the very files they are in.
pub fn place() -> serde_json::Value {
    // SAFETY: plain values that are set when the server starts.
    let (system, directory) = unsafe {
        (
            pg_sys::GetSystemIdentifier(),
            CStr::from_ptr(pg_sys::DataDir)
                .to_string_lossy()
                .into_owned(),
        )
    };
    // Written once, by initdb: a copy is another file, born later.
    let file = std::fs::metadata(Path::new(&directory).join("PG_VERSION")).ok();
    let born = file
        .as_ref()
        .and_then(|file| file.created().ok())
        .and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok())
        .map(|born| born.as_nanos().to_string());
    let machine = std::fs::read_to_string("/etc/machine-id")
        .ok()
        .filter(|id| !id.trim().is_empty())
        // Nobody is to be told the number itself (man machine-id).
        .map(|id| format!("{:016x}", xxh3_64_with_seed(id.trim().as_bytes(), 0x676e)));
    serde_json::json!({
        "system": system.to_string(),
        "database": super::database().to_u32(),
        "data_directory": directory,
        "inode": file.map(|file| std::os::unix::fs::MetadataExt::ino(&file).to_string()),
        "born": born,
        "machine": machine,
    })
}

/// While a worker that was started ends.
pub const UNTIL_WORKER_ENDS: u32 = pg_sys::WaitEventIPC::WAIT_EVENT_BGWORKER_SHUTDOWN;

/// Runs `work`, which waits for threads or the network, shown so in pg_stat_activity.
pub fn shown_as_waiting<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the process's own entry, which only itself writes.
    unsafe {
        std::ptr::write_volatile(pg_sys::my_wait_event_info, pg_sys::PG_WAIT_EXTENSION);
        let result = work();
        std::ptr::write_volatile(pg_sys::my_wait_event_info, 0);
        result
    }
}

/// What pg_stat_activity shows of a process that rests.
pub fn report_rest(text: &CStr) {
    // SAFETY: PostgreSQL copies the text.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr());
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
    }
}
