//! What is removed when it is too old, and what stays.

use jiff::Timestamp;
use sqlx::ConnectOptions;
use telegram_connector_operator::store::{Change, Notice, NoticeKind, Retention};

use super::{BOT, StoreFixture, claim, connector, end, ids, retention_since, update};

#[tokio::test]
async fn identities_expire_by_age_only() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let uid = connector("a").uid;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    store
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    let retention = |identities| Retention {
        identities,
        ..retention_since(now)
    };
    store.prune(retention(now)).await.unwrap();
    let again = store
        .accept(&uid, BOT, vec![update(1, 7, 100, "one")])
        .await
        .unwrap();
    assert_eq!(again.known, 1);
    fixture.clock.advance_seconds(1);
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
async fn rows_in(fixture: &StoreFixture, table: &str) -> i64 {
    let path = fixture.folder.path().join("deep/er/connectors.db");
    let mut file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap();
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
    count.fetch_one(&mut file).await.unwrap()
}

#[tokio::test]
async fn chat_with_expired_session_and_notice_is_pruned() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
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
                    notice: Some(Notice {
                        kind: NoticeKind::Denial,
                        since: now,
                    }),
                },
                finish,
            ],
        };
        end(&*store, lane.claim, changes).await;
    }
    assert_eq!(rows_in(&fixture, "lane").await, chats);
    assert_eq!(rows_in(&fixture, "notice").await, chats - 2);
    let prune = async |before| {
        let retention = retention_since(before);
        while store.prune(retention).await.unwrap() {}
    };
    prune(now).await;
    assert_eq!(rows_in(&fixture, "notice").await, chats - 2);
    assert_eq!(rows_in(&fixture, "lane").await, 2);
    fixture.clock.advance_seconds(1);
    prune(Timestamp::from_second(1_800_000_001).unwrap()).await;
    assert_eq!(rows_in(&fixture, "notice").await, 0);
    assert_eq!(rows_in(&fixture, "session").await, 0);
    // What waits stays, and a chat that was forgotten is simply new.
    assert_eq!(rows_in(&fixture, "lane").await, 1);
    store
        .accept(&uid, BOT, vec![update(9000, 1, 200, "again")])
        .await
        .unwrap();
    let mut waiting = ids(&claim(&*store, "a", 10).await);
    waiting.sort();
    assert_eq!(waiting, [[1], [9000]]);
}
