//! Requests for access and grants: who asks, who decides, what follows, and who is let in.

mod fixture;

use std::sync::Arc;
use std::time::Duration;

use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::pipeline::send_message;
use telegram_connector_operator::registry::GroupPolicy;
use telegram_connector_operator::store::{
    AccessVerdict, DecideOutcome, GrantSource, ObjectKind, RequestPhase, sqlite_path,
};

pub(crate) use self::fixture::{BEN, Fixture};
use crate::outgoing::request;
use crate::postgres_server::Postgres;
use crate::stop_command::Endless;
use crate::test_env::{ANN, EVE, TIMEOUT, TestEnv, specific_users};

async fn check_whole_way(env: TestEnv) {
    let mut fixture = Fixture::with(env, |_| {}).await;
    let notice = fixture.asked().await;
    let shown = format!("ID: {EVE}\nAccess level: Specific\nConnector: acme/support");
    assert!(notice.text.contains(&shown), "{notice:?}");
    let sent = fixture.sent(EVE, 1).await;
    assert!(sent[1].text.starts_with("I have passed"), "{sent:?}");
    // A restart in between changes nothing.
    fixture.env.wait_until_recorded().await;
    fixture.env.restart(Duration::ZERO).await;
    fixture.tap(&notice, BEN, &Fixture::button(&notice, "Allow for 30 days"));
    let sent = fixture.sent(EVE, 2).await;
    assert!(
        sent[2].text.starts_with("You have access until 20"),
        "{sent:?}"
    );
    let shown = fixture.decided(&notice).await;
    assert!(shown.text.contains("✓ ") && shown.text.contains("(1002): allowed until 20"));
    assert!(fixture.questions().await.is_empty());
    let grants = fixture.grants().await;
    assert_eq!((grants.len(), grants[0].user), (1, EVE));
    assert_eq!(grants[0].source, GrantSource::Request);
    let lasts = grants[0].until.unwrap().duration_since(grants[0].since);
    assert!((29 * 24..=30 * 24).contains(&lasts.as_hours()), "{lasts:?}");
    fixture.say("hello");
    fixture.sent(EVE, 3).await;
    assert_eq!(fixture.questions().await.len(), 1);
    // The end of the grant is the end of the access.
    let keys = vec![grants[0].key()];
    let store = &fixture.env.store;
    store
        .delete_objects(ObjectKind::AccessGrant, "acme", keys)
        .await
        .unwrap();
    fixture.say("hello again");
    assert!(fixture.questions().await.is_empty());
    let metrics = fixture.env.metrics.encode();
    for outcome in ["asked", "allowed"] {
        let counted = format!("access_requests_total{{outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[tokio::test]
async fn asker_is_let_in_until_the_grant_ends_on_sqlite() {
    check_whole_way(TestEnv::new().await).await;
}

#[tokio::test]
async fn asker_is_let_in_until_the_grant_ends_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_whole_way(TestEnv::on(&postgres.address()).await).await;
}

#[tokio::test]
async fn approver_taken_out_before_the_tap_is_not_named() {
    let fixture = Fixture::new().await;
    let notice = fixture.asked().await;
    let allow = Fixture::button(&notice, "Allow");
    fixture.env.update_connector(&fixture.support, |connector| {
        connector.requests.as_mut().unwrap().approvers = specific_users(&[ANN]);
    });
    fixture.tap(&notice, BEN, &allow);
    let notices = fixture.notices(2).await;
    assert_eq!(notices[1], "This question is for somebody else.");
    assert_eq!(fixture.requests().await[0].phase, RequestPhase::Waiting);
    assert!(fixture.grants().await.is_empty());
    // Who came in their place decides, under the same message.
    fixture.tap(&notice, ANN, &allow);
    fixture.decided(&notice).await;
    assert_eq!(fixture.grants().await.len(), 1);
}

#[tokio::test]
async fn days_are_those_of_the_connector_at_the_tap() {
    let fixture = Fixture::new().await;
    let notice = fixture.asked().await;
    fixture.env.update_connector(&fixture.support, |connector| {
        connector.requests.as_mut().unwrap().grant_days = Some(2);
    });
    fixture.tap(&notice, BEN, &Fixture::button(&notice, "Allow"));
    fixture.decided(&notice).await;
    let grant = fixture.grants().await.remove(0);
    let lasts = grant.until.unwrap().duration_since(grant.since);
    assert!((47..=48).contains(&lasts.as_hours()), "{lasts:?}");
}

#[tokio::test]
async fn refused_asker_is_told_and_may_ask_once_a_day() {
    let fixture = Fixture::new().await;
    let denied = fixture.denied().await;
    fixture.tap(&denied, EVE, "ask");
    fixture.tap(&denied, EVE, "ask");
    let notice = fixture.sent(fixture.admins, 0).await[0].clone();
    fixture.tap(&notice, BEN, &Fixture::button(&notice, "Refuse"));
    fixture.tap(&notice, BEN, &Fixture::button(&notice, "Allow"));
    let sent = fixture.sent(EVE, 2).await;
    assert_eq!(sent[2].text, "Your request for access was refused.");
    let shown = fixture.decided(&notice).await;
    assert!(shown.text.ends_with(": refused"), "{shown:?}");
    fixture.tap(&denied, EVE, "ask");
    let notices = fixture.notices(5).await;
    let says = |n: usize, words: &str| assert!(notices[n].contains(words), "{notices:?}");
    says(1, "You have asked already. You will hear");
    says(3, "no longer open");
    says(4, "try again tomorrow");
    fixture.env.wait_until_drained().await;
    assert_eq!(fixture.sent(fixture.admins, 0).await.len(), 1);
    assert!(fixture.grants().await.is_empty());
}

#[tokio::test]
async fn muted_asker_has_no_button_and_asks_nobody() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.requests.as_mut().unwrap().per_user_per_day = 10;
    })
    .await;
    let denied = fixture.denied().await;
    fixture.tap(&denied, EVE, "ask");
    let notice = fixture.sent(fixture.admins, 0).await[0].clone();
    fixture.tap(&notice, BEN, &Fixture::button(&notice, "Refuse and mute"));
    fixture.sent(EVE, 2).await;
    fixture.tap(&denied, EVE, "ask");
    assert_eq!(fixture.notices(3).await[2], "You may not use this bot.");
    // An hour later.
    let path = sqlite_path(&fixture.env.address).unwrap();
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute("DELETE FROM notice", ()).unwrap();
    fixture.say("please");
    let sent = fixture.sent(EVE, 3).await;
    assert!(sent[3].text.contains("private"), "{sent:?}");
    assert_eq!(sent[3].reply_markup, None);
    assert_eq!(fixture.sent(fixture.admins, 0).await.len(), 1);
}

