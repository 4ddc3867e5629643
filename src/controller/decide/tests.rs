//! The rules of a reconcile as a table: a scenario, and the plan that it leads to.

mod reasons;
mod scenario;

use rstest::rstest;

use self::scenario::{
    Scenario, bot, bot_with_new_token, forbidden_secret, header_problem, list_problem, malformed,
    missing_key, missing_secret, scenario, summary, unreachable_identity,
};
use super::*;
use crate::api::conditions::ConditionType;
use crate::controller::access::AccessProblem;
use crate::controller::status::{AssistantState, find_condition};
use crate::identity::BotId;

// A leader and its connection.
#[rstest]
#[case(scenario(), "connect, publish(acme_bot), MessagesFlow")]
#[case(scenario().webhook(), "connect, publish(acme_bot), MessagesFlow")]
#[case(scenario().connection(None), "connect, publish(acme_bot), wait")]
#[case(scenario().connection(None).incomplete_for(INCOMPLETE_STATUS_DELAY), "connect, publish(acme_bot), Connecting")]
#[case(scenario().identity(None).connection(None), "connect, withdraw, wait")]
#[case(scenario().identity(None).connection(None).reported(84, "True"), "connect, publish(reported_bot), wait")]
#[case(scenario().identity(None).connection(None).reported(85, "True"), "connect, withdraw, wait")]
#[case(scenario().identity(Some(unreachable_identity())).connection(None), "connect, withdraw, TelegramUnreachable")]
#[case(scenario().identity(Some(IdentityFact::RateLimited { retry_after: 3 })).connection(None), "connect, withdraw, TelegramUnreachable")]
#[case(scenario().connection(Some(ConnectionFact::PollingConflict)), "connect, publish(acme_bot), PollingConflict")]
#[case(scenario().connection(Some(ConnectionFact::RateLimited { retry_after: 3 })), "connect, publish(acme_bot), RateLimited")]
#[case(scenario().connection(Some(ConnectionFact::Unreachable { detail: "d".into() })), "connect, publish(acme_bot), TelegramUnreachable")]
#[case(scenario().webhook().connection(Some(ConnectionFact::WebhookRejected { detail: "d".into() })), "connect, publish(acme_bot), WebhookRejected")]
#[case(scenario().webhook().connection(Some(ConnectionFact::WebhookUnreachable { detail: "d".into() })), "connect, publish(acme_bot), WebhookUnreachable")]
#[case(scenario().webhook().connection(Some(ConnectionFact::WebhookContested { host: "h".into() })), "connect, publish(acme_bot), WebhookContested")]
#[case(scenario().refused(), "keep, withdraw, TokenUnauthorized")]
#[case(scenario().refused().reported(84, "True"), "keep, withdraw, TokenUnauthorized")]
fn leader_connects_and_reports(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

#[rstest]
#[case::none(scenario(), None)]
#[case::in_a_minute(scenario().next_end(1_060), Some(60))]
#[case::in_a_year(scenario().next_end(31_537_000), Some(24 * 3600))]
#[case::just_now(scenario().next_end(1_000), Some(0))]
#[case::follower(scenario().next_end(1_060).follower(), None)]
fn leader_looks_again_when_an_entry_ends(#[case] scenario: Scenario, #[case] seconds: Option<u64>) {
    assert_eq!(scenario.plan().requeue, seconds.map(Duration::from_secs));
}

// What is wrong with the inputs.
#[rstest]
#[case(scenario().no_bot(TokenState::Unavailable(missing_secret())), "disconnect, withdraw, void, SecretNotFound")]
#[case(scenario().no_bot(TokenState::Unavailable(missing_key())), "disconnect, withdraw, void, SecretKeyMissing")]
#[case(scenario().no_bot(TokenState::Unavailable(forbidden_secret())), "disconnect, withdraw, void, SecretNotAllowed")]
#[case(scenario().webhook().no_bot(TokenState::Unavailable(forbidden_secret())), "disconnect, withdraw, void, SecretNotAllowed")]
#[case(scenario().no_bot(TokenState::Unavailable(forbidden_secret())).follower(), "disconnect, withdraw, void")]
#[case(scenario().no_bot(malformed()), "disconnect, withdraw, void, TokenMalformed")]
#[case(scenario().no_bot(malformed()).remembering(None, false), "disconnect, withdraw, TokenMalformed")]
#[case(scenario().no_bot(malformed()).follower(), "disconnect, withdraw, void")]
#[case(scenario().older_connector("acme"), "identify, withdraw, DuplicateBot")]
#[case(scenario().older_connector("other"), "identify, withdraw, DuplicateBot")]
#[case(scenario().owner(BotOwner::Undecided), "identify, publish(acme_bot), MessagesFlow")]
#[case(scenario().owner(BotOwner::Undecided).identity(None).connection(None), "identify, withdraw, wait")]
#[case(list_problem(AccessProblem::ListNotFound("staff".into())), "connect, publish(acme_bot), UserListNotFound")]
#[case(list_problem(AccessProblem::ListInvalid("staff".into(), "why".into())), "connect, publish(acme_bot), UserListInvalid")]
#[case(scenario().resolved(|r| r.assistant = AssistantState::KeyUnavailable(missing_key())), "connect, publish(acme_bot), ApiKeyNotFound")]
#[case(scenario().resolved(|r| r.assistant = AssistantState::KeyUnavailable(forbidden_secret())), "connect, publish(acme_bot), SecretNotAllowed")]
#[case(
    header_problem(missing_secret()),
    "connect, publish(acme_bot), ApiKeyNotFound"
)]
#[case(
    header_problem(forbidden_secret()),
    "connect, publish(acme_bot), SecretNotAllowed"
)]
#[case(scenario().resolved(|r| r.assistant = AssistantState::Unusable("why".into())), "connect, publish(acme_bot), AssistantFailing")]
#[case(scenario().unreadable(), "disconnect, withdraw")]
#[case(scenario().unreadable().follower(), "disconnect, withdraw")]
fn wrong_inputs_are_reported(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Followers publish what the leader's status vouches for, and write nothing.
#[rstest]
#[case(scenario().follower(), "elsewhere, withdraw")]
#[case(scenario().follower().reported(84, "True"), "elsewhere, publish(reported_bot)")]
#[case(scenario().follower().reported(84, "Unknown"), "elsewhere, withdraw")]
#[case(scenario().follower().reported(84, "False"), "elsewhere, withdraw")]
#[case(scenario().follower().reported(85, "True"), "elsewhere, withdraw")]
#[case(scenario().follower().suspended(), "disconnect, withdraw")]
#[case(scenario().webhook().follower().with_finalizer(false), "elsewhere, withdraw")]
#[case(scenario().webhook().reported(84, "True").follower().suspended(), "disconnect, withdraw")]
#[case(scenario().rotated(bot(85)).follower().reported(84, "True"), "elsewhere, withdraw")]
fn follower_takes_the_leaders_word(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Where shards are shared, the one that holds a bot's connects it, and the leader writes what it is told.
#[rstest]
#[case(scenario().polling_follower(), "connect, publish(acme_bot), share")]
#[case(scenario().polling_follower().connection(None), "connect, publish(acme_bot)")]
#[case(scenario().polling_follower().identity(None).connection(None), "connect, withdraw")]
#[case(scenario().polling_follower().refused(), "keep, withdraw, share")]
#[case(scenario().polling_follower().refused().reported(84, "True"), "keep, withdraw, share")]
#[case(scenario().polling_follower().older_connector("acme"), "identify, withdraw, share")]
#[case(scenario().polling_follower().suspended(), "disconnect, withdraw, share end")]
#[case(scenario().polling_follower().deleted(), "disconnect, withdraw, share end")]
#[case(scenario().polled_elsewhere(), "elsewhere, publish(acme_bot), MessagesFlow")]
#[case(scenario().polled_elsewhere().refused(), "elsewhere, withdraw, TokenUnauthorized")]
#[case(scenario().polled_elsewhere().older_connector("acme"), "elsewhere, withdraw, DuplicateBot")]
#[case(scenario().polled_elsewhere().identity(None).connection(None).reported(84, "True"), "elsewhere, publish(reported_bot), wait")]
#[case(scenario().polled_elsewhere().connection(Some(ConnectionFact::PollingConflict)), "elsewhere, publish(acme_bot), PollingConflict")]
#[case(scenario().polled_elsewhere().with_finalizer(true), "elsewhere, publish(acme_bot), -finalizer, MessagesFlow")]
fn holder_of_the_shard_connects_and_the_leader_reports(
    #[case] scenario: Scenario,
    #[case] expected: &str,
) {
    let plan = scenario.plan();
    let shared = match &plan.shared {
        SharePlan::Nothing => "",
        SharePlan::Disconnected => ", share end",
        SharePlan::Facts(..) => ", share",
    };
    assert_eq!(format!("{}{shared}", summary(&plan)), expected);
}

// Suspension, the finalizer and the webhook.
#[rstest]
#[case(scenario().suspended(), "disconnect, withdraw, Suspended")]
#[case(scenario().webhook().suspended(), "disconnect, withdraw, Suspended")]
#[case(scenario().webhook().reported(84, "True").suspended(), "disconnect, withdraw, delete webhook of 84, Suspended")]
#[case(scenario().webhook().with_finalizer(false), "connect, publish(acme_bot), +finalizer, MessagesFlow")]
#[case(scenario().webhook().with_finalizer(false).suspended(), "disconnect, withdraw, Suspended")]
#[case(scenario().with_finalizer(true), "connect, publish(acme_bot), -finalizer, MessagesFlow")]
#[case(scenario().with_finalizer(true).connection(None), "connect, publish(acme_bot), wait")]
#[case(scenario().webhook().no_bot(malformed()), "disconnect, withdraw, void, TokenMalformed")]
fn finalizer_is_there_while_a_webhook_may_be(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Another token.
#[rstest]
#[case(scenario().rotated(bot_with_new_token(84)), "connect, withdraw, void, Connecting")]
#[case(scenario().rotated(bot_with_new_token(84)).reported(84, "True"), "connect, publish(reported_bot), void, Connecting")]
#[case(scenario().rotated(bot(85)), "connect, withdraw, void, Connecting")]
#[case(scenario().webhook().rotated(bot(85)), "connect, withdraw, delete webhook of 84, void, Connecting")]
#[case(scenario().webhook().rotated(bot_with_new_token(84)), "connect, withdraw, void, Connecting")]
#[case(scenario().webhook().rotated(bot(85)).remembering(Some(bot(84)), false), "connect, withdraw, delete webhook of 84, Connecting")]
#[case(scenario().remembering(None, false), "connect, publish(acme_bot), MessagesFlow")]
fn another_token_voids_what_was_seen(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Deletion.
#[rstest]
#[case(scenario().deleted(), "disconnect, withdraw, delete webhook of 84 and wait")]
#[case(scenario().deleted().follower(), "disconnect, withdraw")]
#[case(scenario().deleted().with_finalizer(false), "disconnect, withdraw")]
#[case(scenario().deleted().skipping_disconnect(), "disconnect, withdraw, delete data")]
#[case(scenario().deleted().deleting_webhook(WebhookDeletion::Running), "disconnect, withdraw")]
#[case(scenario().deleted().deleting_webhook(WebhookDeletion::Done), "disconnect, withdraw, delete data")]
#[case(scenario().deleted().remembering(None, false), "disconnect, withdraw, delete data")]
#[case(scenario().deleted().remembering(None, false).deref_bot(84), "disconnect, withdraw, delete webhook of 84 and wait")]
#[case(scenario().unreadable().deleted().remembering(None, false), "disconnect, withdraw, delete data")]
fn deletion_ends_webhook_then_data(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

#[test]
fn last_bot_is_remembered_while_its_token_is_gone() {
    let plan = scenario().no_bot(malformed()).plan();
    let remembered = plan.remembered.expect("the bot is remembered");
    assert_eq!(remembered.bot.map(|b| b.id()), Some(BotId(84)));
    assert!(!remembered.has_token);
}

#[test]
fn suspension_remembers_nothing_new() {
    assert!(scenario().suspended().plan().remembered.is_none());
}

#[test]
fn incomplete_status_is_decided_again_when_its_delay_is_over() {
    let waited = Duration::from_millis(500);
    let plan = scenario().connection(None).incomplete_for(waited).plan();
    assert_eq!(plan.requeue, INCOMPLETE_STATUS_DELAY.checked_sub(waited));
    assert_eq!(scenario().plan().requeue, None);
}

#[test]
fn unchanged_status_is_not_written() {
    let mut scenario = scenario();
    let report = |plan: Plan| match plan.status {
        StatusPlan::Report(report) => report,
        _ => panic!("a report"),
    };
    let first = report(scenario.plan());
    assert!(first.changed);
    scenario.facts.previous = Some(first.status.clone());
    scenario.facts.now = jiff::Timestamp::from_second(9_000).expect("a time");
    let second = report(scenario.plan());
    assert!(!second.changed && second.events.is_empty());
    assert_eq!(second.status, first.status);
}

#[test]
fn other_connectors_name_is_told_in_its_own_namespace_only() {
    let message = |namespace: &str| {
        let StatusPlan::Report(report) = scenario().older_connector(namespace).plan().status else {
            panic!("a report");
        };
        let token = find_condition(&report.status, ConditionType::TokenValid);
        token.expect("TokenValid").message.clone()
    };
    assert!(message("acme").contains("\"older\""), "{}", message("acme"));
    assert!(
        !message("other").contains("older\""),
        "{}",
        message("other")
    );
}
