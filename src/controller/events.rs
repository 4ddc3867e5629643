//! Events: on transitions only, and never in the way. An event that cannot be written is logged and forgotten.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};

use crate::api::conditions::{ConditionType, Reason};
use crate::api::connector::{ConnectionMode, TelegramConnectorStatus};
use crate::api::{FIELD_MANAGER, GROUP, VERSION};
use crate::bounded_text::bounded_text;
use crate::controller::status::{find_condition, names_privacy_mode};
use crate::identity::ConnectorRef;
use crate::observation::Notice;

/// Whether people should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventType {
    /// Good to know.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What happened, in `CamelCase`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EventReason {
    /// A condition changed: its reason.
    Condition(String),
    /// The bot had a webhook that is not the operator's.
    ForeignWebhook,
    /// A message or a reply became a dead letter.
    MessageGivenUp,
    /// A named group has another id.
    GroupMoved,
    /// An approval has ended.
    ApprovalEnded,
    /// People were denied.
    UserDenied,
    /// People have asked for access.
    AccessRequested,
    /// Voice messages could not be written down.
    TranscriptionFailed,
    /// The words of documents could not be extracted.
    ExtractionFailed,
    /// Answers could not be read out.
    SpeechFailed,
    /// Telegram keeps messages from the bot that it should answer.
    PrivacyModeOn,
}

impl EventReason {
    fn as_str(&self) -> &str {
        match self {
            Self::Condition(reason) => reason,
            Self::ForeignWebhook => "ForeignWebhook",
            Self::MessageGivenUp => "MessageGivenUp",
            Self::GroupMoved => "GroupMoved",
            Self::ApprovalEnded => "ApprovalEnded",
            Self::UserDenied => "UserDenied",
            Self::AccessRequested => "AccessRequested",
            Self::TranscriptionFailed => "TranscriptionFailed",
            Self::ExtractionFailed => "ExtractionFailed",
            Self::SpeechFailed => "SpeechFailed",
            Self::PrivacyModeOn => "PrivacyModeOn",
        }
    }
}

/// An event before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Whether people should look.
    pub(super) type_: EventType,
    /// What happened.
    pub(super) reason: EventReason,
    /// What the operator was doing.
    pub(super) action: &'static str,
    /// For people.
    pub(super) note: String,
}

/// Which events a new status is worth. The way to the first Ready is in the status itself and needs none.
pub(super) fn transition_events(
    before: Option<&TelegramConnectorStatus>,
    now: &TelegramConnectorStatus,
) -> Vec<Event> {
    let mut events = Vec::new();
    for (type_, action) in [
        (ConditionType::Ready, "Connect"),
        (ConditionType::AssistantReady, "Ask"),
        (ConditionType::WithinLimits, "Ask"),
    ] {
        let Some(new) = find_condition(now, type_) else {
            continue;
        };
        let old = before.and_then(|b| find_condition(b, type_));
        let unchanged = old.is_some_and(|o| o.status == new.status && o.reason == new.reason);
        let expected = new.reason == Reason::Connecting || new.reason == Reason::Suspended;
        // A key that is missing or may not be used is told by Ready already.
        let covered_by_ready = type_ == ConditionType::AssistantReady
            && (new.reason == Reason::ApiKeyNotFound || new.reason == Reason::SecretNotAllowed);
        if unchanged || expected || covered_by_ready {
            continue;
        }
        if new.status == "False" {
            events.push(Event {
                type_: EventType::Warning,
                reason: EventReason::Condition(new.reason.clone()),
                action,
                note: new.message.clone(),
            });
        } else if new.status == "True"
            && old.is_some_and(|o| {
                o.status == "False"
                    && o.reason != Reason::Connecting
                    && o.reason != Reason::Suspended
            })
        {
            events.push(Event {
                type_: EventType::Normal,
                reason: EventReason::Condition(new.reason.clone()),
                action,
                note: new.message.clone(),
            });
        }
    }
    events.extend(privacy_event(before, now));
    events
}

/// Told when the condition begins to say so.
fn privacy_event(
    before: Option<&TelegramConnectorStatus>,
    now: &TelegramConnectorStatus,
) -> Option<Event> {
    let connected = |status| find_condition(status, ConditionType::Connected);
    let new = connected(now).filter(|c| names_privacy_mode(&c.message))?;
    let known = before.and_then(connected);
    let is_known = known.is_some_and(|c| names_privacy_mode(&c.message));
    (!is_known).then(|| Event {
        type_: EventType::Warning,
        reason: EventReason::PrivacyModeOn,
        action: "Connect",
        note: new.message.clone(),
    })
}

