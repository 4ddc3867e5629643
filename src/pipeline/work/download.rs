//! Fetches files from Telegram for what reads them, and names them for the assistant.

use std::time::Duration;

use bytes::Bytes;

use crate::pipeline::message::incoming_update::TelegramFile;
use crate::registry::ResolvedConnector;
use crate::telegram::TelegramError;

/// Attempts at a download; the user is waiting.
const MAX_ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The longest that Telegram may ask to wait between attempts.
const MAX_RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// Fetches a file, again if what went wrong may pass.
pub(crate) async fn download_with_retry(
    connector: &ResolvedConnector,
    file: &TelegramFile,
    max_bytes: u64,
) -> Result<Bytes, TelegramError> {
    let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut wait = RETRY_DELAY;
    for _ in 1..MAX_ATTEMPTS {
        match connector.bot.download(&file.id, max_bytes).await {
            Err(
                TelegramError::Server(_)
                | TelegramError::Unreachable(_)
                | TelegramError::Ambiguous(_),
            ) => tokio::time::sleep(wait).await,
            Err(TelegramError::RateLimited(pause)) if pause <= MAX_RATE_LIMIT_WAIT => {
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
        wait *= 2;
    }
    connector.bot.download(&file.id, max_bytes).await
}

/// The longest file name that is passed on, in characters.
const MAX_NAME_CHARS: usize = 100;

/// A file's name for the assistant.
pub(crate) fn display_name(file: &TelegramFile) -> String {
    let name: String = file
        .name
        .as_deref()
        .unwrap_or("file")
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '[' | ']'))
        .take(MAX_NAME_CHARS)
        .collect();
    name
}
