//! The store on a real `PostgreSQL`, started for these tests: the same promises as in a file, for several replicas.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::ConnectOptions;
use telegram_connector_operator::identity::BotId;
use telegram_connector_operator::store::{
    self, Change, LaneWrite, ListingQuery, Notice, NoticeKind, Release, Store, StoreError,
    StoreOptions, TokenCounts,
};

pub(crate) use crate::postgres_server::Postgres;
use crate::store::{BOT, connector, end, part, read_along, retention_since, update, uploads};
use crate::test_env::{TIMEOUT, TestEnv, wait_until};

async fn claim(store: &dyn Store, lanes: usize) -> Vec<store::ClaimedLane> {
    crate::store::claim(store, "a", lanes).await.lanes
}

#[tokio::test]
async fn postgres_read_along_is_bounded_and_ends() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    read_along::read_along_is_bounded_and_ends(&*store).await;
}

#[tokio::test]
async fn postgres_store_claims_and_lists() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let first = store::open(&postgres.address()).await.unwrap();
    let second = store::open(&postgres.address()).await.unwrap();
    let uid = connector("a").uid;
    let batch = || {
        vec![
            update(2, 7, 100, "two"),
            update(1, 7, 100, "o\0ne"),
            update(3, 8, 100, "x"),
        ]
    };
    assert_eq!(first.accept(&uid, BOT, batch()).await.unwrap().new, 3);
    let again = second.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((again.new, again.known), (0, 3));
    // One lane each, and none twice.
    let mut ours = claim(&*first, 1).await;
    let theirs = claim(&*second, 10).await;
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert_ne!(ours[0].key, theirs[0].key);
    assert!(claim(&*first, 10).await.is_empty());
    let mut theirs = theirs;
    let (lane, mine, other) = if ours[0].key.chat == 7 {
        (ours.remove(0), &first, &second)
    } else {
        (theirs.remove(0), &second, &first)
    };
    let ids: Vec<_> = lane.messages.iter().map(|m| m.update_id).collect();
    assert_eq!(ids, [1, 2]);
    let message = lane.messages[0].id;
    let at = Timestamp::from_second(100).unwrap();
    let written = mine
        .write(
            LaneWrite {
                claim: lane.claim,
                changes: vec![
                    Change::BeginSession {
                        number: 1,
                        key: "key".into(),
                        began_at: at,
                    },
                    Change::Exchange {
                        session: 1,
                        number: 1,
                        asked: Some("q\0".into()),
                        answered: Some("a".into()),
                        state: Some("state".into()),
                        tokens: TokenCounts {
                            input: i64::MAX,
                            output: 20,
                        },
                        at,
                        oldest_kept: None,
                        message,
                        speakers: Vec::new(),
                    },
                    Change::Reply {
                        message,
                        parts: vec![part("one"), part("two")],
                        notice: None,
                    },
                    Change::Finish { message },
                ],
                release: None,
            }
            .into(),
        )
        .await
        .unwrap();
    assert!(written.reply_stored);
    let written = end(
        &**mine,
        lane.claim,
        vec![
            Change::Sent {
                reply: message,
                number: 0,
                message_id: None,
            },
            Change::SendAttempted {
                reply: message,
                number: 1,
                ambiguous: true,
            },
        ],
    )
    .await;
    assert!(written.more_waits);
    let late = mine
        .write(
            LaneWrite {
                claim: store::Claim {
                    owner: 999,
                    ..lane.claim
                },
                changes: vec![],
                release: Some(Release::Now),
            }
            .into(),
        )
        .await;
    assert!(matches!(late, Err(StoreError::ClaimLost)));
    let lane = claim(&**other, 10).await.remove(0);
    assert_eq!(
        (
            lane.parts.len(),
            lane.parts[0].ambiguous,
            lane.parts[0].attempts
        ),
        (1, true, 1)
    );
    let session = lane.session.clone().unwrap();
    assert_eq!(
        (session.state.as_deref(), session.history.len()),
        (Some("state"), 2)
    );
    end(
        &**other,
        lane.claim,
        vec![
            Change::EndReply {
                reply: message,
                dead_letter_reason: Some("gone".into()),
            },
            Change::DeadLetter {
                message: lane.messages[0].id,
                reason: "no use".into(),
            },
            Change::EndSession,
        ],
    )
    .await;
    let all = ListingQuery {
        limit: 10,
        texts: true,
        ..ListingQuery::default()
    };
    let dead = first.dead_letters(&all).await.unwrap().rows;
    assert_eq!(dead.len(), 2);
    let listed = first.sessions(&all).await.unwrap().rows.remove(0);
    assert_eq!(listed.exchanges, 1);
    for tokens in [listed.tokens, session.tokens] {
        assert_eq!((tokens.input, tokens.output), (i64::MAX, 20));
    }
    let ids: Vec<_> = dead.iter().map(|d| d.id).collect();
    assert_eq!(second.retry_dead_letters(&ids).await.unwrap(), 2);
    assert_eq!(first.backlog().await.unwrap()[0].messages, 2);
    first.ready_now(&uid).await.unwrap();
    first.keep_claims().await.unwrap();
    first.writable().await.unwrap();
    let now = Timestamp::now();
    first.prune(retention_since(now)).await.unwrap();
    first
        .dead_letter_other_bots(&uid, BotId(1), now)
        .await
        .unwrap();
    first.delete_connector_data(&uid).await.unwrap();
    assert!(first.sessions(&all).await.unwrap().rows.is_empty());
    first.release_claims().await.unwrap();
}

