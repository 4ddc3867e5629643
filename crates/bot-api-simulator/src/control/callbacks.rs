//! Taps on buttons with the bot's answers, and its reactions.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Result, Shared, find_bot, resolve_action};
use crate::callback_queries::{self, CallbackQuery, Tap};

#[derive(Deserialize)]
pub(super) struct CallbackFilter {
    /// How many of the first to leave out.
    #[serde(default)]
    after: usize,
    /// How long to wait for an answered one, in milliseconds.
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn tap(State(telegram): Shared, Json(value): Json<Value>) -> Result {
    let tap: Tap = resolve_action(&telegram, value)?;
    Ok(Json(json!(callback_queries::tap(&telegram, &tap)?)))
}

pub(super) async fn list(
    State(telegram): Shared,
    Path(bot): Path<String>,
    Query(filter): Query<CallbackFilter>,
) -> Result<Json<Vec<CallbackQuery>>> {
    let bot = find_bot(&telegram, &bot)?;
    let deadline = tokio::time::Instant::now() + Duration::from_millis(filter.wait_ms);
    loop {
        let changed = bot.messages_changed.notified();
        let mut queries = bot.state.lock().callback_queries.list();
        queries.drain(..filter.after.min(queries.len()));
        let is_answered = queries.iter().any(|query| query.answer.is_some());
        if is_answered || tokio::time::timeout_at(deadline, changed).await.is_err() {
            return Ok(Json(queries));
        }
    }
}

#[derive(Deserialize)]
pub(super) struct MessageAddress {
    chat: i64,
    message_id: i64,
}

pub(super) async fn reactions(
    State(telegram): Shared,
    Path(bot): Path<String>,
    Query(address): Query<MessageAddress>,
) -> Result {
    let bot = find_bot(&telegram, &bot)?;
    let state = bot.state.lock();
    let stored = state.history.find(address.chat, address.message_id);
    Ok(Json(json!(stored.map(|stored| &stored.reactions))))
}
