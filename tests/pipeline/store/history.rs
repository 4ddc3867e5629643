//! Random histories of a store: people of two namespaces who write in private and in groups, and all that may become of it.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    AccessVerdict, AskReplies, Change, ClaimRequest, ClaimedLane, DayLimit, DecisionDetails,
    DecisionKind, DecisionOption, DeniedMessage, GrantSource, LaneWrite, LimitedQuestion,
    NewAccessRequest, NewGrant, NewOutgoing, NewUserDecision, Notice, NoticeKind, ObjectKey,
    ObjectKind, ObjectQuery, ReadAlongMessage, Release, ShownElsewhere, Store, TokenCounts,
};
use telegram_connector_operator::telegram::RawUpdate;

use super::{part, sent_changes};

/// Whoever is erased: no other number in a store is like this one, nor a part of it.
pub(crate) const ANN: i64 = 1_250_999_896_491;
pub(crate) const BOB: i64 = 1_333_777_555_111;
const EVE: i64 = 1_444_222_666_333;
pub(crate) const PEOPLE: [i64; 3] = [ANN, BOB, EVE];
/// A group, and one in which decisions are shown.
pub(crate) const GROUPS: [i64; 2] = [-1_001_000_000_007, -1_001_000_000_008];
pub(crate) const NAMESPACES: [&str; 2] = ["acme", "globex"];

/// Something that happens to the connector of one of the namespaces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// Somebody writes: in private, or in a group and perhaps as an answer to somebody.
    Says {
        user: usize,
        group: Option<usize>,
        answers: Option<usize>,
    },
    /// Somebody sends through the bot, to a person or to a group about one.
    Sends { user: usize, group: Option<usize> },
    /// An administrator lets somebody in, in somebody's name.
    Grants { user: usize, by: usize },
    /// What waits is worked through; or it is claimed, and written down later.
    Works { treatment: Treatment, held: bool },
}

/// What becomes of the messages of a claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Treatment {
    Answered,
    AnsweredAndNotSent,
    GivenUp,
    NotDelivered,
    Denied,
    ReadAlong,
    AsksForDecision,
    /// In a private chat.
    AsksForAccess,
    /// Whoever writes decides all that asked for access.
    DecidesAccess,
}

pub(crate) fn event() -> impl Strategy<Value = (usize, Event)> {
    let treatment = prop_oneof![
        3 => Just(Treatment::Answered),
        1 => Just(Treatment::AnsweredAndNotSent),
        1 => Just(Treatment::GivenUp),
        1 => Just(Treatment::NotDelivered),
        1 => Just(Treatment::Denied),
        1 => Just(Treatment::ReadAlong),
        1 => Just(Treatment::AsksForDecision),
        2 => Just(Treatment::AsksForAccess),
        2 => Just(Treatment::DecidesAccess),
    ];
    let group = prop::option::of(0..2_usize);
    let says = (0..3_usize, group, prop::option::of(0..3_usize));
    let event = prop_oneof![
        says.prop_map(|(user, group, answers)| Event::Says {
            user,
            group,
            answers
        }),
        (0..3_usize, prop::option::of(0..2_usize))
            .prop_map(|(user, group)| Event::Sends { user, group }),
        (0..3_usize, 0..3_usize).prop_map(|(user, by)| Event::Grants { user, by }),
        (treatment, prop::bool::weighted(0.2))
            .prop_map(|(treatment, held)| Event::Works { treatment, held }),
    ];
    (0..2_usize, event)
}

/// A store with a connector in each namespace.
pub(crate) struct History {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) connectors: [ConnectorRef; 2],
    bot: i64,
    update_id: i64,
    /// Claimed, and not written down yet.
    held: Vec<LaneWrite>,
}

