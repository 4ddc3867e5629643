//! When to try again, and when no more: pure decisions by the class of the failure.

use std::time::Duration;

use crate::assistant::{AssistantError, AssistantFault, QuestionProgress};
use crate::telegram::TelegramError;

/// How often a question is asked of which nobody knows whether it arrived.
const UNCERTAIN_ATTEMPTS: u32 = 2;

/// Bounds of trying again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How often an assistant is asked one question.
    pub assistant_attempts: u32,
    /// The first wait after an assistant failed; each further one is twice as long.
    pub assistant_base_delay: Duration,
    /// The longest that an assistant may make a user wait before the question is given up instead.
    pub assistant_max_delay: Duration,
    /// How long an assistant that refuses its key is left alone, unless the key changes before; then one question tries it.
    pub key_probe_interval: Duration,
    /// The first wait after Telegram failed.
    pub telegram_base_delay: Duration,
    /// The longest wait after Telegram failed.
    pub telegram_max_delay: Duration,
    /// How long a bot whose token is refused is left alone, unless its Secret changes before.
    pub unauthorized_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            assistant_attempts: 5,
            assistant_base_delay: Duration::from_secs(1),
            assistant_max_delay: Duration::from_mins(2),
            key_probe_interval: Duration::from_mins(5),
            telegram_base_delay: Duration::from_secs(1),
            telegram_max_delay: Duration::from_mins(1),
            unauthorized_delay: Duration::from_mins(1),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the assistant is asked again; `None`: give up. `previous_failures` counts the failures before this one;
    /// `jitter` is 0..1.
    pub(crate) fn after_assistant_error(
        &self,
        error: &AssistantError,
        previous_failures: u32,
        jitter: f64,
    ) -> Option<Duration> {
        let attempts = match error.progress {
            QuestionProgress::NotTaken => self.assistant_attempts,
            QuestionProgress::Uncertain => self.assistant_attempts.min(UNCERTAIN_ATTEMPTS),
            // It may have booked the flight.
            QuestionProgress::Begun => 1,
        };
        if !error.kind.is_transient() || previous_failures + 1 >= attempts {
            return None;
        }
        let base = match error.fault() {
            AssistantFault::Unreachable => self.assistant_base_delay,
            // A fault or a full queue over there is not cured by haste.
            AssistantFault::Failing | AssistantFault::Unauthorized => self.assistant_base_delay * 2,
        };
        let wait = backoff(base, previous_failures, self.assistant_max_delay, jitter);
        let wait = error.retry_after.map_or(wait, |asked| asked.max(wait));
        (wait <= self.assistant_max_delay).then_some(wait)
    }

    /// What to do after a send was refused as if the token were, while Telegram accepts it. `previous_failures` counts the failures before.
    pub(crate) fn after_unconfirmed_refusal(
        &self,
        previous_failures: u32,
        jitter: f64,
    ) -> SendErrorAction {
        SendErrorAction::Retry {
            after: self.telegram_delay(previous_failures, jitter),
            ambiguous: false,
        }
    }

    fn telegram_delay(&self, previous_failures: u32, jitter: f64) -> Duration {
        backoff(
            self.telegram_base_delay,
            previous_failures,
            self.telegram_max_delay,
            jitter,
        )
    }

    /// What to do after Telegram did not accept a part. `previous_failures` counts the failures before this one.
    pub(crate) fn after_telegram_error(
        &self,
        error: &TelegramError,
        previous_failures: u32,
        already_ambiguous: bool,
        formatted: bool,
        jitter: f64,
    ) -> SendErrorAction {
        let delay = self.telegram_delay(previous_failures, jitter);
        match error {
            TelegramError::RateLimited(wait) => SendErrorAction::Throttled(*wait),
            TelegramError::Forbidden(_) | TelegramError::ChatNotFound => {
                SendErrorAction::GiveUpSilently
            }
            TelegramError::MigratedTo(chat) => SendErrorAction::ResendToChat(*chat),
            TelegramError::CantParseEntities(_) if formatted => SendErrorAction::ResendPlain,
            TelegramError::ThreadNotFound => SendErrorAction::ResendWithoutTopic,
            TelegramError::TopicClosed => {
                SendErrorAction::DeadLetter("the bot may not write to the topic")
            }
            TelegramError::Unauthorized | TelegramError::NotFound => {
                SendErrorAction::Unauthorized(self.unauthorized_delay)
            }
            TelegramError::Server(_)
            | TelegramError::Unreachable(_)
            | TelegramError::WebhookActive
            | TelegramError::Conflict(_) => SendErrorAction::Retry {
                after: delay,
                ambiguous: false,
            },
            TelegramError::Ambiguous(_) | TelegramError::Malformed(_) if !already_ambiguous => {
                SendErrorAction::Retry {
                    after: delay,
                    ambiguous: true,
                }
            }
            TelegramError::Ambiguous(_) | TelegramError::Malformed(_) => {
                SendErrorAction::DeadLetter("sent twice, and twice without an answer")
            }
            TelegramError::CantParseEntities(_)
            | TelegramError::Refused { .. }
            | TelegramError::NotModified
            | TelegramError::QueryExpired
            | TelegramError::FileTooBig => {
                SendErrorAction::DeadLetter("Telegram refuses the message")
            }
        }
    }
}

