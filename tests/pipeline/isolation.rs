//! Two connectors of one bot, one after the other: nothing that one of them was told reaches the other.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    self, Change, ClaimRequest, ClaimedLane, DeniedMessage, LaneWrite, ListingQuery, Release,
    Store, TokenCounts,
};

use crate::postgres::Postgres;
use crate::store::{part, update};
use crate::test_env::{ANN, TIMEOUT, TestEnv};

/// Something that happens to one of the two connectors.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// It accepts a message in one of two chats.
    Accepts { chat: i64 },
    /// It works through what it may claim.
    Works(Treatment),
    /// It is deleted, and one of its name is made.
    IsReplaced,
    /// The same while the operator is down: nobody tells the store of the deletion.
    IsReplacedUnseen,
    /// The operator starts again.
    Restarts,
}

/// What becomes of the messages of a claim.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Treatment {
    Answered,
    AnsweredAndNotSent,
    GivenUp,
    Denied,
}

fn event() -> impl Strategy<Value = (usize, Event)> {
    let treatment = prop_oneof![
        3 => Just(Treatment::Answered),
        1 => Just(Treatment::AnsweredAndNotSent),
        1 => Just(Treatment::GivenUp),
        1 => Just(Treatment::Denied),
    ];
    let event = prop_oneof![
        4 => (1..3_i64).prop_map(|chat| Event::Accepts { chat }),
        4 => treatment.prop_map(Event::Works),
        1 => Just(Event::IsReplaced),
        1 => Just(Event::IsReplacedUnseen),
        1 => Just(Event::Restarts),
    ];
    (0..2_usize, event)
}

/// The store and the two connectors. Every text names the uid that it belongs to.
struct Model {
    address: String,
    store: Arc<dyn Store>,
    bot: BotId,
    connectors: [ConnectorRef; 2],
    /// Messages that were accepted and not yet handled, by uid.
    waiting: HashSet<(ConnectorUid, i64)>,
    next: i64,
}

impl Model {
    async fn new(address: &str, bot: i64) -> Self {
        let mut model = Self {
            address: address.to_owned(),
            store: store::open(address).await.unwrap(),
            bot: BotId(bot),
            connectors: ["one", "two"].map(|name| ConnectorRef {
                namespace: "acme".into(),
                name: format!("{name}-{bot}").into(),
                uid: ConnectorUid::from(format!("<{bot}-{name}-0>").as_str()),
            }),
            waiting: HashSet::new(),
            next: 1,
        };
        for side in 0..2 {
            model.replace(side).await;
        }
        model
    }

    async fn replace(&mut self, side: usize) {
        self.next += 1;
        let connector = &mut self.connectors[side];
        connector.uid = ConnectorUid::from(format!("<{}-{}>", connector.name, self.next).as_str());
        self.store.register(connector).await.unwrap();
    }

    async fn apply(&mut self, side: usize, event: Event) {
        let uid = self.connectors[side].uid.clone();
        match event {
            Event::Accepts { chat } => {
                self.next += 1;
                let message = update(self.next, chat, 100, &format!("said to {uid}"));
                let accepted = self.store.accept(&uid, self.bot, vec![message]).await;
                assert_eq!(accepted.unwrap().new, 1);
                self.waiting.insert((uid, self.next));
            }
            Event::Works(treatment) => self.work(side, treatment).await,
            Event::IsReplaced => {
                let other = self.listed(1 - side).await;
                self.store.delete_connector_data(&uid).await.unwrap();
                self.waiting.retain(|(owner, _)| *owner != uid);
                self.replace(side).await;
                assert_eq!(
                    self.listed(1 - side).await,
                    other,
                    "the other lost something"
                );
                let left = self.listed_of(side, Some(uid.to_string())).await;
                assert!(left.iter().all(|row| row.starts_with("denied")), "{left:?}");
            }
            Event::IsReplacedUnseen => self.replace(side).await,
            Event::Restarts => {
                self.store.release_claims().await.unwrap();
                self.store = store::open(&self.address).await.unwrap();
            }
        }
        for side in 0..2 {
            let uid = self.connectors[side].uid.to_string();
            for row in self.listed(side).await {
                assert!(row.contains(&uid), "{uid} is shown {row}");
            }
        }
    }

