//! All hand-written `unsafe`: transactions and subtransactions, waiting, signals, the lock of a worker,
//! working as another role, threads that PostgreSQL's signals leave alone.

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use crate::error::Failure;

mod board;
mod memory;
pub mod queue;
mod server;

pub use board::*;
pub use memory::*;
pub use server::*;

mod raw {
    // pgrx wraps these in guarded functions, which do not type-check as signal handlers.
    unsafe extern "C-unwind" {
        pub fn die(signal: core::ffi::c_int);
        pub fn SignalHandlerForConfigReload(signal: core::ffi::c_int);
    }

    // utils/timeout.h, which pgrx leaves out. None of them raises an error.
    pub const STATEMENT_TIMEOUT: core::ffi::c_int = 3;
    unsafe extern "C" {
        pub fn enable_timeout_after(id: core::ffi::c_int, delay_ms: core::ffi::c_int);
        pub fn disable_timeout(id: core::ffi::c_int, keep_indicator: bool);
        pub fn get_timeout_indicator(id: core::ffi::c_int, reset_indicator: bool) -> bool;
    }
}

/// Runs `work` in a transaction of its own, outside any other: commits on `Ok`, aborts on `Err`, on a PostgreSQL
/// error and on a panic, from within whatever subtransaction it comes. Only in background workers.
pub fn transaction<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    let work = AssertUnwindSafe(work);
    PgTryBuilder::new(move || {
        // SAFETY: a background worker between transactions; closed below or by the abort.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let result = { work }.0();
        // SAFETY: the transaction and snapshot opened above are current.
        unsafe {
            if result.is_ok() {
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
                pg_sys::pgstat_report_stat(false);
            } else {
                pg_sys::AbortOutOfAnyTransaction();
            }
        }
        result
    })
    .catch_others(|caught| {
        let failure = Failure::from(caught);
        // SAFETY: after an error the transaction is still open and has to be aborted, with every subtransaction in it
        // (AbortCurrentTransaction would end the innermost one only).
        unsafe { pg_sys::AbortOutOfAnyTransaction() };
        Err(failure)
    })
    .execute()
}

/// Runs `work` in a transaction of its own that is rolled back whatever comes of it.
pub fn rehearsal<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    undone(work, |work| transaction(work))
}

/// The same in a subtransaction.
pub fn subrehearsal<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    undone(work, |work| subtransaction(work))
}

fn undone<R>(
    work: impl FnOnce() -> Result<R, Failure>,
    run: impl FnOnce(&mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure>,
) -> Result<R, Failure> {
    let (mut outcome, mut work) = (None, Some(work));
    let ended = run(&mut || {
        if let Some(work) = work.take() {
            outcome = Some(work()?);
        }
        Err(Failure::new("00000", "rehearsed"))
    });
    match (outcome, ended) {
        (Some(outcome), _) => Ok(outcome),
        (None, Err(failure)) => Err(failure),
        (None, Ok(())) => Err(Failure::new("XX000", "a rehearsal was not rolled back")),
    }
}

/// Runs `work` in a subtransaction: released on `Ok`, rolled back on `Err` or on an error, which becomes the `Err`.
/// A cancel or a shutdown passes through.
pub fn subtransaction<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    // SAFETY: inside a transaction; both are put back below, as BeginInternalSubTransaction asks.
    let (context, owner) = unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    let work = AssertUnwindSafe(work);
    let result = PgTryBuilder::new(move || {
        // SAFETY: see above.
        unsafe {
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::CurrentMemoryContext = context;
        }
        let result = { work }.0();
        // SAFETY: ends the subtransaction that was begun here.
        unsafe {
            match result {
                Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
                Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
            }
        }
        result
    })
    .catch_others(|caught| {
        if is_interrupt(&caught) {
            caught.rethrow();
        }
        let failure = Failure::from(caught);
        // SAFETY: the error came from within the subtransaction begun here.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
        Err(failure)
    })
    .execute();
    // SAFETY: as they were on entry.
    unsafe {
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
    }
    result
}

