//! Clients that we did not write. Another framework (aiogram) is tried by `tests/clients/run.sh`, since it comes from a registry.

use std::time::Duration;

use bot_api_simulator::{SimulatorOptions, Tap, UserAction};
use serde_json::json;
use teloxide::prelude::*;
use teloxide::types::{
    InlineKeyboardButton, InlineKeyboardMarkup, InputFile, InputMedia, InputMediaPhoto, ParseMode,
    UpdateKind,
};
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

#[tokio::test]
async fn teloxide_bot_asks_by_buttons_and_sends_files() {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.send_private_message(client.bot, 42, "hi");
    let bot = Bot::new(TOKEN).set_api_url(client.sim.url());
    let button = InlineKeyboardButton::callback("Yes", "y");
    let asked = bot
        .send_message(ChatId(42), "sure?")
        .reply_markup(InlineKeyboardMarkup::new([[button]]));
    let asked = asked.await.expect("sent");
    assert!(asked.reply_markup().is_some());
    let tap = Tap {
        bot: Some(client.bot),
        from: 42,
        message_id: i64::from(asked.id.0),
        ..Tap::default()
    };
    client.sim.tap(&tap).expect("tapped");
    let updates = bot.get_updates().await.expect("updates");
    let query = updates.into_iter().find_map(|update| match update.kind {
        UpdateKind::CallbackQuery(query) => Some(query),
        _ => None,
    });
    let query = query.expect("a callback query");
    assert_eq!(query.data.as_deref(), Some("y"));
    let message = query.regular_message().expect("accessible");
    assert_eq!(message.text(), Some("sure?"));
    let answer = bot.answer_callback_query(query.id.clone()).text("done");
    answer.await.expect("answered");
    let again = bot.answer_callback_query(query.id).await;
    assert!(
        matches!(&again, Err(error) if error.to_string().contains("query is too old")),
        "{again:?}"
    );
    let removed = bot.edit_message_reply_markup(ChatId(42), asked.id).await;
    assert!(removed.expect("edited").reply_markup().is_none());
    let picture = || InputFile::memory(crate::media::png(9, 9)).file_name("a.png");
    let sent = bot.send_photo(ChatId(42), picture()).caption("a chart");
    let sent = sent.await.expect("sent");
    assert_eq!(sent.photo().expect("a photo")[0].width, 9);
    let album = [picture(), picture()].map(|p| InputMedia::Photo(InputMediaPhoto::new(p)));
    let sent = bot.send_media_group(ChatId(42), album).await;
    assert_eq!(sent.expect("sent").len(), 2);
    let wrong = bot.send_photo(ChatId(42), InputFile::memory("words")).await;
    assert!(
        matches!(wrong, Err(RequestError::Api(ApiError::ImageProcessFailed))),
        "{wrong:?}"
    );
    let calls = client.sim.calls(client.bot);
    assert!(calls.iter().all(|call| call.unknown_params.is_empty()));
}
