//! What is done under a claim: replies, notices, sessions, and whose claim it is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use telegram_connector_operator::clock::SharedClock;
use telegram_connector_operator::store::{
    Change, Claim, LaneWrite, ListingQuery, Notice, NoticeKind, Release, Store, StoreError,
    TokenCounts,
};

use super::{BOT, StoreFixture, claim, connector, end, part, store_backlog, update};

/// Accepts a message, and answers it in two parts that are to be sent; the claim, and the number of the reply.
async fn store_reply_of_two_parts(store: &dyn Store) -> (Claim, i64) {
    let uid = connector("a").uid;
    let updates = vec![update(1, 7, 100, "one")];
    store.accept(&uid, BOT, updates).await.unwrap();
    let claimed = claim(store, "a", 10).await;
    let lane = &claimed.lanes[0];
    let message = lane.messages[0].id;
    let write = LaneWrite {
        claim: lane.claim,
        changes: vec![
            Change::Reply {
                message,
                parts: vec![part("first"), part("second")],
                notice: None,
            },
            Change::Finish { message },
        ],
        release: None,
    };
    assert!(store.write(write.into()).await.unwrap().reply_stored);
    (lane.claim, message)
}

/// The numbers of the parts that wait, for whoever comes after a process that ended without giving anything back.
async fn parts_after_a_crash(fixture: &StoreFixture, store: Arc<dyn Store>) -> Vec<u32> {
    drop(store);
    let store = fixture.open().await;
    store.keep_claims().await.unwrap();
    let claimed = claim(&*store, "a", 10).await;
    let parts = claimed.lanes.iter().flat_map(|lane| &lane.parts);
    parts.map(|part| part.number).collect()
}

#[tokio::test]
async fn part_noted_as_sent_is_not_sent_again_after_a_crash() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let (claim, reply) = store_reply_of_two_parts(&*store).await;
    assert!(store.record_sent(&claim, reply, 0, None));
    assert_eq!(parts_after_a_crash(&fixture, store).await, [1]);
}

#[tokio::test]
async fn part_noted_as_sent_is_not_claimed_again_if_its_write_failed() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let (held, reply) = store_reply_of_two_parts(&*store).await;
    assert!(store.record_sent(&held, reply, 0, None));
    assert!(end(&*store, held, Vec::new()).await.more_waits);
    let claimed = claim(&*store, "a", 10).await;
    let numbers: Vec<_> = claimed.lanes[0].parts.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1]);
}

#[tokio::test]
async fn part_noted_as_sent_is_gone_once_claims_are_released() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let (claim, reply) = store_reply_of_two_parts(&*store).await;
    assert!(store.record_sent(&claim, reply, 0, None));
    store.release_claims().await.unwrap();
    assert_eq!(parts_after_a_crash(&fixture, store).await, [1]);
}

#[tokio::test]
async fn lane_released_in_the_background_is_claimed_with_what_came_meanwhile() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let uid = connector("a").uid;
    let accept = async |id| {
        let updates = vec![update(id, 7, 100, "text")];
        store.accept(&uid, BOT, updates).await.unwrap();
    };
    accept(1).await;
    let lane = claim(&*store, "a", 10).await.lanes.remove(0);
    accept(2).await;
    let notifier = store.work_notifier();
    // What the acceptances told.
    notifier.notified_connectors().await;
    let write = LaneWrite {
        claim: lane.claim,
        changes: vec![Change::Finish {
            message: lane.messages[0].id,
        }],
        release: Some(Release::Now),
    };
    store.release_in_background(uid.clone(), write);
    let notified = tokio::time::timeout(Duration::from_secs(30), notifier.notified_connectors());
    let notified = notified.await.expect("somebody is told");
    assert!(notified.contains(&uid), "{notified:?}");
    let claimed = claim(&*store, "a", 10).await;
    assert_eq!(super::ids(&claimed), [[2]]);
}

#[tokio::test]
async fn reply_survives_crash_until_each_part_is_recorded() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let (held, message) = store_reply_of_two_parts(&*store).await;
    store
        .write(
            LaneWrite {
                claim: held,
                changes: vec![Change::Sent {
                    reply: message,
                    number: 0,
                    message_id: None,
                }],
                release: None,
            }
            .into(),
        )
        .await
        .unwrap();
    // The process dies here, without giving anything back.
    drop(store);
    let store = fixture.open().await;
    store.keep_claims().await.unwrap();
    let claimed = claim(&*store, "a", 10).await;
    let lane = &claimed.lanes[0];
    assert!(lane.messages.is_empty());
    assert_eq!(lane.parts.len(), 1);
    assert_eq!(
        (lane.parts[0].number, &lane.parts[0].part),
        (1, &part("second"))
    );
    let written = end(
        &*store,
        lane.claim,
        vec![Change::Sent {
            reply: message,
            number: 1,
            message_id: None,
        }],
    )
    .await;
    assert!(!written.more_waits);
    assert!(claim(&*store, "a", 10).await.lanes.is_empty());
}

