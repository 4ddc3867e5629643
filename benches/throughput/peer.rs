//! The peer for comparison: a plain teloxide dispatcher with the same access check and the same assistant client. It stores nothing, so
//! messages in work are lost when it ends.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use telegram_connector_operator::assistant::{
    AnswerPart, Assistant, Question, QuestionContext, Sender,
};
use teloxide::prelude::*;

use super::Failure;
use super::operator::{assistant, token, users};

/// Arguments: Bot API URL, assistant URL, number of bots; the others are the operator's.
pub(super) async fn run(args: &[String]) -> Result<(), Failure> {
    let [telegram, assistant_url, bots, ..] = args else {
        return Err("three arguments".into());
    };
    let assistant = assistant(assistant_url)?;
    let users = Arc::new(users());
    let client = reqwest::Client::builder()
        .tcp_nodelay(true)
        .timeout(std::time::Duration::from_mins(1))
        .build()?;
    let mut running = Vec::new();
    for n in 0..bots.parse::<usize>()? {
        let bot = Bot::with_client(token(n), client.clone()).set_api_url(telegram.parse()?);
        let (assistant, users) = (assistant.clone(), users.clone());
        running.push(tokio::spawn(async move {
            let handler = Update::filter_message().endpoint(answer);
            Dispatcher::builder(bot, handler)
                .dependencies(dptree::deps![assistant, users])
                .default_handler(|_| async {})
                .build()
                .dispatch()
                .await;
        }));
    }
    for bot in running {
        bot.await?;
    }
    Ok(())
}

async fn answer(
    bot: Bot,
    message: Message,
    assistant: Arc<dyn Assistant>,
    users: Arc<HashSet<i64>>,
) -> Result<(), Failure> {
    let (Some(from), Some(text)) = (&message.from, message.text()) else {
        return Ok(());
    };
    let id = i64::try_from(from.id.0)?;
    if !users.contains(&id) {
        return Ok(());
    }
    let mut parts = assistant
        .ask(Question {
            sender: Sender {
                id,
                name: from.full_name(),
                username: from.username.clone(),
                language_code: from.language_code.clone(),
            },
            connector: "acme/peer".into(),
            session_id: id.to_string(),
            session_state: None,
            history: Vec::new(),
            text: text.to_owned(),
            pictures: Vec::new(),
            files: Vec::new(),
            wants_progress: false,
            context: QuestionContext::default(),
            action: None,
            offers_buttons: false,
            idempotency_key: message.id.to_string(),
        })
        .await?;
    let mut answer = String::new();
    while let Some(part) = parts.next().await {
        if let AnswerPart::Text(text) = part? {
            answer.push_str(&text);
        }
    }
    bot.send_message(message.chat.id, answer).await?;
    Ok(())
}
