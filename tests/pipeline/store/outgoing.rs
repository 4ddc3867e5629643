//! Messages that somebody sends, in the store: what is refused, their order among answers, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use telegram_connector_operator::identity::BotId;
use telegram_connector_operator::store::{
    Change, Claim, ClaimedLane, CreateOutcome, LaneWrite, ListingQuery, NewOutgoing,
    OUTGOING_RETENTION, OutgoingMessage, OutgoingPhase, Retention, Store,
};

use super::{BOT, StoreFixture, claim, connector, end, finish, part, retention_since, update};

/// A message to chat 7, which [`meet`] has made known.
pub(crate) fn new(name: &str) -> NewOutgoing {
    NewOutgoing {
        connector: connector("a"),
        bot: BOT,
        chat: 7,
        topic: 0,
        user: Some(7),
        name: name.into(),
        idempotency_key: None,
        text: "one two".into(),
        silent: false,
        parts: vec![part("one"), part("two")],
        per_minute: 60,
        dry_run: false,
    }
}

/// Somebody writes in chat 7, and is answered nothing.
pub(crate) async fn meet(store: &dyn Store) {
    let uid = connector("a").uid;
    let updates = vec![update(1, 7, 100, "hi")];
    store.accept(&uid, BOT, updates).await.unwrap();
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    end(store, lane.claim, finish(&lane)).await;
}

async fn create(store: &dyn Store, message: NewOutgoing) -> OutgoingMessage {
    match store.create_outgoing(message).await.unwrap() {
        CreateOutcome::Created(created) => *created,
        other => panic!("{other:?}"),
    }
}

async fn find(store: &dyn Store, name: &str) -> OutgoingMessage {
    let found = store.outgoing_message("acme", name).await.unwrap();
    without_revision(found.unwrap())
}

/// What has just been written does not know its revision yet.
fn without_revision(message: OutgoingMessage) -> OutgoingMessage {
    OutgoingMessage {
        revision: 0,
        ..message
    }
}

async fn write(store: &dyn Store, claim: Claim, changes: Vec<Change>) {
    let release = None;
    let write = LaneWrite {
        claim,
        changes,
        release,
    };
    store.write(write.into()).await.unwrap();
}

fn sent(lane: &ClaimedLane, part: usize, message_id: i64) -> Change {
    let part = &lane.parts[part];
    Change::Sent {
        reply: part.reply,
        number: part.number,
        message_id: Some(message_id),
    }
}

fn texts(lane: &ClaimedLane) -> Vec<&str> {
    lane.parts.iter().map(|p| p.part.plain_text()).collect()
}

pub(crate) async fn check_message_is_sent_when_its_last_part_is(store: &dyn Store) {
    meet(store).await;
    let created = create(store, new("hello")).await;
    assert_eq!(created, find(store, "hello").await);
    let mut claimed = claim(store, "a", 5).await;
    let lane = claimed.lanes.remove(0);
    assert_eq!(texts(&lane), ["one", "two"]);
    write(store, lane.claim, vec![sent(&lane, 0, 501)]).await;
    let half = find(store, "hello").await;
    assert_eq!(
        (half.phase, &half.message_ids[..]),
        (OutgoingPhase::Pending, &[501][..])
    );
    end(store, lane.claim, vec![sent(&lane, 1, 502)]).await;
    let whole = find(store, "hello").await;
    assert_eq!(
        (whole.phase, &whole.message_ids[..]),
        (OutgoingPhase::Sent, &[501, 502][..])
    );
    assert!(whole.finished_at.is_some() && !whole.ambiguous);
    assert_eq!(
        store.outgoing_message("other", "hello").await.unwrap(),
        None
    );
}

pub(crate) async fn check_messages_are_refused_for_what_is_known(store: &dyn Store) {
    let never_met = store.create_outgoing(new("early")).await.unwrap();
    assert_eq!(never_met, CreateOutcome::NeverMet);
    meet(store).await;
    let keyed = |name: &str| NewOutgoing {
        idempotency_key: Some("k".into()),
        ..new(name)
    };
    let tried = NewOutgoing {
        dry_run: true,
        ..keyed("first")
    };
    assert_eq!(create(store, tried).await.id, 0);
    assert_eq!(store.outgoing_message("acme", "first").await.unwrap(), None);
    let first = create(store, keyed("first")).await;
    let again = store.create_outgoing(keyed("again")).await.unwrap();
    let CreateOutcome::SameKey(known) = again else {
        panic!("{again:?}");
    };
    assert_eq!(without_revision(*known), first);
    let taken = store.create_outgoing(new("first")).await.unwrap();
    assert_eq!(taken, CreateOutcome::NameTaken);
    // Another bot of the connector has met nobody.
    let other_bot = NewOutgoing {
        bot: BotId(9),
        ..new("other")
    };
    let never_met = store.create_outgoing(other_bot).await.unwrap();
    assert_eq!(never_met, CreateOutcome::NeverMet);
    let limited = |name: &str| NewOutgoing {
        per_minute: 3,
        ..new(name)
    };
    create(store, limited("second")).await;
    create(store, limited("third")).await;
    let too_many = store.create_outgoing(limited("fourth")).await.unwrap();
    let CreateOutcome::TooMany { retry_after } = too_many else {
        panic!("{too_many:?}");
    };
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_mins(1));
}

