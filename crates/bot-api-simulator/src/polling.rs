//! `getUpdates`, as the Bot API server does it: confirmation by offset, long polls, conflicts, and slowing of hot loops.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::params::Params;
use super::queue::QueuedUpdate;
use super::telegram_state::{Bot, BotState, TelegramState, unix_now};
use super::update_kinds::AllowedUpdates;

/// The longest poll, in seconds.
const MAX_TIMEOUT: i64 = 50;
/// A waiting poll collects further updates for this long after the first one.
const BATCH_DELAY: Duration = Duration::from_millis(1);
/// A second conflict within this time is answered this much later.
const CONFLICT_PAUSE: Duration = Duration::from_secs(3);

pub(super) const WEBHOOK_ACTIVE: &str = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
const OTHER_POLL: &str = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
const WEBHOOK_SET: &str = "Conflict: terminated by setWebhook request";

/// State that outlives one poll.
#[derive(Debug, Default)]
pub(super) struct PollState {
    waiting: Option<Waiting>,
    next_ticket: u64,
    last: Option<(i64, Instant)>,
    next_conflict: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    end: oneshot::Sender<&'static str>,
}

impl PollState {
    /// Ends the waiting poll because a webhook is set.
    pub(super) fn end_for_webhook(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.end.send(WEBHOOK_SET);
        }
    }
}

/// A 409: at once, or 3 s later when the last one was less than 3 s ago.
fn conflict(state: &mut BotState, text: &str) -> MethodError {
    let now = Instant::now();
    state.stats.counters.conflicts += 1;
    let mut failure = MethodError::new(409, text);
    if state.poll.next_conflict.is_some_and(|next| now < next) {
        failure.after = Some(CONFLICT_PAUSE);
    } else {
        state.poll.next_conflict = Some(now + CONFLICT_PAUSE);
    }
    failure
}

/// Counts a poll while it is in flight; dropping it (the client disconnected) frees the slot.
struct InFlight<'a> {
    bot: &'a Bot,
    ticket: Option<u64>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.bot.polls_in_flight.fetch_sub(1, Ordering::AcqRel);
        if let Some(ticket) = self.ticket {
            let mut state = self.bot.state.lock();
            if state
                .poll
                .waiting
                .as_ref()
                .is_some_and(|w| w.ticket == ticket)
            {
                state.poll.waiting = None;
            }
        }
    }
}

/// `getUpdates`.
pub(super) async fn get_updates(
    telegram: &TelegramState,
    bot: &Arc<Bot>,
    params: &Params,
) -> MethodResult {
    let others = bot.polls_in_flight.fetch_add(1, Ordering::AcqRel);
    let mut in_flight = InFlight { bot, ticket: None };
    let (offset, limit, deadline, mut end) = {
        let mut state = bot.state.lock();
        if others > 0 {
            state.stats.counters.concurrent_polls += 1;
        }
        if state.webhook.is_set() {
            return Err(conflict(&mut state, WEBHOOK_ACTIVE));
        }
        let offset = params.integer("offset", 0, i64::MIN, i64::MAX);
        let mut limit = params.integer("limit", 100, 1, 100);
        let mut timeout = params.integer("timeout", 0, 0, MAX_TIMEOUT);
        if let Some(allowed) = AllowedUpdates::parse(params.get("allowed_updates")) {
            state.allowed = allowed;
        }
        let now = Instant::now();
        if let Some((last_offset, last)) = state.poll.last
            && last_offset == offset
        {
            let since = now.duration_since(last);
            if timeout < 3 && since < Duration::from_secs(3) {
                timeout = 3;
            }
            if since < Duration::from_millis(500) {
                limit = 1;
            }
        }
        state.poll.last = Some((offset, now));
        state.queue.expire(unix_now());
        let limit = usize::try_from(limit).unwrap_or(100);
        let batch = read(telegram, bot.id, &mut state, offset, limit);
        if timeout == 0 || !batch.is_empty() {
            return Ok(answer(telegram, bot.id, &mut state, batch));
        }
        if let Some(other) = state.poll.waiting.take() {
            let _ = other.end.send(OTHER_POLL);
        }
        let (sender, end) = oneshot::channel();
        let ticket = state.poll.next_ticket;
        state.poll.next_ticket += 1;
        state.poll.waiting = Some(Waiting {
            ticket,
            end: sender,
        });
        in_flight.ticket = Some(ticket);
        let wait = Duration::from_secs(u64::try_from(timeout).unwrap_or(0));
        (offset, limit, tokio::time::Instant::now() + wait, end)
    };
    loop {
        let ended = tokio::select! {
            text = &mut end => Some(text),
            () = bot.poll_notify.notified() => None,
            () = tokio::time::sleep_until(deadline) => None,
        };
        if let Some(text) = ended {
            in_flight.ticket = None;
            let mut state = bot.state.lock();
            return Err(conflict(&mut state, text.unwrap_or(OTHER_POLL)));
        }
        let over = tokio::time::Instant::now() >= deadline;
        if !over {
            if !bot.state.lock().queue.has_from(offset) {
                continue;
            }
            tokio::time::sleep(BATCH_DELAY).await;
        }
        let mut state = bot.state.lock();
        if state.poll.waiting.as_ref().map(|w| w.ticket) != in_flight.ticket {
            continue;
        }
        let batch = read(telegram, bot.id, &mut state, offset.max(0), limit);
        if over || !batch.is_empty() {
            state.poll.waiting = None;
            in_flight.ticket = None;
            return Ok(answer(telegram, bot.id, &mut state, batch));
        }
    }
}

/// Reads from the queue; a `repeat` fault makes confirmed updates appear again.
fn read(
    telegram: &TelegramState,
    bot: i64,
    state: &mut BotState,
    offset: i64,
    limit: usize,
) -> Vec<(i64, QueuedUpdate)> {
    let mut again = 0;
    let batch = state.queue.confirm_and_read(offset, limit, |update| {
        let repeats = telegram.faults.redelivers(bot, update.lane);
        again += u64::from(repeats);
        repeats
    });
    state.stats.counters.redelivered += again;
    batch
}

fn answer(
    telegram: &TelegramState,
    bot: i64,
    state: &mut BotState,
    mut batch: Vec<(i64, QueuedUpdate)>,
) -> MethodSuccess {
    state.stats.counters.polls += 1;
    if telegram.faults.reorders(bot) {
        telegram.faults.shuffle_chats(&mut batch);
    }
    let size: usize = batch.iter().map(|(_, u)| u.json.len() + 1).sum();
    let mut json = String::with_capacity(size + 2);
    json.push('[');
    for (at, (_, update)) in batch.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(json, "{comma}{}", update.json);
    }
    json.push(']');
    MethodSuccess::raw(json)
}
