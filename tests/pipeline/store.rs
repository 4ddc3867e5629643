//! The store's promises, on a real file.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::ConnectOptions;
use telegram_connector_operator::clock::{ManualClock, SharedClock};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    self, Change, Claimed, LaneWrite, Listing, Part, Release, Retention, Store, StoreError,
    StoreOptions, Want,
};
use telegram_connector_operator::telegram::RawUpdate;

pub(crate) const BOT: BotId = BotId(8_400_000_001);

pub(crate) fn connector(name: &str) -> ConnectorRef {
    ConnectorRef {
        namespace: "acme".into(),
        name: name.into(),
        uid: ConnectorUid::from(format!("uid-{name}").as_str()),
    }
}

pub(crate) fn update(update_id: i64, chat: i64, date: i64, text: &str) -> RawUpdate {
    let json = serde_json::json!({
        "update_id": update_id,
        "message": {
            "message_id": update_id, "date": date, "text": text,
            "chat": {"id": chat, "type": "private", "first_name": "Ann"},
            "from": {"id": chat, "is_bot": false, "first_name": "Ann", "language_code": "en"},
        },
    });
    RawUpdate {
        update_id,
        json: serde_json::value::to_raw_value(&json).unwrap(),
    }
}

fn part(text: &str) -> Part {
    Part {
        html: None,
        plain: text.into(),
        reply_to: None,
    }
}

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(
                Timestamp::from_second(1_800_000_000).unwrap(),
            )),
        }
    }

    fn address(&self) -> String {
        format!(
            "sqlite:{}/deep/er/connectors.db",
            self.folder.path().display()
        )
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.open_with(|_| {}).await
    }

    async fn open_with(&self, change: impl FnOnce(&mut StoreOptions)) -> Arc<dyn Store> {
        let clock: SharedClock = self.clock.clone();
        let mut options = StoreOptions {
            clock,
            ..StoreOptions::default()
        };
        change(&mut options);
        store::open_with(&self.address(), options).await.unwrap()
    }
}

async fn claim(store: &dyn Store, name: &str, lanes: usize) -> Claimed {
    store
        .claim(vec![Want {
            connector: connector(name),
            bot: BOT,
            lanes,
            history: 25,
        }])
        .await
        .unwrap()
}

fn ids(claimed: &Claimed) -> Vec<Vec<i64>> {
    claimed
        .lanes
        .iter()
        .map(|l| l.messages.iter().map(|m| m.update_id).collect())
        .collect()
}

#[tokio::test]
async fn a_second_delivery_changes_nothing_even_after_the_first_was_handled() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    let batch = || vec![update(1, 7, 100, "one"), update(2, 7, 101, "two")];
    let first = store.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((first.new, first.known), (2, 0));
    let second = store.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((second.new, second.known), (0, 2));
    let claimed = claim(&*store, "a", 10).await;
    assert_eq!(ids(&claimed), [[1, 2]]);
    let lane = &claimed.lanes[0];
    store
        .write(LaneWrite {
            claim: lane.claim,
            changes: lane
                .messages
                .iter()
                .map(|m| Change::Finish { message: m.id })
                .collect(),
            release: Some(Release::Now),
        })
        .await
        .unwrap();
    let third = store.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((third.new, third.known), (0, 2));
    assert!(claim(&*store, "a", 10).await.lanes.is_empty());
}

#[tokio::test]
async fn a_lane_is_in_order_of_date_and_update_id_however_updates_came() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    // After an idle week the next update_id is random: 5 is newer than 900 here.
    store
        .accept(
            &uid,
            BOT,
            vec![
                update(5, 7, 900_000, "newest"),
                update(901, 7, 100, "second"),
                update(900, 7, 100, "first"),
            ],
        )
        .await
        .unwrap();
    assert_eq!(ids(&claim(&*store, "a", 10).await), [[900, 901, 5]]);
}

/// A lane that waits is left alone whatever comes, except for a command that may end what waits.
pub(crate) async fn hurried_by_a_stop(store: &dyn Store) {
    let uid = connector("a").uid;
    let accept = async |update_id, text| {
        let said = vec![update(update_id, 77, 100, text)];
        store.accept(&uid, BOT, said).await.unwrap();
    };
    accept(201, "think").await;
    let claimed = claim(store, "a", 10).await;
    let release = Some(Release::At(Timestamp::from_second(4_000_000_000).unwrap()));
    let write = LaneWrite {
        claim: claimed.lanes[0].claim,
        changes: Vec::new(),
        release,
    };
    assert!(store.write(write).await.unwrap().more_waits);
    accept(202, "and this").await;
    assert!(claim(store, "a", 10).await.lanes.is_empty());
    accept(203, "/stop").await;
    assert_eq!(ids(&claim(store, "a", 10).await), [[201, 202, 203]]);
}

