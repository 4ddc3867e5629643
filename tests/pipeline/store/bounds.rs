//! What people whom nobody named can make the store keep, and what goes first where there is no room.

use std::sync::Arc;

use jiff::Timestamp;
use telegram_connector_operator::store::{
    self, AskOutcome, Change, CreateOutcome, DeniedMessage, ListingQuery, NewOutgoing, ObjectKind,
    ObjectQuery, Store, StoreOptions, TokenCounts, WriteOutcome,
};

use super::access::request;
use super::tables::{execute, rows_of_connector};
use super::{BOT, claim, connector, end, finish, outgoing, retention_since, sent_changes, update};
use crate::postgres::Postgres;

fn denied(message: i64, name: &str, sender: i64, update_id: i64) -> Change {
    let denied = DeniedMessage {
        time: Timestamp::from_second(100).unwrap(),
        namespace: "acme".into(),
        name: name.into(),
        bot: BOT,
        update_id,
        chat: sender,
        user_id: Some(sender),
        username: None,
        user_name: None,
        language: None,
        text: Some("x".repeat(1_000)),
        content: "text".into(),
        level: "Specific".into(),
    };
    Change::Denied(message, Box::new(denied))
}

/// So many messages of each of these senders are denied by the connector.
async fn deny(store: &dyn Store, name: &str, senders: std::ops::Range<i64>, messages: i64) {
    let first = senders.start * 1_000_000;
    let uid = connector(name).uid;
    let accepted = vec![update(first, senders.start, 100, "x")];
    store.accept(&uid, BOT, accepted).await.unwrap();
    let lane = claim(store, name, 1).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let mut changes = Vec::new();
    for n in 0..messages {
        changes.extend(
            senders
                .clone()
                .map(|sender| denied(message, name, sender, n)),
        );
    }
    changes.extend(finish(&lane));
    end(store, lane.claim, changes).await;
}

async fn denied_of(store: &dyn Store, name: &str) -> Vec<DeniedMessage> {
    let query = ListingQuery {
        namespace: Some("acme".into()),
        name: Some(name.into()),
        limit: 100_000,
        ..ListingQuery::default()
    };
    store.denied(&query).await.unwrap().rows
}

async fn check_bounds(store: &dyn Store) {
    deny(store, "other", 1..2, 3).await;
    deny(store, "a", 2..3, 250).await;
    let kept = denied_of(store, "a").await;
    assert_eq!(kept.len(), 100, "of one sender the newest 100 are kept");
    assert_eq!(kept.iter().map(|row| row.update_id).min(), Some(150));
    deny(store, "a", 100..300, 40).await;
    let kept = denied_of(store, "a").await.len();
    assert!(
        (5_000..5_064).contains(&kept),
        "of one connector {kept} are kept"
    );
    assert_eq!(
        denied_of(store, "other").await.len(),
        3,
        "another connector's go"
    );
}

#[tokio::test]
async fn denied_messages_are_bounded_per_sender_and_connector_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    check_bounds(&*store::open(&address).await.unwrap()).await;
}

#[tokio::test]
async fn denied_messages_are_bounded_per_sender_and_connector_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_bounds(&*store::open(&postgres.address()).await.unwrap()).await;
}

/// A user asks the connector for access.
async fn ask(store: &dyn Store, name: &str, user: i64) -> Option<AskOutcome> {
    let uid = connector(name).uid;
    let id = i64::try_from(name.len()).unwrap() * 1_000_000 + user;
    let asks = vec![update(id, user, 100, "may I?")];
    store.accept(&uid, BOT, asks).await.unwrap();
    let mut outcome = WriteOutcome::default();
    for lane in claim(store, name, 10).await.lanes {
        let asking = lane.messages.first().filter(|_| lane.key.chat == user);
        let asking = asking.map(|message| request(message.id, |new| new.user = user));
        let mut changes: Vec<_> = asking.into_iter().collect();
        changes.extend(sent_changes(&lane.parts));
        changes.extend(finish(&lane));
        let written = end(store, lane.claim, changes).await;
        outcome.access_request = outcome.access_request.or(written.access_request);
    }
    outcome.access_request
}

/// So many requests of the connector, of users from this one on; in this phase.
async fn insert_requests(address: &str, name: &str, count: i64, from: i64, phase: i64) {
    let uid = connector(name).uid;
    let statement = format!(
        "INSERT INTO access_request (token, connector, namespace, name, bot, chat, topic, update_id, reply, sender, user_name, level, phase,
           asked_at, expires_at, decided_at, follow_up, notice_chat, notice_topic)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         SELECT 'token-' || {from} || '-' || i, c.id, c.namespace, c.name, {bot}, {from} + i, 0, 1, 1, {from} + i, 'Eve', 'Company', {phase},
           1, 4000000000000, CASE WHEN {phase} > 0 THEN 1 END, '{{}}', -1, 0 FROM n, connector c WHERE c.uid = '{uid}'",
        bot = BOT.0
    );
    assert_eq!(execute(address, statement).await, count.unsigned_abs());
}

