//! Topics: of forums, gone or closed, and of a channel's direct messages, where each person's talk is one.

use bot_api_simulator::{Fault, FaultKind, UserAction};
use serde_json::Value;
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::registry::GroupPolicy;
use telegram_connector_operator::store::ListingQuery;
use telegram_connector_operator::telegram::RawUpdate;

use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, specific_users, wait_until};

const BEN: i64 = 1002;

fn group_connector(env: &mut TestEnv) -> Connector {
    env.connector_with("support", |c| {
        c.access = specific_users(&[ANN, BEN]);
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::All,
            chats: None,
        });
    })
}

/// The parameters of each `sendMessage`.
fn sends(env: &TestEnv, connector: &Connector) -> Vec<Value> {
    let calls = env.telegram.calls(connector.id).into_iter();
    calls
        .filter(|call| call.method == "sendmessage")
        .map(|call| call.params)
        .collect()
}

/// Ann asks in a topic, and the formatted answer is refused once.
fn ask_in_refused_topic(env: &TestEnv, connector: &Connector, refusal: &str) {
    env.telegram.set_privacy(connector.id, false);
    let group = env.telegram.add_group("forum", "Team", &[connector.id.0]);
    let thread = env.telegram.add_topic(group, "Orders");
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 400,
            description: format!("Bad Request: {refusal}"),
        })
        .method("sendMessage")
        .times(1),
    );
    let action = UserAction {
        chat: Some(group),
        from: Some(ANN),
        thread: Some(thread),
        text: Some("**hello**".into()),
        ..UserAction::default()
    };
    env.telegram.perform(&action).unwrap();
}

#[tokio::test]
async fn reply_to_a_deleted_topic_goes_to_the_chat() {
    let mut env = TestEnv::new().await;
    let support = group_connector(&mut env);
    ask_in_refused_topic(&env, &support, "message thread not found");
    wait_until("it is sent again", async || {
        sends(&env, &support).len() == 2
    })
    .await;
    env.wait_until_drained().await;
    let threads: Vec<bool> = sends(&env, &support)
        .iter()
        .map(|params| params.get("message_thread_id").is_some())
        .collect();
    assert_eq!(threads, [true, false]);
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn reply_to_a_closed_topic_becomes_a_dead_letter() {
    let mut env = TestEnv::new().await;
    let support = group_connector(&mut env);
    ask_in_refused_topic(&env, &support, "TOPIC_CLOSED");
    wait_until("it is given up", async || {
        !env.dead_letters().await.is_empty()
    })
    .await;
    let sends = sends(&env, &support);
    assert_eq!(sends.len(), 1, "nothing else is tried: {sends:?}");
    assert!(sends[0].get("parse_mode").is_some(), "{sends:?}");
    let dead_letter = &env.dead_letters().await[0];
    assert!(
        dead_letter.reason.contains("TOPIC_CLOSED"),
        "{}",
        dead_letter.reason
    );
}

#[tokio::test]
async fn direct_messages_of_a_channel_are_one_lane_per_person() {
    let mut env = TestEnv::new().await;
    let support = group_connector(&mut env);
    env.telegram.set_privacy(support.id, false);
    let chat = env
        .telegram
        .add_group("supergroup", "Channel's direct messages", &[support.id.0]);
    for (n, user) in [ANN, BEN].into_iter().enumerate() {
        let topic = serde_json::json!({"direct_messages_topic": {"topic_id": user}});
        let action = UserAction {
            chat: Some(chat),
            from: Some(user),
            text: Some(format!("secret of {user}")),
            content: topic.as_object().unwrap().clone(),
            ..UserAction::default()
        };
        env.telegram.perform(&action).unwrap();
        let sent = env
            .telegram
            .wait_for_sent_messages(support.id, chat, n, TIMEOUT)
            .await;
        let answer = &sent[n].text;
        assert!(answer.contains("This is the first message"), "{answer}");
    }
    let topics: Vec<String> = sends(&env, &support)
        .iter()
        .map(|params| params["direct_messages_topic_id"].to_string())
        .map(|id| id.trim_matches('"').to_owned())
        .collect();
    assert_eq!(topics, [ANN.to_string(), BEN.to_string()]);
    assert!(
        sends(&env, &support)
            .iter()
            .all(|params| params.get("message_thread_id").is_none())
    );
}

#[tokio::test]
async fn another_bot_is_told_nothing() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.update_connector(&support, |c| {
        c.access.level = telegram_connector_operator::api::connector::AccessLevel::Open;
    });
    for (n, text) in ["hello", "/id", "/start"].into_iter().enumerate() {
        let json = serde_json::json!({"update_id": n, "message": {"message_id": n + 1, "date": 1_790_000_000, "text": text,
            "chat": {"id": 77, "type": "private"}, "from": {"id": 77, "is_bot": true, "first_name": "Other"}}});
        let raw = RawUpdate::from_body(json.to_string().as_bytes()).unwrap();
        env.store
            .accept(&support.uid, support.id, vec![raw])
            .await
            .unwrap();
    }
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    wait_until("all are denied", async || {
        env.store.denied(&listing).await.unwrap().rows.len() == 3
    })
    .await;
    env.ask(&support, "still there?").await;
    let to_the_bot = sends(&env, &support)
        .iter()
        .filter(|params| params["chat_id"].to_string().trim_matches('"') == "77")
        .count();
    assert_eq!(to_the_bot, 0);
}