#[tokio::test]
async fn expired_request_is_shown_and_told_to_nobody() {
    let fixture = Fixture::new().await;
    let notice = fixture.asked().await;
    let path = sqlite_path(&fixture.env.address).unwrap();
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute("UPDATE access_request SET expires_at = 1", ())
        .unwrap();
    let shown = fixture.decided(&notice).await;
    assert!(
        shown.text.ends_with("⌛ Nobody decided in time."),
        "{shown:?}"
    );
    fixture.tap(&notice, BEN, &Fixture::button(&notice, "Allow"));
    assert_eq!(fixture.notices(2).await[1], "This is no longer open.");
    fixture.env.wait_until_drained().await;
    assert_eq!(fixture.sent(EVE, 1).await.len(), 2);
    assert!(fixture.grants().await.is_empty());
}

#[tokio::test]
async fn verdict_of_an_administrator_is_told_and_shown() {
    let fixture = Fixture::new().await;
    let notice = fixture.asked().await;
    let id = fixture.requests().await[0].id;
    let verdict = AccessVerdict::Allow { until: None };
    let store = &fixture.env.store;
    let decided = store
        .decide_access_request("acme", id, verdict, "dora")
        .await;
    assert!(
        matches!(decided, Ok(DecideOutcome::Decided(_))),
        "{decided:?}"
    );
    let sent = fixture.sent(EVE, 2).await;
    assert!(sent[2].text.starts_with("You have access now."), "{sent:?}");
    let shown = fixture.decided(&notice).await;
    assert!(shown.text.ends_with("✓ dora: allowed"), "{shown:?}");
}

