//! The worker that empties the outbox: short-lived, one at a time in a database, the network never inside a transaction
//! and each delivery in bounded time. A channel that fails is tried again later and holds up no other.

use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::channel::{Channel, Way};
use super::letter::{Event, Letter};
use super::outbox::{self, Parcel};
use super::{bell, email, payload, watch, webhook};
use crate::error::Failure;
use crate::{postgres, settings, worker};

/// backend_type in pg_stat_activity.
const WORKER_TYPE: &str = "gn_harvest alerts";
/// A worker does not go on for ever, whatever comes in.
const LONGEST: Duration = Duration::from_secs(300);

/// Starts a sender and leaves it alone. Without a free slot what waits is sent when someone comes by the next time.
pub fn start_alone() {
    if let Err(failure) = start(&Errand::Send { looks: false }) {
        log!("gn_harvest: alerts wait: {failure}");
    }
}

/// Looks at the rules that depend on time and sends what waits; returns when that is done.
pub fn send() -> Result<(), Failure> {
    worker::follow(start(&Errand::Send { looks: true })?)
}

/// Sends a test by a channel; returns the number of its delivery.
pub fn test(channel_id: i32) -> Result<i64, Failure> {
    if postgres::snapshot_is_fixed() {
        return Err(Failure::new("25001", "a test can not be followed from this transaction")
            .detail("It is REPEATABLE READ or SERIALIZABLE: it would never see what the worker writes.")
            .hint("Call it in a READ COMMITTED transaction, or outside one."));
    }
    let xmin = Spi::get_one_with_args::<i64>(
        "SELECT xmin::text::bigint FROM gn_harvest.channel WHERE id = $1",
        &[channel_id.into()],
    )?;
    if xmin.is_some_and(|xid| postgres::is_own_transaction(xid as u32)) {
        return Err(Failure::new("55000", "the channel is not committed")
            .detail("The worker is a session of its own and would not see it.")
            .hint("COMMIT first, then call it again."));
    }
    let number =
        Spi::get_one::<i64>("SELECT nextval('gn_harvest.outbox_id_seq')")?.unwrap_or_default();
    worker::follow(start(&Errand::Test { channel_id, number })?)?;
    Ok(number)
}

/// What a sender is to do.
enum Errand {
    /// `looks`: at the rules that depend on time as well.
    Send {
        looks: bool,
    },
    Test {
        channel_id: i32,
        number: i64,
    },
}

impl Errand {
    fn encode(&self) -> String {
        let database = postgres::database().to_u32();
        match self {
            Errand::Send { looks } => format!("{database} send {looks}"),
            Errand::Test { channel_id, number } => format!("{database} {channel_id} {number}"),
        }
    }

    fn decode(text: &str) -> Option<(pg_sys::Oid, Errand)> {
        let mut words = text.split(' ');
        let database = words.next()?.parse::<u32>().ok()?;
        let errand = match (words.next()?, words.next()?) {
            ("send", looks) => Errand::Send {
                looks: looks == "true",
            },
            (channel, number) => Errand::Test {
                channel_id: channel.parse().ok()?,
                number: number.parse().ok()?,
            },
        };
        Some((database.into(), errand))
    }
}

fn start(errand: &Errand) -> Result<pgrx::bgworkers::DynamicBackgroundWorker, Failure> {
    worker::launch(WORKER_TYPE, "gn_harvest_sender", &errand.encode())
}

/// Where a sender begins.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gn_harvest_sender(_argument: pg_sys::Datum) {
    postgres::attach_signals();
    let Some((database, errand)) = Errand::decode(BackgroundWorker::get_extra()) else {
        log!("gn_harvest: a sender was started without an errand");
        return;
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    let done = postgres::guarded(|| {
        let search_path = postgres::transaction(|| {
            worker::prepare_session(&settings::LOCK_TIMEOUT.get().to_string())
        })?;
        postgres::report_activity("gn_harvest: sending alerts");
        match errand {
            Errand::Test { channel_id, number } => send_test(channel_id, number, &search_path),
            Errand::Send { looks } => {
                if looks {
                    postgres::transaction(watch::look)?;
                }
                send_waiting(&search_path)
            }
        }
    });
    if let Err(failure) = done {
        log!("gn_harvest: alerts could not be sent: {failure}");
    }
}

fn send_test(channel_id: i32, number: i64, search_path: &str) -> Result<(), Failure> {
    match postgres::transaction(|| outbox::begin_test(channel_id, number))? {
        Some(parcel) => carry(&parcel, search_path),
        None => Ok(()),
    }
}

