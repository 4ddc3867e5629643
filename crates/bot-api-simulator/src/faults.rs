//! Fault injection: rules that match calls and make them fail, with a seeded probability or a number of times.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::queue::QueuedUpdate;

/// The kind of failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 with `retry_after` seconds. With [`Fault::for_ms`] the seconds count down to the end of the fault.
    TooManyRequests {
        /// Seconds.
        retry_after: u64,
    },
    /// An error response with this status and description; the call takes no effect.
    Status {
        /// HTTP status, also `error_code`.
        code: u16,
        /// `description`.
        description: String,
    },
    /// A status with a body that is not JSON, as from a proxy (502 of nginx).
    Html {
        /// HTTP status.
        code: u16,
    },
    /// No response; the connection stays open. The call takes no effect.
    Hang,
    /// The connection is closed without a response. The call takes no effect.
    Reset,
    /// The call takes effect, but the connection is closed without a response.
    DropAfter,
    /// The call takes effect, but no response is sent.
    HangAfter,
    /// The response is delayed.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Updates are delivered again after they were confirmed (polling) or acknowledged (webhook).
    Duplicate,
    /// Updates of different chats are delivered in another order; within a chat the order is kept.
    Reorder,
}

/// A fault and the calls that it matches. Absent conditions match every call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<i64>,
    /// Only calls with this `chat_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<i64>,
    /// Only this method (without regard to case).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The kind of failure.
    pub fault: FaultKind,
    /// Probability, 0.0..=1.0; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Maximum number of hits; absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Duration in milliseconds from now; absent: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

impl Fault {
    /// A fault of every call, until it is removed.
    pub fn new(fault: FaultKind) -> Self {
        Self {
            bot: None,
            chat: None,
            method: None,
            fault,
            probability: None,
            times: None,
            for_ms: None,
        }
    }

    /// Limits the fault to calls of this bot.
    #[must_use]
    pub fn bot(mut self, bot: impl Into<i64>) -> Self {
        self.bot = Some(bot.into());
        self
    }

    /// Limits the fault to calls with this `chat_id`.
    #[must_use]
    pub fn chat(mut self, chat: i64) -> Self {
        self.chat = Some(chat);
        self
    }

    /// Limits the fault to this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_ascii_lowercase());
        self
    }

    /// Sets the probability, 0.0..=1.0.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// Sets the maximum number of hits.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Limits the fault to this duration from now.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.for_ms = u64::try_from(time.as_millis()).ok();
        self
    }

    fn is_about_order(&self) -> bool {
        matches!(self.fault, FaultKind::Duplicate | FaultKind::Reorder)
    }
}

#[derive(Debug)]
struct ActiveFault {
    id: u64,
    fault: Fault,
    left: Option<u64>,
    until: Option<Instant>,
    hits: u64,
}

#[derive(Debug)]
struct FaultState {
    rules: Vec<ActiveFault>,
    random: StdRng,
    /// When the `retry_after` of each (bot, chat) ends.
    not_before: HashMap<(i64, i64), Instant>,
}

/// All active faults.
#[derive(Debug)]
pub(super) struct Faults {
    any: AtomicBool,
    any_retry_after: AtomicBool,
    next: AtomicU64,
    inner: Mutex<FaultState>,
}

/// The call that faults are matched with.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallTarget<'a> {
    pub bot: i64,
    pub chat: Option<i64>,
    pub method: &'a str,
}

impl Faults {
    pub(super) fn seeded(seed: u64) -> Self {
        let random = if seed == 0 {
            StdRng::from_os_rng()
        } else {
            StdRng::seed_from_u64(seed)
        };
        Self {
            any: AtomicBool::new(false),
            any_retry_after: AtomicBool::new(false),
            next: AtomicU64::new(1),
            inner: Mutex::new(FaultState {
                rules: Vec::new(),
                random,
                not_before: HashMap::new(),
            }),
        }
    }

    /// Whether any fault is active; without one, calls take no lock.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// A seeded random number.
    pub(super) fn between(&self, low: i64, high: i64) -> i64 {
        self.inner.lock().random.random_range(low..high)
    }