/// The event that tells a notice. No user's id is in it: events are kept and shipped by others, and of a denied message nothing is kept
/// unless `saveDeniedConversations` says so.
pub(super) fn notice_event(
    notice: &Notice,
    mode: ConnectionMode,
    connector: &ConnectorRef,
) -> Event {
    use {EventReason as R, EventType as T};
    let (type_, reason, action) = match notice {
        Notice::ForeignWebhook { .. } => (T::Warning, R::ForeignWebhook, "Connect"),
        Notice::DeadLetter { .. } => (T::Warning, R::MessageGivenUp, "Answer"),
        Notice::GroupMoved { .. } => (T::Warning, R::GroupMoved, "Answer"),
        Notice::ApprovalEnded { .. } => (T::Normal, R::ApprovalEnded, "Approve"),
        Notice::Denied { .. } => (T::Normal, R::UserDenied, "Answer"),
        Notice::AccessRequested { .. } => (T::Normal, R::AccessRequested, "Ask"),
        Notice::SpeechFailed { .. } => (T::Warning, R::SpeechFailed, "Speak"),
        Notice::TranscriptionFailed { .. } => (T::Warning, R::TranscriptionFailed, "Transcribe"),
        Notice::ExtractionFailed { .. } => (T::Warning, R::ExtractionFailed, "Extract"),
    };
    Event {
        type_,
        reason,
        action,
        note: notice_text(notice, mode, connector),
    }
}

/// What a notice tells people.
fn notice_text(notice: &Notice, mode: ConnectionMode, connector: &ConnectorRef) -> String {
    let (namespace, name) = (&connector.namespace, &connector.name);
    match notice {
        Notice::ForeignWebhook { host } => match mode {
            ConnectionMode::Polling => format!(
                "the bot has a webhook at {host}, which keeps it from being polled; it is removed now, nothing queued is lost"
            ),
            ConnectionMode::Webhook => format!(
                "the bot has a webhook at {host}; it is replaced now, nothing queued is lost"
            ),
        },
        Notice::DeadLetter { reason } => {
            format!("a message was given up and kept as a dead letter: {reason}")
        }
        Notice::GroupMoved { from, to } => format!(
            "the group {from} of spec.groups.chats has become a supergroup with the id {to}. The bot goes on there, as long as the store remembers: \
             put {to} in the place of {from} in spec.groups.chats"
        ),
        Notice::ApprovalEnded { result } => match *result {
            "approved" => "what the assistant asked for was approved",
            "expired" => {
                "nobody decided in time about what the assistant asked for: it was refused"
            }
            "superseded" => {
                "what the assistant asked for was withdrawn: the conversation went on without it"
            }
            _ => "what the assistant asked for was refused",
        }
        .to_owned(),
        Notice::Denied { messages } => format!(
            "{messages} message(s) of people whom spec.access does not name were denied since this was last told (at most once an hour). \
             With spec.access.saveDeniedConversations, who they are: telegram-connector-operator denied -n {namespace} {name}. \
             To let one in: telegram-connector-operator allow -n {namespace} {name} USER_ID, \
             for a time with --until DATE, or grant in place of allow where grants count"
        ),
        Notice::AccessRequested { requests } => format!(
            "{requests} request(s) for access were made since this was last told (at most once an hour). \
             They wait in the group of spec.access.requests.notify for spec.access.requests.approvers, for seven days"
        ),
        Notice::SpeechFailed { messages, detail } => format!(
            "{messages} answer(s) went out as text alone since this was last told (at most once an hour), since they could not be read out; the last because: {detail}"
        ),
        Notice::TranscriptionFailed { messages, detail } => format!(
            "{messages} voice message(s) could not be written down since this was last told (at most once an hour); the last because: {detail}"
        ),
        Notice::ExtractionFailed { messages, detail } => format!(
            "the words of {messages} document(s) could not be extracted since this was last told (at most once an hour); the last because: {detail}"
        ),
    }
}

/// The longest note that the API server takes is 1 kB.
const MAX_NOTE_BYTES: usize = 1000;

