//! What the status says of limits of a day.

use super::*;
use crate::observation::{DayLimitFact, UsageFact};
use crate::registry::DayLimits;
use crate::store::{DayLimit, ReachedLimit};

fn limits() -> DayLimits {
    DayLimits {
        user: DayLimit {
            messages: Some(5),
            tokens: None,
        },
        connector: DayLimit {
            messages: None,
            tokens: Some(500),
        },
        zone: jiff::tz::TimeZone::UTC,
    }
}

/// What is said of the limits at an hour of the first day of 1970.
fn limited(
    facts: &ObservedFacts,
    previous: Option<&TelegramConnectorStatus>,
    hour: i64,
) -> (TelegramConnectorStatus, Option<std::time::Duration>) {
    let limits = limits();
    let mut ends = None;
    let status = status_of(facts, previous, |inputs| {
        inputs.now = Timestamp::from_second(3600 * hour).unwrap();
        // The closure's borrow is the call's.
        inputs.day_limits = Some(Box::leak(Box::new(limits)));
        ends = inputs.limits_end_in();
    });
    (status, ends)
}

fn message_of(status: &TelegramConnectorStatus, type_: ConditionType) -> &str {
    &find_condition(status, type_).expect("it is there").message
}

#[test]
fn limit_of_the_day_is_told_until_the_day_ends() {
    let facts = |generation, reached: &[ReachedLimit]| ObservedFacts {
        day_limits: Some(DayLimitFact {
            generation,
            until: Timestamp::from_second(24 * 3600).unwrap(),
            reached: reached.to_vec(),
        }),
        ..polling()
    };
    let expected = |status: &str, reason: Reason| (status.to_owned(), reason.to_string());
    let type_ = ConditionType::WithinLimits;
    let (before, ends) = limited(&polling(), None, 9);
    assert_eq!(
        condition_of(&before, type_),
        expected("True", Reason::NotReached)
    );
    assert_eq!(ends, None);

    let seen = facts(
        3,
        &[ReachedLimit::UserMessages, ReachedLimit::ConnectorTokens],
    );
    let (status, ends) = limited(&seen, Some(&before), 10);
    assert_eq!(
        condition_of(&status, type_),
        expected("False", Reason::DayLimitReached)
    );
    let message = "limits.messagesPerDay is reached by users, who are not answered; limits.connector.tokensPerDay is reached: nobody is answered, until 1970-01-02T00:00:00Z";
    assert_eq!(message_of(&status, type_), message);
    assert_eq!(condition_of(&status, ConditionType::Ready).0, "True");
    let flows = format!("messages flow; {message}");
    assert_eq!(message_of(&status, ConditionType::Ready), flows);
    assert_eq!(ends, Some(std::time::Duration::from_secs(14 * 3600 + 1)));

    // After a restart it holds as it stands, and ends with its day.
    let (restarted, ends) = limited(&polling(), Some(&status), 23);
    assert!(is_same_status(&status, &restarted), "nothing is written");
    assert_eq!(ends, Some(std::time::Duration::from_secs(3601)));
    for facts in [&polling(), &seen] {
        let (next_day, ends) = limited(facts, Some(&status), 24);
        assert_eq!(condition_of(&next_day, type_).0, "True");
        assert_eq!(
            (message_of(&next_day, ConditionType::Ready), ends),
            ("messages flow", None)
        );
    }
    // Of limits that were changed since, nothing is said.
    let (changed, _) = limited(&facts(2, &[ReachedLimit::UserMessages]), Some(&before), 10);
    assert_eq!(condition_of(&changed, type_).0, "True");
}

#[test]
fn limit_that_counts_nothing_is_told() {
    let type_ = ConditionType::WithinLimits;
    let usage = |is_reported| ObservedFacts {
        usage: Some(UsageFact {
            generation: 3,
            is_reported,
        }),
        ..polling()
    };
    let (status, _) = limited(&usage(false), None, 9);
    let expected = ("False".to_owned(), Reason::UsageNotReported.to_string());
    assert_eq!(condition_of(&status, type_), expected);
    let (restarted, _) = limited(&polling(), Some(&status), 10);
    assert_eq!(condition_of(&restarted, type_), expected);
    let (reported, _) = limited(&usage(true), Some(&status), 10);
    assert_eq!(condition_of(&reported, type_).0, "True");

    let limits = limits();
    let status = status_of(&polling(), None, |inputs| {
        inputs.day_limits = Some(Box::leak(Box::new(limits)));
        inputs.unknown_time_zone = Some("Europe/Rmoe");
    });
    let expected = ("False".to_owned(), Reason::TimeZoneUnknown.to_string());
    assert_eq!(condition_of(&status, type_), expected);
    assert_eq!(condition_of(&status, ConditionType::Ready).0, "True");
    let unlimited = status_of(&polling(), None, |_| {});
    assert!(find_condition(&unlimited, type_).is_none());
}
