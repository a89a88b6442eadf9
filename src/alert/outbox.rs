//! What channels have still to tell: claimed before it is sent, settled after. A claim is committed first, so that a
//! worker that dies has counted its attempt; who sends holds the channel's lock, so that nobody else does at the time.

use pgrx::pg_sys;
use pgrx::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::book;
use super::channel::Channel;
use super::letter::Event;
use super::rule::Rule;
use crate::error::Failure;
use crate::settings;

/// Events in one message; the others go in the next.
const MOST: i64 = 500;

/// Channels that have something to tell and may be tried now, healthy ones first. A copy of a database tells nobody:
/// the original does.
const DUE: &str = "SELECT c.id
     FROM gn_harvest.channel c
     WHERE gn_harvest.is_at_home()
       AND EXISTS (SELECT FROM gn_harvest.outbox o
                   WHERE o.channel_id = c.id AND o.sent_at IS NULL AND o.given_up_at IS NULL AND o.event <> 'test')
       AND coalesce(c.next_try_at <= clock_timestamp(), true)
       AND coalesce(c.last_sent_at + c.digest <= clock_timestamp(), true)
     ORDER BY c.failures, c.next_try_at NULLS FIRST, c.id";

pub fn due() -> Result<Vec<i32>, Failure> {
    Spi::connect(|client| {
        let mut channels = Vec::new();
        for row in client.select(DUE, None, &[])? {
            channels.extend(row.get::<i32>(1)?);
        }
        Ok(channels)
    })
}

pub fn is_due() -> Result<bool, Failure> {
    Ok(!due()?.is_empty())
}

/// The table whose row 0 stands for the right to send, among workers of this database.
pub fn table() -> Result<pg_sys::Oid, Failure> {
    let oid = Spi::get_one::<pg_sys::Oid>("SELECT 'gn_harvest.outbox'::regclass::oid")?;
    Ok(oid.unwrap_or(pg_sys::Oid::INVALID))
}

/// What goes in one message.
pub struct Parcel {
    pub channel: Channel,
    pub ids: Vec<i64>,
    pub events: Vec<Event>,
}

/// Claims what a channel has to tell now. The caller has the channel's lock.
pub fn claim(channel_id: i32) -> Result<Option<Parcel>, Failure> {
    drop_unseen(channel_id)?;
    let Some(channel) = Channel::load(channel_id)? else {
        return Ok(None);
    };
    let most = if channel.singly { 1 } else { MOST };
    let text = Spi::get_one_with_args::<String>(
        "WITH taken AS (
             UPDATE gn_harvest.outbox o SET attempts = o.attempts + 1, tried_at = clock_timestamp()
             WHERE o.id IN (SELECT w.id FROM gn_harvest.outbox w
                            WHERE w.channel_id = $1 AND w.sent_at IS NULL AND w.given_up_at IS NULL AND w.event <> 'test'
                            ORDER BY w.id LIMIT $2 FOR UPDATE SKIP LOCKED)
             RETURNING o.id, o.alert_id, o.event)
         SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'delivery', t.id, 'kind', t.event, 'alert', a.id, 'rule', a.rule, 'severity', a.severity,
                    'source', coalesce(s.name, a.source), 'facts', a.facts, 'run', a.run_id, 'occurrences', a.occurrences,
                    'opened_at', to_char(a.opened_at, 'YYYY-MM-DD\"T\"HH24:MI:SSOF'),
                    'resolved_at', to_char(a.resolved_at, 'YYYY-MM-DD\"T\"HH24:MI:SSOF')) ORDER BY t.id), '[]')::text
         FROM taken t
         JOIN gn_harvest.alert a ON a.id = t.alert_id
         LEFT JOIN gn_harvest.source s ON s.id = a.source_id",
        &[channel_id.into(), most.into()],
    )?;
    let events: Vec<Claimed> = serde_json::from_str(text.as_deref().unwrap_or("[]"))
        .map_err(|error| Failure::new("XX000", format!("events can not be read: {error}")))?;
    if events.is_empty() {
        return Ok(None);
    }
    let (ids, events) = events
        .into_iter()
        .map(|claimed| (claimed.delivery, claimed.event))
        .unzip();
    Ok(Some(Parcel {
        channel,
        ids,
        events,
    }))
}

#[derive(Deserialize)]
struct Claimed {
    delivery: i64,
    #[serde(flatten)]
    event: Event,
}

