//! Ann's chat with a bot whose assistant is a foreign server: the whole pipeline between the Bot API simulator and that server.

use std::sync::Arc;
use std::time::Duration;

use bot_api_simulator::{SentMessage, Tap};
use serde_json::Value;
use telegram_connector_operator::api::connector::{AssistantProtocol, OpenAiApi, OpenAiSpec};
use telegram_connector_operator::assistant::{Assistant, build_assistant};
use telegram_connector_operator::registry::ApprovalPolicy;

use super::peer_url;
use crate::fixtures::{http_client, spec};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, wait_until};

/// A server that `foreign.sh` started, as a connector names it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) protocol: AssistantProtocol,
    /// What `foreign.sh` calls the address that the connector is given.
    pub(super) url: &'static str,
    pub(super) model: Option<&'static str>,
    /// Which API of `OpenAI`'s; absent: Chat Completions.
    pub(super) api: Option<OpenAiApi>,
    /// What `foreign.sh` calls the API key.
    pub(super) key: Option<&'static str>,
    /// What `foreign.sh` calls the root of the server that counts, where it is not `url`.
    pub(super) counter: Option<&'static str>,
}

impl Server {
    pub(super) fn a2a(url: &'static str) -> Self {
        Self {
            protocol: AssistantProtocol::A2A,
            url,
            model: None,
            api: None,
            key: None,
            counter: None,
        }
    }

    /// `LiteLLM`'s proxy with a model that counts.
    pub(super) fn litellm() -> Self {
        Self {
            protocol: AssistantProtocol::OpenAI,
            url: "LITELLM",
            model: Some("echo"),
            api: None,
            key: Some("LITELLM_KEY"),
            counter: Some("LITELLM_MODEL"),
        }
    }

    /// The same by the Responses API, which `LiteLLM` translates to Chat Completions for its model.
    pub(super) fn litellm_responses() -> Self {
        Self {
            model: Some("translated-echo"),
            counter: Some("LITELLM_TRANSLATED_MODEL"),
            ..Self::litellm().by_responses()
        }
    }

    /// The same server, asked by the Responses API.
    pub(super) fn by_responses(self) -> Self {
        Self {
            api: Some(OpenAiApi::Responses),
            ..self
        }
    }

    /// The server of `llama.cpp` at this address.
    pub(super) fn llama_cpp(url: &'static str) -> Self {
        Self {
            protocol: AssistantProtocol::OpenAI,
            url,
            model: Some("tiny"),
            api: None,
            key: Some("LLAMA_CPP_KEY"),
            counter: None,
        }
    }

    /// A new client of it, as a process that has just started has.
    fn client(&self) -> Arc<dyn Assistant> {
        let mut spec = spec(self.protocol, &peer_url(self.url));
        spec.model = self.model.map(str::to_owned);
        spec.timeout_seconds = Some(300);
        spec.open_ai = self.api.map(|api| OpenAiSpec {
            api: Some(api),
            ..OpenAiSpec::default()
        });
        let key = self.key.map(|key| peer_url(key).into());
        build_assistant(&spec, key, &http_client()).expect("an assistant")
    }

    /// What the server has counted (`peers/fake_model.py`).
    pub(super) async fn counts(&self) -> Counts {
        let root = peer_url(self.counter.unwrap_or(self.url));
        let root = root.trim_end_matches("/webhook");
        let counts = reqwest::get(format!("{root}/counts")).await;
        let counts = counts.expect("the counts").json::<Value>().await;
        Counts(counts.expect("JSON"))
    }
}

/// What a server has counted since it was started.
#[derive(Debug)]
pub(super) struct Counts(Value);

impl Counts {
    /// How often a question was asked.
    pub(super) fn asked(&self, question: &str) -> usize {
        let asked = self.0["asked"].as_array().expect("a list");
        asked.iter().filter(|asked| *asked == question).count()
    }

    /// Answers that were cut before their end.
    pub(super) fn stopped(&self) -> u64 {
        self.0["stopped"].as_u64().expect("a number")
    }

