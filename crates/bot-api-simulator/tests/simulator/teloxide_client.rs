//! Clients that we did not write. Another framework (aiogram) is tried by `tests/clients/run.sh`, since it comes from a registry.

use std::time::Duration;

use bot_api_simulator::{SimulatorOptions, UserAction};
use serde_json::json;
use teloxide::prelude::*;
use teloxide::types::ParseMode;
use teloxide::{ApiError, RequestError};

use crate::client::{Client, TOKEN};

#[tokio::test]
async fn a_teloxide_bot_polls_and_answers() {
    let client = Client::start(SimulatorOptions::default()).await;
    let bot = Bot::new(TOKEN).set_api_url(client.sim.url());
    let me = bot.get_me().await.expect("getMe");
    assert_eq!(me.username(), "acme_support_bot");
    let answer = |bot: Bot, message: Message| async move {
        let text = message
            .text()
            .map_or_else(|| "no text".to_owned(), teloxide::utils::html::escape);
        bot.send_chat_action(message.chat.id, teloxide::types::ChatAction::Typing)
            .await?;
        bot.send_message(message.chat.id, format!("<b>{text}</b>"))
            .parse_mode(ParseMode::Html)
            .await?;
        respond(())
    };
    let mut dispatcher =
        Dispatcher::builder(bot, Update::filter_message().endpoint(answer)).build();
    let running = tokio::spawn(async move { dispatcher.dispatch().await });
    let answer = client
        .sim
        .send_and_wait(client.bot, 42, "1 < 2", Duration::from_secs(20))
        .await;
    assert_eq!(
        (answer.text.as_str(), answer.entities[0].kind.as_str()),
        ("1 < 2", "bold")
    );
    // Everything else a message can hold must be something teloxide can read.
    let content = json!({"voice": {}, "photo": {}, "sticker": {}, "document": {}, "contact": {"phone_number": "1", "first_name": "B"}});
    for (number, (field, value)) in content.as_object().expect("an object").iter().enumerate() {
        let mut say = UserAction {
            bot: Some(client.bot),
            from: Some(42),
            ..UserAction::default()
        };
        say.content.insert(field.clone(), value.clone());
        client.sim.perform(&say).expect("said");
        let sent = client
            .sim
            .wait_for_sent_messages(client.bot, 42, number + 1, Duration::from_secs(20))
            .await;
        assert_eq!(sent[number + 1].text, "no text", "{field}");
    }
    running.abort();
    assert_eq!(client.sim.counters(client.bot).conflicts, 0);
}

#[tokio::test]
async fn teloxide_understands_the_refusals() {
    let client = Client::start(SimulatorOptions::default()).await;
    let bot = Bot::new(TOKEN).set_api_url(client.sim.url());
    let failed = bot
        .send_message(ChatId(99), "x")
        .await
        .expect_err("refused");
    assert!(
        matches!(failed, RequestError::Api(ApiError::ChatNotFound)),
        "{failed:?}"
    );
    client.sim.send_private_message(client.bot, 42, "hi");
    let failed = bot
        .send_message(ChatId(42), "<x>")
        .parse_mode(ParseMode::Html)
        .await
        .expect_err("refused");
    assert!(
        matches!(failed, RequestError::Api(ApiError::CantParseEntities(_))),
        "{failed:?}"
    );
    client.sim.block(client.bot, 42, true);
    let failed = bot
        .send_message(ChatId(42), "x")
        .await
        .expect_err("refused");
    assert!(
        matches!(failed, RequestError::Api(ApiError::BotBlocked)),
        "{failed:?}"
    );
    let group = client.sim.add_group("group", "Team", &[client.bot]);
    let supergroup = client.sim.migrate(group);
    let failed = bot
        .send_message(ChatId(group), "x")
        .await
        .expect_err("refused");
    assert!(
        matches!(failed, RequestError::MigrateToChatId(ChatId(id)) if id == supergroup),
        "{failed:?}"
    );
}
