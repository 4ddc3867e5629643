use jiff::SignedDuration;

use super::*;
use crate::identity::BotId;

fn count_notifications(receiver: &mut mpsc::UnboundedReceiver<ConnectorUid>) -> usize {
    std::iter::from_fn(|| receiver.try_recv().ok()).count()
}

#[test]
fn repeated_fact_notifies_controller_once() {
    let (observations, mut notifications) = Observations::new();
    let uid = ConnectorUid::from("u");
    for _ in 0..1000 {
        observations.record_connection(&uid, ConnectionFact::PollCompleted(BotId(7)));
    }
    assert_eq!(count_notifications(&mut notifications), 1);
    observations.record_connection(&uid, ConnectionFact::PollingConflict);
    observations.record_connection(&uid, ConnectionFact::PollCompleted(BotId(7)));
    assert_eq!(count_notifications(&mut notifications), 2);
}

#[test]
fn assistant_fails_after_three_failures_and_recovers() {
    let (observations, mut notifications) = Observations::new();
    let uid = ConnectorUid::from("u");
    let fail =
        || observations.record_assistant_failure(&uid, AssistantFault::Failing, "500".into());
    fail();
    fail();
    observations.record_assistant_success(&uid);
    fail();
    fail();
    assert_eq!(
        observations.facts(&uid).assistant,
        AssistantFact::Succeeding
    );
    fail();
    assert!(matches!(
        observations.facts(&uid).assistant,
        AssistantFact::Failing { .. }
    ));
    assert_eq!(count_notifications(&mut notifications), 2);
    observations.record_assistant_success(&uid);
    assert_eq!(
        observations.facts(&uid).assistant,
        AssistantFact::Succeeding
    );
}

#[test]
fn one_refused_key_is_observed_at_once() {
    let (observations, mut notifications) = Observations::new();
    let uid = ConnectorUid::from("u");
    observations.record_assistant_success(&uid);
    observations.record_key_refused(&uid, "401".into());
    assert_eq!(
        observations.facts(&uid).assistant,
        AssistantFact::KeyRefused {
            detail: "401".into()
        }
    );
    observations.record_assistant_success(&uid);
    assert_eq!(
        observations.facts(&uid).assistant,
        AssistantFact::Succeeding
    );
    assert_eq!(count_notifications(&mut notifications), 3);
}

#[test]
fn denials_are_reported_at_once_then_hourly_with_count() {
    let (observations, mut notifications) = Observations::new();
    let uid = ConnectorUid::from("u");
    let begin: Timestamp = "2026-05-08T12:00:00Z".parse().unwrap();
    for minute in 0..=61 {
        observations.record_denied_message(&uid, begin + SignedDuration::from_mins(minute));
    }
    assert_eq!(
        count_notifications(&mut notifications),
        2,
        "the controller sleeps in between"
    );
    let reported: Vec<_> = observations
        .take_notices(&uid)
        .into_iter()
        .map(|p| p.notice)
        .collect();
    assert_eq!(
        reported,
        [
            Notice::Denied { messages: 1 },
            Notice::Denied { messages: 60 }
        ]
    );
}

#[tokio::test]
async fn notice_resolves_once_taken_and_reported() {
    let (observations, mut notifications) = Observations::new();
    let uid = ConnectorUid::from("u");
    let mut reported = observations.queue_notice(
        &uid,
        Notice::ForeignWebhook {
            host: "other.example".into(),
        },
    );
    assert_eq!(count_notifications(&mut notifications), 1);
    assert!(
        reported
            .try_recv()
            .is_err_and(|e| e == oneshot::error::TryRecvError::Empty)
    );
    let taken = observations.take_notices(&uid);
    assert_eq!(taken.len(), 1);
    drop(taken);
    let _ = reported.await;
    assert!(observations.take_notices(&uid).is_empty());
}