/// Runs `work`, which opens its own transactions; a cancel or an error raised in it comes back as the failure.
pub fn guarded<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|caught| {
            let failure = Failure::from(caught);
            // SAFETY: nothing is done when no transaction is open.
            unsafe { pg_sys::AbortOutOfAnyTransaction() };
            Err(failure)
        })
        .execute()
}

/// Runs `work` with cancels held back, which keeps locks from timing out as well: only as a last resort.
pub fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: a counter of the main thread. An error in `work` puts it to 0; the value from before is always right.
    unsafe {
        let before = pg_sys::QueryCancelHoldoffCount;
        pg_sys::QueryCancelHoldoffCount = before + 1;
        let result = work();
        pg_sys::QueryCancelHoldoffCount = before;
        result
    }
}

fn is_interrupt(caught: &CaughtError) -> bool {
    let report = match caught {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    matches!(
        report.sql_error_code(),
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
    )
}

/// Runs `work` with the rights of `role` and the search path that code of the target expects. Triggers of the target
/// belong to others: unless `role` is a superuser they run shut in, as in REFRESH MATERIALIZED VIEW, and nothing of
/// them can wait for the commit (a deferred trigger, a cursor WITH HOLD), where it would have the worker's own rights.
/// An error leaves the role to the (sub)transaction's abort, which puts it back.
pub fn as_role<R>(
    role: pg_sys::Oid,
    search_path: &str,
    work: impl FnOnce() -> Result<R, Failure>,
) -> Result<R, Failure> {
    let mut before = (pg_sys::Oid::INVALID, 0);
    let path = CString::new(search_path)
        .map_err(|_| Failure::new("22023", "the search path holds a NUL"))?;
    // Shut in, what is deferred is refused; what the target defers by itself is done with its statement.
    Spi::run("SET CONSTRAINTS ALL IMMEDIATE")?;
    // SAFETY: in a transaction; undone below, or by its abort.
    let nest = unsafe {
        let mut context = pg_sys::SECURITY_LOCAL_USERID_CHANGE;
        if !pg_sys::superuser_arg(role) {
            context |= pg_sys::SECURITY_RESTRICTED_OPERATION;
        }
        pg_sys::GetUserIdAndSecContext(&mut before.0, &mut before.1);
        pg_sys::SetUserIdAndSecContext(role, before.1 | context as i32);
        let nest = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            path.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        nest
    };
    let result = work();
    // SAFETY: undoes the above.
    unsafe {
        pg_sys::AtEOXact_GUC(false, nest);
        pg_sys::SetUserIdAndSecContext(before.0, before.1);
    }
    result
}

/// The database of this process.
pub fn database() -> pg_sys::Oid {
    // SAFETY: a plain value, set when the process connected.
    unsafe { pg_sys::MyDatabaseId }
}

/// Process id and backend of the current process.
pub fn own_pid() -> i32 {
    // SAFETY: a plain value.
    unsafe { pg_sys::MyProcPid }
}

/// Takes, for the life of this process, the lock that says that it works on a source. Ordinary users can't take it:
/// it is on a number of a catalogued object, out of reach of advisory locks. False when another process has it.
pub fn lock_source(source_table: pg_sys::Oid, source_id: i32) -> bool {
    lock_row(source_table, source_id)
}

/// The same on the number of any row of a table. In a transaction.
pub fn lock_row(table: pg_sys::Oid, number: i32) -> bool {
    let tag = row_tag(table, number);
    // SAFETY: the tag lives through the call; a session lock is released when the process ends.
    let result = unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, true, true) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Lets go of what `lock_row` took.
pub fn unlock_row(table: pg_sys::Oid, number: i32) {
    let tag = row_tag(table, number);
    // SAFETY: as above; a lock that is not held is a warning.
    unsafe { pg_sys::LockRelease(&tag, pg_sys::ExclusiveLock as i32, true) };
}

fn row_tag(table: pg_sys::Oid, number: i32) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_field1: database().to_u32(),
        locktag_field2: table.to_u32(),
        locktag_field3: number as u32,
        locktag_field4: 1,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        // Locks of this method outlive an abort and are released when the process ends.
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// Runs `work`, which opens its own transactions, and cancels it when `time` has passed, as statement_timeout would.
pub fn within<R>(time: Duration, work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    // SAFETY: the time-out is registered in every process with a database; taken back below, whatever comes of `work`,
    // which returns its errors. If it has gone off unheard, nobody is to hear it later.
    unsafe {
        let delay = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        raw::enable_timeout_after(raw::STATEMENT_TIMEOUT, delay);
        let result = work();
        raw::disable_timeout(raw::STATEMENT_TIMEOUT, true);
        if raw::get_timeout_indicator(raw::STATEMENT_TIMEOUT, true) {
            pg_sys::QueryCancelPending = 0;
        }
        result
    }
}

/// Sets up a background worker: SIGTERM ends it, SIGINT cancels what it does (PostgreSQL's default), SIGHUP reloads.
pub fn attach_signals() {
    // SAFETY: both are handlers of PostgreSQL itself; signals are blocked until then.
    unsafe {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(raw::die));
        pg_sys::pqsignal(
            pg_sys::SIGHUP as i32,
            Some(raw::SignalHandlerForConfigReload),
        );
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Reloads the configuration if SIGHUP asked for it.
pub fn reload_if_asked() {
    // SAFETY: the flag is PostgreSQL's own sig_atomic_t, read and cleared in the main thread.
    unsafe {
        if std::ptr::read_volatile(&raw const pg_sys::ConfigReloadPending) != 0 {
            std::ptr::write_volatile(&raw mut pg_sys::ConfigReloadPending, 0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Waits at most `time` or until something is signalled; cancels and shutdowns act here.
pub fn wait_latch(time: Duration) {
    wait_for(time, pg_sys::PG_WAIT_EXTENSION);
}

/// The same, shown in pg_stat_activity as waiting for `event`.
pub fn wait_for(time: Duration, event: u32) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            time.as_millis() as i64,
            event,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    check_for_interrupts!();
}

/// Cancels what a process does, as pg_cancel_backend.
pub fn interrupt(pid: i32) {
    // SAFETY: a signal to a worker that this session has started; a process that is gone is no harm.
    unsafe { libc::kill(pid, libc::SIGINT) };
}

/// Ends a process, as pg_terminate_backend.
pub fn terminate(pid: i32) {
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Workers that are to end with this one, whatever ends it; 0: none.
static FOLLOWERS: [AtomicI32; 16] = [const { AtomicI32::new(0) }; 16];
static FOLLOWED: OnceLock<()> = OnceLock::new();

/// Names the workers that end with this one from now on.
pub fn lead(pids: &[i32]) {
    for (position, follower) in FOLLOWERS.iter().enumerate() {
        follower.store(pids.get(position).copied().unwrap_or(0), Ordering::SeqCst);
    }
    // SAFETY: a callback of this process, registered once.
    FOLLOWED.get_or_init(|| unsafe {
        pg_sys::before_shmem_exit(Some(end_followers), pg_sys::Datum::from(0));
    });
}

/// Called by PostgreSQL when this process ends.
unsafe extern "C-unwind" fn end_followers(_code: i32, _argument: pg_sys::Datum) {
    for follower in &FOLLOWERS {
        let pid = follower.swap(0, Ordering::SeqCst);
        // SAFETY: a look-up, so that no process is hit that has got the number of one that is gone.
        if pid != 0 && unsafe { !pg_sys::BackendPidGetProc(pid).is_null() } {
            terminate(pid);
        }
    }
}

/// Runs `work` with memory that lasts as long as the process.
pub fn for_life<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the context from before is put back; an error would end what this process does.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let result = work();
        pg_sys::MemoryContextSwitchTo(before);
        result
    }
}

/// What pg_stat_activity shows.
pub fn report_activity(text: &str) {
    let Ok(text) = CString::new(text) else { return };
    // SAFETY: PostgreSQL copies the text.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()) };
}

/// What is shown in place of the statement that was hidden last.
static SHOWN: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static EARLIER_LOG_HOOK: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// The running statement holds a secret: pg_stat_activity and the STATEMENT line of the log show `shown` instead,
/// and the log has no CONTEXT, which repeats the statements that a DO block or a function runs.
pub fn hide_statement(shown: &'static CStr) {
    // SAFETY: PostgreSQL copies the first; the second is a static text, put back by the main loop. The hook is set
    // once, in the only thread of a session.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, shown.as_ptr());
        pg_sys::debug_query_string = shown.as_ptr();
        SHOWN.store(shown.as_ptr().cast_mut(), Ordering::Relaxed);
        EARLIER_LOG_HOOK.get_or_init(|| {
            let earlier = pg_sys::emit_log_hook;
            pg_sys::emit_log_hook = Some(hide_context);
            earlier
        });
    }
}

/// Called by PostgreSQL before it writes to the log.
unsafe extern "C-unwind" fn hide_context(report: *mut pg_sys::ErrorData) {
    // SAFETY: PostgreSQL gives a report that lives through the call, and the hook that was there before us is its own.
    unsafe {
        let shown = SHOWN.load(Ordering::Relaxed).cast_const();
        if !shown.is_null() && pg_sys::debug_query_string == shown {
            (*report).hide_ctx = true;
        }
        if let Some(Some(earlier)) = EARLIER_LOG_HOOK.get() {
            earlier(report);
        }
    }
}

/// Whether a row version was written by the current transaction, and so is invisible to a worker.
pub fn is_own_transaction(xid: u32) -> bool {
    // SAFETY: a look-up.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xid.into()) }
}

/// The current transaction keeps its first snapshot (REPEATABLE READ or stricter).
pub fn snapshot_is_fixed() -> bool {
    // SAFETY: a plain value.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Nobody else defines settings that begin with "gn_harvest.".
pub fn reserve_setting_prefix() {
    // SAFETY: a static C string.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"gn_harvest".as_ptr()) };
}

/// Runs `work` with every signal blocked, so that threads born in it never run a handler of PostgreSQL.
pub fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the mask of this thread only, put back as it was; `work` does not unwind through C.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = std::panic::catch_unwind(AssertUnwindSafe(work));
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A thread that may not touch PostgreSQL.
pub fn spawn(name: String, work: Box<dyn FnOnce() + Send>) -> std::io::Result<JoinHandle<()>> {
    with_signals_blocked(|| std::thread::Builder::new().name(name).spawn(work))
}

/// Runs blocking `work` (a request to a partner) in a thread and waits for it; cancels act while it lasts.
pub fn in_background<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Failure> {
    let receiver = start_in_background(work)?;
    receive(&receiver, None)?
        .map_err(|text| Failure::new("XX000", format!("a request ended in a panic: {text}")))
}

/// The same, for at most a time: work that takes longer is left behind.
pub fn in_background_within<R: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Failure> {
    let receiver = start_in_background(work)?;
    receive(&receiver, Some(Instant::now() + time))?
        .map_err(|text| Failure::new("XX000", format!("a request ended in a panic: {text}")))
}

fn start_in_background<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<Receiver<Result<R, String>>, Failure> {
    let (sender, receiver) = sync_channel(1);
    spawn(
        "gn_harvest ask".to_owned(),
        Box::new(move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(work));
            let _ = sender.send(result.map_err(describe_panic));
        }),
    )
    .map_err(|error| Failure::new("53000", format!("no thread could be started: {error}")))?;
    Ok(receiver)
}

fn receive<T>(receiver: &Receiver<T>, end: Option<Instant>) -> Result<T, Failure> {
    loop {
        if end.is_some_and(|end| Instant::now() > end) {
            return Err(Failure::new("08006", "no answer in time"));
        }
        match shown_as_waiting(|| receiver.recv_timeout(Duration::from_millis(50))) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => {
                check_for_interrupts!();
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("XX000", "a thread ended without an answer"));
            }
        }
    }
}

fn describe_panic(panic: Box<dyn Any + Send>) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
