//! Which session a message belongs to, judged by the message's own Telegram date, so that a late delivery shifts nothing
//! (API.md, what the session duration means).

use jiff::Timestamp;

use crate::registry::SessionDuration;

/// What a message does to the chat's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStep {
    /// It stands alone: no session, no history kept or sent.
    Stateless,
    /// It goes on with the current session.
    Continue,
    /// It begins a new one, at the message's date.
    Begin,
}

/// Decides, given when the chat's current session began (`None`: it has none) and the message's date.
///
/// A session of N hours ends exactly N hours after it began: a message at that second begins the next. A message older than
/// the session (delivered late, or after `/new`) goes on with it rather than ending it.
pub fn decide(
    duration: SessionDuration,
    began: Option<Timestamp>,
    message_date: Timestamp,
) -> SessionStep {
    let hours = match duration {
        SessionDuration::None => return SessionStep::Stateless,
        SessionDuration::Infinite => None,
        SessionDuration::Hours(hours) => Some(hours),
    };
    match (began, hours) {
        (None, _) => SessionStep::Begin,
        (Some(_), None) => SessionStep::Continue,
        (Some(began), Some(hours)) => {
            // Seconds, because Telegram dates are whole seconds; i64 holds 2^32 hours with ease.
            let age = message_date.as_second() - began.as_second();
            if age >= i64::from(hours) * 3600 {
                SessionStep::Begin
            } else {
                SessionStep::Continue
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::SessionDuration::{Hours, Infinite, None as NoSession};
    use super::SessionStep::{Begin, Continue, Stateless};
    use super::*;

    #[rstest]
    #[case::no_session(NoSession, Some(0), 1, Stateless)]
    #[case::no_session_and_none_there(NoSession, None, 1, Stateless)]
    #[case::infinite_begins(Infinite, None, 1, Begin)]
    #[case::infinite_never_ends(Infinite, Some(0), 10_000_000_000, Continue)]
    #[case::hours_begin(Hours(24), None, 1, Begin)]
    #[case::last_second(Hours(24), Some(0), 86_399, Continue)]
    #[case::exactly_at_the_end(Hours(24), Some(0), 86_400, Begin)]
    #[case::late_delivery_of_an_older_message(Hours(1), Some(5_000), 100, Continue)]
    #[case::longest(Hours(87_600), Some(0), 87_600 * 3600 - 1, Continue)]
    #[case::shortened_while_it_lasts(Hours(1), Some(0), 7_200, Begin)]
    fn the_message_date_decides(
        #[case] duration: SessionDuration,
        #[case] began: Option<i64>,
        #[case] date: i64,
        #[case] expected: SessionStep,
    ) {
        let at = |s| Timestamp::from_second(s).expect("in range");
        assert_eq!(decide(duration, began.map(at), at(date)), expected);
    }

    #[test]
    fn extreme_dates_do_not_overflow() {
        assert_eq!(
            decide(Hours(u32::MAX), Some(Timestamp::MIN), Timestamp::MAX),
            Continue
        );
        assert_eq!(
            decide(Hours(1), Some(Timestamp::MAX), Timestamp::MIN),
            Continue
        );
    }
}
