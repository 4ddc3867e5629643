//! Decisions of users: who may take one, and the message that follows from one that was taken. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use crate::assistant;
use crate::assistant::{Action, ApprovalOutcome};
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::message::incoming_update::{ChatKind, Content, IncomingUpdate, Sender};
use crate::registry::ResolvedConnector;
use crate::store::{DecidedHow, DecidingUser, DecisionKind, UserDecision};

/// What a tap on a button of a decision does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TapMeaning {
    /// Nothing: it is decided, or its time or its session is over.
    Closed,
    /// Nothing: others are asked.
    NotAsked,
    /// Nothing: who tapped has no access.
    Denied,
    /// The decision is taken.
    Takes,
}

/// Where and by whom a button was tapped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TapPlace<'a> {
    /// The lane of the chat.
    pub(crate) lane: i64,
    /// The session that goes on there.
    pub(crate) session: i64,
    /// The message with the button.
    pub(crate) message_id: Option<i64>,
    /// Who tapped.
    pub(crate) sender: Option<&'a Sender>,
    pub(crate) now: Timestamp,
}

/// What a tap on a decision's button `option` does. It is decided by the connector as it is now.
pub(crate) fn tap_meaning(
    connector: &ResolvedConnector,
    decision: &UserDecision,
    option: usize,
    place: TapPlace<'_>,
) -> TapMeaning {
    // Of a message that came twice the later one is known: Telegram had taken the other, and the process did not learn it.
    let is_elsewhere = decision.shown_lane != place.lane
        || decision
            .message_id
            .is_some_and(|id| place.message_id.is_none_or(|tapped| tapped > id));
    if is_elsewhere || option >= decision.details.options.len() {
        return TapMeaning::Closed;
    }
    match may_decide(connector, decision, place.sender, place.now) {
        TapMeaning::Takes => {}
        other => return other,
    }
    // A new session has begun where it was asked; what was shown elsewhere is decided all the same.
    let is_over = decision.lane == place.lane && decision.session != place.session;
    if decision.taken.is_some() || decision.expires_at <= place.now || is_over {
        return TapMeaning::Closed;
    }
    TapMeaning::Takes
}

/// Whether a user may take a decision. It fails closed.
pub(crate) fn may_decide(
    connector: &ResolvedConnector,
    decision: &UserDecision,
    sender: Option<&Sender>,
    now: Timestamp,
) -> TapMeaning {
    let approvers = match decision.kind {
        DecisionKind::Approval => connector
            .approvals
            .as_ref()
            .and_then(|a| a.approvers.as_ref()),
        DecisionKind::Choice => None,
    };
    if let Some(approvers) = approvers {
        return match access::decide(approvers, sender, now) {
            AccessDecision::Allowed => TapMeaning::Takes,
            AccessDecision::Denied => TapMeaning::NotAsked,
        };
    }
    if access::decide(&connector.access, sender, now) == AccessDecision::Denied {
        return TapMeaning::Denied;
    }
    let asked = decision.details.asked;
    if asked.is_some_and(|asked| sender.is_none_or(|s| s.id != asked)) {
        return TapMeaning::NotAsked;
    }
    TapMeaning::Takes
}

/// The update that stands in the inbox once the decision is taken that the reply to `asking` asks for. Its words come with the decision.
pub(crate) fn follow_up(id: &str, asking: &IncomingUpdate) -> String {
    own_update("decision", id, asking)
}

/// An update of our own in the lane of the message `asking`, by its sender: `field` says that it is ours, and `id` what it follows from.
pub(crate) fn own_update(field: &str, id: &str, asking: &IncomingUpdate) -> String {
    let kind = match asking.chat.kind {
        ChatKind::Private => "private",
        ChatKind::Group => "group",
        ChatKind::Supergroup => "supergroup",
        ChatKind::Channel => "channel",
        ChatKind::Unknown => "unknown",
    };
    let mut message = json!({
        "date": asking.date.as_second(),
        "chat": {"id": asking.chat.id, "type": kind, "title": asking.chat.title},
        "text": "",
    });
    if let Some(sender) = &asking.sender {
        message["from"] = json!({
            "id": sender.id, "is_bot": sender.is_bot, "first_name": sender.name,
            "username": sender.username, "language_code": sender.language_code,
        });
    }
    if let Some(thread) = asking.thread_id {
        message["message_thread_id"] = thread.into();
        message["is_topic_message"] = true.into();
    }
    json!({field: id, "update_id": asking.update_id, "message": message}).to_string()
}

/// Puts the words and the speaker of a decision that was taken into the message that follows from it. A choice is said by whoever tapped, an
/// approval in the name of whoever asked.
pub(crate) fn put_words(incoming: &mut IncomingUpdate, decision: &UserDecision, now: Timestamp) {
    let taken = decision.taken.as_ref();
    let option = decision.chosen().or(decision.details.options.last());
    incoming.text = Some(option.map(|o| o.user_text.clone()).unwrap_or_default());
    incoming.content = Content::Text;
    incoming.date = now;
    if decision.kind == DecisionKind::Choice
        && let Some(by) = taken.and_then(|taken| taken.by.as_ref())
    {
        incoming.sender = Some(sender(by));
    }
}