    /// Requests to cancel a task.
    pub(super) fn cancels(&self) -> u64 {
        self.0["cancels"].as_u64().expect("a number")
    }
}

pub(super) struct Chat {
    env: TestEnv,
    connector: Connector,
    server: Server,
}

impl Chat {
    pub(super) async fn with(server: &Server) -> Self {
        Self::with_history(server, 50).await
    }

    /// One whose session keeps so many messages.
    pub(super) async fn with_history(server: &Server, max_messages: usize) -> Self {
        let mut env = TestEnv::new().await;
        let connector = env.connector_with("foreign", |connector| {
            connector.assistant = Some(server.client());
            connector.session.max_messages = max_messages.try_into().expect("a small number");
            connector.messages_per_minute = 60_000;
        });
        Self {
            env,
            connector,
            server: server.clone(),
        }
    }

    /// Ann writes, and the bot answers in one message.
    pub(super) async fn ask(&self, text: &str) -> String {
        self.ask_within(text, TIMEOUT).await
    }

    pub(super) async fn ask_within(&self, text: &str, timeout: Duration) -> String {
        let bot = self.connector.id;
        let sent = self.env.telegram.send_and_wait(bot, ANN, text, timeout);
        let answer = sent.await.text;
        self.env.wait_until_drained().await;
        answer
    }

    /// Ann asks something long and, once `begun` says so, stops the answer. What the bot shows of it.
    pub(super) async fn stop(&self, text: &str, begun: impl AsyncFn(&Self) -> bool) -> String {
        let bot = self.connector.id;
        let before = self.env.telegram.sent_messages(bot, ANN).len();
        self.env.telegram.send_private_message(bot, ANN, text);
        wait_until("the answer has begun", async || begun(self).await).await;
        self.env.telegram.send_private_message(bot, ANN, "/stop");
        let shown = self.env.telegram.wait_until(bot, TIMEOUT, |telegram| {
            let sent = telegram.sent_messages(bot, ANN).split_off(before);
            let (last, shown) = sent.split_last()?;
            let shown = shown.iter().map(|message| message.text.as_str());
            (last.text == "Stopped.").then(|| shown.collect::<String>())
        });
        let shown = shown.await.expect("the bot says that it stopped");
        self.env.wait_until_drained().await;
        shown
    }

    /// Nobody decides in time about what the assistant asks.
    pub(super) fn with_approvals_that_expire(self) -> Self {
        self.env.update_connector(&self.connector, |connector| {
            connector.approvals = Some(ApprovalPolicy {
                timeout: Duration::from_millis(1),
                ..ApprovalPolicy::default()
            });
        });
        self
    }

    /// The bot's messages, once there are so many.
    pub(super) async fn messages(&self, count: usize) -> Vec<SentMessage> {
        let bot = self.connector.id;
        let telegram = &self.env.telegram;
        let sent = telegram.wait_for_sent_messages(bot, ANN, count - 1, TIMEOUT);
        sent.await
    }

    /// Ann taps the button with this text under the bot's last message; what the bot says then.
    pub(super) async fn tap(&self, button: &str) -> String {
        let bot = self.connector.id;
        let sent = self.env.telegram.sent_messages(bot, ANN);
        let tap = Tap {
            bot: Some(bot.0),
            from: ANN,
            message_id: sent.last().expect("a message").message_id,
            text: Some(button.into()),
            ..Tap::default()
        };
        self.env.telegram.tap(&tap).expect("such a button");
        let mut sent = self.messages(sent.len() + 1).await;
        self.env.wait_until_drained().await;
        sent.pop().expect("a message").text
    }

    /// Whether Telegram shows a beginning of an answer.
    pub(super) fn shows_a_draft(&self) -> bool {
        !self.env.telegram.drafts(self.connector.id).is_empty()
    }

    /// The operator stops and starts again: with the store reopened, and another client of the assistant.
    pub(super) async fn restart_operator(&mut self) {
        self.env.restart(Duration::from_secs(5)).await;
        let client = self.server.client();
        self.env.update_connector(&self.connector, |connector| {
            connector.assistant = Some(client);
        });
    }
}
