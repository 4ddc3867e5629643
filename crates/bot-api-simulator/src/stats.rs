//! Counters and the recorded calls and webhook requests of each bot.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::Value;

/// Counters of one bot since the simulator began.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BotCounters {
    /// Updates queued for the bot.
    pub updates: u64,
    /// Completed `getUpdates`.
    pub polls: u64,
    /// 409 answers.
    pub conflicts: u64,
    /// `getUpdates` calls received while another one of the same bot was in flight.
    pub concurrent_polls: u64,
    /// `sendMessage` calls that took effect.
    pub sent: u64,
    /// `sendChatAction` calls that took effect.
    pub actions: u64,
    /// 429 answers.
    pub throttled: u64,
    /// Calls received before a `retry_after` had passed.
    pub impatient: u64,
    /// Updates delivered twice because of a fault.
    pub redelivered: u64,
    /// Webhook requests made.
    pub deliveries: u64,
    /// Those of [`BotCounters::deliveries`] that were not answered with 2xx.
    pub failed_deliveries: u64,
    /// Calls by method (in lower case).
    pub methods: BTreeMap<String, u64>,
}

/// A Bot API call and its response.
#[derive(Debug, Clone, Serialize)]
pub struct ApiCall {
    /// In lower case.
    pub method: String,
    /// The parameters as text.
    pub params: Value,
    /// The names of parameters that the method does not take; Telegram ignores them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_params: Vec<String>,
    /// The HTTP status of the response; 0 when a fault suppressed it.
    pub status: u16,
    /// When the request arrived.
    pub at: jiff::Timestamp,
    /// The client's address and port.
    pub peer: String,
}

/// One request to a webhook.
#[derive(Debug, Clone, Serialize)]
pub struct WebhookDelivery {
    /// The update in the request's body.
    pub update_id: i64,
    /// The chat of the update.
    pub chat: i64,
    /// The HTTP status of the response; 0 when there was none.
    pub status: u16,
    /// Seconds in `Retry-After`; 0 without the header.
    pub retry_after: u32,
    /// What Telegram would show as `last_error_message`; empty when it was acknowledged.
    pub error: String,
    /// When the request began.
    pub began: jiff::Timestamp,
    /// When the response had arrived or the request had failed.
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