#[tokio::test]
async fn stop_command_wakes_a_waiting_lane_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::check_stop_makes_waiting_lane_ready(&*store).await;
}

#[tokio::test]
async fn refused_rich_message_becomes_its_texts_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::rich::check_refused_rich_message_becomes_its_texts(&*store).await;
}

#[tokio::test]
async fn parked_claim_takes_the_next_message_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::check_parked_claim_takes_the_next_message(&*store).await;
}

#[tokio::test]
async fn tap_waits_behind_what_came_before_it_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::check_tap_waits_behind_what_came_before_it(&*store).await;
}

#[tokio::test]
async fn file_is_stored_until_its_part_ends_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    uploads::check_file_is_stored_until_its_part_ends(&*store).await;
}

#[tokio::test]
async fn files_have_room_by_connector_and_in_all_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let options = StoreOptions {
        upload_bytes: uploads::ROOM,
        ..StoreOptions::default()
    };
    let store = store::open_with(&postgres.address(), options)
        .await
        .unwrap();
    uploads::check_files_have_room_by_connector_and_in_all(&*store).await;
}

#[tokio::test]
async fn postgres_reads_of_a_backlog_what_a_claim_brings() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    let updates = (0..2000).map(|id| update(id, 1 + id % 20, 100, "x"));
    store
        .accept(&connector("a").uid, BOT, updates.collect())
        .await
        .unwrap();
    let lanes = claim(&*store, 20).await;
    assert!(lanes.iter().all(|lane| lane.messages.len() == 16));
    let lanes: Vec<_> = lanes.iter().map(|lane| lane.claim.lane).collect();
    let newest = store.waiting_messages(&lanes).await.unwrap();
    assert_eq!(newest.len(), 20);
    assert!(newest.iter().all(|(_, messages)| messages.len() == 16));
    drop(store);
    // A connection that ends has reported what it did.
    wait_until("the store's connections have ended", async || {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'telegram-connector-operator'";
        let mut db = postgres.connect().await;
        let open: i64 = sqlx::query_scalar(open).fetch_one(&mut db).await.unwrap();
        open == 0
    })
    .await;
    let searches = "SELECT sum(idx_scan)::bigint FROM pg_stat_user_indexes WHERE relname = 'inbox'";
    let mut db = postgres.connect().await;
    let searches: i64 = sqlx::query_scalar(searches)
        .fetch_one(&mut db)
        .await
        .unwrap();
    // One per lane and read, and few for other ends: not one per lane and waiting message.
    assert!(
        searches <= 100,
        "{searches} searches in the inbox's indexes"
    );
}

