//! What probes over the network have in common: a limit in time, and the cause of an error without its URL.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

/// What `work` comes to, or why it came to nothing.
///
/// # Errors
/// Its error as text, or that the time is over.
pub(super) async fn within<T, E: Display>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// The last cause of an error of the HTTP client: it names no URL, which may hold a secret.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let cause = causes.last().map(ToString::to_string);
    cause.unwrap_or_else(|| "the request could not be sent".to_owned())
}