    async fn work(&mut self, side: usize, treatment: Treatment) {
        let connector = self.connectors[side].clone();
        let request = ClaimRequest {
            connector: connector.clone(),
            bot: self.bot,
            lanes: 10,
            history: 25,
        };
        let uid = connector.uid.to_string();
        for lane in self.store.claim(vec![request]).await.unwrap().lanes {
            let session = lane.session.iter().flat_map(|s| &s.history);
            let seen = session
                .map(|message| message.text.as_str())
                .chain(lane.parts.iter().map(|part| part.part.plain_text()))
                .chain(lane.messages.iter().map(|message| message.json.as_str()))
                .chain(lane.session.iter().filter_map(|s| s.state.as_deref()));
            for text in seen {
                assert!(text.contains(&uid), "{uid} is given {text}");
            }
            for message in &lane.messages {
                let known = (connector.uid.clone(), message.update_id);
                assert!(self.waiting.remove(&known), "{message:?} comes twice");
            }
            let write = LaneWrite {
                claim: lane.claim,
                changes: changes(&lane, &connector, treatment),
                release: Some(Release::Now),
            };
            self.store.write(write.into()).await.unwrap();
        }
        let left = self
            .waiting
            .iter()
            .any(|(owner, _)| *owner == connector.uid);
        assert!(!left, "{uid} does not get what it accepted");
    }

    async fn listed(&self, side: usize) -> Vec<String> {
        self.listed_of(side, None).await
    }

    /// All that the listings show of a connector, by its name.
    async fn listed_of(&self, side: usize, uid: Option<String>) -> Vec<String> {
        let connector = &self.connectors[side];
        let query = ListingQuery {
            namespace: Some(connector.namespace.to_string()),
            name: Some(connector.name.to_string()),
            uid,
            texts: true,
            limit: 1000,
            ..ListingQuery::default()
        };
        let denied = self.store.denied(&query).await.unwrap().rows;
        let sessions = self.store.sessions(&query).await.unwrap().rows;
        let dead_letters = self.store.dead_letters(&query).await.unwrap().rows;
        let denied = denied.iter().map(|row| format!("denied {row:?}"));
        let sessions = sessions.iter().map(|row| format!("session {row:?}"));
        let dead_letters = dead_letters
            .iter()
            .map(|row| format!("dead letter {row:?}"));
        denied.chain(sessions).chain(dead_letters).collect()
    }
}

fn changes(lane: &ClaimedLane, connector: &ConnectorRef, treatment: Treatment) -> Vec<Change> {
    let uid = &connector.uid;
    let mut changes: Vec<Change> = lane
        .parts
        .iter()
        .map(|part| Change::Sent {
            reply: part.reply,
            number: part.number,
            message_id: None,
        })
        .collect();
    let mut session = lane.session.as_ref().map(|s| (s.number, s.exchanges));
    for message in &lane.messages {
        let (id, at) = (message.id, jiff::Timestamp::now());
        match treatment {
            Treatment::GivenUp => {
                let reason = format!("given up by {uid}");
                changes.push(Change::DeadLetter {
                    message: id,
                    reason,
                });
                continue;
            }
            Treatment::Denied => {
                changes.push(Change::Denied(
                    id,
                    Box::new(denied(connector, message.update_id)),
                ));
                changes.push(Change::Finish { message: id });
                continue;
            }
            Treatment::Answered | Treatment::AnsweredAndNotSent => {}
        }
        let (number, exchanges) = session.unwrap_or_else(|| {
            let number = lane.sessions + 1;
            changes.push(Change::BeginSession {
                number,
                key: format!("session of {uid}"),
                began_at: at,
            });
            (number, 0)
        });
        session = Some((number, exchanges + 1));
        changes.push(Change::Exchange {
            session: number,
            number: exchanges + 1,
            asked: Some(format!("asked by {uid}")),
            answered: Some(format!("answered to {uid}")),
            state: Some(format!("state of {uid}")),
            tokens: TokenCounts::default(),
            at,
            oldest_kept: None,
            message: id,
            speakers: Vec::new(),
        });
        if treatment == Treatment::AnsweredAndNotSent {
            changes.push(Change::Reply {
                message: id,
                parts: vec![part(&format!("reply of {uid}"))],
                notice: None,
            });
        }
        changes.push(Change::Finish { message: id });
    }
    changes
}

