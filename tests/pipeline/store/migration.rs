//! What a store of the version before holds is kept where it is known whose it is.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{ConnectOptions, SqlSafeStr};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    self, ClaimRequest, ListingQuery, ObjectKind, ObjectQuery, ReplyPart, Store,
};

use crate::postgres::Postgres;

/// Bot 1 is the connector `alone`'s; bot 2 was `first`'s and is `second`'s.
const ROWS: &str = "
INSERT INTO connector (id, uid, namespace, name) VALUES (1, 'alone', 'acme', 'alone'), (2, 'first', 'acme', 'first'), (3, 'second', 'acme', 'second');
INSERT INTO lane (id, bot, chat, topic, connector, ready_at, session, sessions) VALUES
  (1, 1, 7, 0, 1, 0, 1, 1), (2, 2, 7, 0, 2, NULL, 1, 1), (3, 2, 8, 0, 3, 0, 1, 1);
INSERT INTO inbox (lane, update_id, date, received_at, body) VALUES (1, 1, 1, 1, '{\"update_id\":1}'), (3, 2, 1, 1, '{\"update_id\":2,\"message\":{\"text\":\"\",\"from\":{\"id\":88}}}');
INSERT INTO session (lane, number, key, began_at, last_at, exchanges) VALUES (1, 1, 'k1', 1, 1, 1), (2, 1, 'k2', 1, 1, 1), (3, 1, 'k3', 1, 1, 1);
INSERT INTO exchange (lane, session, number, asked, answered) VALUES (1, 1, 1, 'q1', 'a1'), (2, 1, 1, 'q2', 'a2'), (3, 1, 1, 'q3', 'a3');
INSERT INTO denied (at, stored_at, namespace, name, message) VALUES
  (1, 1, 'acme', 'alone', '{\"time\":\"1970-01-01T00:00:00Z\",\"namespace\":\"acme\",\"name\":\"alone\",\"bot\":1,\"updateId\":9,\"chat\":7,\"userId\":66,\"username\":null,\"userName\":null,\"language\":null,\"text\":\"hi\",\"content\":\"text\",\"level\":\"Specific\"}');
";

