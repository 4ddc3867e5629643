//! The simulated Telegram, by its control interface.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Failure;

/// Messages that the simulator keeps of each bot: it looks through all of them for each question.
const KEPT: u32 = 500;

pub(crate) struct Telegram {
    /// The Bot API's root.
    pub(crate) root: String,
    http: reqwest::Client,
}

impl Telegram {
    pub(crate) fn new(root: &str) -> Result<Self, Failure> {
        Ok(Self {
            root: root.to_owned(),
            http: reqwest::Client::builder().build()?,
        })
    }

    async fn control(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let answer = request.send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        let url = format!("{}/control/{path}", self.root.trim_end_matches('/'));
        let request = self.http.post(url);
        let request = request.header("content-type", "application/json");
        self.control(request.body(body.to_string())).await
    }

    pub(crate) async fn add_bot(&self, token: &str) -> Result<(), Failure> {
        let url = format!("{}/control/options", self.root.trim_end_matches('/'));
        let options = json!({"keep_messages": KEPT, "keep_calls": 0}).to_string();
        let request = self.http.patch(url);
        let request = request.header("content-type", "application/json");
        self.control(request.body(options)).await?;
        self.post("bots", json!({"token": token})).await?;
        Ok(())
    }

    /// A user says something in their private chat with the bot.
    pub(crate) async fn say(&self, bot: u64, user: usize, text: &str) -> Result<(), Failure> {
        let action = json!({"bot": bot, "from": user, "text": text});
        self.post("say", action).await?;
        Ok(())
    }

    /// When the bot's first message to this user arrived.
    pub(crate) async fn first_message(
        &self,
        bot: u64,
        user: usize,
        patience: Duration,
    ) -> Result<jiff::Timestamp, Failure> {
        let url = format!(
            "{}/control/bots/{bot}/sent?chat={user}&wait_ms={}",
            self.root.trim_end_matches('/'),
            patience.as_millis()
        );
        let sent = self.control(self.http.get(url)).await?;
        let at = sent[0]["at"]
            .as_str()
            .ok_or_else(|| format!("bot {bot} did not answer within {patience:?}"))?;
        Ok(at.parse()?)
    }

    /// The user blocks the bot.
    pub(crate) async fn block(&self, bot: u64, user: usize) -> Result<(), Failure> {
        self.post("block", json!({"bot": bot, "user": user}))
            .await?;
        Ok(())
    }
}
