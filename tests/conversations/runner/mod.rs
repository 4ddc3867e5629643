//! Runs a script. The steps:
//!
//! | step | argument |
//! |---|---|
//! | `given` | changes to the default connector: a [`ConnectorSetup`]. The first step |
//! | `assistant` | its [`Behaviour`] from now on |
//! | `telegram breaks` | a [`Fault`] |
//! | `<who> says`, `<who> says in <group>` | a text, or a [`UserMessage`] |
//! | `<who> taps`, `<who> taps in <group>` | a button's text, or a [`UserTap`]; without `message`, a button of the bot's last expected message in that chat |
//! | `bot answers the tap` | the text that the bot answers the next tap with (empty for none), or an [`ExpectedAnswer`] |
//! | `bot shows`, `bot shows to <who>`, `bot shows in <group>` | the next message in that chat: its whole text, or an [`ExpectedMessage`]. Without `to` or `in`: the chat of the last user message |
//! | `bot changes`, also `to`, `in` | what the bot's last expected message in that chat becomes: its whole text, or an [`ExpectedMessage`] |
//! | `bot reacts`, also `to`, `in` | the emoji of the bot's reactions to a message: `{to: <name>, with: [👀]}` |
//! | `preview shows`, also `to`, `in` | a draft or message that begins with this text appears while the answer is streamed |
//! | `assistant saw` | the next request: the whole text of its question, or an [`ExpectedRequest`] |
//! | `assistant reads out` | the next text that is turned into speech |
//! | `assistant is asked` | waits until a request has reached the assistant; `assistant saw` is still to follow |
//! | `everything is answered` | waits until no update is pending |
//! | `assistant saw nothing` | no further request, once all updates are handled |
//! | `bot shows nothing` | no further message in that chat, once all updates are handled |
//! | `there is a group` | a [`NewGroup`] |
//! | `<group> becomes a supergroup` | |
//! | `bot has left` | a group |
//! | `denied` | the texts of all stored denied messages |
//! | `operator stops` | at once, without a grace period, once it knows what it has sent; updates are still accepted |
//! | `operator starts` | again with the same store, once pending updates are accepted |

mod actions;
mod expectations;
mod steps;
mod taps;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bot_api_simulator::Fault;
use bot_api_simulator::sample_assistant::Behaviour;
use serde_yaml::Value;
use telegram_connector_operator::pipeline::PipelineLimits;

use crate::script::Step;
use crate::test_env::{Connector, TIMEOUT, TestEnv, specific_users, wait_until};
use crate::users;

use steps::{read, read_text_or_map};

struct ScriptRunner {
    env: TestEnv,
    connector: Connector,
    groups: HashMap<String, i64>,
    topics: HashMap<String, i64>,
    messages: HashMap<String, i64>,
    /// The chat of the last user message.
    last_chat: i64,
    /// Chat and id of the bot's messages that a step has expected.
    matched_messages: HashSet<(i64, i64)>,
    /// The id of the bot's last expected message, by chat.
    last_bot_message: HashMap<i64, i64>,
    /// Number of requests that a step has expected.
    matched_requests: usize,
    /// Number of taps whose answer a step has expected.
    matched_taps: usize,
    /// Number of read out texts that a step has expected.
    matched_speeches: usize,
}

/// Runs the steps; at the end, no message or request may be left that no step has expected.
pub(crate) async fn run_script(steps: Vec<Step>) -> Result<(), String> {
    let follow_up = PipelineLimits::default().follow_up;
    let mut env = TestEnv::with(|limits| limits.follow_up = follow_up).await;
    users::register_all(&env.telegram);
    let connector = env.connector_with("support", |c| {
        c.access = specific_users(&users::allowed_ids());
    });
    env.register(&connector).await;
    let mut runner = ScriptRunner {
        env,
        connector,
        groups: HashMap::new(),
        topics: HashMap::new(),
        messages: HashMap::new(),
        last_chat: 0,
        matched_messages: HashSet::new(),
        last_bot_message: HashMap::new(),
        matched_requests: 0,
        matched_taps: 0,
        matched_speeches: 0,
    };
    for (n, step) in steps.iter().enumerate() {
        runner
            .run_step(step)
            .await
            .map_err(|why| format!("step {} ({}): {why}", n + 1, step.action))?;
    }
    runner.finish().await
}