#[tokio::test]
async fn a_stop_hurries_the_lane_that_waits() {
    let place = Place::new();
    hurried_by_a_stop(&*place.open().await).await;
}

#[tokio::test]
async fn identities_expire_by_age_only() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    store
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    let retention = |identities| Retention {
        identities,
        denied: now,
        sessions: now,
    };
    store.prune(retention(now)).await.unwrap();
    let again = store
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    assert_eq!(again.known, 1);
    place.clock.advance_seconds(1);
    let later = Timestamp::from_second(1_800_000_001).unwrap();
    store.prune(retention(later)).await.unwrap();
    let random = store
        .accept(
            &uid,
            BOT,
            vec![update(1, 8, 100, "another update with a random id")],
        )
        .await
        .unwrap();
    assert_eq!(random.new, 1);
}

/// Rows of a table of the file, counted past the store.
async fn rows_in(place: &Place, table: &str) -> i64 {
    let path = place.folder.path().join("deep/er/connectors.db");
    let mut file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap();
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
    count.fetch_one(&mut file).await.unwrap()
}

#[tokio::test]
async fn a_chat_leaves_nothing_behind_when_its_session_and_its_notice_are_too_old() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    let chats = 700;
    let updates = (0..chats)
        .map(|chat| update(chat, 1 + chat, 100, "x"))
        .collect();
    store.accept(&uid, BOT, updates).await.unwrap();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    // All but chat 1 are denied and told so; chat 1 has a session. Chat 2 waits still.
    for lane in claim(&*store, "a", 1000).await.lanes {
        let message = lane.messages[0].id;
        let finish = Change::Finish { message };
        let changes = match lane.key.chat {
            1 => vec![
                Change::BeginSession {
                    number: 1,
                    key: "k".into(),
                    began_at: now,
                },
                finish,
            ],
            2 => vec![],
            _ => vec![
                Change::Reply {
                    message,
                    parts: vec![],
                    unless_noticed_since: Some(now),
                },
                finish,
            ],
        };
        store
            .write(LaneWrite {
                claim: lane.claim,
                changes,
                release: Some(Release::Now),
            })
            .await
            .unwrap();
    }
    assert_eq!(rows_in(&place, "lane").await, chats);
    assert_eq!(rows_in(&place, "notice").await, chats - 2);
    let prune = async |before| {
        let retention = Retention {
            identities: before,
            denied: before,
            sessions: before,
        };
        while store.prune(retention).await.unwrap() {}
    };
    prune(now).await;
    assert_eq!(rows_in(&place, "notice").await, chats - 2);
    assert_eq!(rows_in(&place, "lane").await, 2);
    place.clock.advance_seconds(1);
    prune(Timestamp::from_second(1_800_000_001).unwrap()).await;
    assert_eq!(rows_in(&place, "notice").await, 0);
    assert_eq!(rows_in(&place, "session").await, 0);
    // What waits stays, and a chat that was forgotten is simply new.
    assert_eq!(rows_in(&place, "lane").await, 1);
    store
        .accept(&uid, BOT, vec![update(9000, 1, 200, "again")])
        .await
        .unwrap();
    let mut waiting = ids(&claim(&*store, "a", 10).await);
    waiting.sort();
    assert_eq!(waiting, [[1], [9000]]);
}

#[tokio::test]
async fn a_reply_is_there_after_a_crash_until_each_part_is_recorded() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    store
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    let claimed = claim(&*store, "a", 10).await;
    let lane = &claimed.lanes[0];
    let message = lane.messages[0].id;
    let written = store
        .write(LaneWrite {
            claim: lane.claim,
            changes: vec![
                Change::Reply {
                    message,
                    parts: vec![part("first"), part("second")],
                    unless_noticed_since: None,
                },
                Change::Finish { message },
            ],
            release: None,
        })
        .await
        .unwrap();
    assert!(written.reply_stored);
    store
        .write(LaneWrite {
            claim: lane.claim,
            changes: vec![Change::Sent {
                reply: message,
                number: 0,
            }],
            release: None,
        })
        .await
        .unwrap();
    // The process dies here, without giving anything back.
    drop(store);
    let store = place.open().await;
    store.keep_claims().await.unwrap();
    let claimed = claim(&*store, "a", 10).await;
    let lane = &claimed.lanes[0];
    assert!(lane.messages.is_empty());
    assert_eq!(lane.parts.len(), 1);
    assert_eq!(
        (lane.parts[0].number, &lane.parts[0].part),
        (1, &part("second"))
    );
    let written = store
        .write(LaneWrite {
            claim: lane.claim,
            changes: vec![Change::Sent {
                reply: message,
                number: 1,
            }],
            release: Some(Release::Now),
        })
        .await
        .unwrap();
    assert!(!written.more_waits);
    assert!(claim(&*store, "a", 10).await.lanes.is_empty());
}

