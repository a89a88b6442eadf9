//! Every setting (GUC) of the extension, with its unit and default. All follow a reload.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

pub static LANGUAGE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10);
pub static REQUEST_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(120);
pub static MAX_BODY: GucSetting<i32> = GucSetting::<i32>::new(64);
pub static LOCK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
pub static WRITERS: GucSetting<i32> = GucSetting::<i32>::new(1);
pub static BATCH_SIZE: GucSetting<i32> = GucSetting::<i32>::new(5_000);
pub static USER_AGENT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Registers the settings; called once, from `_PG_init`.
pub fn register() {
    GucRegistry::define_string_guc(
        c"gn_harvest.language",
        c"Language in which people are spoken to: 'fr' or 'en'.",
        c"Empty: that of lc_messages.",
        &LANGUAGE,
        GucContext::Userset,
        GucFlags::default(),
    );
    for (name, text, setting, least, greatest, unit) in [
        (
            c"gn_harvest.connect_timeout",
            c"Time that a connection to a partner may take.",
            &CONNECT_TIMEOUT,
            1,
            300,
            GucFlags::UNIT_S,
        ),
        (
            c"gn_harvest.request_timeout",
            c"Time that one request to a partner may take, answer included.",
            &REQUEST_TIMEOUT,
            1,
            3600,
            GucFlags::UNIT_S,
        ),
        (
            c"gn_harvest.max_body",
            c"Size of an answer, unpacked, past which it is refused.",
            &MAX_BODY,
            1,
            2047,
            GucFlags::UNIT_MB,
        ),
        (
            c"gn_harvest.lock_timeout",
            c"Time that a run waits for a lock in the target before it fails.",
            &LOCK_TIMEOUT,
            1,
            86_400_000,
            GucFlags::UNIT_MS,
        ),
        (
            c"gn_harvest.writers",
            c"Workers that write for one full run; a source's own setting goes before.",
            &WRITERS,
            1,
            16,
            GucFlags::default(),
        ),
        (
            c"gn_harvest.batch_size",
            c"Records written in one transaction, about.",
            &BATCH_SIZE,
            1,
            100_000,
            GucFlags::default(),
        ),
    ] {
        GucRegistry::define_int_guc(
            name,
            text,
            c"",
            setting,
            least,
            greatest,
            GucContext::Sighup,
            unit,
        );
    }
    GucRegistry::define_string_guc(
        c"gn_harvest.user_agent",
        c"How requests to partners name themselves.",
        c"Empty: gn_harvest with its version.",
        &USER_AGENT,
        GucContext::Sighup,
        GucFlags::default(),
    );
    crate::postgres::reserve_setting_prefix();
}

pub fn lock_timeout() -> std::time::Duration {
    std::time::Duration::from_millis(LOCK_TIMEOUT.get() as u64)
}

/// The User-Agent of requests.
pub fn user_agent() -> String {
    USER_AGENT
        .get()
        .and_then(|text| text.into_string().ok())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| {
            concat!(
                "gn_harvest/",
                env!("CARGO_PKG_VERSION"),
                " (PostgreSQL extension)"
            )
            .to_owned()
        })
}
