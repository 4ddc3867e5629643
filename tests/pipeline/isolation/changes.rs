//! What becomes of the messages of a claim, as changes whose every text names the connector's uid.

use jiff::Timestamp;
use serde_json::{Value, json};
use telegram_connector_operator::identity::ConnectorRef;
use telegram_connector_operator::store::{
    AccessVerdict, AskReplies, Change, Claim, ClaimedLane, DayLimit, DecidedHow, DecisionDetails,
    DecisionKind, DecisionOption, DeniedMessage, FilePart, HeldForSignIn, LimitedQuestion,
    NewAccessRequest, NewUserDecision, Notice, NoticeKind, ObjectKey, PartContent,
    ReadAlongMessage, ReplyPart, ShownElsewhere, TakenDecision, TokenCounts, WaitingMessage,
};
use telegram_connector_operator::telegram::FileKind;

use crate::store::{part, sent_changes};

/// The chat in which decisions and requests are shown.
const GROUP: i64 = -100_777;
/// A day in which questions are counted.
const DAY: i64 = 20_000;

/// What becomes of the messages of a claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Treatment {
    Answered,
    AnsweredAndNotSent,
    AnsweredWithAFile,
    GivenUp,
    NotDelivered,
    Denied,
    ReadAlong,
    AsksForDecision,
    /// All open decisions of the lane.
    Decides,
    AsksForAccess,
    /// All requests of the connector.
    DecidesAccess,
    /// Its last message waits for the sign-in of whoever sent it.
    WaitsForSignIn,
    SignsOut,
}

impl Treatment {
    pub(super) const ALL: [Self; 13] = [
        Self::Answered,
        Self::AnsweredAndNotSent,
        Self::AnsweredWithAFile,
        Self::GivenUp,
        Self::NotDelivered,
        Self::Denied,
        Self::ReadAlong,
        Self::AsksForDecision,
        Self::Decides,
        Self::AsksForAccess,
        Self::DecidesAccess,
        Self::WaitsForSignIn,
        Self::SignsOut,
    ];
}

/// What can be decided, whatever has become of it.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) decisions: Vec<String>,
    pub(super) requests: Vec<ObjectKey>,
}

/// Whether it is a message of Telegram's, and not what follows from a decision.
pub(super) fn is_said(message: &WaitingMessage) -> bool {
    update_id(&message.json).is_some()
}

/// Of a message of Telegram's.
pub(super) fn update_id(json: &str) -> Option<i64> {
    let update: Value = serde_json::from_str(json).unwrap();
    let is_own = update.get("own").is_some();
    update["update_id"].as_i64().filter(|_| !is_own)
}