#[tokio::test]
async fn grant_lets_in_until_it_ends() {
    let fixture = Fixture::new().await;
    fixture.grant(-1).await;
    fixture.say("over");
    assert!(fixture.questions().await.is_empty());
    fixture.grant(3600).await;
    fixture.say("in time");
    assert_eq!(fixture.questions().await.len(), 1);
}

#[tokio::test]
async fn list_that_takes_no_grants_ignores_them() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.access.takes_grants = false;
    })
    .await;
    fixture.grant(3600).await;
    let denied = fixture.denied().await;
    assert_eq!(denied.reply_markup, None, "nothing to ask for");
    fixture.tap(&denied, EVE, "ask");
    assert_eq!(fixture.notices(1).await, ["You may not use this bot."]);
    assert!(fixture.questions().await.is_empty());
    assert!(fixture.requests().await.is_empty());
}

#[tokio::test]
async fn granted_user_is_heard_in_groups_and_written_to() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.sending_per_minute = Some(60);
        connector.groups = Some(GroupPolicy {
            respond_to: RespondTo::Mention,
            read_along: 3,
            chats: None,
        });
    })
    .await;
    let telegram = &fixture.env.telegram;
    telegram.set_privacy(fixture.support.id, false);
    let team = telegram.add_group("supergroup", "Team", &[fixture.support.id.0]);
    let to_eve = || telegram_connector_operator::pipeline::SendRequest {
        user: Some(EVE),
        ..request("m", "hi")
    };
    let store = &*fixture.env.store;
    let refused = send_message(
        &fixture.env.registry,
        store,
        to_eve(),
        jiff::Timestamp::now(),
    )
    .await;
    assert!(refused.is_err(), "{refused:?}");
    fixture.grant(3600).await;
    telegram.send_group_message(team, EVE, "blue, I think");
    telegram.send_group_message(team, ANN, "@support_bot which one?");
    fixture.sent(team, 0).await;
    let asked = fixture.questions().await;
    let along: Vec<_> = asked[0]
        .context
        .read_along
        .iter()
        .map(|m| &*m.text)
        .collect();
    assert_eq!(along, ["blue, I think"]);
    fixture.say("hello");
    fixture.sent(EVE, 0).await;
    let sent = send_message(
        &fixture.env.registry,
        store,
        to_eve(),
        jiff::Timestamp::now(),
    )
    .await;
    assert!(sent.is_ok(), "{sent:?}");
}

#[tokio::test]
async fn granted_user_stops_an_answer() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.assistant = Some(Arc::new(Endless::default()));
    })
    .await;
    fixture.grant(3600).await;
    fixture.say("think");
    let (telegram, bot) = (&fixture.env.telegram, fixture.support.id);
    let shown = telegram.wait_until(bot, TIMEOUT, |telegram| {
        (!telegram.drafts(bot).is_empty()).then_some(())
    });
    shown.await.expect("the first words");
    fixture.say("/stop");
    assert_eq!(fixture.sent(EVE, 0).await[0].text, "Well\n\n⏹");
}

#[tokio::test]
async fn nobody_asks_in_a_group_or_by_anothers_button() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.groups = Some(GroupPolicy {
            respond_to: RespondTo::All,
            read_along: 0,
            chats: None,
        });
    })
    .await;
    let telegram = &fixture.env.telegram;
    let team = telegram.add_group("supergroup", "Team", &[fixture.support.id.0]);
    telegram.send_group_message(team, EVE, "@support_bot let me in");
    let denied = fixture.sent(team, 0).await[0].clone();
    assert_eq!(denied.reply_markup, None);
    fixture.tap(&denied, EVE, "ask");
    assert_eq!(fixture.notices(1).await, ["You may not use this bot."]);
    assert!(fixture.requests().await.is_empty());
}
