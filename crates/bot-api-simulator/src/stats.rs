//! What is counted per bot, and the record of its last calls.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::Value;

/// Counters of one bot since the simulator began.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BotCounters {
    /// Updates that came for the bot and were kept.
    pub updates: u64,
    /// Completed `getUpdates`.
    pub polls: u64,
    /// 409 answers.
    pub conflicts: u64,
    /// Times when a `getUpdates` came while another one of the same bot was being answered.
    pub concurrent_polls: u64,
    /// Messages sent (`sendMessage` that took effect).
    pub sent: u64,
    /// `sendChatAction` that took effect.
    pub actions: u64,
    /// 429 answers.
    pub throttled: u64,
    /// Calls that came before a `retry_after` was over.
    pub impatient: u64,
    /// Updates given out a second time on purpose.
    pub redelivered: u64,
    /// Webhook requests made, and those among them that were not answered with 2xx.
    pub deliveries: u64,
    /// See [`BotCounters::deliveries`].
    pub failed_deliveries: u64,
    /// Calls by method (in lower case).
    pub methods: BTreeMap<String, u64>,
}

/// One call as it was answered.
#[derive(Debug, Clone, Serialize)]
pub struct ApiCall {
    /// In lower case.
    pub method: String,
    /// The parameters as text.
    pub params: Value,
    /// The HTTP status of the answer; 0 when none was sent on purpose.
    pub status: u16,
    /// When it came.
    pub at: jiff::Timestamp,
    /// From which address and port.
    pub peer: String,
}

/// One request to a webhook.
#[derive(Debug, Clone, Serialize)]
pub struct WebhookDelivery {
    /// Which update.
    pub update_id: i64,
    /// In which chat it happened.
    pub chat: i64,
    /// The HTTP status of the answer; 0 when there was none.
    pub status: u16,
    /// Seconds of `Retry-After`; 0 when it did not say.
    pub retry_after: u32,
    /// What Telegram would show as `last_error_message`; empty when it was acknowledged.
    pub error: String,
    /// When the request began.
    pub began: jiff::Timestamp,
    /// When the answer was there.
    pub ended: jiff::Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Stats {
    pub counters: BotCounters,
    pub calls: VecDeque<ApiCall>,
    pub deliveries: VecDeque<WebhookDelivery>,
}

impl Stats {
    pub(super) fn count_method(&mut self, method: &str) {
        if let Some(count) = self.counters.methods.get_mut(method) {
            *count += 1;
        } else {
            self.counters.methods.insert(method.to_owned(), 1);
        }
    }

    pub(super) fn record(&mut self, call: ApiCall, limit: usize) {
        append(&mut self.calls, call, limit);
    }

    pub(super) fn record_delivery(&mut self, delivered: WebhookDelivery, limit: usize) {
        append(&mut self.deliveries, delivered, limit);
    }
}

fn append<T>(list: &mut VecDeque<T>, item: T, limit: usize) {
    list.push_back(item);
    while list.len() > limit {
        list.pop_front();
    }
}