impl History {
    /// `number` tells it from other histories in the same store.
    pub(crate) async fn new(store: Arc<dyn Store>, number: i64) -> Self {
        let connectors = NAMESPACES.map(|namespace| ConnectorRef {
            namespace: namespace.into(),
            name: format!("support-{number}").as_str().into(),
            uid: ConnectorUid::from(format!("uid-{namespace}-{number}").as_str()),
        });
        for connector in &connectors {
            store.register(connector).await.unwrap();
        }
        Self {
            store,
            connectors,
            bot: 8_400_000_000 + 2 * number,
            update_id: 0,
            held: Vec::new(),
        }
    }

    pub(crate) async fn apply(&mut self, side: usize, event: Event) {
        match event {
            Event::Says {
                user,
                group,
                answers,
            } => {
                let answers = answers.map(|n| PEOPLE[n]);
                self.say(side, PEOPLE[user], group.map(|n| GROUPS[n]), answers)
                    .await;
            }
            Event::Sends { user, group } => {
                self.send(side, PEOPLE[user], group.map(|n| GROUPS[n]))
                    .await;
            }
            Event::Grants { user, by } => self.grant(side, PEOPLE[user], PEOPLE[by]).await,
            Event::Works { treatment, held } => self.work(side, treatment, held).await,
        }
    }

    fn bot(&self, side: usize) -> BotId {
        BotId(self.bot + i64::try_from(side).unwrap())
    }

    pub(crate) async fn say(
        &mut self,
        side: usize,
        user: i64,
        group: Option<i64>,
        answers: Option<i64>,
    ) {
        self.update_id += 1;
        let id = self.update_id;
        let mut message = json!({
            "message_id": id, "date": 100 + id, "text": format!("words of {user}"),
            "from": {"id": user, "is_bot": false, "first_name": format!("name of {user}")},
            "chat": {"id": user, "type": "private"},
        });
        if let Some(group) = group {
            message["chat"] = json!({"id": group, "type": "supergroup"});
        }
        if let Some(answers) = answers.filter(|_| group.is_some()) {
            message["reply_to_message"] = json!({
                "message_id": 1, "text": format!("words of {answers}"),
                "from": {"id": answers, "is_bot": false, "first_name": format!("name of {answers}")},
            });
        }
        let update = json!({"update_id": id, "message": message}).to_string();
        let update = RawUpdate::from_body(update.as_bytes()).unwrap();
        let uid = self.connectors[side].uid.clone();
        self.store
            .accept(&uid, self.bot(side), vec![update])
            .await
            .unwrap();
    }

    /// Where the bot has met nobody, nothing is sent.
    pub(crate) async fn send(&mut self, side: usize, user: i64, group: Option<i64>) {
        self.update_id += 1;
        let name = format!("{}-{}", self.connectors[side].name, self.update_id);
        let text = format!("words about tg://user?id={user}");
        let new = NewOutgoing {
            connector: self.connectors[side].clone(),
            bot: self.bot(side),
            chat: group.unwrap_or(user),
            topic: 0,
            user: group.is_none().then_some(user),
            name: name.clone(),
            idempotency_key: Some(name),
            parts: vec![part(&text)],
            text,
            silent: false,
            per_minute: 1000,
            dry_run: false,
        };
        self.store.create_outgoing(new).await.unwrap();
    }

    pub(crate) async fn grant(&mut self, side: usize, user: i64, by: i64) {
        let new = NewGrant {
            connector: self.connectors[side].clone(),
            user,
            name: format!("name of {user}"),
            username: Some(format!("u{user}")),
            source: GrantSource::Admin,
            by: format!("@name ({by})"),
            until: None,
        };
        self.store.grant(new).await.unwrap();
    }

    /// The requests of a connector, whatever became of them.
    async fn requests(&self, side: usize) -> Vec<ObjectKey> {
        let connector = &self.connectors[side];
        let query = ObjectQuery {
            namespace: Some(connector.namespace.to_string()),
            connector: Some(connector.name.to_string()),
            ..ObjectQuery::all(ObjectKind::AccessRequest)
        };
        let page = self.store.list_objects(&query, None, 100).await.unwrap();
        page.objects.iter().map(|object| object.key).collect()
    }