impl ScriptRunner {
    async fn run_step(&mut self, step: &Step) -> Result<(), String> {
        let action = step.action.as_str();
        let argument = &step.argument;
        match action {
            "given" => self.set_up_connector(read(argument)?),
            "assistant" => {
                self.env
                    .assistant
                    .set_behaviour(read::<Behaviour>(argument)?);
                Ok(())
            }
            "telegram breaks" => {
                self.env.telegram.add_fault(read::<Fault>(argument)?);
                Ok(())
            }
            "assistant saw" => self.expect_request(read_text_or_map(argument)?).await,
            "assistant is asked" => self.wait_for_request(self.matched_requests).await,
            "assistant reads out" => self.expect_speech(&read::<String>(argument)?).await,
            "bot answers the tap" => self.expect_answer(read_text_or_map(argument)?).await,
            "assistant saw nothing" => {
                self.wait_until_handled().await;
                self.expect_no_more_requests()
            }
            "bot shows nothing" => {
                self.wait_until_handled().await;
                self.expect_no_more_messages(self.last_chat)
            }
            "everything is answered" => {
                self.wait_until_handled().await;
                Ok(())
            }
            "there is a group" => self.create_group(read(argument)?),
            "bot has left" => self.expect_bot_left(&read::<String>(argument)?).await,
            "denied" => self.expect_denied_messages(read(argument)?).await,
            "operator stops" => {
                self.env.wait_until_recorded().await;
                self.env.stop(Duration::ZERO).await;
                Ok(())
            }
            "operator starts" => {
                self.wait_until_accepted().await;
                self.env.restart(Duration::ZERO).await;
                Ok(())
            }
            _ => self.run_user_step(action, argument).await,
        }
    }

    /// Runs a step whose name contains a user or group.
    async fn run_user_step(&mut self, action: &str, argument: &Value) -> Result<(), String> {
        if let Some(target) = action.strip_prefix("bot shows") {
            let chat = self.target_chat(target)?;
            return self.expect_message(chat, read_text_or_map(argument)?).await;
        }
        if let Some(target) = action.strip_prefix("bot changes") {
            let chat = self.target_chat(target)?;
            return self.expect_change(chat, read_text_or_map(argument)?).await;
        }
        if let Some(target) = action.strip_prefix("bot reacts") {
            let chat = self.target_chat(target)?;
            return self.expect_reaction(chat, read(argument)?).await;
        }
        if let Some(target) = action.strip_prefix("preview shows") {
            let chat = self.target_chat(target)?;
            return self.expect_preview(chat, &read::<String>(argument)?).await;
        }
        if let Some(group) = action.strip_suffix(" becomes a supergroup") {
            let new = self.env.telegram.migrate(self.group(group)?);
            self.groups.insert(group.to_owned(), new);
            self.last_chat = new;
            return Ok(());
        }
        if let Some((who, target)) = action.split_once(" taps") {
            let (from, chat) = self.actor(who, target)?;
            return self.tap(from, chat, read_text_or_map(argument)?);
        }
        let (who, target) = action
            .split_once(" says")
            .ok_or("there is no such step; runner/mod.rs lists them")?;
        let (from, chat) = self.actor(who, target)?;
        self.send_message(from, chat, read_text_or_map(argument)?)
    }

    /// Who acts, and in which group: absent in the private chat.
    fn actor(&self, who: &str, target: &str) -> Result<(i64, Option<i64>), String> {
        let from = users::id(who)?;
        match target.strip_prefix(" in ") {
            Some(group) => Ok((from, Some(self.group(group)?))),
            None if target.is_empty() => Ok((from, None)),
            None => Err("says or taps what, or in which group?".into()),
        }
    }

    fn group(&self, name: &str) -> Result<i64, String> {
        let found = self.groups.get(name).copied();
        found.ok_or_else(|| format!("there is no group {name:?}"))
    }

    /// The chat of ` to ann` or ` in team`; of an empty target, that of the last user message.
    fn target_chat(&self, target: &str) -> Result<i64, String> {
        if let Some(who) = target.strip_prefix(" to ") {
            return users::id(who);
        }
        match target.strip_prefix(" in ") {
            Some(group) => self.group(group),
            None if target.is_empty() => Ok(self.last_chat),
            None => Err(format!("where is {target:?}?")),
        }
    }

    /// The `message_id` of a named message.
    fn message(&self, name: &str, chat: i64) -> Result<i64, String> {
        let found = if name == "bot's" {
            self.last_bot_message.get(&chat)
        } else {
            self.messages.get(name)
        };
        found
            .copied()
            .ok_or_else(|| format!("no message is called {name:?}"))
    }

    fn topic(&self, name: Option<&str>) -> Result<Option<i64>, String> {
        let Some(name) = name else { return Ok(None) };
        let found = self.topics.get(name).copied();
        found
            .map(Some)
            .ok_or_else(|| format!("there is no topic {name:?}"))
    }

    /// Waits until every update is stored in the inbox.
    async fn wait_until_accepted(&self) {
        wait_until("every update has been accepted", async || {
            let info = self.connector.bot.get_webhook_info().await.unwrap();
            info.pending_update_count == 0
        })
        .await;
    }

    /// Waits until no update is pending, neither in Telegram nor in the inbox.
    async fn wait_until_handled(&self) {
        self.wait_until_accepted().await;
        self.env.wait_until_drained().await;
    }

    /// Checks that no message or request is left. The pipeline is stopped first, so that work in progress has ended.
    async fn finish(mut self) -> Result<(), String> {
        self.wait_until_handled().await;
        self.env.stop(TIMEOUT).await;
        for chat in self.env.telegram.chats(self.connector.id) {
            self.expect_no_more_messages(chat)
                .map_err(|why| format!("at the end: {why}"))?;
        }
        self.expect_no_more_requests()
            .and_then(|()| self.expect_no_more_speeches())
            .map_err(|why| format!("at the end: {why}"))
    }
}