fn denied(connector: &ConnectorRef, update_id: i64) -> DeniedMessage {
    DeniedMessage {
        time: jiff::Timestamp::now(),
        namespace: connector.namespace.to_string(),
        name: connector.name.to_string(),
        bot: BotId(1),
        update_id,
        chat: 1,
        user_id: Some(1),
        username: None,
        user_name: None,
        language: None,
        text: Some(format!("said to {}", connector.uid)),
        content: "text".into(),
        level: "Specific".into(),
    }
}

/// Every case has a bot and connectors of its own in the one store.
fn check_isolation(address: &str, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let bot = std::cell::Cell::new(8_400_000_000);
    let histories = prop::collection::vec(event(), 1..40);
    let checked = runner.run(&histories, |history| {
        bot.set(bot.get() + 1);
        runtime.block_on(async {
            let mut model = Model::new(address, bot.get()).await;
            for (side, event) in history {
                model.apply(side, event).await;
            }
            for side in 0..2 {
                model.work(side, Treatment::Answered).await;
            }
            model.store.release_claims().await.unwrap();
        });
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn connectors_of_one_bot_share_nothing_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    check_isolation(&address, 64);
}

#[test]
fn connectors_of_one_bot_share_nothing_in_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(postgres) = runtime.block_on(Postgres::start()) else {
        return;
    };
    check_isolation(&postgres.address(), 32);
}

/// A talks, B takes the bot over and back.
async fn check_takeover(env: &mut TestEnv) {
    let a = env.connector("one");
    let resolved = env.registry.get(&a.uid).unwrap();
    env.ask(&a, "my PIN is 4711").await;
    env.registry.withdraw(&a.uid);
    // Accepted by A alone, and not answered before A is back.
    env.telegram
        .send_private_message(a.id, ANN, "and my door code 0815");
    env.wait_until_waiting(1).await;
    let b = env.hand_over(&resolved, "two");
    env.ask(&b, "who am I?").await;
    let asked = env.assistant.requests();
    let of_b = format!("{:?}", asked.last().unwrap());
    assert!(of_b.contains("who am I?"), "{of_b}");
    for secret in ["4711", "0815"] {
        assert!(
            !of_b.contains(secret),
            "B's assistant is told A's words: {of_b}"
        );
    }
    env.registry.withdraw(&b.uid);
    let a = env.hand_over(&resolved, "one");
    env.telegram
        .wait_for_sent_messages(a.id, ANN, 2, TIMEOUT)
        .await;
    env.ask(&a, "go on").await;
    let of_a = format!("{:?}", env.assistant.requests().last().unwrap());
    assert!(of_a.contains("4711") && of_a.contains("0815"), "{of_a}");
    assert!(
        !of_a.contains("who am I?"),
        "A's assistant is told B's words: {of_a}"
    );
    // B's end is not A's.
    env.store.delete_connector_data(&b.uid).await.unwrap();
    env.ask(&a, "still there?").await;
    let of_a = format!("{:?}", env.assistant.requests().last().unwrap());
    assert!(of_a.contains("4711"), "{of_a}");
}

#[tokio::test]
async fn new_owner_of_a_bot_begins_anew_on_sqlite() {
    let mut env = TestEnv::new().await;
    check_takeover(&mut env).await;
}

#[tokio::test]
async fn new_owner_of_a_bot_begins_anew_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut env = TestEnv::on(&postgres.address()).await;
    check_takeover(&mut env).await;
}