#[tokio::test]
async fn postgres_prunes_chats_with_expired_sessions() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    let uid = connector("a").uid;
    let updates = (0..9)
        .map(|chat| update(chat, 1 + chat, 100, "x"))
        .collect();
    store.accept(&uid, BOT, updates).await.unwrap();
    let began = Timestamp::now();
    // Chat 1 waits still; the others are denied and told so, and have a session for all that.
    for lane in claim(&*store, 100).await {
        let message = lane.messages[0].id;
        let changes = vec![
            Change::BeginSession {
                number: 1,
                key: "k".into(),
                began_at: began,
            },
            Change::Reply {
                message,
                parts: vec![],
                notice: Some(Notice {
                    kind: NoticeKind::Denial,
                    since: began,
                }),
            },
            Change::Finish { message },
        ];
        end(
            &*store,
            lane.claim,
            if lane.key.chat == 1 { vec![] } else { changes },
        )
        .await;
    }
    let rows = async |table: &str| -> i64 {
        let mut db = sqlx::postgres::PgConnectOptions::from_str(&postgres.address())
            .unwrap()
            .connect()
            .await
            .unwrap();
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&mut db)
            .await
            .unwrap()
    };
    let prune = async |before| {
        let retention = retention_since(before);
        while store.prune(retention).await.unwrap() {}
    };
    prune(began).await;
    assert_eq!((rows("lane").await, rows("notice").await), (9, 8));
    prune(
        Timestamp::now()
            .checked_add(Duration::from_secs(1))
            .unwrap(),
    )
    .await;
    assert_eq!((rows("lane").await, rows("notice").await), (1, 0));
    assert_eq!(claim(&*store, 100).await[0].key.chat, 1);
}

#[tokio::test]
async fn lanes_of_a_dead_replica_are_claimed_after_its_lease() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let options = || StoreOptions {
        lease: Duration::from_millis(300),
        ..StoreOptions::default()
    };
    let dead = store::open_with(&postgres.address(), options())
        .await
        .unwrap();
    let alive = store::open_with(&postgres.address(), options())
        .await
        .unwrap();
    let uid = connector("a").uid;
    dead.accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    let held = claim(&*dead, 1).await.remove(0);
    assert!(claim(&*alive, 1).await.is_empty());
    wait_until("the lease has ended", async || {
        alive.keep_claims().await.unwrap();
        !claim(&*alive, 1).await.is_empty()
    })
    .await;
    let late = dead
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
}

#[tokio::test]
async fn two_postgres_replicas_answer_once_and_in_order() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let env = TestEnv::on(&postgres.address()).await;
    crate::concurrency::answered_once_and_in_order(env, 3000..3010).await;
}

#[tokio::test]
async fn stop_command_ends_an_answer_of_another_replica() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    crate::concurrency::stop_command_reaches_the_other_process(
        TestEnv::on(&postgres.address()).await,
    )
    .await;
}

#[tokio::test]
async fn decision_is_taken_once_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::user_decisions::check_decision_is_taken_once(&*store).await;
}

#[tokio::test]
async fn decision_expires_with_what_follows_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::user_decisions::check_decision_expires_with_what_follows(&*store).await;
}

#[tokio::test]
async fn withdrawn_decision_has_no_consequence_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::user_decisions::check_withdrawn_decision_has_no_consequence(&*store).await;
}

#[tokio::test]
async fn decision_is_shown_in_another_chat_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::user_decisions::check_decision_is_shown_in_another_chat(&*store).await;
}

#[tokio::test]
async fn decisions_go_with_their_connector_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    crate::store::user_decisions::check_decisions_go_with_their_connector(&*store).await;
}

#[tokio::test]
async fn postgres_that_stops_answering_is_given_up_and_found_again() {
    let Some(mut postgres) = Postgres::start().await else {
        return;
    };
    let options = StoreOptions {
        answer_timeout: Duration::from_millis(200),
        ..StoreOptions::default()
    };
    let store = store::open_with(&postgres.address(), options)
        .await
        .unwrap();
    let uid = connector("a").uid;
    let accept = |n| {
        let batch = vec![update(n, 7, 100, "x")];
        tokio::time::timeout(TIMEOUT, store.accept(&uid, BOT, batch))
    };
    assert_eq!(accept(1).await.unwrap().unwrap().new, 1);
    postgres.freeze();
    for _ in 0..2 {
        let refused = accept(2).await.expect("it does not wait for ever");
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("does not answer"), "{error}");
    }
    postgres.thaw();
    wait_until("it is found again", async || {
        accept(2).await.unwrap().is_ok()
    })
    .await;
    let waiting: u64 = store
        .backlog()
        .await
        .unwrap()
        .iter()
        .map(|b| b.messages)
        .sum();
    assert_eq!(waiting, 2);
}