fn version_before(files: &[&'static str]) -> Migrator {
    let migrations = (1..).zip(files).map(|(version, sql)| {
        // The names that the migrations have.
        let name = ["lanes", "owners", "chats", "session_tokens", "shards"][version - 1].into();
        let version = i64::try_from(version).unwrap();
        Migration::new(
            version,
            name,
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

async fn check_migrated(address: &str) {
    let store = store::open(address).await.unwrap();
    let claim = async |name: &str, bot| {
        let connector = ConnectorRef {
            namespace: "acme".into(),
            name: name.into(),
            uid: ConnectorUid::from(name),
        };
        let bot = BotId(bot);
        let request = ClaimRequest {
            connector,
            bot,
            lanes: 10,
            history: 10,
        };
        store.claim(vec![request]).await.unwrap().lanes
    };
    let alone = claim("alone", 1).await;
    assert_eq!(alone[0].messages[0].update_id, 1);
    assert_eq!(alone[0].session.as_ref().unwrap().history[0].text, "q1");
    let listing = |name: &str| ListingQuery {
        namespace: Some("acme".into()),
        name: Some(name.into()),
        texts: true,
        limit: 10,
        ..ListingQuery::default()
    };
    assert_eq!(store.denied(&listing("alone")).await.unwrap().rows.len(), 1);
    for name in ["first", "second"] {
        assert!(claim(name, 2).await.is_empty());
        assert!(
            store
                .sessions(&listing(name))
                .await
                .unwrap()
                .rows
                .is_empty()
        );
    }
    let dead_letters = store.dead_letters(&listing("second")).await.unwrap().rows;
    assert_eq!(dead_letters[0].update_id, 2);
    assert!(
        dead_letters[0].reason.contains("which connector"),
        "{dead_letters:?}"
    );
    check_owners(&*store).await;
}

/// Whose objects are is read from what was stored of them.
async fn check_owners(store: &dyn Store) {
    let names = [
        (ObjectKind::DeniedMessage, 66, 7),
        (ObjectKind::Conversation, 7, 7),
        (ObjectKind::DeadLetter, 88, 8),
    ];
    for (kind, user, chat) in names {
        let query = ObjectQuery {
            namespace: Some("acme".into()),
            user: Some(user),
            chat: Some(chat),
            ..ObjectQuery::all(kind)
        };
        let found = store.list_objects(&query, None, 10).await.unwrap();
        assert_eq!(found.objects.len(), 1, "{query:?}");
        let revision = found.objects[0].revision;
        assert!(revision > 0 && revision <= found.revision, "{found:?}");
    }
}

#[tokio::test]
async fn store_of_the_version_before_keeps_what_is_known_to_be_whose_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connectors.db");
    let mut db = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    let lanes = include_str!("../../../src/store/sqlite/migrations/0001_lanes.sql");
    version_before(&[lanes]).run(&mut db).await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut db).await.unwrap();
    sqlx::Connection::close(db).await.unwrap();
    check_migrated(&format!("sqlite:{}", file.display())).await;
}

#[tokio::test]
async fn store_of_the_version_before_keeps_what_is_known_to_be_whose_on_postgres() {
    let Some(postgres) = Postgres::start_empty().await else {
        return;
    };
    let options: sqlx::postgres::PgConnectOptions = postgres.address().parse().unwrap();
    let mut db = options.connect().await.unwrap();
    let lanes = include_str!("../../../src/store/postgres/migrations/0001_lanes.sql");
    version_before(&[lanes]).run(&mut db).await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut db).await.unwrap();
    check_migrated(&postgres.address()).await;
}

/// What the version before the sums of tokens writes of a session, beside this one.
const SESSION_BEFORE_TOKENS: &str = "
INSERT INTO connector (id, uid, namespace, name) VALUES (1, 'alone', 'acme', 'alone');
INSERT INTO lane (id, bot, chat, topic, connector, ready_at, session, sessions) VALUES (1, 1, 7, 0, 1, 0, 1, 1);
INSERT INTO session (lane, number, key, began_at, last_at) VALUES (1, 1, 'k1', 1, 1);
UPDATE session SET exchanges = 3, last_at = 5, state = coalesce(NULL, state) WHERE lane = 1 AND number = 1;
";
/// It begins another session and goes on with one that has tokens.
const SESSIONS_BESIDE_TOKENS: &str = "
UPDATE session SET input_tokens = 7, output_tokens = 8 WHERE lane = 1 AND number = 1;
UPDATE session SET exchanges = 4, last_at = 6, state = coalesce(NULL, state) WHERE lane = 1 AND number = 1;
INSERT INTO session (lane, number, key, began_at, last_at) VALUES (1, 2, 'k2', 1, 1);
";

async fn listed_tokens(address: &str) -> Vec<(i64, i64, i64)> {
    let store = store::open(address).await.unwrap();
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let sessions = store.sessions(&listing).await.unwrap().rows;
    let tokens = sessions
        .iter()
        .map(|s| (s.exchanges, s.tokens.input, s.tokens.output));
    tokens.collect()
}

#[tokio::test]
async fn sums_of_tokens_begin_at_zero_and_stay_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connectors.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let files = [
        include_str!("../../../src/store/sqlite/migrations/0001_lanes.sql"),
        include_str!("../../../src/store/sqlite/migrations/0002_owners.sql"),
        include_str!("../../../src/store/sqlite/migrations/0003_chats.sql"),
    ];
    let mut db = options.connect().await.unwrap();
    version_before(&files).run(&mut db).await.unwrap();
    sqlx::raw_sql(SESSION_BEFORE_TOKENS)
        .execute(&mut db)
        .await
        .unwrap();
    let address = format!("sqlite:{}", file.display());
    assert_eq!(listed_tokens(&address).await, [(3, 0, 0)]);
    sqlx::raw_sql(SESSIONS_BESIDE_TOKENS)
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(listed_tokens(&address).await, [(4, 7, 8), (0, 0, 0)]);
}

#[tokio::test]
async fn sums_of_tokens_begin_at_zero_and_stay_on_postgres() {
    let Some(postgres) = Postgres::start_empty().await else {
        return;
    };
    let options: sqlx::postgres::PgConnectOptions = postgres.address().parse().unwrap();
    let files = [
        include_str!("../../../src/store/postgres/migrations/0001_lanes.sql"),
        include_str!("../../../src/store/postgres/migrations/0002_owners.sql"),
        include_str!("../../../src/store/postgres/migrations/0003_chats.sql"),
    ];
    let mut db = options.connect().await.unwrap();
    version_before(&files).run(&mut db).await.unwrap();
    sqlx::raw_sql(SESSION_BEFORE_TOKENS)
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(listed_tokens(&postgres.address()).await, [(3, 0, 0)]);
    sqlx::raw_sql(SESSIONS_BESIDE_TOKENS)
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(
        listed_tokens(&postgres.address()).await,
        [(4, 7, 8), (0, 0, 0)]
    );
}

/// A part as the versions before files stored it, of a message that is handled.
const PART_BEFORE_FILES: &str = "
INSERT INTO connector (id, uid, namespace, name) VALUES (1, 'alone', 'acme', 'alone');
INSERT INTO lane (id, bot, chat, topic, connector, ready_at) VALUES (1, 1, 7, 0, 1, 0);
INSERT INTO outbox (lane, reply, number, update_id, stored_at, part) VALUES
  (1, 5, 0, 9, 1, '{\"html\":\"<b>a</b>\",\"plain\":\"a\",\"reply_to\":3}'), (1, 5, 1, 9, 1, '{\"html\":null,\"plain\":\"b\",\"reply_to\":null}');
";

async fn check_parts_are_kept(address: &str) {
    let store = store::open(address).await.unwrap();
    let request = ClaimRequest {
        connector: ConnectorRef {
            namespace: "acme".into(),
            name: "alone".into(),
            uid: ConnectorUid::from("alone"),
        },
        bot: BotId(1),
        lanes: 10,
        history: 0,
    };
    let lane = store.claim(vec![request]).await.unwrap().lanes.remove(0);
    let parts: Vec<_> = lane.parts.into_iter().map(|waiting| waiting.part).collect();
    let expected = [
        ReplyPart::text(Some("<b>a</b>".into()), "a".into(), Some(3)),
        ReplyPart::text(None, "b".into(), None),
    ];
    assert_eq!(parts, expected);
}

#[tokio::test]
async fn parts_of_the_version_before_files_are_kept_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connectors.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let files = [
        include_str!("../../../src/store/sqlite/migrations/0001_lanes.sql"),
        include_str!("../../../src/store/sqlite/migrations/0002_owners.sql"),
        include_str!("../../../src/store/sqlite/migrations/0003_chats.sql"),
        include_str!("../../../src/store/sqlite/migrations/0004_session_tokens.sql"),
    ];
    let mut db = options.connect().await.unwrap();
    version_before(&files).run(&mut db).await.unwrap();
    sqlx::raw_sql(PART_BEFORE_FILES)
        .execute(&mut db)
        .await
        .unwrap();
    sqlx::Connection::close(db).await.unwrap();
    check_parts_are_kept(&format!("sqlite:{}", file.display())).await;
}

#[tokio::test]
async fn parts_of_the_version_before_files_are_kept_on_postgres() {
    let Some(postgres) = Postgres::start_empty().await else {
        return;
    };
    let options: sqlx::postgres::PgConnectOptions = postgres.address().parse().unwrap();
    let files = [
        include_str!("../../../src/store/postgres/migrations/0001_lanes.sql"),
        include_str!("../../../src/store/postgres/migrations/0002_owners.sql"),
        include_str!("../../../src/store/postgres/migrations/0003_chats.sql"),
        include_str!("../../../src/store/postgres/migrations/0004_session_tokens.sql"),
        include_str!("../../../src/store/postgres/migrations/0005_shards.sql"),
    ];
    let mut db = options.connect().await.unwrap();
    version_before(&files).run(&mut db).await.unwrap();
    sqlx::raw_sql(PART_BEFORE_FILES)
        .execute(&mut db)
        .await
        .unwrap();
    check_parts_are_kept(&postgres.address()).await;
}
