//! Steps that expect: messages in chats, requests to the assistant, stored messages.

use std::collections::HashMap;

use bot_api_simulator::{SentMessage, Simulator};
use serde_json::{Map, Value as Json};
use telegram_connector_operator::store::ListingQuery;

use super::ScriptRunner;
use super::steps::{ExpectedMedia, ExpectedMessage, ExpectedRequest};
use crate::test_env::{TIMEOUT, wait_until};

impl ScriptRunner {
    /// Messages of the bot in a chat that no step has expected yet; deleted ones excluded.
    pub(super) fn unmatched_messages(&self, chat: i64) -> Vec<SentMessage> {
        let sent = self.env.telegram.sent_messages(self.connector.id, chat);
        sent.into_iter()
            .filter(|m| !m.deleted && !self.matched_messages.contains(&(chat, m.message_id)))
            .collect()
    }

    pub(super) async fn expect_message(
        &mut self,
        chat: i64,
        expected: ExpectedMessage,
    ) -> Result<(), String> {
        let matches = self.matcher(chat, &expected)?;
        let found = self
            .env
            .telegram
            .wait_until(self.connector.id, TIMEOUT, |_| {
                self.unmatched_messages(chat)
                    .into_iter()
                    .next()
                    .filter(|m| matches(m))
            })
            .await;
        let Some(message) = found else {
            let requests = self.request_messages();
            return Err(format!(
                "not shown: {expected:?}\nbut: {:#?}\nthe assistant was asked {requests:#?}",
                self.unmatched_messages(chat)
            ));
        };
        self.matched_messages.insert((chat, message.message_id));
        self.last_bot_message.insert(chat, message.message_id);
        Ok(())
    }

