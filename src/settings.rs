//! Every setting (GUC) of the extension, with its unit and default. All follow a reload.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::geonature::AllowedHosts;
use crate::postgres;

pub static LANGUAGE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10);
pub static REQUEST_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(120);
pub static MAX_BODY: GucSetting<i32> = GucSetting::<i32>::new(64);
pub static MAX_FILE: GucSetting<i32> = GucSetting::<i32>::new(20 * 1024);
pub static LOCK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
pub static WRITERS: GucSetting<i32> = GucSetting::<i32>::new(1);
pub static BATCH_SIZE: GucSetting<i32> = GucSetting::<i32>::new(5_000);
pub static ALERT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30);
pub static GIVE_UP_AFTER: GucSetting<i32> = GucSetting::<i32>::new(7);
pub static HOOK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(600);
pub static USER_AGENT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

pub static ALLOWED_HOSTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub static RUN_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(400);
pub static ALERT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(400);
pub static REJECTED_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(400);

pub static NAPTIME: GucSetting<i32> = GucSetting::<i32>::new(60);
pub static MAX_CONCURRENT_RUNS: GucSetting<i32> = GucSetting::<i32>::new(2);
pub static TIMEZONE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub static CLOCK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

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
            c"gn_harvest.max_file",
            c"Size of a file to begin with (bootstrap_url), unpacked, past which it is refused.",
            &MAX_FILE,
            1,
            i32::MAX,
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
            c"gn_harvest.alert_timeout",
            c"Time that one message to a mail server or webhook may take.",
            &ALERT_TIMEOUT,
            1,
            300,
            GucFlags::UNIT_S,
        ),
        (
            c"gn_harvest.alert_give_up_after",
            c"Days after which an alert that could not be told is told no more.",
            &GIVE_UP_AFTER,
            1,
            365,
            GucFlags::default(),
        ),
        (
            c"gn_harvest.after_run_timeout",
            c"Time that a source's function after_run may take.",
            &HOOK_TIMEOUT,
            1,
            86_400,
            GucFlags::UNIT_S,
        ),
        (
            c"gn_harvest.batch_size",
            c"Records written in one transaction, about.",
            &BATCH_SIZE,
            1,
            100_000,
            GucFlags::default(),
        ),
        (
            c"gn_harvest.naptime",
            c"Time between two looks of the scheduler at a database.",
            &NAPTIME,
            1,
            3600,
            GucFlags::UNIT_S,
        ),
        (
            c"gn_harvest.max_concurrent_runs",
            c"Runs in this server above which the scheduler starts no other; 0: it starts none.",
            &MAX_CONCURRENT_RUNS,
            0,
            1000,
            GucFlags::default(),
        ),
        (
            c"gn_harvest.run_retention",
            c"Days for which runs that have ended stay in the history; 0: for ever.",
            &RUN_RETENTION,
            0,
            36_500,
            GucFlags::default(),
        ),
        (
            c"gn_harvest.alert_retention",
            c"Days for which resolved alerts stay in the history; 0: for ever.",
            &ALERT_RETENTION,
            0,
            36_500,
            GucFlags::default(),
        ),
        (
            c"gn_harvest.rejected_retention",
            c"Days for which discarded records are remembered after they came last; 0: for ever.",
            &REJECTED_RETENTION,
            0,
            36_500,
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
    postgres::define_checked_setting(
        c"gn_harvest.allowed_hosts",
        c"Hosts that this server may ask, separated by commas: 'gn.example.org, *.example.fr, host:8443'.",
        c"Empty: every host. Link-local addresses are refused whatever it says.",
        &ALLOWED_HOSTS,
        (GucContext::Sighup, GucFlags::default()),
        postgres::check_hosts,
    );
    postgres::define_checked_setting(
        c"gn_harvest.timezone",
        c"Time zone of schedules and allowed hours, such as 'Europe/Paris'.",
        c"Empty: that of the server.",
        &TIMEZONE,
        (GucContext::Sighup, GucFlags::default()),
        postgres::check_time_zone,
    );
    postgres::define_checked_setting(
        c"gn_harvest.clock",
        c"Time that the scheduler takes it to be; for tests.",
        c"Empty: that of the clock.",
        &CLOCK,
        (
            GucContext::Suset,
            GucFlags::SUPERUSER_ONLY | GucFlags::NO_SHOW_ALL,
        ),
        postgres::check_moment,
    );
    postgres::reserve_setting_prefix();
}

/// The text of a setting; none when it is empty.
pub fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    setting
        .get()
        .and_then(|text| text.into_string().ok())
        .filter(|text| !text.is_empty())
}

pub fn lock_timeout() -> std::time::Duration {
    std::time::Duration::from_millis(LOCK_TIMEOUT.get() as u64)
}

pub fn alert_timeout() -> std::time::Duration {
    std::time::Duration::from_secs(ALERT_TIMEOUT.get() as u64)
}

pub fn hook_timeout() -> std::time::Duration {
    std::time::Duration::from_secs(HOOK_TIMEOUT.get() as u64)
}

/// The hosts that may be asked.
pub fn allowed_hosts() -> AllowedHosts {
    AllowedHosts::parse(&text(&ALLOWED_HOSTS).unwrap_or_default())
}

/// The User-Agent of requests.
pub fn user_agent() -> String {
    text(&USER_AGENT).unwrap_or_else(|| {
        concat!(
            "gn_harvest/",
            env!("CARGO_PKG_VERSION"),
            " (PostgreSQL extension)"
        )
        .to_owned()
    })
}
