//! Steps that look: what stands in the chats, what the assistant was asked, what is stored.

use bot_api_simulator::{SentMessage, Simulator};
use serde_json::Value as Json;
use telegram_connector_operator::store::Listing;

use super::ScriptRunner;
use super::steps::{ExpectedMessage, ExpectedRequest};
use crate::test_env::TIMEOUT;

impl ScriptRunner {
    /// Messages of the bot that stand in a chat and that the script has not told of yet.
    pub(super) fn unmatched_messages(&self, chat: i64) -> Vec<SentMessage> {
        let sent = self.env.telegram.sent_messages(self.connector.id, chat);
        sent.into_iter()
            .filter(|m| !m.deleted && !self.matched_messages.contains(&(chat, m.message_id)))
            .collect()
    }

    pub(super) async fn bot_shows(
        &mut self,
        chat: i64,
        shown: ExpectedMessage,
    ) -> Result<(), String> {
        let reply_to = shown.reply_to.as_deref();
        let reply_to = reply_to.map(|name| self.message(name, chat)).transpose()?;
        let topic = self.topic(shown.topic.as_deref())?;
        let fits = |m: &SentMessage| {
            let begins = shown.begins.as_ref();
            shown.text.as_ref().is_none_or(|text| *text == m.text)
                && begins.is_none_or(|b| m.text.starts_with(b))
                && shown.part.as_ref().is_none_or(|part| m.text.contains(part))
                && shown.source.as_ref().is_none_or(|s| *s == m.source)
                && (reply_to.is_none() || m.reply_to == reply_to)
                && (topic.is_none() || m.thread_id == topic)
        };
        let came = self
            .env
            .telegram
            .wait_until(self.connector.id, TIMEOUT, |_| {
                self.unmatched_messages(chat)
                    .into_iter()
                    .next()
                    .filter(fits)
            })
            .await;
        let Some(message) = came else {
            let asked = self.questions();
            return Err(format!(
                "not shown: {shown:?}\nbut: {:#?}\nthe assistant was asked {asked:#?}",
                self.unmatched_messages(chat)
            ));
        };
        self.matched_messages.insert((chat, message.message_id));
        self.last_of_bot.insert(chat, message.message_id);
        Ok(())
    }

    pub(super) async fn preview_shows(&self, chat: i64, text: &str) -> Result<(), String> {
        let on_the_screen = || {
            let telegram = &self.env.telegram;
            let drafts = telegram.drafts(self.connector.id).into_iter();
            let drafts = drafts.filter(|d| d.chat_id == chat).map(|d| d.text);
            drafts
                .chain(self.unmatched_messages(chat).into_iter().map(|m| m.text))
                .collect::<Vec<_>>()
        };
        let begins = |shown: &Vec<String>| shown.iter().any(|shown| shown.starts_with(text));
        self.env
            .telegram
            .wait_until(self.connector.id, TIMEOUT, |_| {
                Some(on_the_screen()).filter(begins)
            })
            .await
            .map(drop)
            .ok_or_else(|| format!("on the screen: {:?}", on_the_screen()))
    }

    pub(super) fn nothing_more(&self, chat: i64) -> Result<(), String> {
        let unmatched_messages = self.unmatched_messages(chat);
        if unmatched_messages.is_empty() {
            return Ok(());
        }
        Err(format!("shown all the same: {unmatched_messages:#?}"))
    }

    /// Waits until more than `already` questions have come.
    pub(super) async fn asked(&self, already: usize) -> Result<(), String> {
        let came = self
            .env
            .assistant
            .wait_for_requests(already as u64, TIMEOUT);
        if came.await {
            return Ok(());
        }
        Err("the assistant was not asked".into())
    }

    pub(super) async fn assistant_saw(&mut self, seen: ExpectedRequest) -> Result<(), String> {
        self.asked(self.matched_requests).await?;
        let asked = self.questions()[self.matched_requests].clone();
        self.matched_requests += 1;
        let (question, history) = asked.split_last().ok_or("a request without messages")?;
        if let Some(text) = &seen.text
            && *text != question.0
        {
            return Err(format!("it saw {:?}\n instead {text:?}", question.0));
        }
        if let Some(part) = &seen.part
            && !question.0.contains(part)
        {
            return Err(format!("it saw {:?}", question.0));
        }
        if seen.pictures.is_some_and(|n| n != question.1) {
            return Err(format!("it saw {} pictures", question.1));
        }
        let history: Vec<_> = history.iter().map(|(text, _)| text.clone()).collect();
        if seen.history.is_some_and(|expected| expected != history) {
            return Err(format!("it saw the history {history:#?}"));
        }
        Ok(())
    }

    /// The requests: of each the messages, with their texts and how many pictures they have.
    pub(super) fn questions(&self) -> Vec<Vec<(String, usize)>> {
        let message = |message: &Json| match &message["content"] {
            Json::String(text) => (text.clone(), 0),
            Json::Array(parts) => {
                let texts = parts.iter().filter_map(|part| part["text"].as_str());
                let text = texts.collect::<Vec<_>>().join("\n");
                let pictures = parts.iter().filter(|p| p["type"] == "image_url").count();
                (text, pictures)
            }
            _ => (String::new(), 0),
        };
        let asked = self.env.assistant.requests().into_iter();
        asked
            .map(|asked| {
                let messages = asked.body["messages"].as_array().cloned();
                messages.unwrap_or_default().iter().map(message).collect()
            })
            .collect()
    }

    pub(super) fn all_seen(&self) -> Result<(), String> {
        match &self.questions()[self.matched_requests..] {
            [] => Ok(()),
            more => Err(format!("the assistant was also asked {more:#?}")),
        }
    }

    pub(super) async fn has_left(&self, group: &str) -> Result<(), String> {
        let chat = self.group(group)?.to_string();
        let left = |telegram: &Simulator| {
            let calls = telegram.calls(self.connector.id);
            calls
                .iter()
                .any(|c| c.method == "leavechat" && c.params["chat_id"] == *chat)
                .then_some(())
        };
        let telegram = &self.env.telegram;
        let left = telegram.wait_until(self.connector.id, TIMEOUT, left).await;
        left.ok_or_else(|| "it is still there".into())
    }

    pub(super) async fn denied(&self, texts: Vec<String>) -> Result<(), String> {
        self.handled().await;
        let listing = Listing {
            limit: 100,
            ..Listing::default()
        };
        let rows = self.env.store.denied(&listing).await.unwrap().rows;
        let stored: Vec<_> = rows
            .into_iter()
            .map(|d| d.text.unwrap_or(format!("[{}]", d.content)))
            .collect();
        if stored == texts {
            return Ok(());
        }
        Err(format!("stored are {stored:?}"))
    }
}