    pub(crate) async fn work(&mut self, side: usize, treatment: Treatment, held: bool) {
        let request = ClaimRequest {
            connector: self.connectors[side].clone(),
            bot: self.bot(side),
            lanes: 10,
            history: 5,
        };
        let asked = self.requests(side).await;
        for lane in self.store.claim(vec![request]).await.unwrap().lanes {
            let write = LaneWrite {
                claim: lane.claim,
                changes: changes(&lane, &self.connectors[side], treatment, &asked),
                release: Some(Release::Now),
            };
            if held {
                self.held.push(write);
            } else {
                self.store.write(write.into()).await.unwrap();
            }
        }
    }

    /// Writes down what was claimed long ago.
    pub(crate) async fn write_held(&mut self) {
        for write in std::mem::take(&mut self.held) {
            self.store.write(write.into()).await.unwrap();
        }
    }
}

fn changes(
    lane: &ClaimedLane,
    connector: &ConnectorRef,
    treatment: Treatment,
    asked: &[ObjectKey],
) -> Vec<Change> {
    let mut changes = sent_changes(&lane.parts);
    let mut session = lane.session.as_ref().map(|s| (s.number, s.exchanges));
    for message in &lane.messages {
        let update: Value = serde_json::from_str(&message.json).unwrap();
        let number = |pointer: &str| update.pointer(pointer).and_then(Value::as_i64);
        // What follows from a decision has its own words.
        let user = number("/message/from/id").unwrap();
        let answered = number("/message/reply_to_message/from/id");
        let id = message.id;
        let reply = |changes: &mut Vec<Change>, notice| {
            changes.push(Change::Reply {
                message: id,
                parts: vec![part(&format!("to {user}"))],
                notice,
            });
        };
        match treatment {
            Treatment::Answered | Treatment::AnsweredAndNotSent => {
                let (number, exchanges) = session.unwrap_or_else(|| {
                    let number = lane.sessions + 1;
                    changes.push(Change::BeginSession {
                        number,
                        key: format!("session {} of {}", number, lane.key.chat),
                        began_at: Timestamp::UNIX_EPOCH,
                    });
                    (number, 0)
                });
                session = Some((number, exchanges + 1));
                let asked = format!("words of {user}, after {answered:?}");
                changes.push(Change::Exchange {
                    session: number,
                    number: exchanges + 1,
                    asked: Some(asked),
                    answered: Some(format!("to {user}")),
                    state: Some(format!("state with {user}")),
                    tokens: TokenCounts::default(),
                    at: Timestamp::UNIX_EPOCH,
                    oldest_kept: None,
                    message: id,
                    speakers: answered.into_iter().collect(),
                });
                let tokens = limited(lane, id, user).token_count(20).unwrap();
                changes.push(Change::CountTokens(Box::new(tokens)));
                if treatment == Treatment::AnsweredAndNotSent {
                    reply(&mut changes, None);
                }
            }
            Treatment::GivenUp => {
                let reason = "given up".to_owned();
                changes.push(Change::DeadLetter {
                    message: id,
                    reason,
                });
                continue;
            }
            Treatment::NotDelivered => {
                reply(&mut changes, None);
                changes.push(Change::EndReply {
                    reply: id,
                    dead_letter_reason: Some("not delivered".into()),
                });
            }
            Treatment::Denied => {
                let denied = denied(connector, lane, user);
                changes.push(Change::Denied(id, Box::new(denied)));
                let notice = Notice {
                    kind: NoticeKind::Denial,
                    since: Timestamp::UNIX_EPOCH,
                };
                reply(&mut changes, Some(notice));
            }
            Treatment::ReadAlong => {
                let message = ReadAlongMessage {
                    message_id: id,
                    sent_at: Timestamp::now(),
                    user_id: user,
                    username: None,
                    name: format!("name of {user}"),
                    text: format!(
                        "words of {user} about tg://user?id={}",
                        answered.unwrap_or(1)
                    ),
                };
                changes.push(Change::ReadAlong(Box::new(message), 50));
            }
            Treatment::AsksForDecision => {
                reply(&mut changes, None);
                changes.push(decision(id, user, lane));
            }
            Treatment::AsksForAccess => changes.extend(access_request(id, user, lane)),
            Treatment::DecidesAccess => changes.extend(access_decisions(asked, user, id)),
        }
        changes.push(Change::Finish { message: id });
    }
    changes
}

