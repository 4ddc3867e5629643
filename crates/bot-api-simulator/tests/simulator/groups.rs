//! Groups, topics, channels, migration, privacy mode, and what else a message can hold.

use bot_api_simulator::{Membership, SimulatorOptions, User, UserAction};
use serde_json::{Value, json};

use crate::client::Client;

fn kinds(updates: &[Value]) -> Vec<String> {
    updates
        .iter()
        .flat_map(|update| update.as_object().expect("an object").keys())
        .filter(|key| *key != "update_id")
        .cloned()
        .collect()
}

async fn last(client: &Client) -> Value {
    let updates = client.ok("getUpdates", json!({"offset": -1})).await;
    updates[0].clone()
}

#[tokio::test]
async fn privacy_mode_hides_unrelated_group_messages() {
    let client = Client::start(SimulatorOptions::default()).await;
    let group = client.sim.add_group("supergroup", "Team", &[client.bot]);
    assert_eq!(kinds(&client.updates(0).await), ["my_chat_member"]);
    let heard = |text: &str| {
        !client
            .sim
            .send_group_message(group, 42, text)
            .updates
            .is_empty()
    };
    assert!(!heard("hello all"));
    assert!(heard("hello @Acme_Support_Bot"));
    assert!(!heard("hello @other_example_bot"));
    assert!(heard("/help"));
    assert!(heard("/help@acme_support_bot"));
    assert!(!heard("/help@other_example_bot"));
    let sent = client
        .ok("sendMessage", json!({"chat_id": group, "text": "yes?"}))
        .await;
    let reply = UserAction {
        chat: Some(group),
        from: Some(42),
        text: Some("thanks".into()),
        reply_to: sent["message_id"].as_i64(),
        ..UserAction::default()
    };
    assert_eq!(
        client.sim.perform(&reply).expect("said").updates.len(),
        1,
        "a reply to the bot"
    );
    client.sim.set_privacy(client.bot, false);
    assert!(heard("hello all"));
    client.sim.set_privacy(client.bot, true);
    client
        .sim
        .set_membership(group, client.bot, Membership::Administrator);
    assert!(heard("hello all"));
}

#[tokio::test]
async fn kicked_bot_gets_an_update_and_cannot_write() {
    let client = Client::start(SimulatorOptions::default()).await;
    for (kind, name) in [("group", "group"), ("supergroup", "supergroup")] {
        let group = client.sim.add_group(kind, "Team", &[client.bot]);
        client
            .ok("sendMessage", json!({"chat_id": group, "text": "x"}))
            .await;
        client
            .sim
            .set_membership(group, client.bot, Membership::Kicked);
        let change = &last(&client).await["my_chat_member"];
        assert_eq!(
            (
                &change["old_chat_member"]["status"],
                &change["new_chat_member"]["status"]
            ),
            (&json!("member"), &json!("kicked"))
        );
        let refused = client
            .refused("sendMessage", json!({"chat_id": group, "text": "x"}))
            .await;
        assert_eq!(
            refused,
            (
                403,
                format!("Forbidden: bot was kicked from the {name} chat")
            )
        );
    }
    let group = client.sim.add_group("supergroup", "Team", &[client.bot]);
    client.ok("leaveChat", json!({"chat_id": group})).await;
    let refused = client
        .refused("sendMessage", json!({"chat_id": group, "text": "x"}))
        .await;
    assert_eq!(
        refused.1,
        "Forbidden: bot is not a member of the supergroup chat"
    );
}

#[tokio::test]
async fn migrated_group_returns_the_supergroups_id() {
    let client = Client::start(SimulatorOptions::default()).await;
    let group = client.sim.add_group("group", "Team", &[client.bot]);
    let supergroup = client.sim.migrate(group);
    let updates = client.updates(0).await;
    assert_eq!(updates[1]["message"]["migrate_to_chat_id"], supergroup);
    assert_eq!(updates[2]["message"]["migrate_from_chat_id"], group);
    let (status, answer) = client
        .call("sendMessage", json!({"chat_id": group, "text": "x"}))
        .await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["description"],
        "Bad Request: group chat was upgraded to a supergroup chat"
    );
    assert_eq!(answer["parameters"]["migrate_to_chat_id"], supergroup);
    client
        .ok("sendMessage", json!({"chat_id": supergroup, "text": "x"}))
        .await;
}

#[tokio::test]
async fn topics_have_thread_ids_and_the_general_topic_has_none() {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.set_privacy(client.bot, false);
    let forum = client.sim.add_group("forum", "Forum", &[client.bot]);
    let topic = client.sim.add_topic(forum, "Orders");
    let say = UserAction {
        chat: Some(forum),
        from: Some(42),
        thread: Some(topic),
        text: Some("hi".into()),
        ..UserAction::default()
    };
    client.sim.perform(&say).expect("said");
    let message = &last(&client).await["message"];
    assert_eq!(
        (&message["message_thread_id"], &message["is_topic_message"]),
        (&json!(topic), &json!(true))
    );
    assert_eq!(message["chat"]["is_forum"], true);
    let sent = client
        .ok(
            "sendMessage",
            json!({"chat_id": forum, "message_thread_id": topic, "text": "x"}),
        )
        .await;
    assert_eq!(sent["message_thread_id"], topic);
    for wrong in [1, 999] {
        let refused = client
            .refused(
                "sendMessage",
                json!({"chat_id": forum, "message_thread_id": wrong, "text": "x"}),
            )
            .await;
        assert_eq!(refused.1, "Bad Request: message thread not found");
    }
    client
        .ok(
            "sendMessage",
            json!({"chat_id": forum, "text": "to General"}),
        )
        .await;
}