pub(crate) async fn check_messages_take_their_turn_among_answers(store: &dyn Store) {
    let uid = connector("a").uid;
    let updates = vec![update(1, 7, 100, "hi")];
    store.accept(&uid, BOT, updates).await.unwrap();
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    let answer = Change::Reply {
        message: lane.messages[0].id,
        parts: vec![part("answer 1"), part("answer 2")],
        notice: None,
    };
    write(store, lane.claim, vec![answer]).await;
    for name in ["b", "a"] {
        // A later millisecond, in which the answer was not stored.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let message = NewOutgoing {
            parts: vec![part(name)],
            ..new(name)
        };
        create(store, message).await;
    }
    assert!(end(store, lane.claim, finish(&lane)).await.more_waits);
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    assert_eq!(texts(&lane), ["answer 1", "answer 2", "b", "a"]);
}

pub(crate) async fn check_failed_message_waits_again_when_retried(store: &dyn Store) {
    meet(store).await;
    create(store, new("hello")).await;
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    let reply = lane.parts[0].reply;
    let changes = vec![
        sent(&lane, 0, 501),
        Change::FailOutgoing {
            reply,
            reason: "refused".into(),
        },
        Change::EndReply {
            reply,
            dead_letter_reason: Some("refused".into()),
        },
    ];
    end(store, lane.claim, changes).await;
    let failed = find(store, "hello").await;
    assert_eq!(
        (failed.phase, failed.reason.as_deref()),
        (OutgoingPhase::Failed, Some("refused"))
    );
    assert_eq!(failed.message_ids, [501]);
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let dead = store.dead_letters(&listing).await.unwrap().rows;
    assert_eq!(store.retry_dead_letters(&[dead[0].id]).await.unwrap(), 1);
    let waiting = find(store, "hello").await;
    assert_eq!(
        (waiting.phase, waiting.reason),
        (OutgoingPhase::Pending, None)
    );
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    assert_eq!(texts(&lane), ["two"]);
    end(store, lane.claim, vec![sent(&lane, 0, 502)]).await;
    let whole = find(store, "hello").await;
    assert_eq!(
        (whole.phase, &whole.message_ids[..]),
        (OutgoingPhase::Sent, &[501, 502][..])
    );
}

pub(crate) async fn check_part_whose_try_did_not_end_is_told(store: &dyn Store) {
    meet(store).await;
    create(store, new("hello")).await;
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    let (reply, number) = (lane.parts[0].reply, 0);
    let begin = || vec![Change::BeginSending { reply, number }];
    let ended = vec![Change::EndSending { reply, number }];
    write(store, lane.claim, begin()).await;
    write(store, lane.claim, ended).await;
    write(store, lane.claim, begin()).await;
    assert!(
        !find(store, "hello").await.ambiguous,
        "each try ended before the next"
    );
    end(store, lane.claim, Vec::new()).await;
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    assert!(lane.parts[0].ambiguous && !lane.parts[1].ambiguous);
    write(store, lane.claim, begin()).await;
    assert!(find(store, "hello").await.ambiguous);
}

pub(crate) async fn check_messages_end_with_their_bot_and_connector(store: &dyn Store) {
    meet(store).await;
    create(store, new("hello")).await;
    // Two milliseconds are older than the bot's last chance.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let later = jiff::Timestamp::from_second(4_000_000_000).unwrap();
    let uid = connector("a").uid;
    let given_up = store.dead_letter_other_bots(&uid, BotId(9), later).await;
    assert_eq!(given_up.unwrap(), 2);
    let failed = find(store, "hello").await;
    assert_eq!(failed.phase, OutgoingPhase::Failed);
    assert!(failed.reason.unwrap().contains("another bot"));
    assert!(claim(store, "a", 1).await.lanes.is_empty());
    store.delete_connector_data(&uid).await.unwrap();
    assert_eq!(store.outgoing_message("acme", "hello").await.unwrap(), None);
    let forgotten = store.create_outgoing(new("hello")).await.unwrap();
    assert_eq!(forgotten, CreateOutcome::NeverMet);
}