    /// Whether a message in a chat is the expected one.
    pub(super) fn matcher<'a>(
        &self,
        chat: i64,
        expected: &'a ExpectedMessage,
    ) -> Result<impl Fn(&SentMessage) -> bool + use<'a>, String> {
        let reply_to = expected.reply_to.as_deref();
        let reply_to = reply_to.map(|name| self.message(name, chat)).transpose()?;
        let topic = self.topic(expected.topic.as_deref())?;
        Ok(move |m: &SentMessage| {
            let begins = expected.begins.as_ref();
            let part = expected.part.as_ref();
            let buttons = expected.buttons.as_ref();
            let media = expected.media.as_ref();
            let caption = expected.caption.as_ref();
            let blocks = expected.blocks.as_ref();
            expected.text.as_ref().is_none_or(|text| *text == m.text)
                && begins.is_none_or(|b| m.text.starts_with(b))
                && part.is_none_or(|part| m.text.contains(part))
                && expected.source.as_ref().is_none_or(|s| *s == m.source)
                && (reply_to.is_none() || m.reply_to == reply_to)
                && (topic.is_none() || m.thread_id == topic)
                && buttons.is_none_or(|buttons| *buttons == button_texts(m))
                && media.is_none_or(|media| is_media(m, media))
                && caption.is_none_or(|caption| *caption == m.caption)
                && blocks.is_none_or(|blocks| *blocks == block_types(m))
        })
    }

    /// Waits for a draft or message that begins with `text`.
    pub(super) async fn expect_preview(&self, chat: i64, text: &str) -> Result<(), String> {
        let visible_texts = || {
            let telegram = &self.env.telegram;
            let drafts = telegram.drafts(self.connector.id).into_iter();
            let drafts = drafts.filter(|d| d.chat_id == chat).map(|d| d.text);
            drafts
                .chain(self.unmatched_messages(chat).into_iter().map(|m| m.text))
                .collect::<Vec<_>>()
        };
        let begins = |texts: &Vec<String>| texts.iter().any(|shown| shown.starts_with(text));
        self.env
            .telegram
            .wait_until(self.connector.id, TIMEOUT, |_| {
                Some(visible_texts()).filter(begins)
            })
            .await
            .map(drop)
            .ok_or_else(|| format!("on the screen: {:?}", visible_texts()))
    }

    pub(super) fn expect_no_more_messages(&self, chat: i64) -> Result<(), String> {
        let unmatched_messages = self.unmatched_messages(chat);
        if unmatched_messages.is_empty() {
            return Ok(());
        }
        Err(format!("shown all the same: {unmatched_messages:#?}"))
    }

    /// Waits until the assistant has received more than `already` requests.
    pub(super) async fn wait_for_request(&self, already: usize) -> Result<(), String> {
        let arrived = self
            .env
            .assistant
            .wait_for_requests(already as u64, TIMEOUT);
        if arrived.await {
            return Ok(());
        }
        Err("the assistant was not asked".into())
    }

    pub(super) async fn expect_request(&mut self, expected: ExpectedRequest) -> Result<(), String> {
        self.wait_for_request(self.matched_requests).await?;
        let messages = self.request_messages()[self.matched_requests].clone();
        self.expect_headers(&expected.headers)?;
        self.expect_body(&expected.body)?;
        self.matched_requests += 1;
        let (question, history) = messages.split_last().ok_or("a request without messages")?;
        if let Some(text) = &expected.text
            && *text != question.0
        {
            return Err(format!("it saw {:?}\n instead {text:?}", question.0));
        }
        if let Some(part) = &expected.part
            && !question.0.contains(part)
        {
            return Err(format!("it saw {:?}", question.0));
        }
        if expected.pictures.is_some_and(|n| n != question.1) {
            return Err(format!("it saw {} pictures", question.1));
        }
        if let Some(part) = &expected.system
            && !history.first().is_some_and(|(text, _)| text.contains(part))
        {
            return Err(format!("it saw first {:?}", history.first()));
        }
        let history: Vec<_> = history.iter().map(|(text, _)| text.clone()).collect();
        if expected.history.is_some_and(|texts| texts != history) {
            return Err(format!("it saw the history {history:#?}"));
        }
        Ok(())
    }

    /// Checks headers of the next request.
    fn expect_headers(&self, expected: &HashMap<String, Option<String>>) -> Result<(), String> {
        let request = &self.env.assistant.requests()[self.matched_requests];
        for (name, value) in expected {
            let header = request.header(name);
            if header != value.as_deref() {
                return Err(format!("the header {name} was {header:?}"));
            }
        }
        Ok(())
    }

    /// Checks fields of the next request's body.
    fn expect_body(&self, expected: &Map<String, Json>) -> Result<(), String> {
        let body = &self.env.assistant.requests()[self.matched_requests].body;
        for (name, value) in expected {
            if !holds(&body[name], value) {
                return Err(format!("its {name} was {}", body[name]));
            }
        }
        Ok(())
    }

    /// Waits for the next text that is to be read out.
    pub(super) async fn expect_speech(&mut self, text: &str) -> Result<(), String> {
        let next = self.matched_speeches;
        self.matched_speeches += 1;
        let speech = || self.env.assistant.speeches().into_iter().nth(next);
        wait_until("it is read out", async || speech().is_some()).await;
        let input = speech().unwrap_or_default().input;
        if input == text {
            return Ok(());
        }
        Err(format!("it read out {input:?}"))
    }

    pub(super) fn expect_no_more_speeches(&self) -> Result<(), String> {
        match &self.env.assistant.speeches()[self.matched_speeches..] {
            [] => Ok(()),
            more => Err(format!("it also read out {more:#?}")),
        }
    }

    /// The messages of every request to the assistant: text and number of pictures. A request of Webhook is one.
    pub(super) fn request_messages(&self) -> Vec<Vec<(String, usize)>> {
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
        let requests = self.env.assistant.requests().into_iter();
        requests
            .map(|request| match request.body["messages"].as_array() {
                Some(messages) => messages.iter().map(message).collect(),
                None => {
                    let text = request.body["text"].as_str().unwrap_or_default();
                    let pictures = request.body["pictures"].as_array().map_or(0, Vec::len);
                    vec![(text.to_owned(), pictures)]
                }
            })
            .collect()
    }

    pub(super) fn expect_no_more_requests(&self) -> Result<(), String> {
        match &self.request_messages()[self.matched_requests..] {
            [] => Ok(()),
            more => Err(format!("the assistant was also asked {more:#?}")),
        }
    }

    pub(super) async fn expect_bot_left(&self, group: &str) -> Result<(), String> {
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

    pub(super) async fn expect_denied_messages(&self, texts: Vec<String>) -> Result<(), String> {
        self.wait_until_handled().await;
        let listing = ListingQuery {
            limit: 100,
            ..ListingQuery::default()
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

/// Whether JSON is this; an object may hold more.
fn holds(found: &Json, expected: &Json) -> bool {
    match expected {
        Json::Object(fields) => {
            found.is_object()
                && fields
                    .iter()
                    .all(|(name, value)| holds(&found[name], value))
        }
        Json::Array(items) => found.as_array().is_some_and(|found| {
            found.len() == items.len() && found.iter().zip(items).all(|(f, item)| holds(f, item))
        }),
        other => found == other,
    }
}

/// The texts of a message's buttons, row by row.
fn button_texts(message: &SentMessage) -> Vec<Vec<String>> {
    let rows = message.reply_markup.as_ref();
    let rows = rows.and_then(|markup| markup["inline_keyboard"].as_array());
    let texts = |row: &Json| {
        let buttons = row.as_array().into_iter().flatten();
        let texts = buttons.filter_map(|button| button["text"].as_str());
        texts.map(ToOwned::to_owned).collect()
    };
    rows.into_iter().flatten().map(texts).collect()
}

fn is_media(message: &SentMessage, expected: &ExpectedMedia) -> bool {
    let is = |expected: &Option<String>, found: &str| expected.as_ref().is_none_or(|e| e == found);
    message.media.as_ref().is_some_and(|media| {
        is(&expected.kind, &media.kind)
            && is(&expected.name, &media.file_name)
            && is(&expected.sniffed_type, &media.sniffed_type)
            && expected.size.is_none_or(|size| size == media.size)
    })
}

/// The types of a rich message's blocks.
fn block_types(message: &SentMessage) -> Vec<String> {
    let rich = message.rich_message.as_ref();
    let blocks = rich.and_then(|rich| rich["blocks"].as_array());
    let types = blocks.into_iter().flatten();
    let types = types.filter_map(|block| block["type"].as_str());
    types.map(ToOwned::to_owned).collect()
}