#[tokio::test]
async fn channel_posts_and_anonymous_admins_have_no_user_sender() {
    let client = Client::start(SimulatorOptions::default()).await;
    let channel = client.sim.add_group("channel", "News", &[client.bot]);
    client
        .sim
        .perform(&UserAction {
            chat: Some(channel),
            text: Some("news".into()),
            ..UserAction::default()
        })
        .expect("said");
    let post = &last(&client).await["channel_post"];
    assert!(post["from"].is_null());
    assert_eq!(post["sender_chat"]["id"], channel);
    client.sim.set_privacy(client.bot, false);
    let group = client.sim.add_group("supergroup", "Team", &[client.bot]);
    client
        .sim
        .perform(&UserAction {
            chat: Some(group),
            sender_chat: Some(group),
            text: Some("I".into()),
            ..UserAction::default()
        })
        .expect("said");
    let message = &last(&client).await["message"];
    assert_eq!(
        (&message["sender_chat"]["id"], &message["from"]["username"]),
        (&json!(group), &json!("GroupAnonymousBot"))
    );
}

#[tokio::test]
async fn media_is_complete_and_can_be_downloaded() {
    let client = Client::start(SimulatorOptions::default()).await;
    let content = json!({"voice": {"duration": 3, "data": "sound"}});
    let say = UserAction {
        bot: Some(client.bot),
        from: Some(42),
        content: content.as_object().expect("an object").clone(),
        caption: Some("listen".into()),
        ..UserAction::default()
    };
    client.sim.perform(&say).expect("said");
    let message = last(&client).await["message"].clone();
    assert_eq!(
        (
            &message["voice"]["duration"],
            &message["voice"]["mime_type"],
            &message["caption"]
        ),
        (&json!(3), &json!("audio/ogg"), &json!("listen"))
    );
    let file = client
        .ok("getFile", json!({"file_id": message["voice"]["file_id"]}))
        .await;
    let path = file["file_path"].as_str().expect("a path");
    let url = client
        .url("x")
        .replace("/bot", "/file/bot")
        .replace("/x", &format!("/{path}"));
    let bytes = client
        .http
        .get(url)
        .send()
        .await
        .expect("an answer")
        .bytes()
        .await
        .expect("bytes");
    assert_eq!(&bytes[..], b"sound");
    let refused = client
        .refused("getFile", json!({"file_id": "nonsense"}))
        .await;
    assert_eq!(
        refused.1,
        "Bad Request: wrong file_id or the file is temporarily unavailable"
    );
    let huge = json!({"document": {"file_name": "a.txt", "size": 30 << 20}, "photo": {}, "sticker": {}, "location": {"latitude": 1.0, "longitude": 2.0}});
    let say = UserAction {
        content: huge.as_object().expect("an object").clone(),
        ..say
    };
    client.sim.perform(&say).expect("said");
    let message = last(&client).await["message"].clone();
    assert_eq!(message["photo"].as_array().map(Vec::len), Some(2));
    let refused = client
        .refused(
            "getFile",
            json!({"file_id": message["document"]["file_id"]}),
        )
        .await;
    assert_eq!(refused.1, "Bad Request: file is too big");
}

#[tokio::test]
async fn edits_replies_forwards_and_albums_match_telegrams_objects() {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.add_user(User::new(7, "Bob"));
    let base = UserAction {
        bot: Some(client.bot),
        from: Some(42),
        text: Some("one".into()),
        ..UserAction::default()
    };
    let first_message = client.sim.perform(&base).expect("said");
    let edit = UserAction {
        edit: Some(first_message.message_id),
        text: Some("two".into()),
        ..base.clone()
    };
    client.sim.perform(&edit).expect("said");
    let edited = last(&client).await["edited_message"].clone();
    assert_eq!(
        (&edited["message_id"], &edited["text"]),
        (&json!(first_message.message_id), &json!("two"))
    );
    assert!(edited["edit_date"].is_i64());
    let reply = UserAction {
        reply_to: Some(first_message.message_id),
        quote: Some("on".into()),
        forward_from: Some(7),
        media_group_id: Some("a1".into()),
        ..base
    };
    client.sim.perform(&reply).expect("said");
    let message = last(&client).await["message"].clone();
    assert_eq!(
        message["reply_to_message"]["message_id"],
        first_message.message_id
    );
    assert_eq!(message["quote"]["text"], "on");
    assert_eq!(
        message["forward_origin"]["sender_user"]["first_name"],
        "Bob"
    );
    assert_eq!(message["media_group_id"], "a1");
}

#[tokio::test]
async fn get_chat_and_members_are_answered() {
    let client = Client::start(SimulatorOptions::default()).await;
    let group = client.sim.add_group("supergroup", "Team", &[client.bot]);
    let chat = client.ok("getChat", json!({"chat_id": group})).await;
    assert_eq!(
        (&chat["title"], &chat["type"]),
        (&json!("Team"), &json!("supergroup"))
    );
    let me = client
        .ok(
            "getChatMember",
            json!({"chat_id": group, "user_id": client.bot}),
        )
        .await;
    assert_eq!(me["status"], "member");
}
