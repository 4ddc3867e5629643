//! What stands in the tables, read beside the store: whatever tables and columns there are.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row};

/// Columns that say when a row was changed or what waits in it.
const COUNTS: [&str; 5] = ["revision", "ready_at", "open_decisions", "owner", "erased"];

/// Every row of every table, as a text with all its columns.
pub(crate) async fn dump(address: &str) -> Vec<String> {
    rows(address, |_| Some(String::new())).await
}

/// Runs a statement that both databases understand. Returns how many rows it changed.
pub(crate) async fn execute(address: &str, statement: String) -> u64 {
    if let Some(path) = address.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut db = options.connect().await.unwrap();
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut db).await;
        let changed = done.unwrap().rows_affected();
        db.close().await.unwrap();
        changed
    } else {
        let options: sqlx::postgres::PgConnectOptions = address.parse().unwrap();
        let mut db = options.connect().await.unwrap();
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut db).await;
        done.unwrap().rows_affected()
    }
}

/// The rows that belong to a connector, and those that belong to nobody because their lane is gone.
pub(crate) async fn rows_of_connector(address: &str, uid: &str) -> Vec<String> {
    let of = format!("(SELECT id FROM connector WHERE uid = '{uid}')");
    rows(address, |columns| {
        let has = |name: &str| columns.iter().any(|column| column == name);
        match (has("connector"), has("lane")) {
            (true, _) => Some(format!(
                "WHERE CAST(connector AS TEXT) IN (CAST({of} AS TEXT), '{uid}')"
            )),
            (false, true) => Some(format!(
                "WHERE lane IN (SELECT id FROM lane WHERE connector = {of}) OR lane NOT IN (SELECT id FROM lane)"
            )),
            (false, false) => None,
        }
    })
    .await
}

/// Rows of the tables for whose columns `condition` gives one.
async fn rows(address: &str, condition: impl Fn(&[String]) -> Option<String>) -> Vec<String> {
    if let Some(path) = address.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut db = options.connect().await.unwrap();
        let columns = "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY m.name, p.cid";
        let columns = sqlx::query_as(columns).fetch_all(&mut db).await.unwrap();
        let mut rows = Vec::new();
        for statement in statements(columns, condition, |c| {
            format!(
                "coalesce(CASE typeof({c}) WHEN 'blob' THEN hex({c}) ELSE CAST({c} AS TEXT) END, '')"
            )
        }) {
            let found = sqlx::query(AssertSqlSafe(statement));
            let found = found.fetch_all(&mut db).await.unwrap();
            rows.extend(found.iter().map(|row| row.get::<String, _>(0)));
        }
        db.close().await.unwrap();
        rows
    } else {
        let options: sqlx::postgres::PgConnectOptions = address.parse().unwrap();
        let mut db = options.connect().await.unwrap();
        let columns = "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";
        let columns = sqlx::query_as(columns).fetch_all(&mut db).await.unwrap();
        let mut rows = Vec::new();
        for statement in statements(columns, condition, |c| format!("coalesce({c}::text, '')")) {
            let found = sqlx::query(AssertSqlSafe(statement));
            let found = found.fetch_all(&mut db).await.unwrap();
            rows.extend(found.iter().map(|row| row.get::<String, _>(0)));
        }
        db.close().await.unwrap();
        rows
    }
}

/// One for each table: its name and its columns.
fn statements(
    columns: Vec<(String, String)>,
    condition: impl Fn(&[String]) -> Option<String>,
    text: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column) in columns {
        tables.entry(table).or_default().push(column);
    }
    let statement = |(table, columns): (&String, &Vec<String>)| {
        let condition = condition(columns)?;
        let shown = columns.iter().filter(|c| !COUNTS.contains(&c.as_str()));
        let texts: Vec<String> = shown.map(|c| text(c)).collect();
        let texts = texts.join(" || '|' || ");
        Some(format!(
            "SELECT '{table}: ' || {texts} FROM {table} {condition} ORDER BY 1"
        ))
    };
    tables.iter().filter_map(statement).collect()
}
