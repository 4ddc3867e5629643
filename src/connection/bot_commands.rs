//! The menu of commands that Telegram shows beside the input field, in every language there are texts for.
//!
//! Best effort: the menu is compared with what Telegram has and written only where it differs, for one bot at a time, and beside the
//! connection, which neither waits for it nor fails with it.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::backoff::Backoff;
use crate::telegram::{Bot, TelegramError};
use crate::texts::{Texts, languages};

/// Pause between two languages, so that menus do not delay messages when a thousand bots connect at once.
const LANGUAGE_INTERVAL: Duration = Duration::from_millis(25);
/// Slow, because a missing menu harms nobody.
const RETRY_BACKOFF: Backoff = Backoff::new(Duration::from_mins(1), Duration::from_hours(1));
/// Failures in a row after which the menu is left as it is until the next connection.
const MAX_FAILURES: u32 = 5;

/// Serializes the synchronization of all bots of this process.
#[derive(Debug, Default)]
pub(super) struct CommandSyncLock(Mutex<()>);

/// Writes the bot's command menus where they differ; retries with backoff.
pub(super) async fn sync_commands(bot: &Bot, sync_lock: &CommandSyncLock) {
    let mut backoff = RETRY_BACKOFF;
    while backoff.failures() < MAX_FAILURES {
        let result = {
            let _guard = sync_lock.0.lock().await;
            sync_all_languages(bot).await
        };
        let wait = match result {
            Ok(written) => {
                if written > 0 {
                    tracing::debug!(bot_id = %bot.id(), written, "command menu updated");
                }
                return;
            }
            // The connection gets the same error and reports it.
            Err(TelegramError::Unauthorized) => return,
            Err(TelegramError::RateLimited(wait)) => wait.max(backoff.next_delay()),
            Err(error) => {
                tracing::debug!(bot_id = %bot.id(), %error, "failed to update the command menu; retrying");
                backoff.next_delay()
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Returns the number of languages that were written.
async fn sync_all_languages(bot: &Bot) -> Result<usize, TelegramError> {
    let mut written = 0;
    let everybody = languages().take(1).map(|(_, english)| (None, english));
    let by_language = languages().skip(1).map(|(code, texts)| (Some(code), texts));
    for (language, texts) in everybody.chain(by_language) {
        written += usize::from(sync_language(bot, language, texts).await?);
        tokio::time::sleep(LANGUAGE_INTERVAL).await;
    }
    Ok(written)
}

/// Returns whether the menu was written. `language` `None` stands for users of all other languages.
async fn sync_language(
    bot: &Bot,
    language: Option<&str>,
    texts: &Texts,
) -> Result<bool, TelegramError> {
    let wanted = texts.commands();
    let shown = bot.get_my_commands(language).await?;
    let shown = shown.iter().map(|(c, d)| (c.as_str(), d.as_str()));
    if shown.eq(wanted) {
        return Ok(false);
    }
    bot.set_my_commands(language, &wanted).await?;
    Ok(true)
}