#[tokio::test]
async fn a_living_process_keeps_its_claims_and_a_dead_ones_are_taken_over() {
    let place = Place::new();
    let first = place.open().await;
    let second = place.open().await;
    let uid = connector("a").uid;
    first
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    let held = claim(&*first, "a", 10).await.lanes.remove(0);
    second.keep_claims().await.unwrap();
    assert!(claim(&*second, "a", 10).await.lanes.is_empty());
    // It hangs for longer than its lease: the other takes over, and its late write is refused.
    place.clock.advance_seconds(31);
    let waiting = second.keep_claims().await.unwrap();
    assert_eq!(waiting[0].0, uid);
    assert_eq!(claim(&*second, "a", 10).await.lanes.len(), 1);
    let late = first
        .write(LaneWrite {
            claim: held.claim,
            changes: vec![Change::Finish {
                message: held.messages[0].id,
            }],
            release: Some(Release::Now),
        })
        .await;
    assert!(matches!(late, Err(StoreError::ClaimLost)), "{late:?}");
    assert_eq!(store_backlog(&*second).await, 1);
}

async fn store_backlog(store: &dyn Store) -> u64 {
    store
        .backlog()
        .await
        .unwrap()
        .iter()
        .map(|b| b.messages)
        .sum()
}

#[tokio::test]
async fn a_full_backlog_refuses_one_bot_and_no_other() {
    let place = Place::new();
    let store = place.open_with(|o| o.backlog_per_bot = 3).await;
    let uid = connector("a").uid;
    for n in 0..3 {
        store
            .accept(&uid, BOT, vec![update(n, n, 100, "x")])
            .await
            .unwrap();
    }
    let refused = store.accept(&uid, BOT, vec![update(3, 3, 100, "x")]).await;
    assert!(matches!(refused, Err(StoreError::BacklogFull(BOT))));
    let other = BotId(2);
    let accepted = store
        .accept(&connector("b").uid, other, vec![update(3, 3, 100, "x")])
        .await
        .unwrap();
    assert_eq!(accepted.new, 1);
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    store
        .write(LaneWrite {
            claim: lane.claim,
            changes: vec![Change::Finish {
                message: lane.messages[0].id,
            }],
            release: Some(Release::Now),
        })
        .await
        .unwrap();
    store
        .accept(&uid, BOT, vec![update(3, 3, 100, "x")])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_session_carries_its_newest_exchanges_and_ends_with_its_connector() {
    let place = Place::new();
    let store = place.open().await;
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
                at: began_at,
            },
            Change::Finish {
                message: lane.messages[0].id,
            },
        ]);
        store
            .write(LaneWrite {
                claim: lane.claim,
                changes,
                release: Some(Release::Now),
            })
            .await
            .unwrap();
    }
    let listing = Listing {
        limit: 10,
        ..Listing::default()
    };
    let listed = store.sessions(&listing).await.unwrap();
    assert_eq!(listed.rows.len(), 1);
    assert_eq!(
        (listed.rows[0].exchanges, &listed.rows[0].history),
        (30, &None)
    );
    store.forget(&uid).await.unwrap();
    assert!(store.sessions(&listing).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_can_be_retried() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    store
        .accept(
            &uid,
            BOT,
            vec![update(1, 7, 100, "one"), update(2, 7, 100, "two")],
        )
        .await
        .unwrap();
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    store
        .write(LaneWrite {
            claim: lane.claim,
            changes: vec![
                Change::Bury {
                    message: lane.messages[0].id,
                    reason: "no use".into(),
                },
                Change::Reply {
                    message: lane.messages[1].id,
                    parts: vec![part("x")],
                    unless_noticed_since: None,
                },
                Change::Finish {
                    message: lane.messages[1].id,
                },
                Change::EndReply {
                    reply: lane.messages[1].id,
                    bury: Some("gone".into()),
                },
            ],
            release: Some(Release::Now),
        })
        .await
        .unwrap();
    let listing = Listing {
        namespace: Some("acme".into()),
        name: Some("a".into()),
        limit: 10,
        ..Listing::default()
    };
    let dead = store.dead_letters(&listing).await.unwrap().rows;
    let told: Vec<_> = dead
        .iter()
        .map(|d| (d.kind.as_str(), d.update_id, d.reason.as_str()))
        .collect();
    assert_eq!(told, [("message", 1, "no use"), ("reply", 2, "gone")]);
    assert!(claim(&*store, "a", 1).await.lanes.is_empty());
    let ids: Vec<i64> = dead.iter().map(|d| d.id).collect();
    assert_eq!(store.retry_dead_letters(&ids).await.unwrap(), 2);
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    assert_eq!(lane.messages[0].update_id, 1);
    assert_eq!(lane.parts[0].part, part("x"));
    assert!(store.dead_letters(&listing).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_notice_goes_out_once_per_chat_and_hour_even_when_two_topics_ask_at_once() {
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut stored = Vec::new();
    for (n, wait) in [(1, 0), (2, 3599), (3, 1)] {
        place.clock.advance_seconds(wait);
        store
            .accept(&uid, BOT, vec![update(n, 7, 100, "one")])
            .await
            .unwrap();
        let lane = claim(&*store, "a", 1).await.lanes.remove(0);
        let clock: SharedClock = place.clock.clone();
        let since = Timestamp::from_second(clock.now().as_second() - 3600).unwrap();
        assert!(since < now || n == 3);
        let written = store
            .write(LaneWrite {
                claim: lane.claim,
                changes: vec![
                    Change::Reply {
                        message: lane.messages[0].id,
                        parts: vec![part("no")],
                        unless_noticed_since: Some(since),
                    },
                    Change::Finish {
                        message: lane.messages[0].id,
                    },
                    Change::EndReply {
                        reply: lane.messages[0].id,
                        bury: None,
                    },
                ],
                release: Some(Release::Now),
            })
            .await
            .unwrap();
        stored.push(written.reply_stored);
    }
    assert_eq!(stored, [true, false, true]);
}

#[tokio::test]
async fn a_store_address_that_is_no_use_says_what_to_do() {
    for (address, says) in [
        ("sqlite:", "no path"),
        ("sqlite:/proc/nowhere/connectors.db", "/proc/nowhere"),
        ("mysql://root:secret@db/x", "expected sqlite:PATH"),
    ] {
        let error = store::open(address).await.err().unwrap().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let _store = place.open().await;
    let path = place.folder.path().join("deep/er/connectors.db");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn listings_come_as_a_table_and_as_json_lines_page_by_page() {
    use telegram_connector_operator::store::report::{self, Format};
    let place = Place::new();
    let store = place.open().await;
    let uid = connector("a").uid;
    for n in 0..1201 {
        store
            .accept(&uid, BOT, vec![update(n, n, 100, "x")])
            .await
            .unwrap();
    }
    loop {
        let claimed = claim(&*store, "a", 500).await;
        if claimed.lanes.is_empty() {
            break;
        }
        for lane in claimed.lanes {
            store
                .write(LaneWrite {
                    claim: lane.claim,
                    changes: vec![Change::Bury {
                        message: lane.messages[0].id,
                        reason: "no use".into(),
                    }],
                    release: Some(Release::Now),
                })
                .await
                .unwrap();
        }
    }
    let mut json = Vec::new();
    let count = report::dead_letters(&*store, Listing::default(), Format::Json, &mut json)
        .await
        .unwrap();
    assert_eq!(
        (count, json.iter().filter(|b| **b == b'\n').count()),
        (1201, 1201)
    );
    let first: serde_json::Value =
        serde_json::from_slice(json.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!(
        (&first["namespace"], &first["name"]),
        (&"acme".into(), &"a".into())
    );
    let mut table = Vec::new();
    report::dead_letters(&*store, Listing::default(), Format::Table, &mut table)
        .await
        .unwrap();
    let table = String::from_utf8(table).unwrap();
    assert!(table.starts_with("ID "), "{}", &table[..60]);
    let time = table.find("TIME").unwrap();
    // The widths are settled by then; the numbers of the last two hundred are wider.
    let mut lines = table.lines().take(1000);
    assert!(
        lines.all(|line| line.is_char_boundary(time)
            && line[..time].ends_with("   ")
            && !line[time..].starts_with(' ')),
        "askew:\n{}",
        &table[..400]
    );
    let retried = report::retry_all(&*store, Listing::default())
        .await
        .unwrap();
    assert_eq!(retried, 1201);
    assert_eq!(store_backlog(&*store).await, 1201);
}
