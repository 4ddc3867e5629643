//! Plays a conversation. The steps:
//!
//! | step | with |
//! |---|---|
//! | `given` | the connector, where it is not the usual one: see [`ConnectorSetup`]. Before anything else |
//! | `assistant` | how it behaves from now on: [`Behaviour`] |
//! | `telegram breaks` | a [`Fault`] |
//! | `<who> says`, `<who> says in <group>` | a text, or a [`UserMessage`] |
//! | `bot shows`, `bot shows to <who>`, `bot shows in <group>` | the next message that stands there, word for word: a text, or a [`ExpectedMessage`]. Without `to` or `in`: where somebody spoke last |
//! | `preview shows`, also `to`, `in` | the answer is on the screen while it is written, and the text begins with this |
//! | `assistant saw` | the next question: its text word for word, or a [`ExpectedRequest`] |
//! | `assistant is asked` | wait until the question is at the assistant; it is still to be `seen` |
//! | `everything is answered` | wait until nothing waits |
//! | `assistant saw nothing` | nobody asked it anything (more), once all is handled |
//! | `bot shows nothing` | no (further) message stands there, once all is handled |
//! | `there is a group` | a [`NewGroup`] |
//! | `<group> becomes a supergroup` | |
//! | `bot has left` | a group |
//! | `denied` | the texts of all denied messages that are stored |
//! | `operator stops` | at once, whatever it is doing; what people say is still accepted |
//! | `operator starts` | again, on the reopened store, once what was said meanwhile is accepted |

mod actions;
mod expectations;
mod steps;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bot_api_simulator::Fault;
use bot_api_simulator::sample_assistant::Behaviour;
use serde_yaml::Value;
use telegram_connector_operator::pipeline::PipelineLimits;

use crate::script::Step;
use crate::test_env::{Connector, TIMEOUT, TestEnv, specific_users, wait_until};
use crate::users;

use steps::{read, text_or};

struct ScriptRunner {
    env: TestEnv,
    connector: Connector,
    groups: HashMap<String, i64>,
    topics: HashMap<String, i64>,
    messages: HashMap<String, i64>,
    /// Where somebody spoke last.
    here: i64,
    /// Messages of the bot that the script has told of.
    matched_messages: HashSet<(i64, i64)>,
    last_of_bot: HashMap<i64, i64>,
    /// Questions that the script has told of.
    matched_requests: usize,
}

/// Plays a conversation to its end.
pub(crate) async fn play(steps: Vec<Step>) -> Result<(), String> {
    let follow_up = PipelineLimits::default().follow_up;
    let mut env = TestEnv::with(|limits| limits.follow_up = follow_up).await;
    users::introduce(&env.telegram);
    let connector = env.connector_with("support", |c| c.access = specific_users(&users::trusted()));
    let mut runner = ScriptRunner {
        env,
        connector,
        groups: HashMap::new(),
        topics: HashMap::new(),
        messages: HashMap::new(),
        here: 0,
        matched_messages: HashSet::new(),
        last_of_bot: HashMap::new(),
        matched_requests: 0,
    };
    for (n, step) in steps.iter().enumerate() {
        runner
            .take(step)
            .await
            .map_err(|why| format!("step {} ({}): {why}", n + 1, step.does))?;
    }
    runner.end().await
}

impl ScriptRunner {
    async fn take(&mut self, step: &Step) -> Result<(), String> {
        let does = step.does.as_str();
        let with = &step.with;
        match does {
            "given" => self.given(read(with)?),
            "assistant" => {
                self.env.assistant.set_behaviour(read::<Behaviour>(with)?);
                Ok(())
            }
            "telegram breaks" => {
                self.env.telegram.add_fault(read::<Fault>(with)?);
                Ok(())
            }
            "assistant saw" => self.assistant_saw(text_or(with)?).await,
            "assistant is asked" => self.asked(self.matched_requests).await,
            "assistant saw nothing" => {
                self.handled().await;
                self.all_seen()
            }
            "bot shows nothing" => {
                self.handled().await;
                self.nothing_more(self.here)
            }
            "everything is answered" => {
                self.handled().await;
                Ok(())
            }
            "there is a group" => self.new_group(read(with)?),
            "bot has left" => self.has_left(&read::<String>(with)?).await,
            "denied" => self.denied(read(with)?).await,
            "operator stops" => {
                self.env.stop(Duration::ZERO).await;
                Ok(())
            }
            "operator starts" => {
                self.accepted().await;
                self.env.restart(Duration::ZERO).await;
                Ok(())
            }
            _ => self.somebody(does, with).await,
        }
    }

    async fn somebody(&mut self, does: &str, with: &Value) -> Result<(), String> {
        if let Some(place) = does.strip_prefix("bot shows") {
            let chat = self.place(place)?;
            return self.bot_shows(chat, text_or(with)?).await;
        }
        if let Some(place) = does.strip_prefix("preview shows") {
            let chat = self.place(place)?;
            return self.preview_shows(chat, &read::<String>(with)?).await;
        }
        if let Some(group) = does.strip_suffix(" becomes a supergroup") {
            let new = self.env.telegram.migrate(self.group(group)?);
            self.groups.insert(group.to_owned(), new);
            self.here = new;
            return Ok(());
        }
        let (who, place) = does
            .split_once(" says")
            .ok_or("there is no such step; runner/mod.rs lists them")?;
        let who = users::id(who)?;
        let chat = match place.strip_prefix(" in ") {
            Some(group) => Some(self.group(group)?),
            None if place.is_empty() => None,
            None => return Err("says what, or says in which group?".into()),
        };
        self.says(who, chat, text_or(with)?)
    }

    fn group(&self, name: &str) -> Result<i64, String> {
        let found = self.groups.get(name).copied();
        found.ok_or_else(|| format!("there is no group {name:?}"))
    }

    /// ` to ann`, ` in team`, or nothing.
    fn place(&self, place: &str) -> Result<i64, String> {
        if let Some(who) = place.strip_prefix(" to ") {
            return users::id(who);
        }
        match place.strip_prefix(" in ") {
            Some(group) => self.group(group),
            None if place.is_empty() => Ok(self.here),
            None => Err(format!("where is {place:?}?")),
        }
    }

    fn message(&self, name: &str, chat: i64) -> Result<i64, String> {
        let found = if name == "bot's" {
            self.last_of_bot.get(&chat)
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

    /// Waits until everything that was said is in the inbox.
    async fn accepted(&self) {
        wait_until("everything said has been accepted", async || {
            let info = self.connector.bot.get_webhook_info().await.unwrap();
            info.pending_update_count == 0
        })
        .await;
    }

    /// Waits until nothing waits, neither at Telegram nor in the inbox.
    async fn handled(&self) {
        self.accepted().await;
        self.env.wait_until_drained().await;
    }

    /// Everything that was shown or asked has been told of. The pipeline is stopped first: what it had begun it has then ended.
    async fn end(mut self) -> Result<(), String> {
        self.handled().await;
        self.env.stop(TIMEOUT).await;
        for chat in self.env.telegram.chats(self.connector.id) {
            self.nothing_more(chat)
                .map_err(|why| format!("at the end: {why}"))?;
        }
        self.all_seen().map_err(|why| format!("at the end: {why}"))
    }
}
