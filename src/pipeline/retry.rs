//! When to try again, and when no more: pure decisions by the class of the failure.

use std::time::Duration;

use crate::assistant::AssistantError;
use crate::observation::AssistantFault;
use crate::telegram::TelegramError;

/// How often an assistant is asked that lets all of its time go by.
const SLOW_ATTEMPTS: u32 = 2;

/// Bounds of trying again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How often an assistant is asked one question.
    pub assistant_attempts: u32,
    /// The first wait after an assistant failed; each further one is twice as long.
    pub assistant_base: Duration,
    /// The longest that an assistant may make a user wait before the question is given up instead.
    pub assistant_longest: Duration,
    /// The first wait after Telegram failed.
    pub telegram_base: Duration,
    /// The longest wait after Telegram failed.
    pub telegram_longest: Duration,
    /// How long a bot whose token is refused is left alone, unless its Secret changes before.
    pub unauthorized: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            assistant_attempts: 5,
            assistant_base: Duration::from_secs(1),
            assistant_longest: Duration::from_mins(2),
            telegram_base: Duration::from_secs(1),
            telegram_longest: Duration::from_mins(1),
            unauthorized: Duration::from_mins(1),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the assistant is asked again; `None`: give up. `failed` counts the failures before this one;
    /// `jitter` is 0..1.
    pub fn after_assistant(
        &self,
        error: &AssistantError,
        failed: u32,
        jitter: f64,
    ) -> Option<Duration> {
        let attempts = if error.timed_out {
            // The user has waited for all that time already.
            self.assistant_attempts.min(SLOW_ATTEMPTS)
        } else {
            self.assistant_attempts
        };
        if !error.retryable || failed + 1 >= attempts {
            return None;
        }
        let base = match error.fault {
            AssistantFault::Unreachable => self.assistant_base,
            // A fault or a full queue over there is not cured by haste, and a key takes a person.
            AssistantFault::Failing => self.assistant_base * 2,
            AssistantFault::Unauthorized => self.assistant_base * 4,
        };
        let wait = backoff(base, failed, self.assistant_longest, jitter);
        let wait = error.retry_after.map_or(wait, |asked| asked.max(wait));
        (wait <= self.assistant_longest).then_some(wait)
    }

    /// What to do after Telegram did not accept a part. `failed` counts the failures before this one.
    pub fn after_telegram(
        &self,
        error: &TelegramError,
        failed: u32,
        may_be_double: bool,
        formatted: bool,
        jitter: f64,
    ) -> AfterSend {
        let back_off = backoff(self.telegram_base, failed, self.telegram_longest, jitter);
        match error {
            TelegramError::RateLimited(wait) => AfterSend::Throttled(*wait),
            TelegramError::Forbidden(_) | TelegramError::ChatNotFound => AfterSend::EndQuietly,
            TelegramError::MigratedTo(chat) => AfterSend::Follow(*chat),
            TelegramError::CantParseEntities(_) | TelegramError::Refused { .. } if formatted => {
                AfterSend::Plain
            }
            TelegramError::Unauthorized | TelegramError::NotFound => {
                AfterSend::Unauthorized(self.unauthorized)
            }
            TelegramError::Server(_)
            | TelegramError::Unreachable(_)
            | TelegramError::WebhookActive
            | TelegramError::Conflict(_) => AfterSend::Again {
                after: back_off,
                ambiguous: false,
            },
            TelegramError::Ambiguous(_) | TelegramError::Malformed(_) if !may_be_double => {
                AfterSend::Again {
                    after: back_off,
                    ambiguous: true,
                }
            }
            TelegramError::Ambiguous(_) | TelegramError::Malformed(_) => {
                AfterSend::Bury("sent twice, and twice without an answer")
            }
            TelegramError::CantParseEntities(_)
            | TelegramError::Refused { .. }
            | TelegramError::NotModified
            | TelegramError::FileTooBig => AfterSend::Bury("Telegram refuses the message"),
        }
    }
}

/// What to do after Telegram did not accept a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSend {
    /// Wait exactly so long.
    Throttled(Duration),
    /// Try again later.
    Again {
        /// After this.
        after: Duration,
        /// It may have been delivered all the same.
        ambiguous: bool,
    },
    /// Send it again at once without formatting.
    Plain,
    /// Send it again at once to this chat.
    Follow(i64),
    /// Nobody is there to read it; no error.
    EndQuietly,
    /// The token is not accepted: leave this bot alone for so long.
    Unauthorized(Duration),
    /// It can never succeed.
    Bury(&'static str),
}

/// Twice as long after each failure, up to `longest`, the upper half of it at random.
fn backoff(base: Duration, failed: u32, longest: Duration, jitter: f64) -> Duration {
    let full = base
        .saturating_mul(2_u32.saturating_pow(failed.min(20)))
        .min(longest);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        assistant_attempts: 3,
        assistant_base: Duration::from_secs(1),
        assistant_longest: Duration::from_mins(2),
        telegram_base: Duration::from_secs(1),
        telegram_longest: Duration::from_mins(1),
        unauthorized: Duration::from_mins(1),
    };

    fn error(fault: AssistantFault, retryable: bool, retry_after: Option<u64>) -> AssistantError {
        AssistantError {
            fault,
            retryable,
            timed_out: false,
            retry_after: retry_after.map(Duration::from_secs),
            detail: String::new(),
        }
    }

    #[rstest]
    #[case::lasting(error(AssistantFault::Failing, false, None), 0, None)]
    #[case::first(error(AssistantFault::Unreachable, true, None), 0, Some(1.0))]
    #[case::second(error(AssistantFault::Unreachable, true, None), 1, Some(2.0))]
    #[case::last(error(AssistantFault::Unreachable, true, None), 2, None)]
    #[case::fault(error(AssistantFault::Failing, true, None), 0, Some(2.0))]
    #[case::asked_to_wait(error(AssistantFault::Failing, true, Some(30)), 0, Some(30.0))]
    #[case::asked_too_much(error(AssistantFault::Failing, true, Some(3600)), 0, None)]
    fn an_assistant_is_asked_again_by_the_class_of_its_failure(
        #[case] error: AssistantError,
        #[case] failed: u32,
        #[case] wait: Option<f64>,
    ) {
        let wait = wait.map(Duration::from_secs_f64);
        assert_eq!(POLICY.after_assistant(&error, failed, 1.0), wait);
    }

    #[test]
    fn whoever_waited_for_the_whole_time_waits_once_more_at_most() {
        let slow = AssistantError {
            timed_out: true,
            ..error(AssistantFault::Unreachable, true, None)
        };
        assert!(POLICY.after_assistant(&slow, 0, 1.0).is_some());
        assert_eq!(POLICY.after_assistant(&slow, 1, 1.0), None);
    }

    #[test]
    fn a_part_that_may_be_there_is_sent_once_more_and_then_no_more() {
        let lost = TelegramError::Ambiguous("reset".into());
        assert_eq!(
            POLICY.after_telegram(&lost, 0, false, true, 1.0),
            AfterSend::Again {
                after: Duration::from_secs(1),
                ambiguous: true
            }
        );
        assert!(matches!(
            POLICY.after_telegram(&lost, 1, true, true, 1.0),
            AfterSend::Bury(_)
        ));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread_over_the_upper_half() {
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..9)
            .map(|n| backoff(second, n, 60 * second, 1.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff(second, u32::MAX, 60 * second, 0.0).as_secs(), 30);
    }
}