/// What the channel's owner may no longer see is not told.
fn drop_unseen(channel_id: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.outbox o
         SET given_up_at = clock_timestamp(), last_error = 'the owner of the channel may no longer see what it is about'
         FROM gn_harvest.channel c, gn_harvest.alert a
         WHERE o.channel_id = $1 AND o.sent_at IS NULL AND o.given_up_at IS NULL
           AND c.id = o.channel_id AND a.id = o.alert_id AND NOT gn_harvest.may_tell(c, a)",
        &[channel_id.into()],
    )?;
    Ok(())
}

/// Notes a test before it is sent.
pub fn begin_test(channel_id: i32, number: i64) -> Result<Option<Parcel>, Failure> {
    let Some(channel) = Channel::load(channel_id)? else {
        return Ok(None);
    };
    Spi::run_with_args(
        "INSERT INTO gn_harvest.outbox (id, channel_id, event, attempts, tried_at) VALUES ($2, $1, 'test', 1, clock_timestamp())",
        &[channel_id.into(), number.into()],
    )?;
    Ok(Some(Parcel {
        channel,
        ids: vec![number],
        events: Vec::new(),
    }))
}

/// Notes what became of a message, and how the channel is doing.
pub fn settle(parcel: &Parcel, outcome: &Result<(), Failure>) -> Result<(), Failure> {
    let is_test = parcel.events.is_empty();
    let failure = outcome.as_ref().err();
    Spi::run_with_args(
        "UPDATE gn_harvest.outbox
         SET sent_at = CASE WHEN $2 IS NULL THEN clock_timestamp() END, last_error = $2, last_hint = $3,
             given_up_at = CASE WHEN $2 IS NOT NULL AND event = 'test' THEN clock_timestamp() END
         WHERE id = ANY ($1)",
        &[
            parcel.ids.clone().into(),
            failure.map(told).into(),
            failure.and_then(|failure| failure.hint.clone()).into(),
        ],
    )?;
    let channel_id = parcel.channel.id;
    match failure {
        None => {
            // A test does not count as the message after which others wait.
            Spi::run_with_args(
                "UPDATE gn_harvest.channel
                 SET failures = 0, next_try_at = NULL, last_error = NULL, last_hint = NULL,
                     last_sent_at = CASE WHEN $2 THEN last_sent_at ELSE clock_timestamp() END
                 WHERE id = $1",
                &[channel_id.into(), is_test.into()],
            )?;
            book::clear_channel(channel_id, Rule::ChannelFailing)
        }
        // Someone is looking at the answer.
        Some(_) if is_test => Ok(()),
        Some(failure) => back_off(parcel, failure),
    }
}

/// A minute, then twice as long each time, up to an hour; a little more or less, so that not all come back at once.
fn back_off(parcel: &Parcel, failure: &Failure) -> Result<(), Failure> {
    let channel_id = parcel.channel.id;
    Spi::run_with_args(
        "UPDATE gn_harvest.channel
         SET failures = failures + 1, last_error = $2, last_hint = $3,
             next_try_at = clock_timestamp() + least(interval '1 hour', interval '1 minute' * power(2, least(failures, 10))) * (0.75 + random() / 2)
         WHERE id = $1",
        &[
            channel_id.into(),
            told(failure).into(),
            failure.hint.clone().into(),
        ],
    )?;
    let failures = parcel.channel.failures + 1;
    let threshold = book::Settings::load(None)?.threshold(Rule::ChannelFailing);
    if failures as f64 >= threshold.unwrap_or(f64::INFINITY) {
        let facts =
            json!({"channel": parcel.channel.name, "error": told(failure), "failures": failures});
        book::raise(None, Some(channel_id), Rule::ChannelFailing, &facts, None)?;
    }
    Ok(())
}

fn told(failure: &Failure) -> String {
    match &failure.detail {
        Some(detail) => format!("{} ({detail})", failure.message),
        None => failure.message.clone(),
    }
}

/// What could not be told for days is told no more: that is noted.
pub fn give_up_old() -> Result<(), Failure> {
    const OLD: &str = "SELECT id FROM gn_harvest.outbox
         WHERE sent_at IS NULL AND given_up_at IS NULL AND attempts > 0
           AND created_at < clock_timestamp() - $1 * interval '1 day'";
    let days = settings::GIVE_UP_AFTER.get();
    let any = Spi::connect(|client| -> Result<bool, Failure> {
        Ok(!client.select(OLD, Some(1), &[days.into()])?.is_empty())
    })?;
    if any {
        Spi::run_with_args(
            &format!(
                "UPDATE gn_harvest.outbox SET given_up_at = clock_timestamp() WHERE id IN ({OLD})"
            ),
            &[days.into()],
        )?;
    }
    Ok(())
}