/// Of a hundred callers with one key one is the first, and the others get what it made.
pub(crate) async fn check_one_key_makes_one_message(stores: &[Arc<dyn Store>]) {
    meet(&*stores[0]).await;
    let calls = (0..100).map(|n| {
        let store = stores[n % stores.len()].clone();
        let message = NewOutgoing {
            idempotency_key: Some("k".into()),
            ..new(&format!("message-{n}"))
        };
        tokio::spawn(async move { store.create_outgoing(message).await.unwrap() })
    });
    let (mut created, mut known) = (Vec::new(), Vec::new());
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            CreateOutcome::Created(message) => created.push(*message),
            CreateOutcome::SameKey(message) => known.push(without_revision(*message)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((created.len(), known.len()), (1, 99));
    assert!(known.iter().all(|message| *message == created[0]));
    let lane = claim(&*stores[0], "a", 5).await.lanes.remove(0);
    assert_eq!(texts(&lane), ["one", "two"]);
}

/// Replicas count together.
pub(crate) async fn check_rate_is_counted_together(stores: &[Arc<dyn Store>]) {
    meet(&*stores[0]).await;
    let calls = (0..40).map(|n| {
        let store = stores[n % stores.len()].clone();
        let message = NewOutgoing {
            per_minute: 10,
            ..new(&format!("message-{n}"))
        };
        tokio::spawn(async move { store.create_outgoing(message).await.unwrap() })
    });
    let mut created = 0;
    for call in calls.collect::<Vec<_>>() {
        created += usize::from(matches!(call.await.unwrap(), CreateOutcome::Created(_)));
    }
    assert_eq!(created, 10);
}

macro_rules! on_sqlite {
    ($($name:ident => $check:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let fixture = StoreFixture::new();
            let clock: telegram_connector_operator::clock::SharedClock =
                Arc::new(telegram_connector_operator::clock::SystemClock);
            let store = fixture.open_with(|options| options.clock = clock).await;
            $check(&*store).await;
        }
    )*};
}

on_sqlite! {
    outgoing_message_is_sent_when_its_last_part_is => check_message_is_sent_when_its_last_part_is;
    outgoing_messages_are_refused_for_what_is_known => check_messages_are_refused_for_what_is_known;
    outgoing_messages_take_their_turn_among_answers => check_messages_take_their_turn_among_answers;
    failed_outgoing_message_waits_again_when_retried => check_failed_message_waits_again_when_retried;
    outgoing_part_whose_try_did_not_end_is_told => check_part_whose_try_did_not_end_is_told;
    outgoing_messages_end_with_their_bot_and_connector => check_messages_end_with_their_bot_and_connector;
}

#[tokio::test]
async fn one_idempotency_key_makes_one_message() {
    let store = StoreFixture::new();
    let opened = store.open().await;
    check_one_key_makes_one_message(&[opened]).await;
}

#[tokio::test]
async fn outgoing_rate_is_counted_in_a_sliding_minute() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    check_rate_is_counted_together(std::slice::from_ref(&store)).await;
    let limited = || NewOutgoing {
        per_minute: 10,
        ..new("later")
    };
    fixture.clock.advance_seconds(59);
    let refused = store.create_outgoing(limited()).await.unwrap();
    let retry_after = Duration::from_secs(1);
    assert_eq!(refused, CreateOutcome::TooMany { retry_after });
    fixture.clock.advance_seconds(1);
    create(&*store, limited()).await;
}

#[tokio::test]
async fn ended_message_and_its_key_are_kept_for_a_day() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    meet(&*store).await;
    let keyed = |name: &str| NewOutgoing {
        idempotency_key: Some("k".into()),
        ..new(name)
    };
    create(&*store, keyed("first")).await;
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    let all = vec![sent(&lane, 0, 501), sent(&lane, 1, 502)];
    end(&*store, lane.claim, all).await;
    let prune = async || {
        let now = telegram_connector_operator::clock::Clock::now(&*fixture.clock);
        let retention = Retention {
            // What was met stays met for much longer.
            outgoing: now - OUTGOING_RETENTION,
            grants: now - OUTGOING_RETENTION,
            sessions: jiff::Timestamp::from_second(1_000_000_000).unwrap(),
            ..retention_since(now)
        };
        store.prune(retention).await.unwrap();
    };
    fixture.clock.advance_seconds(24 * 3600);
    prune().await;
    let known = store.create_outgoing(keyed("second")).await.unwrap();
    assert!(matches!(known, CreateOutcome::SameKey(_)), "{known:?}");
    fixture.clock.advance_seconds(1);
    prune().await;
    // By now the lane has gone; that the chat was met is still known.
    assert!(claim(&*store, "a", 1).await.lanes.is_empty());
    create(&*store, keyed("second")).await;
}

#[tokio::test]
async fn message_noted_as_sent_is_sent_after_a_crash() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    meet(&*store).await;
    create(&*store, new("hello")).await;
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    for part in &lane.parts {
        let message_id = Some(501 + i64::from(part.number));
        assert!(store.record_sent(&lane.claim, part.reply, part.number, message_id));
    }
    drop(store);
    let store = fixture.open().await;
    store.keep_claims().await.unwrap();
    let whole = find(&*store, "hello").await;
    assert_eq!(
        (whole.phase, &whole.message_ids[..]),
        (OutgoingPhase::Sent, &[501, 502][..])
    );
}
