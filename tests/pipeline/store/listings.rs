//! What is listed, and put back.

use telegram_connector_operator::store::report::{self, Format};
use telegram_connector_operator::store::{Change, ListingQuery};

use super::{BOT, StoreFixture, claim, connector, end, part, store_backlog, update};

#[tokio::test]
async fn dead_letter_is_listed_and_retried() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
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
    end(
        &*store,
        lane.claim,
        vec![
            Change::DeadLetter {
                message: lane.messages[0].id,
                reason: "no use".into(),
            },
            Change::Reply {
                message: lane.messages[1].id,
                parts: vec![part("x")],
                notice: None,
            },
            Change::Finish {
                message: lane.messages[1].id,
            },
            Change::EndReply {
                reply: lane.messages[1].id,
                dead_letter_reason: Some("gone".into()),
            },
        ],
    )
    .await;
    let listing = ListingQuery {
        namespace: Some("acme".into()),
        name: Some("a".into()),
        limit: 10,
        ..ListingQuery::default()
    };
    let dead = store.dead_letters(&listing).await.unwrap().rows;
    let listed: Vec<_> = dead
        .iter()
        .map(|d| (d.kind.as_str(), d.update_id, d.reason.as_str()))
        .collect();
    assert_eq!(listed, [("message", 1, "no use"), ("reply", 2, "gone")]);
    assert!(claim(&*store, "a", 1).await.lanes.is_empty());
    let ids: Vec<i64> = dead.iter().map(|d| d.id).collect();
    assert_eq!(store.retry_dead_letters(&ids).await.unwrap(), 2);
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    assert_eq!(lane.messages[0].update_id, 1);
    assert_eq!(lane.parts[0].part, part("x"));
    assert!(store.dead_letters(&listing).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn listings_are_paged_as_table_and_json_lines() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
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
            end(
                &*store,
                lane.claim,
                vec![Change::DeadLetter {
                    message: lane.messages[0].id,
                    reason: "no use".into(),
                }],
            )
            .await;
        }
    }
    let mut json = Vec::new();
    let count = report::dead_letters(&*store, ListingQuery::default(), Format::Json, &mut json)
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
    report::dead_letters(&*store, ListingQuery::default(), Format::Table, &mut table)
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
    let retried = report::retry_all(&*store, ListingQuery::default())
        .await
        .unwrap();
    assert_eq!(retried, 1201);
    assert_eq!(store_backlog(&*store).await, 1201);
}
