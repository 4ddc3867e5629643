//! Further attempts at what a service does for an incoming message, such as a transcription: within one time limit, since the user is waiting.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::AssistantError;

/// Attempts within the time limit.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// Makes an attempt, and further ones where what went wrong may pass.
///
/// # Errors
/// That of the last attempt.
pub(super) async fn retry_within<T, F>(
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<T, AssistantError>
where
    F: Future<Output = Result<T, AssistantError>>,
{
    let mut wait = BETWEEN_ATTEMPTS;
    let mut attempts = 1;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let pause = error.retry_after.unwrap_or(wait);
        if !error.is_retryable() || attempts == ATTEMPTS || Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
        wait *= 2;
        attempts += 1;
    }
}