/// A question under limits of a day.
fn limited(lane: &ClaimedLane, message: i64, user: i64) -> LimitedQuestion {
    let limit = DayLimit {
        messages: Some(1_000),
        tokens: Some(1_000_000),
    };
    LimitedQuestion {
        connector: lane.claim.connector,
        user: Some(user),
        day: 20_000,
        message,
        user_limit: limit,
        connector_limit: limit,
    }
}

fn denied(connector: &ConnectorRef, lane: &ClaimedLane, user: i64) -> DeniedMessage {
    DeniedMessage {
        time: Timestamp::UNIX_EPOCH,
        namespace: connector.namespace.to_string(),
        name: connector.name.to_string(),
        bot: lane.key.bot,
        update_id: 1,
        chat: lane.key.chat,
        user_id: Some(user),
        username: None,
        user_name: Some(format!("name of {user}")),
        language: None,
        text: Some(format!("words of {user}")),
        content: "text".into(),
        level: "Specific".into(),
    }
}

/// The user allows every request, whatever became of it.
fn access_decisions(asked: &[ObjectKey], user: i64, message: i64) -> Vec<Change> {
    let decide = |request: &ObjectKey| Change::DecideAccessRequest {
        id: request.0,
        verdict: AccessVerdict::Allow { until: None },
        by: format!("@name ({user})"),
        message,
        tapped_message: None,
    };
    asked.iter().map(decide).collect()
}

/// In a private chat; it is shown in a group.
fn access_request(message: i64, user: i64, lane: &ClaimedLane) -> Option<Change> {
    let follow_up = json!({"access_request": "x", "update_id": 1, "message": {
        "from": {"id": user}, "chat": {"id": user}, "text": ""}});
    let reply = || vec![part(&format!("to {user}"))];
    let new = NewAccessRequest {
        token: format!("request-{}-{message}", lane.claim.lane),
        user,
        name: format!("name of {user}"),
        username: Some(format!("u{user}")),
        level: "Company".into(),
        language: None,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        per_user_per_day: 5,
        message,
        follow_up: follow_up.to_string(),
        notice: ShownElsewhere {
            chat: GROUPS[1],
            topic: 0,
            parts: vec![part(&format!("may {user}?"))],
        },
        replies: AskReplies {
            asked: reply(),
            waiting: reply(),
            too_many: reply(),
            muted: reply(),
        },
    };
    (lane.key.chat == user).then(|| Change::AskForAccess(Box::new(new)))
}

/// In a private chat it is shown in a group.
fn decision(message: i64, user: i64, lane: &ClaimedLane) -> Change {
    let option = DecisionOption {
        text: "yes".into(),
        value: "yes".into(),
        user_text: "yes".into(),
    };
    let follow_up = json!({"decision": "x", "update_id": 1, "message": {
        "from": {"id": user}, "chat": {"id": lane.key.chat}, "text": ""}});
    Change::OpenDecision(Box::new(NewUserDecision {
        id: format!("decision-{}-{message}", lane.claim.lane),
        kind: DecisionKind::Approval,
        session: 0,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        details: DecisionDetails {
            options: vec![option],
            asked: Some(user),
            ..DecisionDetails::default()
        },
        message,
        follow_up: follow_up.to_string(),
        shown_in: (lane.key.chat > 0).then(|| ShownElsewhere {
            chat: GROUPS[1],
            topic: 0,
            parts: vec![part(&format!("may {user}?"))],
        }),
    }))
}
