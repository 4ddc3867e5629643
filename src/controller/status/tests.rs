mod day_limits;

use super::*;
use crate::api::connector::ConnectionMode;
use crate::controller::access::{AccessProblem, AccessState};
use crate::controller::events::transition_events;
use crate::identity::BotId;
use crate::observation::{ConnectionFact, MovedGroup, ObservedFacts};
use crate::telegram::bot::BotProfile;
use rstest::rstest;

const BOT: BotId = BotId(84);

fn given() -> TokenState {
    TokenState::Given {
        bot: BOT,
        secret: "s".into(),
        duplicate_of: None,
    }
}

fn polling() -> ObservedFacts {
    ObservedFacts {
        identity: Some(IdentityFact::Accepted(BotProfile {
            id: BOT,
            username: "acme_bot".into(),
            name: "Acme".into(),
            reads_all_group_messages: None,
        })),
        connection: Some(ConnectionFact::PollCompleted(BOT)),
        ..ObservedFacts::default()
    }
}

/// Inputs of a connector that was never reported.
fn inputs<'a>(
    token: &'a TokenState,
    access: &'a AccessState,
    assistant: &'a AssistantState,
    facts: &'a ObservedFacts,
) -> StatusInputs<'a> {
    StatusInputs {
        generation: 1,
        suspended: false,
        mode: ConnectionMode::Polling,
        webhook_url: None,
        token,
        access,
        assistant,
        session: SessionDuration::None,
        needs_all_group_messages: None,
        day_limits: None,
        unknown_time_zone: None,
        facts,
        connection_changed: false,
        previous: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

/// Inputs of a connector in order, changed by `change`, and the status they give.
fn status_of(
    facts: &ObservedFacts,
    previous: Option<&TelegramConnectorStatus>,
    change: impl FnOnce(&mut StatusInputs<'_>),
) -> TelegramConnectorStatus {
    let (token, access) = (given(), AccessState::default());
    let assistant = AssistantState::Built { changed: false };
    let mut inputs = StatusInputs {
        generation: 3,
        suspended: false,
        mode: ConnectionMode::Polling,
        webhook_url: None,
        token: &token,
        access: &access,
        assistant: &assistant,
        session: SessionDuration::Hours(24),
        needs_all_group_messages: None,
        day_limits: None,
        unknown_time_zone: None,
        facts,
        connection_changed: false,
        previous,
        now: Timestamp::from_second(1000).unwrap(),
    };
    change(&mut inputs);
    inputs.status()
}

fn condition_of(status: &TelegramConnectorStatus, type_: ConditionType) -> (String, String) {
    let condition = find_condition(status, type_).unwrap_or_else(|| panic!("no {type_}"));
    (condition.status.clone(), condition.reason.clone())
}

#[rstest]
#[case(ConnectionFact::PollingConflict, Reason::PollingConflict)]
#[case(ConnectionFact::WebhookRejected { detail: "d".into() }, Reason::WebhookRejected)]
#[case(ConnectionFact::WebhookUnreachable { detail: "d".into() }, Reason::WebhookUnreachable)]
#[case(ConnectionFact::WebhookContested { host: "h".into() }, Reason::WebhookContested)]
#[case(ConnectionFact::RateLimited { retry_after: 3 }, Reason::RateLimited)]
#[case(ConnectionFact::Unreachable { detail: "d".into() }, Reason::TelegramUnreachable)]
fn failing_connection_is_the_reason_of_ready_too(
    #[case] fact: ConnectionFact,
    #[case] reason: Reason,
) {
    let facts = ObservedFacts {
        connection: Some(fact),
        ..polling()
    };
    let status = status_of(&facts, None, |_| {});
    let expected = ("False".to_owned(), reason.to_string());
    assert_eq!(condition_of(&status, ConditionType::Connected), expected);
    assert_eq!(condition_of(&status, ConditionType::Ready), expected);
    assert_eq!(condition_of(&status, ConditionType::TokenValid).0, "True");
}

#[test]
fn entries_that_have_ended_are_counted_and_said() {
    let access = AccessState {
        users: Some(2),
        ended: 3,
        ..AccessState::default()
    };
    let (token, assistant) = (given(), AssistantState::Built { changed: false });
    let facts = polling();
    let status = inputs(&token, &access, &assistant, &facts).status();
    assert_eq!(
        (status.access_users, status.ended_users),
        (Some(2), Some(3))
    );
    let resolved = find_condition(&status, ConditionType::AccessResolved).unwrap();
    assert_eq!(resolved.message, "2 users may write; 3 have ended");
    let counts = UserListCounts {
        users: 2,
        ended: 1,
        invalid: 0,
        used_by: 1,
    };
    let list = user_list_status(1, counts, None, None, Timestamp::UNIX_EPOCH);
    assert_eq!((list.users, list.ended), (Some(2), Some(1)));
    assert_eq!(list.conditions[0].message, "2 users; 1 has ended");
}

#[test]
fn unreadable_list_is_reported_while_the_rest_holds() {
    let access = AccessState {
        users: Some(2),
        by_username: 0,
        ended: 0,
        next_end: None,
        problems: vec![AccessProblem::ListInvalid("staff".into(), "no".into())],
        ..AccessState::default()
    };
    // The borrow ends with the call.
    let facts = polling();
    let (token, assistant) = (given(), AssistantState::Built { changed: false });
    let status = inputs(&token, &access, &assistant, &facts).status();
    let expected = ("False".to_owned(), Reason::UserListInvalid.to_string());
    assert_eq!(
        condition_of(&status, ConditionType::AccessResolved),
        expected
    );
    assert_eq!(condition_of(&status, ConditionType::Ready), expected);
    assert_eq!(condition_of(&status, ConditionType::Connected).0, "True");
    assert_eq!(status.access_users, Some(2));
    assert_eq!(status.session.as_deref(), Some("none"));
}

#[test]
fn without_facts_after_a_restart_nothing_changes() {
    let before = status_of(&polling(), None, |_| {});
    let later = Timestamp::from_second(9999).unwrap();
    let after = status_of(&ObservedFacts::default(), Some(&before), |i| i.now = later);
    assert!(is_same_status(&before, &after), "{before:?}\n{after:?}");
}

#[test]
fn ready_names_the_new_ids_of_named_groups() {
    let moved = |generation, to| MovedGroup {
        generation,
        from: -5,
        to,
    };
    let facts = ObservedFacts {
        moved_groups: vec![moved(2, -1002), moved(3, -1003)],
        ..polling()
    };
    let status = status_of(&facts, None, |_| {});
    let ready = find_condition(&status, ConditionType::Ready).unwrap();
    assert_eq!(ready.status, "True");
    assert!(
        ready.message.ends_with(": -5 is -1003 now"),
        "{}",
        ready.message
    );
}

#[test]
fn transition_time_moves_only_when_status_flips() {
    let before = status_of(&polling(), None, |_| {});
    let throttled = ObservedFacts {
        connection: Some(ConnectionFact::RateLimited { retry_after: 1 }),
        ..polling()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    let flipped = status_of(&throttled, Some(&before), |i| i.now = at(2000));
    let conflict = ObservedFacts {
        connection: Some(ConnectionFact::PollingConflict),
        ..polling()
    };
    let other_reason = status_of(&conflict, Some(&flipped), |i| i.now = at(3000));
    let time = |s: &TelegramConnectorStatus| {
        find_condition(s, ConditionType::Connected)
            .unwrap()
            .last_transition_time
            .0
            .as_second()
    };
    assert_eq!(
        (time(&before), time(&flipped), time(&other_reason)),
        (1000, 2000, 2000)
    );
    assert_eq!(
        condition_of(&other_reason, ConditionType::Ready).1,
        Reason::PollingConflict
    );
}

#[test]
fn changed_token_voids_the_old_connection() {
    let before = status_of(&polling(), None, |_| {});
    let after = status_of(&ObservedFacts::default(), Some(&before), |i| {
        i.connection_changed = true;
    });
    assert_eq!(
        condition_of(&after, ConditionType::Connected),
        ("False".to_owned(), Reason::Connecting.to_string())
    );
    assert_eq!(condition_of(&after, ConditionType::Reconciling).0, "True");
}

#[test]
fn other_connector_is_named_only_within_its_namespace() {
    let message = |other| {
        let token = TokenState::Given {
            bot: BOT,
            secret: "s".into(),
            duplicate_of: Some(other),
        };
        let facts = polling();
        let (access, assistant) = (
            AccessState::default(),
            AssistantState::Built { changed: false },
        );
        let status = StatusInputs {
            generation: 1,
            suspended: false,
            mode: ConnectionMode::Polling,
            webhook_url: None,
            token: &token,
            access: &access,
            assistant: &assistant,
            session: SessionDuration::Infinite,
            needs_all_group_messages: None,
            day_limits: None,
            unknown_time_zone: None,
            facts: &facts,
            connection_changed: false,
            previous: None,
            now: Timestamp::UNIX_EPOCH,
        }
        .status();
        assert_eq!(
            condition_of(&status, ConditionType::Stalled).1,
            Reason::DuplicateBot
        );
        find_condition(&status, ConditionType::TokenValid)
            .unwrap()
            .message
            .clone()
    };
    assert!(message(OtherConnector::Named("older".into())).contains("\"older\""));
    let elsewhere = message(OtherConnector::Elsewhere);
    assert!(elsewhere.contains("another namespace"), "{elsewhere}");
}

#[test]
fn messages_are_bounded_however_much_there_is_to_list() {
    let (facts, plenty) = (polling(), "x".repeat(100_000));
    let bounded = |token: &TokenState, access: &AccessState, assistant: &AssistantState, facts| {
        let status = inputs(token, access, assistant, facts).status();
        let longest = status.conditions.iter().map(|c| c.message.len()).max();
        assert!(longest <= Some(MAX_MESSAGE_BYTES), "{longest:?}");
        let ready = find_condition(&status, ConditionType::Ready).unwrap();
        ready.message.clone()
    };
    let (token, access) = (given(), AccessState::default());
    let assistant = AssistantState::Built { changed: false };

    let keys = TokenState::Unavailable(SecretProblem::KeyMissing {
        secret: "s".into(),
        key: "token".into(),
        present: (0..200).map(|n| format!("k{n}")).collect(),
    });
    assert_eq!(
        bounded(&keys, &access, &assistant, &facts),
        "Secret \"s\" has no key \"token\"; keys present: k0, k1, k2, k3, k4, and 195 more"
    );
    let lists = AccessState {
        users: Some(0),
        by_username: 0,
        ended: 0,
        next_end: None,
        problems: (0..20)
            .map(|n| AccessProblem::ListNotFound(format!("list-{n}").as_str().into()))
            .collect(),
        ..AccessState::default()
    };
    let message = bounded(&token, &lists, &assistant, &facts);
    assert!(message.contains("list-4") && !message.contains("list-5"));
    assert!(message.contains("; and 15 more; users that are resolved keep access"));
    let unreadable = AccessState {
        problems: vec![AccessProblem::ListInvalid("staff".into(), plenty.clone())],
        ..AccessState::default()
    };
    let message = bounded(&token, &unreadable, &assistant, &facts);
    assert!(message.ends_with("users that are resolved keep access, all others are denied"));
    let unusable = AssistantState::Unusable(plenty.clone());
    bounded(&token, &access, &unusable, &facts);
    let talkative = ObservedFacts {
        connection: Some(ConnectionFact::WebhookRejected { detail: plenty }),
        ..polling()
    };
    bounded(&token, &access, &assistant, &talkative);
}

#[test]
fn missing_header_secret_names_object_field_and_fix() {
    let facts = polling();
    let state = AssistantState::HeaderUnavailable {
        name: "X-Key".into(),
        position: 2,
        problem: SecretProblem::KeyMissing {
            secret: "gateway".into(),
            key: "key".into(),
            present: vec!["token".into()],
        },
    };
    let status = {
        let (token, access) = (given(), AccessState::default());
        let inputs = StatusInputs {
            generation: 3,
            suspended: false,
            mode: ConnectionMode::Polling,
            webhook_url: None,
            token: &token,
            access: &access,
            assistant: &state,
            session: SessionDuration::Hours(24),
            needs_all_group_messages: None,
            day_limits: None,
            unknown_time_zone: None,
            facts: &facts,
            connection_changed: false,
            previous: None,
            now: Timestamp::from_second(1000).unwrap(),
        };
        inputs.status()
    };
    for type_ in [ConditionType::AssistantReady, ConditionType::Ready] {
        let condition = find_condition(&status, type_).expect("it is there");
        assert_eq!(
            (&*condition.status, &*condition.reason, &*condition.message),
            (
                "False",
                "ApiKeyNotFound",
                "spec.assistant.headers[2].valueFrom.secretKeyRef (header X-Key): Secret \"gateway\" has no key \"key\"; keys present: token; permitted messages wait"
            )
        );
    }
}

#[rstest]
#[case::privacy_mode(Some(false), Some("groups.respondTo is All"), true)]
#[case::privacy_mode_and_read_along(Some(false), Some("groups.readAlong is set"), true)]
#[case::privacy_mode_that_does_not_matter(Some(false), None, false)]
#[case::no_privacy_mode(Some(true), Some("groups.respondTo is All"), false)]
#[case::not_said(None, Some("groups.respondTo is All"), false)]
fn connected_says_what_privacy_mode_keeps_from_the_bot(
    #[case] reads_all_group_messages: Option<bool>,
    #[case] needs_all_group_messages: Option<&'static str>,
    #[case] is_told: bool,
) {
    let facts = ObservedFacts {
        identity: Some(IdentityFact::Accepted(BotProfile {
            id: BOT,
            username: "acme_bot".into(),
            name: "Acme".into(),
            reads_all_group_messages,
        })),
        ..polling()
    };
    let status = status_of(&facts, None, |i| {
        i.needs_all_group_messages = needs_all_group_messages;
    });
    let connected = find_condition(&status, ConditionType::Connected).unwrap();
    let named = needs_all_group_messages.unwrap_or("/setprivacy");
    let names_setting =
        connected.message.contains("/setprivacy") && connected.message.contains(named);
    assert_eq!(
        (connected.status.as_str(), names_setting),
        ("True", is_told)
    );
    assert_eq!(condition_of(&status, ConditionType::Ready).0, "True");
    let told_by_event = |before| {
        let events = transition_events(before, &status);
        events.iter().any(|e| e.note.contains("/setprivacy"))
    };
    assert_eq!(
        (told_by_event(None), told_by_event(Some(&status))),
        (is_told, false)
    );
    // A process that has not asked Telegram yet says what was said.
    let after = status_of(&ObservedFacts::default(), Some(&status), |i| {
        i.needs_all_group_messages = needs_all_group_messages;
    });
    assert!(is_same_status(&status, &after), "{status:?}\n{after:?}");
}