#[tokio::test]
async fn claims_of_dead_process_are_taken_over() {
    let fixture = StoreFixture::new();
    let first = fixture.open().await;
    let second = fixture.open().await;
    let uid = connector("a").uid;
    first
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    let held = claim(&*first, "a", 10).await.lanes.remove(0);
    second.keep_claims().await.unwrap();
    assert!(claim(&*second, "a", 10).await.lanes.is_empty());
    // It hangs for longer than its lease: the other takes over, and its late write is refused.
    fixture.clock.advance_seconds(31);
    let waiting = second.keep_claims().await.unwrap();
    assert_eq!(waiting[0].0, uid);
    assert_eq!(claim(&*second, "a", 10).await.lanes.len(), 1);
    let late = first
        .write(
            LaneWrite {
                claim: held.claim,
                changes: vec![Change::Finish {
                    message: held.messages[0].id,
                }],
                release: Some(Release::Now),
            }
            .into(),
        )
        .await;
    assert!(matches!(late, Err(StoreError::ClaimLost)), "{late:?}");
    assert_eq!(store_backlog(&*second).await, 1);
}

#[tokio::test]
async fn notice_is_sent_once_per_chat_and_hour_across_topics() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let uid = connector("a").uid;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut stored = Vec::new();
    for (n, wait) in [(1, 0), (2, 3599), (3, 1)] {
        fixture.clock.advance_seconds(wait);
        store
            .accept(&uid, BOT, vec![update(n, 7, 100, "one")])
            .await
            .unwrap();
        let lane = claim(&*store, "a", 1).await.lanes.remove(0);
        let clock: SharedClock = fixture.clock.clone();
        let since = Timestamp::from_second(clock.now().as_second() - 3600).unwrap();
        assert!(since < now || n == 3);
        let written = end(
            &*store,
            lane.claim,
            vec![
                Change::Reply {
                    message: lane.messages[0].id,
                    parts: vec![part("no")],
                    notice: Some(Notice {
                        kind: NoticeKind::Denial,
                        since,
                    }),
                },
                Change::Finish {
                    message: lane.messages[0].id,
                },
                Change::EndReply {
                    reply: lane.messages[0].id,
                    dead_letter_reason: None,
                },
            ],
        )
        .await;
        stored.push(written.reply_stored);
    }
    assert_eq!(stored, [true, false, true]);
}

#[tokio::test]
async fn session_keeps_newest_exchanges_until_connector_deletion() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let uid = connector("a").uid;
    let began_at = Timestamp::from_second(100).unwrap();
    for n in 1..=30 {
        store
            .accept(&uid, BOT, vec![update(n, 7, 100, "q")])
            .await
            .unwrap();
        let lane = claim(&*store, "a", 1).await.lanes.remove(0);
        let mut changes = Vec::new();
        if n == 1 {
            assert_eq!((lane.session.clone(), lane.sessions), (None, 0));
            changes.push(Change::BeginSession {
                number: 1,
                key: "key".into(),
                began_at,
            });
        } else {
            let session = lane.session.unwrap();
            assert_eq!((session.number, session.exchanges), (1, n - 1));
            assert_eq!(session.state.as_deref(), Some("state 1"));
            assert_eq!(
                (session.tokens.input, session.tokens.output),
                (10 * (n - 1), n - 1)
            );
            assert_eq!(
                i64::try_from(session.history.len()).unwrap(),
                2 * (n - 1).min(25)
            );
            assert_eq!(session.history.last().unwrap().text, format!("a{}", n - 1));
        }
        changes.extend([
            Change::Exchange {
                session: 1,
                number: n,
                asked: Some(format!("q{n}")),
                answered: Some(format!("a{n}")),
                state: (n == 1).then(|| "state 1".into()),
                tokens: TokenCounts {
                    input: 10 * n,
                    output: n,
                },
                at: began_at,
                oldest_kept: None,
                message: lane.messages[0].id,
                speakers: Vec::new(),
            },
            Change::Finish {
                message: lane.messages[0].id,
            },
        ]);
        end(&*store, lane.claim, changes).await;
    }
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let listed = store.sessions(&listing).await.unwrap();
    assert_eq!(listed.rows.len(), 1);
    assert_eq!(
        (listed.rows[0].exchanges, &listed.rows[0].history),
        (30, &None)
    );
    let tokens = listed.rows[0].tokens;
    assert_eq!((tokens.input, tokens.output), (300, 30));
    store.delete_connector_data(&uid).await.unwrap();
    assert!(store.sessions(&listing).await.unwrap().rows.is_empty());
}
