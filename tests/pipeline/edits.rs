//! Edits that nobody waits for an answer to.

use std::time::Duration;

use bot_api_simulator::UserAction;
use telegram_connector_operator::telegram::RawUpdate;

use crate::postgres::Postgres;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

/// The newest message is edited, or only told again.
fn edit(env: &TestEnv, connector: &Connector, message: i64, text: &str) {
    let action = UserAction {
        bot: Some(connector.id.0),
        from: Some(ANN),
        text: Some(text.into()),
        edit: Some(message),
        ..UserAction::default()
    };
    env.telegram.perform(&action).unwrap();
}

async fn check_edits_are_known_after_a_restart(mut env: TestEnv) {
    let support = env.connector("support");
    let message = env
        .telegram
        .send_private_message(support.id, ANN, "order 7");
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    env.restart(Duration::from_secs(5)).await;
    edit(&env, &support, message, "order 7");
    edit(&env, &support, message, "order 8");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    assert!(sent[1].text.contains("order 8"), "{}", sent[1].text);
    env.wait_until_drained().await;
    assert_eq!(env.assistant.request_count(), 2);
}

#[tokio::test]
async fn edit_that_changes_nothing_is_ignored_after_a_restart() {
    check_edits_are_known_after_a_restart(TestEnv::new().await).await;
}

#[tokio::test]
async fn edit_that_changes_nothing_is_ignored_after_a_restart_on_postgres() {
    let Some(postgres) = Postgres::start_empty().await else {
        return;
    };
    check_edits_are_known_after_a_restart(TestEnv::on(&postgres.address()).await).await;
}

#[tokio::test]
async fn edit_of_an_old_message_never_seen_stays_unanswered() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let json = serde_json::json!({"update_id": 5, "edited_message": {"message_id": 1, "date": 1_790_000_000,
        "edit_date": 1_790_000_000 + 40 * 86_400, "text": "old words", "chat": {"id": ANN, "type": "private"},
        "from": {"id": ANN, "is_bot": false, "first_name": "Ann"}}});
    let raw = RawUpdate::from_body(json.to_string().as_bytes()).unwrap();
    env.store
        .accept(&support.uid, support.id, vec![raw])
        .await
        .unwrap();
    env.wait_until_drained().await;
    let answer = env.ask(&support, "new words").await;
    assert!(answer.text.contains("new words"), "{}", answer.text);
    assert_eq!(env.assistant.request_count(), 1);
}