/// The longest name of an object.
const MAX_NAME_BYTES: usize = 253;

/// A name that no other event has: the connector's, as much of it as there is room for, and the time.
fn event_name(connector: &str, now: Timestamp) -> String {
    let suffix = format!(".{:x}", now.as_nanosecond());
    let room = MAX_NAME_BYTES.saturating_sub(suffix.len());
    let end = connector.floor_char_boundary(room);
    // What stands before the suffix's dot must end as a DNS label does.
    let start = connector[..end].trim_end_matches(['.', '-']);
    format!("{start}{suffix}")
}

/// Writes events about connectors.
#[derive(Clone)]
pub(super) struct EventRecorder {
    client: Client,
    /// This process.
    instance: String,
}

impl std::fmt::Debug for EventRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventRecorder")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl EventRecorder {
    /// `instance` is this process's identity, at most 128 characters.
    pub(super) fn new(client: Client, instance: &str) -> Self {
        Self {
            client,
            instance: instance.chars().take(128).collect(),
        }
    }

    /// Writes one, or logs why not.
    pub(super) async fn publish(&self, connector: &ConnectorRef, event: &Event) {
        // The real time, not the injected clock's: the API server expires events by it.
        let now = Timestamp::now();
        let note = bounded_text(event.note.clone(), MAX_NOTE_BYTES);
        let object = EventObject {
            metadata: ObjectMeta {
                name: Some(event_name(&connector.name, now)),
                namespace: Some(connector.namespace.to_string()),
                ..ObjectMeta::default()
            },
            action: Some(event.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(event.reason.as_str().to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: Some("TelegramConnector".to_owned()),
                name: Some(connector.name.to_string()),
                namespace: Some(connector.namespace.to_string()),
                uid: Some(connector.uid.to_string()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(format!("{GROUP}/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(
                match event.type_ {
                    EventType::Normal => "Normal",
                    EventType::Warning => "Warning",
                }
                .to_owned(),
            ),
            ..EventObject::default()
        };
        let api = Api::<EventObject>::namespaced(self.client.clone(), &connector.namespace);
        if let Err(error) = api.create(&PostParams::default(), &object).await {
            tracing::warn!(namespace = %connector.namespace, connector = %connector.name, reason = event.reason.as_str(), %error,
                "failed to write event");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_of_an_approval_says_what_came_of_it_and_no_more() {
        let connector = ConnectorRef {
            namespace: "acme".into(),
            name: "support".into(),
            uid: crate::identity::ConnectorUid::from("u"),
        };
        let results = ["approved", "refused", "expired", "superseded"];
        let notes = results.map(|result| {
            let notice = Notice::ApprovalEnded { result };
            let event = notice_event(&notice, ConnectionMode::Polling, &connector);
            assert_eq!(event.reason.as_str(), "ApprovalEnded");
            event.note
        });
        let words = ["was approved", "was refused", "in time", "withdrawn"];
        for (note, word) in notes.iter().zip(words) {
            assert!(note.contains(word), "{note}");
        }
    }

    #[test]
    fn requests_for_access_are_told_with_their_number_alone() {
        let connector = ConnectorRef {
            namespace: "acme".into(),
            name: "support".into(),
            uid: crate::identity::ConnectorUid::from("u"),
        };
        let notice = Notice::AccessRequested { requests: 3 };
        let event = notice_event(&notice, ConnectionMode::Polling, &connector);
        assert_eq!(event.reason.as_str(), "AccessRequested");
        assert!(event.note.starts_with("3 request(s)"), "{}", event.note);
    }

    #[test]
    fn event_name_is_valid_for_the_longest_connector_name() {
        let now = Timestamp::from_second(1_795_000_000).expect("a time");
        let suffix = format!(".{:x}", now.as_nanosecond());
        assert_eq!(event_name("support", now), format!("support{suffix}"));
        let longest = "a".repeat(253);
        assert_eq!(event_name(&longest, now).len(), 253);
        assert!(event_name(&longest, now).ends_with(&suffix));
        // The cut falls behind a dot and dashes, which no label may end with.
        let room = 253 - suffix.len();
        let dotted = format!("{}.--{}", "a".repeat(room - 3), "b".repeat(17));
        assert_eq!(
            event_name(&dotted, now),
            format!("{}{suffix}", "a".repeat(room - 3))
        );
    }
}