/// What to do after Telegram did not accept a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendErrorAction {
    /// Wait exactly so long.
    Throttled(Duration),
    /// Try again later.
    Retry {
        /// After this.
        after: Duration,
        /// It may have been delivered all the same.
        ambiguous: bool,
    },
    /// Send it again at once without formatting.
    ResendPlain,
    /// Send it again at once, to the chat without its topic.
    ResendWithoutTopic,
    /// Send it again at once to this chat.
    ResendToChat(i64),
    /// Nobody is there to read it; no error.
    GiveUpSilently,
    /// The token is not accepted: leave this bot alone for so long.
    Unauthorized(Duration),
    /// It can never succeed.
    DeadLetter(&'static str),
}

/// Twice as long after each failure, up to `max_delay`, the upper half of it at random.
fn backoff(base: Duration, previous_failures: u32, max_delay: Duration, jitter: f64) -> Duration {
    let full = base
        .saturating_mul(2_u32.saturating_pow(previous_failures.min(20)))
        .min(max_delay);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::assistant::FailureKind::{
        self, Misconfigured, Overloaded, ServerFault, TimedOut, Unreachable,
    };
    use crate::assistant::QuestionProgress::{Begun, NotTaken, Uncertain};

    const POLICY: RetryPolicy = RetryPolicy {
        assistant_attempts: 3,
        assistant_base_delay: Duration::from_secs(1),
        assistant_max_delay: Duration::from_mins(2),
        key_probe_interval: Duration::from_mins(5),
        telegram_base_delay: Duration::from_secs(1),
        telegram_max_delay: Duration::from_mins(1),
        unauthorized_delay: Duration::from_mins(1),
    };

    fn error(kind: FailureKind, progress: QuestionProgress, after: Option<u64>) -> AssistantError {
        AssistantError {
            kind,
            progress,
            retry_after: after.map(Duration::from_secs),
            detail: String::new(),
        }
    }

    #[rstest]
    #[case::lasting(error(Misconfigured, NotTaken, None), 0, None)]
    #[case::first(error(Unreachable, NotTaken, None), 0, Some(1.0))]
    #[case::second(error(Unreachable, NotTaken, None), 1, Some(2.0))]
    #[case::last(error(Unreachable, NotTaken, None), 2, None)]
    #[case::fault(error(ServerFault, NotTaken, None), 0, Some(2.0))]
    #[case::asked_to_wait(error(Overloaded, NotTaken, Some(30)), 0, Some(30.0))]
    #[case::asked_too_much(error(Overloaded, NotTaken, Some(3600)), 0, None)]
    #[case::perhaps_arrived(error(Unreachable, Uncertain, None), 0, Some(1.0))]
    #[case::perhaps_arrived_twice(error(Unreachable, Uncertain, None), 1, None)]
    #[case::time_is_up(error(TimedOut, Uncertain, None), 0, Some(1.0))]
    #[case::time_is_up_twice(error(TimedOut, Uncertain, None), 1, None)]
    #[case::begun(error(Unreachable, Begun, None), 0, None)]
    #[case::begun_and_out_of_time(error(TimedOut, Begun, None), 0, None)]
    fn assistant_error_class_decides_the_retry(
        #[case] error: AssistantError,
        #[case] previous_failures: u32,
        #[case] wait: Option<f64>,
    ) {
        let wait = wait.map(Duration::from_secs_f64);
        assert_eq!(
            POLICY.after_assistant_error(&error, previous_failures, 1.0),
            wait
        );
    }

    #[rstest]
    #[case::parse_error(
        TelegramError::CantParseEntities(String::new()),
        SendErrorAction::ResendPlain
    )]
    #[case::missing_topic(TelegramError::ThreadNotFound, SendErrorAction::ResendWithoutTopic)]
    #[case::closed_topic(
        TelegramError::TopicClosed,
        SendErrorAction::DeadLetter("the bot may not write to the topic")
    )]
    #[case::anything_else(
        TelegramError::Refused { code: 400, description: "Bad Request: not enough rights".into() },
        SendErrorAction::DeadLetter("Telegram refuses the message")
    )]
    fn only_a_parse_error_is_answered_by_plain_text(
        #[case] error: TelegramError,
        #[case] action: SendErrorAction,
    ) {
        assert_eq!(
            POLICY.after_telegram_error(&error, 0, false, true, 1.0),
            action
        );
    }

    #[test]
    fn ambiguous_send_is_retried_once() {
        let lost = TelegramError::Ambiguous("reset".into());
        assert_eq!(
            POLICY.after_telegram_error(&lost, 0, false, true, 1.0),
            SendErrorAction::Retry {
                after: Duration::from_secs(1),
                ambiguous: true
            }
        );
        assert!(matches!(
            POLICY.after_telegram_error(&lost, 1, true, true, 1.0),
            SendErrorAction::DeadLetter(_)
        ));
    }

    #[test]
    fn backoff_doubles_up_to_the_maximum_with_jitter() {
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..9)
            .map(|n| backoff(second, n, 60 * second, 1.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff(second, u32::MAX, 60 * second, 0.0).as_secs(), 30);
    }
}