async fn requests_of(address: &str, name: &str) -> usize {
    let rows = rows_of_connector(address, connector(name).uid.as_str()).await;
    let requests = rows
        .iter()
        .filter(|row| row.starts_with("access_request: "));
    requests.count()
}

async fn check_access_requests(address: &str) {
    let store = store::open(address).await.unwrap();
    for name in ["a", "other"] {
        assert!(matches!(
            ask(&*store, name, 7).await,
            Some(AskOutcome::Asked(_))
        ));
    }
    insert_requests(address, "a", 998, 1_000, 0).await;
    let asked = ask(&*store, "a", 8).await;
    assert!(matches!(asked, Some(AskOutcome::Asked(_))), "{asked:?}");
    let too_many = ask(&*store, "a", 9).await;
    assert_eq!(too_many, Some(AskOutcome::TooMany));
    let of_other = ask(&*store, "other", 9).await;
    assert!(
        matches!(of_other, Some(AskOutcome::Asked(_))),
        "{of_other:?}"
    );
    // Those that have ended go from time to time, the oldest first; those that were refused for good stay.
    insert_requests(address, "other", 5_200, 10_000, 1).await;
    insert_requests(address, "other", 200, 20_000, 3).await;
    for user in 100..164 {
        ask(&*store, "other", user).await;
    }
    let kept = requests_of(address, "other").await;
    assert_eq!(kept, 5_000 + 200 + 66);
    assert_eq!(requests_of(address, "a").await, 1_000);
}

#[tokio::test]
async fn requests_for_access_are_bounded_per_connector_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_access_requests(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
}

#[tokio::test]
async fn requests_for_access_are_bounded_per_connector_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_access_requests(&postgres.address()).await;
}

/// So many outgoing messages of the connector in this phase, of so many bytes each.
async fn insert_outgoing(address: &str, name: &str, count: i64, phase: i64, bytes: usize) {
    let uid = connector(name).uid;
    let text = "x".repeat(bytes);
    let statement = format!(
        "INSERT INTO outgoing_message (connector, namespace, name, bot, chat, topic, body, silent, created_at, phase, finished_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         SELECT c.id, c.namespace, '{name}-{phase}-{bytes}-' || i, {bot}, 7, 0, '{text}', 0, 1, {phase}, CASE WHEN {phase} > 0 THEN 4000000000000 END
         FROM n, connector c WHERE c.uid = '{uid}'",
        bot = BOT.0
    );
    assert_eq!(execute(address, statement).await, count.unsigned_abs());
}

async fn outgoing_of(address: &str, name: &str) -> usize {
    let rows = rows_of_connector(address, connector(name).uid.as_str()).await;
    let messages = rows
        .iter()
        .filter(|row| row.starts_with("outgoing_message: "));
    messages.count()
}

/// The connector sends 64 messages, with one of which it is looked what is kept.
async fn send_some(store: &dyn Store, name: &str) {
    for n in 0..64 {
        let new = NewOutgoing {
            connector: connector(name),
            per_minute: 1000,
            ..outgoing::new(&format!("{name}-new-{n}"))
        };
        let created = store.create_outgoing(new).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created(_)), "{created:?}");
    }
}

async fn check_outgoing(address: &str) {
    let store = store::open(address).await.unwrap();
    for (n, name) in (1..).zip(["a", "long", "other"]) {
        let uid = connector(name).uid;
        let met = vec![update(n, 7, 100, "hi")];
        store.accept(&uid, BOT, met).await.unwrap();
    }
    insert_outgoing(address, "a", 10_200, 1, 10).await;
    insert_outgoing(address, "a", 100, 0, 10).await;
    insert_outgoing(address, "long", 2_200, 2, 32 << 10).await;
    insert_outgoing(address, "other", 300, 2, 10).await;
    for (name, kept) in [("a", 10_000 + 100), ("long", 2_048), ("other", 300)] {
        send_some(&*store, name).await;
        assert_eq!(outgoing_of(address, name).await, kept + 64, "{name}");
    }
}

#[tokio::test]
async fn ended_outgoing_messages_are_bounded_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_outgoing(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
}

#[tokio::test]
async fn ended_outgoing_messages_are_bounded_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_outgoing(&postgres.address()).await;
}

/// So many dead letters of the connector.
async fn insert_dead_letters(address: &str, name: &str, count: i64) {
    let uid = connector(name).uid;
    let statement = format!(
        "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         SELECT 4000000000000, c.namespace, c.name, c.id, {bot}, 7, 0, i, 1, 'message', 1, 'a test', '{{}}' FROM n, connector c WHERE c.uid = '{uid}'",
        bot = BOT.0
    );
    assert_eq!(execute(address, statement).await, count.unsigned_abs());
}