pub(super) fn text_of_file(bytes: bytes::Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A question under limits of a day that nobody reaches.
pub(super) fn limited(claim: Claim, message: i64, user: i64) -> LimitedQuestion {
    let limit = DayLimit {
        messages: Some(1_000),
        tokens: Some(1_000_000),
    };
    LimitedQuestion {
        connector: claim.connector,
        user: Some(user),
        day: DAY,
        message,
        user_limit: limit,
        connector_limit: limit,
    }
}

pub(super) fn of(
    lane: &ClaimedLane,
    connector: &ConnectorRef,
    treatment: Treatment,
    open: &Open,
) -> Vec<Change> {
    let uid = connector.uid.as_str();
    let mut changes = sent_changes(&lane.parts);
    let mut session = lane.session.as_ref().map(|s| (s.number, s.exchanges));
    let last_said = lane.messages.iter().rfind(|message| is_said(message));
    for message in &lane.messages {
        let (id, user) = (message.id, lane.key.chat);
        let reply = |parts: Vec<ReplyPart>, notice| Change::Reply {
            message: id,
            parts,
            notice,
        };
        let words = format!("reply of {uid}");
        match treatment {
            Treatment::Answered | Treatment::AnsweredAndNotSent | Treatment::AnsweredWithAFile => {
                changes.extend(exchange(lane, &mut session, id, uid));
                let tokens = limited(lane.claim, id, user).token_count(20);
                changes.extend(tokens.map(|tokens| Change::CountTokens(Box::new(tokens))));
                changes.extend(match treatment {
                    Treatment::AnsweredAndNotSent => Some(reply(vec![part(&words)], None)),
                    Treatment::AnsweredWithAFile => Some(reply(vec![file(uid)], None)),
                    _ => None,
                });
            }
            Treatment::GivenUp => {
                let reason = format!("given up by {uid}");
                changes.push(Change::DeadLetter {
                    message: id,
                    reason,
                });
                continue;
            }
            Treatment::NotDelivered => {
                changes.push(reply(vec![part(&words), file(uid)], None));
                changes.push(Change::EndReply {
                    reply: id,
                    dead_letter_reason: Some(format!("not delivered by {uid}")),
                });
            }
            Treatment::Denied => {
                let denied = denied(connector, lane, message.update_id);
                changes.push(Change::Denied(id, Box::new(denied)));
                let notice = Notice {
                    kind: NoticeKind::Denial,
                    since: Timestamp::UNIX_EPOCH,
                };
                changes.push(reply(vec![part(&words)], Some(notice)));
            }
            Treatment::ReadAlong => {
                let said = ReadAlongMessage {
                    message_id: id,
                    sent_at: Timestamp::now(),
                    user_id: 1,
                    username: None,
                    name: "Ann".into(),
                    text: format!("said beside {uid}"),
                };
                changes.push(Change::ReadAlong(Box::new(said), 50));
            }
            Treatment::AsksForDecision => {
                changes.push(reply(vec![part(&words)], None));
                changes.push(decision(lane, id, uid));
            }
            Treatment::Decides | Treatment::DecidesAccess => {
                let open = match treatment {
                    Treatment::Decides => Open {
                        decisions: open.decisions.clone(),
                        ..Open::default()
                    },
                    _ => Open {
                        requests: open.requests.clone(),
                        ..Open::default()
                    },
                };
                changes.extend(decisions(&open, uid, id));
            }
            Treatment::AsksForAccess => changes.extend(access_request(lane, id, uid)),
            Treatment::WaitsForSignIn if last_said.is_some_and(|last| last.id == id) => {
                changes.push(Change::HoldForSignIn(Box::new(HeldForSignIn {
                    message: id,
                    user,
                    name: format!("who wrote to {uid}"),
                    username: None,
                    language: None,
                })));
                continue;
            }
            Treatment::WaitsForSignIn => {}
            Treatment::SignsOut => changes.push(Change::SignOut { user }),
        }
        changes.push(Change::Finish { message: id });
    }
    changes
}

/// A question and its answer, in the session of the lane or a new one.
fn exchange(
    lane: &ClaimedLane,
    session: &mut Option<(i64, i64)>,
    message: i64,
    uid: &str,
) -> Vec<Change> {
    let at = Timestamp::now();
    let mut changes = Vec::new();
    let (number, exchanges) = session.unwrap_or_else(|| {
        let number = lane.sessions + 1;
        changes.push(Change::BeginSession {
            number,
            key: format!("session of {uid}"),
            began_at: at,
        });
        (number, 0)
    });
    *session = Some((number, exchanges + 1));
    changes.push(Change::Exchange {
        session: number,
        number: exchanges + 1,
        asked: Some(format!("asked by {uid}")),
        answered: Some(format!("answered to {uid}")),
        state: Some(format!("state of {uid}")),
        tokens: TokenCounts::default(),
        at,
        oldest_kept: None,
        message,
        speakers: Vec::new(),
    });
    changes
}

fn file(uid: &str) -> ReplyPart {
    ReplyPart {
        content: PartContent::File(FilePart {
            kind: FileKind::Document,
            name: "a.txt".into(),
            media_type: "text/plain".into(),
            replacement: format!("a file of {uid}"),
            caption: None,
            bytes: uid.len(),
            upload: Some(uid.to_owned().into_bytes().into()),
        }),
        reply_to: None,
        silent: false,
    }
}

fn denied(connector: &ConnectorRef, lane: &ClaimedLane, update_id: i64) -> DeniedMessage {
    DeniedMessage {
        time: Timestamp::now(),
        namespace: connector.namespace.to_string(),
        name: connector.name.to_string(),
        bot: lane.key.bot,
        update_id,
        chat: lane.key.chat,
        user_id: Some(1),
        username: None,
        user_name: None,
        language: None,
        text: Some(format!("said to {}", connector.uid)),
        content: "text".into(),
        level: "Specific".into(),
    }
}

/// What is open is decided by a message.
pub(super) fn decisions(open: &Open, uid: &str, message: i64) -> Vec<Change> {
    let take = |id: &String| Change::TakeDecision {
        id: id.clone(),
        taken: TakenDecision {
            how: DecidedHow::Tap,
            option: Some(0),
            by: None,
            tapped_message: None,
        },
    };
    let decide = |request: &ObjectKey| Change::DecideAccessRequest {
        id: request.0,
        verdict: AccessVerdict::Allow { until: None },
        by: uid.to_owned(),
        message,
        tapped_message: None,
    };
    let taken = open.decisions.iter().map(take);
    taken.chain(open.requests.iter().map(decide)).collect()
}

/// The update that follows from a decision.
fn follow_up(uid: &str) -> String {
    json!({"own": true, "update_id": 1, "message": {"text": format!("decided for {uid}")}})
        .to_string()
}

fn shown(uid: &str) -> ShownElsewhere {
    ShownElsewhere {
        chat: GROUP,
        topic: 0,
        parts: vec![part(&format!("is it so? {uid}"))],
    }
}

fn decision(lane: &ClaimedLane, message: i64, uid: &str) -> Change {
    let option = DecisionOption {
        text: "yes".into(),
        value: "yes".into(),
        user_text: "yes".into(),
    };
    Change::OpenDecision(Box::new(NewUserDecision {
        id: format!("{}-{message}", lane.claim.lane),
        kind: DecisionKind::Approval,
        session: 0,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        details: DecisionDetails {
            options: vec![option],
            plain: format!("is it so? {uid}"),
            ..DecisionDetails::default()
        },
        message,
        follow_up: follow_up(uid),
        shown_in: (lane.key.chat != GROUP).then(|| shown(uid)),
    }))
}

/// In a private chat.
fn access_request(lane: &ClaimedLane, message: i64, uid: &str) -> Option<Change> {
    let reply = || vec![part(&format!("asked {uid}"))];
    let new = NewAccessRequest {
        token: format!("request-{}-{message}", lane.claim.lane),
        user: lane.key.chat,
        name: format!("who asked {uid}"),
        username: None,
        level: "Company".into(),
        language: None,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        per_user_per_day: 50,
        message,
        follow_up: follow_up(uid),
        notice: shown(uid),
        replies: AskReplies {
            asked: reply(),
            waiting: reply(),
            too_many: reply(),
            muted: reply(),
        },
    };
    (lane.key.chat > 0).then(|| Change::AskForAccess(Box::new(new)))
}