/// What the assistant is told of a decision.
pub(crate) fn action(decision: &UserDecision) -> Action {
    let taken = decision.taken.as_ref();
    let option = taken.and_then(|taken| taken.option);
    let by = taken.and_then(|taken| taken.by.as_ref());
    let is_expired = taken.is_some_and(|taken| taken.how == DecidedHow::Expired);
    // What nobody chose is refused.
    let chosen = decision.chosen().or(decision.details.options.last());
    let approval = (decision.kind == DecisionKind::Approval).then(|| ApprovalOutcome {
        is_approved: option == Some(0) && !is_expired,
        is_expired,
        decided_by: by.map(|by| assistant::Sender {
            id: by.id,
            name: by.name.clone(),
            username: by.username.clone(),
            language_code: by.language.clone(),
        }),
        token: decision.details.token.clone(),
    });
    Action {
        value: chosen.map(|o| o.value.clone()).unwrap_or_default(),
        of: decision
            .details
            .of
            .clone()
            .unwrap_or_else(|| decision.id.clone()),
        approval,
    }
}

/// Who takes a decision, as it is recorded.
pub(crate) fn deciding_user(sender: &Sender) -> DecidingUser {
    DecidingUser {
        id: sender.id,
        name: sender.name.clone(),
        username: sender.username.clone(),
        language: sender.language_code.clone(),
    }
}

fn sender(by: &DecidingUser) -> Sender {
    Sender {
        id: by.id,
        is_bot: false,
        username: by.username.clone(),
        name: by.name.clone(),
        language_code: by.language.clone(),
        is_granted: false,
    }
}

/// A decision as classified messages share it.
pub(crate) type SharedDecision = Arc<UserDecision>;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::pipeline::decide::test_values::{ANN, BEN, MALLORY, connector, private};
    use crate::store::{DecisionDetails, DecisionOption, TakenDecision};

    fn decision(edit: impl FnOnce(&mut UserDecision)) -> UserDecision {
        let option = |text: &str| DecisionOption {
            text: text.into(),
            value: text.to_lowercase(),
            user_text: text.into(),
        };
        let mut decision = UserDecision {
            id: "1".into(),
            kind: DecisionKind::Choice,
            lane: 1,
            session: 4,
            shown_lane: 1,
            shown_chat: Some(ANN),
            message_id: Some(9),
            expires_at: Timestamp::MAX,
            details: DecisionDetails {
                options: vec![option("Yes"), option("No")],
                asked: Some(ANN),
                ..DecisionDetails::default()
            },
            taken: None,
        };
        edit(&mut decision);
        decision
    }

    fn person(id: i64) -> Sender {
        Sender {
            id,
            is_bot: false,
            username: None,
            name: "N".into(),
            language_code: None,
            is_granted: false,
        }
    }

    fn meaning(
        decision: &UserDecision,
        by: i64,
        edit: impl FnOnce(&mut TapPlace<'_>),
    ) -> TapMeaning {
        let by = person(by);
        let mut place = TapPlace {
            lane: 1,
            session: 4,
            message_id: Some(9),
            sender: Some(&by),
            now: Timestamp::UNIX_EPOCH,
        };
        edit(&mut place);
        tap_meaning(&connector(|_| {}), decision, 1, place)
    }

    #[rstest]
    #[case::asked(ANN, TapMeaning::Takes)]
    #[case::somebody_else(BEN, TapMeaning::NotAsked)]
    #[case::denied(MALLORY, TapMeaning::Denied)]
    fn only_the_asked_person_decides(#[case] by: i64, #[case] expected: TapMeaning) {
        assert_eq!(meaning(&decision(|_| {}), by, |_| {}), expected);
    }

    #[test]
    fn anybody_who_may_write_decides_what_anybody_is_asked() {
        let open = decision(|d| d.details.asked = None);
        assert_eq!(meaning(&open, BEN, |_| {}), TapMeaning::Takes);
        assert_eq!(meaning(&open, MALLORY, |_| {}), TapMeaning::Denied);
    }

    #[rstest]
    #[case::another_lane(|p: &mut TapPlace<'_>| p.lane = 2)]
    #[case::another_session(|p: &mut TapPlace<'_>| p.session = 5)]
    #[case::later_message(|p: &mut TapPlace<'_>| p.message_id = Some(10))]
    #[case::too_late(|p: &mut TapPlace<'_>| p.now = Timestamp::MAX)]
    fn tap_elsewhere_or_too_late_is_closed(#[case] edit: fn(&mut TapPlace<'_>)) {
        assert_eq!(meaning(&decision(|_| {}), ANN, edit), TapMeaning::Closed);
    }

    #[test]
    fn taken_decision_is_closed() {
        let taken = decision(|d| {
            d.taken = Some(TakenDecision {
                how: DecidedHow::Tap,
                option: Some(0),
                by: None,
                tapped_message: None,
            });
        });
        assert_eq!(meaning(&taken, ANN, |_| {}), TapMeaning::Closed);
    }

    #[test]
    fn follow_up_is_read_as_a_message_of_the_same_chat() {
        let json = private(ANN, r#""text":"/new why?""#);
        let asking = IncomingUpdate::parse(&json).expect("readable");
        let read = IncomingUpdate::parse(&follow_up("7", &asking)).expect("readable");
        assert_eq!(read.decision.as_deref(), Some("7"));
        assert_eq!((read.chat, read.sender), (asking.chat, asking.sender));
    }

    #[rstest]
    #[case::approved(DecidedHow::Tap, Some(0), true)]
    #[case::refused(DecidedHow::Typed, Some(1), false)]
    #[case::expired(DecidedHow::Expired, None, false)]
    #[case::tampered(DecidedHow::Expired, Some(0), false)]
    fn only_an_approval_that_was_given_approves(
        #[case] how: DecidedHow,
        #[case] option: Option<usize>,
        #[case] approved: bool,
    ) {
        let taken = decision(|d| {
            d.kind = DecisionKind::Approval;
            d.taken = Some(TakenDecision {
                how,
                option,
                by: None,
                tapped_message: None,
            });
        });
        let outcome = action(&taken).approval.expect("an approval");
        assert_eq!(outcome.is_approved, approved);
    }
}