async fn check_dead_letters(address: &str) {
    let store = store::open(address).await.unwrap();
    for (name, count) in [("a", 10_700), ("other", 3)] {
        store.register(&connector(name)).await.unwrap();
        insert_dead_letters(address, name, count).await;
    }
    let long_ago = Timestamp::UNIX_EPOCH;
    let retention = retention_since(long_ago);
    while store.prune(retention).await.unwrap() {}
    for (name, expected, oldest) in [("a", 10_000, 701), ("other", 3, 1)] {
        let query = ListingQuery {
            namespace: Some("acme".into()),
            name: Some(name.into()),
            limit: 100_000,
            ..ListingQuery::default()
        };
        let kept = store.dead_letters(&query).await.unwrap().rows;
        assert_eq!(kept.len(), expected, "{name}");
        assert_eq!(kept.first().map(|row| row.update_id), Some(oldest));
    }
}

#[tokio::test]
async fn dead_letters_are_bounded_per_connector_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_dead_letters(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
}

#[tokio::test]
async fn dead_letters_are_bounded_per_connector_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_dead_letters(&postgres.address()).await;
}

/// So many exchanges of so many bytes, each question beginning with its number; in a session of its own.
async fn talk(store: &dyn Store, chat: i64, exchanges: i64, bytes: usize) {
    let uid = connector("a").uid;
    let asks = vec![update(chat * 1_000_000, chat, 100, "x")];
    store.accept(&uid, BOT, asks).await.unwrap();
    let lanes = claim(store, "a", 10).await.lanes;
    let lane = lanes
        .into_iter()
        .find(|lane| lane.key.chat == chat)
        .unwrap();
    let at = Timestamp::now();
    let mut changes = vec![Change::BeginSession {
        number: 1,
        key: "key".into(),
        began_at: at,
    }];
    changes.extend((1..=exchanges).map(|number| Change::Exchange {
        session: 1,
        number,
        asked: Some(format!("{number:06}")),
        answered: Some("x".repeat(bytes - 6)),
        state: None,
        tokens: TokenCounts::default(),
        at,
        oldest_kept: None,
        message: lane.messages[0].id,
        speakers: Vec::new(),
    }));
    changes.extend(finish(&lane));
    end(store, lane.claim, changes).await;
}

/// The numbers of the exchanges that are kept of a chat's session.
async fn kept_of(store: &dyn Store, chat: i64) -> Vec<i64> {
    let query = ObjectQuery {
        chat: Some(chat),
        ..ObjectQuery::all(ObjectKind::Conversation)
    };
    let found = store.list_objects(&query, None, 10).await.unwrap().objects;
    let words = store.transcript("acme", found[0].key).await.unwrap();
    let asked = words.unwrap().into_iter().step_by(2);
    asked.map(|message| message.text.parse().unwrap()).collect()
}

async fn check_sessions(store: &dyn Store) {
    store.register(&connector("a")).await.unwrap();
    // Long ones, short ones, one that is longer than all that is kept, and few.
    for (chat, exchanges, bytes, kept) in [
        (1, 100, 100 << 10, 91..=100),
        (2, 496, 8 << 10, 369..=496),
        (3, 2, 2 << 20, 2..=2),
        (4, 30, 1 << 10, 1..=30),
    ] {
        talk(store, chat, exchanges, bytes).await;
        let expected: Vec<i64> = kept.collect();
        assert_eq!(kept_of(store, chat).await, expected, "chat {chat}");
    }
}

#[tokio::test]
async fn words_of_a_session_are_bounded_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    check_sessions(&*store::open(&address).await.unwrap()).await;
}

#[tokio::test]
async fn words_of_a_session_are_bounded_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_sessions(&*store::open(&postgres.address()).await.unwrap()).await;
}

#[tokio::test]
async fn denied_messages_make_room_before_intake_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let options = StoreOptions {
        max_bytes: Some(9 << 18),
        ..StoreOptions::default()
    };
    let store: Arc<dyn Store> = store::open_with(&address, options).await.unwrap();
    // About a megabyte and a half.
    deny(&*store, "a", 1..16, 80).await;
    let before = denied_of(&*store, "a").await.len();
    let text = "x".repeat(4_000);
    let uid = connector("a").uid;
    for n in 0..200 {
        let accepted = vec![update(50_000_000 + n, 5_000 + n, 100, &text)];
        store
            .accept(&uid, BOT, accepted)
            .await
            .unwrap_or_else(|e| panic!("{n}: {e}"));
    }
    let after = denied_of(&*store, "a").await.len();
    assert!(after < before, "{after} of {before} are left");
}
