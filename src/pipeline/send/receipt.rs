//! The reaction by which the bot says that it has received a message. A courtesy: nothing waits for it, and whatever goes wrong with it, the answer
//! does not notice.

use std::sync::Arc;
use std::time::Instant as StdInstant;

use tokio::time::Instant;

use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::ResolvedConnector;
use crate::telegram::TelegramError;

const METHOD: &str = "setMessageReaction";

/// Sets the connector's reaction on a message, if it has one and the chat has room for a call now.
pub(crate) fn set_receipt(
    pipeline: &Arc<PipelineState>,
    connector: &ResolvedConnector,
    chat: i64,
    message: Option<i64>,
) {
    let (Some(emoji), Some(message)) = (connector.answers.receipt.clone(), message) else {
        return;
    };
    let bot = connector.bot.clone();
    let throttle = &pipeline.throttle;
    if throttle
        .reserve_preview(bot.id(), chat, true, Instant::now())
        .is_err()
    {
        return;
    }
    let pipeline = pipeline.clone();
    tokio::spawn(async move {
        let began = StdInstant::now();
        let set = bot.set_message_reaction(chat, message, &emoji).await;
        let label = set.as_ref().map_or_else(TelegramError::label, |()| "ok");
        let metrics = &pipeline.metrics;
        metrics.record_telegram_call(METHOD, label, began.elapsed());
        match set {
            Ok(()) => {}
            Err(TelegramError::RateLimited(wait)) => {
                metrics.record_throttling(METHOD, wait);
                let throttle = &pipeline.throttle;
                throttle.record_rate_limit(bot.id(), chat, wait, Instant::now());
            }
            Err(error) => tracing::debug!(%error, "failed to set a reaction; the answer follows"),
        }
    });
}
