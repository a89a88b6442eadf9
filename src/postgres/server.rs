//! What the server is, as each of its processes knows it: how the library was loaded, where the data are, settings.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Set in the postmaster, before it has children: each inherits it.
static PRELOADED: AtomicBool = AtomicBool::new(false);
static BEGAN_AS_STANDBY: AtomicBool = AtomicBool::new(false);

/// Notes how the library is loaded; called once, from `_PG_init`.
pub fn note_loading() {
    // SAFETY: a plain value of the main thread.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        PRELOADED.store(true, Ordering::Relaxed);
        // The postmaster works in the data directory. The file is gone once the standby is promoted.
        BEGAN_AS_STANDBY.store(Path::new("standby.signal").exists(), Ordering::Relaxed);
    }
}

pub fn is_preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

/// Whether this server, since it was started, has been a standby.
pub fn began_as_standby() -> bool {
    BEGAN_AS_STANDBY.load(Ordering::Relaxed)
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
    accept(
        given.is_empty() || crate::schedule::zone(&given).is_some(),
        c"Give a name such as 'Europe/Paris', 'Indian/Reunion' or 'UTC', or '' for that of log_timezone.",
    )
}

/// Refuses a moment that is not one. Empty: the clock.
#[pg_guard]
pub unsafe extern "C-unwind" fn check_moment(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL gives a pointer to a text or to null.
    let given = unsafe { given(value) };
    accept(
        given.is_empty() || crate::schedule::parse_time(&given).is_some(),
        c"Give a moment with its offset, such as '2026-03-29T03:00:00+02:00'.",
    )
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