/// Sends until nothing is due. What is added while another sender is at it, that one finds: it looks again after it has
/// let go of the lock.
fn send_waiting(search_path: &str) -> Result<(), Failure> {
    let end = Instant::now() + LONGEST;
    let (table, whole) = (postgres::transaction(outbox::table)?, 0);
    while Instant::now() < end {
        let due = postgres::transaction(outbox::due)?;
        if due.is_empty() || !postgres::transaction(|| Ok(postgres::lock_row(table, whole)))? {
            return Ok(());
        }
        let sent = postgres::guarded(|| {
            for channel_id in due {
                postgres::reload_if_asked();
                if let Some(parcel) = postgres::transaction(|| outbox::claim(channel_id))? {
                    carry(&parcel, search_path)?;
                }
            }
            Ok(())
        });
        postgres::transaction(|| {
            postgres::unlock_row(table, whole);
            Ok(())
        })?;
        sent?;
    }
    Ok(())
}

/// Delivers a parcel and notes what became of it.
fn carry(parcel: &Parcel, search_path: &str) -> Result<(), Failure> {
    let outcome = deliver(parcel, search_path);
    if outcome.as_ref().is_err_and(Failure::is_cancel) {
        // Whoever cancelled wants it to stop; it stays in the outbox.
        return outcome;
    }
    postgres::transaction(|| outbox::settle(parcel, &outcome))
}

fn deliver(parcel: &Parcel, search_path: &str) -> Result<(), Failure> {
    let channel = &parcel.channel;
    let database = postgres::transaction(|| {
        Ok(Spi::get_one::<String>("SELECT current_database()::text")?.unwrap_or_default())
    })?;
    match &channel.way {
        Way::Notify { listen } => postgres::transaction(|| {
            let letter = letter(channel, &database, &parcel.events);
            notify(&letter, listen)
        }),
        Way::Geonature { roles, link } => postgres::transaction(|| {
            let letter = letter(channel, &database, &parcel.events);
            bell::deliver(channel, roles, link.as_deref(), &letter, search_path)
        })
        .map_err(|failure| bell::explained(failure, channel)),
        Way::Email(_) | Way::Webhook(_) => deliver_afar(parcel, database),
    }
}

fn letter<'l>(channel: &'l Channel, database: &'l str, events: &'l [Event]) -> Letter<'l> {
    Letter {
        channel: &channel.name,
        database,
        language: channel.language(),
        events,
    }
}

fn notify(letter: &Letter, listen: &str) -> Result<(), Failure> {
    let mut payloads: Vec<String> = letter
        .events
        .iter()
        .map(|event| payload::notification(letter, Some(event)))
        .collect();
    if letter.is_test() {
        payloads.push(payload::notification(letter, None));
    }
    for payload in payloads {
        Spi::run_with_args("SELECT pg_notify($1, $2)", &[listen.into(), payload.into()])?;
    }
    Ok(())
}

/// In a thread: a server that hangs is left behind.
fn deliver_afar(parcel: &Parcel, database: String) -> Result<(), Failure> {
    let (channel, events) = (parcel.channel.clone(), parcel.events.clone());
    let number = parcel.ids.first().copied().unwrap_or_default();
    let timeout = settings::alert_timeout();
    let user_agent = settings::user_agent();
    require_allowed(&channel.way)?;
    postgres::in_background_within(timeout, move || {
        let letter = letter(&channel, &database, &events);
        match &channel.way {
            Way::Email(email) => email::deliver(email, &letter, number, timeout),
            Way::Webhook(webhook) => {
                webhook::deliver(webhook, &letter, user_agent, timeout, postgres::spawn)
                    .map_err(webhook_failure)
            }
            Way::Notify { .. } | Way::Geonature { .. } => Ok(()),
        }
    })?
}

/// The hosts that the administrator has listed are all that this server may be made to ask, by channels as by sources.
fn require_allowed(way: &Way) -> Result<(), Failure> {
    let address = match way {
        Way::Email(email) => format!("smtp://{}:{}", email.host, email.port),
        Way::Webhook(webhook) => webhook.url.clone(),
        Way::Notify { .. } | Way::Geonature { .. } => return Ok(()),
    };
    match url::Url::parse(&address) {
        Ok(url) => Ok(settings::allowed_hosts().check(&url)?),
        // Whoever sends says what is wrong with it.
        Err(_) => Ok(()),
    }
}

/// What errors of HTTP advise is for partners.
fn webhook_failure(error: crate::geonature::FetchError) -> Failure {
    Failure {
        hint: Some(
            "Check the address of the webhook with whoever gave it, and add the channel again."
                .to_owned(),
        ),
        ..Failure::from(error)
    }
}