    pub(super) fn add(&self, mut fault: Fault) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        fault.method = fault.method.map(|method| method.to_ascii_lowercase());
        let mut inner = self.inner.lock();
        inner.rules.push(ActiveFault {
            id,
            left: fault.times,
            until: fault
                .for_ms
                .map(|ms| Instant::now() + Duration::from_millis(ms)),
            fault,
            hits: 0,
        });
        self.any.store(true, Ordering::Release);
        id
    }

    /// Removes one fault, or all and optionally restarts the random sequence with a seed.
    pub(super) fn remove(&self, id: Option<u64>) {
        let mut inner = self.inner.lock();
        inner
            .rules
            .retain(|rule| id.is_some_and(|id| rule.id != id));
        self.any.store(!inner.rules.is_empty(), Ordering::Release);
    }

    pub(super) fn reseed(&self, seed: u64) {
        self.inner.lock().random = StdRng::seed_from_u64(seed);
    }

    /// The faults with their number of hits.
    pub(super) fn list(&self) -> Vec<(u64, Fault, u64)> {
        self.inner
            .lock()
            .rules
            .iter()
            .map(|rule| (rule.id, rule.fault.clone(), rule.hits))
            .collect()
    }

    /// Draws the fault of a call, if any. A 429 is recorded, so that a call before its `retry_after` is counted.
    pub(super) fn draw_fault(&self, target: CallTarget<'_>) -> Option<FaultKind> {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        let found = inner.draw(now, |fault| {
            !fault.is_about_order()
                && fault.bot.is_none_or(|bot| bot == target.bot)
                && fault.chat.is_none_or(|chat| Some(chat) == target.chat)
                && fault.method.as_deref().is_none_or(|m| m == target.method)
        });
        found.map(|(what, until)| match (what, until) {
            (FaultKind::TooManyRequests { .. }, Some(until)) => FaultKind::TooManyRequests {
                retry_after: until.saturating_duration_since(now).as_secs() + 1,
            },
            (what, _) => what,
        })
    }

    /// Records a `retry_after` of (bot, chat).
    pub(super) fn record_retry_after(&self, bot: i64, chat: Option<i64>, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut inner = self.inner.lock();
        inner.not_before.insert((bot, chat.unwrap_or(0)), until);
        self.any_retry_after.store(true, Ordering::Release);
    }

    /// Whether the `retry_after` of (bot, chat) has not yet passed.
    pub(super) fn is_before_retry_after(&self, bot: i64, chat: Option<i64>) -> bool {
        if !self.any_retry_after.load(Ordering::Acquire) {
            return false;
        }
        let inner = self.inner.lock();
        // Tolerates 50 ms of clock difference and rounding.
        let now = Instant::now() + Duration::from_millis(50);
        inner
            .not_before
            .get(&(bot, chat.unwrap_or(0)))
            .is_some_and(|until| now < *until)
    }

    /// Whether this acknowledged update is delivered again.
    pub(super) fn redelivers(&self, bot: i64, chat: i64) -> bool {
        self.any() && self.draw_order(&FaultKind::Duplicate, bot, chat)
    }

    /// Whether the next deliveries are reordered.
    pub(super) fn reorders(&self, bot: i64) -> bool {
        self.any() && self.draw_order(&FaultKind::Reorder, bot, 0)
    }

    fn draw_order(&self, what: &FaultKind, bot: i64, chat: i64) -> bool {
        let found = self.inner.lock().draw(Instant::now(), |fault| {
            fault.fault == *what
                && fault.bot.is_none_or(|only| only == bot)
                && fault.chat.is_none_or(|only| chat == 0 || only == chat)
        });
        found.is_some()
    }

    /// Shuffles the lanes of a batch, keeping the order within each.
    pub(super) fn shuffle_chats(&self, batch: &mut [(i64, QueuedUpdate)]) {
        let mut lanes: Vec<i64> = batch.iter().map(|(_, update)| update.lane).collect();
        lanes.shuffle(&mut self.inner.lock().random);
        let mut by_lane: HashMap<i64, std::collections::VecDeque<(i64, QueuedUpdate)>> =
            HashMap::new();
        for update in batch.iter() {
            by_lane
                .entry(update.1.lane)
                .or_default()
                .push_back(update.clone());
        }
        for (slot, lane) in batch.iter_mut().zip(lanes) {
            if let Some(update) = by_lane
                .get_mut(&lane)
                .and_then(std::collections::VecDeque::pop_front)
            {
                *slot = update;
            }
        }
    }
}

impl FaultState {
    fn draw(
        &mut self,
        now: Instant,
        matches: impl Fn(&Fault) -> bool,
    ) -> Option<(FaultKind, Option<Instant>)> {
        let Self { rules, random, .. } = self;
        rules.retain(|rule| rule.until.is_none_or(|until| until > now) && rule.left != Some(0));
        let rule = rules.iter_mut().find(|rule| {
            matches(&rule.fault)
                && rule
                    .fault
                    .probability
                    .is_none_or(|p| random.random_bool(p.clamp(0.0, 1.0)))
        })?;
        rule.hits += 1;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some((rule.fault.fault.clone(), rule.until))
    }
}
