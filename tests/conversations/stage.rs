//! Plays a conversation. The steps:
//!
//! | step | with |
//! |---|---|
//! | `given` | the connector, where it is not the usual one: see [`Given`]. Before anything else |
//! | `assistant` | how it behaves from now on: [`Behaviour`] |
//! | `telegram breaks` | a [`Fault`] |
//! | `<who> says`, `<who> says in <group>` | a text, or a [`Saying`] |
//! | `bot shows`, `bot shows to <who>`, `bot shows in <group>` | the next message that stands there, word for word: a text, or a [`Shown`]. Without `to` or `in`: where somebody spoke last |
//! | `preview shows`, also `to`, `in` | the answer is on the screen while it is written, and the text begins with this |
//! | `assistant saw` | the next question: its text word for word, or a [`Seen`] |
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

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use serde_yaml::Value;
use telegram_connector_operator::api::connector::{AccessLevel, RespondTo};
use telegram_connector_operator::dev::assistant::Behaviour;
use telegram_connector_operator::dev::telegram::{Fault, Say, Sent};
use telegram_connector_operator::pipeline::PipelineLimits;
use telegram_connector_operator::registry::{
    DeniedReply, GroupPolicy, ResolvedConnector, SessionDuration,
};
use telegram_connector_operator::store::Listing;

use crate::people;
use crate::script::Step;
use crate::world::{Connector, SOON, World, specific, until};

/// The first second of conversations that name times.
const BEGAN: i64 = 1_790_000_000;

/// The connector: allowed are all but Eve, with sessions of 24 hours, silent in groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Given {
    access_level: Option<AccessLevel>,
    greeting: Option<String>,
    denied_reply: Option<String>,
    duration_hours: Option<i64>,
    max_messages: Option<u32>,
    messages_per_minute: Option<u32>,
    groups: Option<GivenGroups>,
    /// Voice messages are written down; the sample assistant hears what their `data` says.
    transcription: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GivenGroups {
    respond_to: RespondTo,
    /// Names of groups that the script creates before.
    chats: Option<Vec<String>>,
}

/// What somebody says. Fields that are not named here are the message's content: `photo: {}`, `location: {…}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Saying {
    text: Option<String>,
    caption: Option<String>,
    /// What to call this message later in the script.
    called: Option<String>,
    /// A message of the script, or `bot's` last one.
    reply_to: Option<String>,
    quote: Option<String>,
    forward_from: Option<String>,
    media_group_id: Option<String>,
    /// The message that this is the new version of.
    edits: Option<String>,
    topic: Option<String>,
    /// In the name of the group (an anonymous administrator).
    anonymous: bool,
    /// Seconds after the beginning; absent: now.
    at: Option<i64>,
    /// Say it so many times over in the text: for long ones.
    times: Option<usize>,
    #[serde(flatten)]
    content: Map<String, Json>,
}

/// A message of the bot.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shown {
    text: Option<String>,
    /// A part of the text, where the whole would say too much.
    part: Option<String>,
    /// Its beginning.
    begins: Option<String>,
    /// As the bot sent it, with its markup.
    source: Option<String>,
    /// The message of the script it replies to.
    reply_to: Option<String>,
    topic: Option<String>,
}

/// A question at the assistant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Seen {
    text: Option<String>,
    part: Option<String>,
    pictures: Option<usize>,
    /// The texts before the question.
    history: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    name: String,
    kind: String,
    #[serde(default)]
    topics: Vec<String>,
    /// On, as at Telegram, unless said otherwise.
    #[serde(default = "on")]
    privacy_mode: bool,
}

fn on() -> bool {
    true
}

struct Stage {
    world: World,
    connector: Connector,
    groups: HashMap<String, i64>,
    topics: HashMap<String, i64>,
    messages: HashMap<String, i64>,
    /// Where somebody spoke last.
    here: i64,
    /// Messages of the bot that the script has told of.
    told: HashSet<(i64, i64)>,
    last_of_bot: HashMap<i64, i64>,
    /// Questions that the script has told of.
    seen: usize,
}

/// Plays a conversation to its end.
pub(crate) async fn play(steps: Vec<Step>) -> Result<(), String> {
    let follow_up = PipelineLimits::default().follow_up;
    let mut world = World::with(|limits| limits.follow_up = follow_up).await;
    people::introduce(&world.telegram);
    let connector = world.connector_with("support", |c| c.access = specific(&people::trusted()));
    let mut stage = Stage {
        world,
        connector,
        groups: HashMap::new(),
        topics: HashMap::new(),
        messages: HashMap::new(),
        here: 0,
        told: HashSet::new(),
        last_of_bot: HashMap::new(),
        seen: 0,
    };
    for (n, step) in steps.iter().enumerate() {
        stage
            .take(step)
            .await
            .map_err(|why| format!("step {} ({}): {why}", n + 1, step.does))?;
    }
    stage.end().await
}

impl Stage {
    async fn take(&mut self, step: &Step) -> Result<(), String> {
        let does = step.does.as_str();
        let with = &step.with;
        match does {
            "given" => self.given(read(with)?),
            "assistant" => {
                self.world.assistant.behave(read::<Behaviour>(with)?);
                Ok(())
            }
            "telegram breaks" => {
                self.world.telegram.add_fault(read::<Fault>(with)?);
                Ok(())
            }
            "assistant saw" => self.assistant_saw(text_or(with)?).await,
            "assistant is asked" => self.asked(self.seen).await,
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
                self.world.stop(Duration::ZERO).await;
                Ok(())
            }
            "operator starts" => {
                self.accepted().await;
                self.world.restart(Duration::ZERO).await;
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
            let new = self.world.telegram.migrate(self.group(group)?);
            self.groups.insert(group.to_owned(), new);
            self.here = new;
            return Ok(());
        }
        let (who, place) = does
            .split_once(" says")
            .ok_or("there is no such step; stage.rs lists them")?;
        let who = people::id(who)?;
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
            return people::id(who);
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

    fn given(&mut self, given: Given) -> Result<(), String> {
        let mut groups = None;
        if let Some(asked) = given.groups {
            let chats = asked
                .chats
                .map(|names| names.iter().map(|name| self.group(name)).collect())
                .transpose()?;
            groups = Some(GroupPolicy {
                respond_to: asked.respond_to,
                chats,
            });
        }
        let ears = given.transcription.then(|| self.world.ears());
        self.world
            .change(&self.connector, |c: &mut ResolvedConnector| {
                c.groups = groups;
                c.transcription = ears.unwrap_or_default();
                c.greeting = given.greeting.map(Into::into);
                if let Some(level) = given.access_level {
                    c.access.level = level;
                }
                c.denied_reply = match given.denied_reply.as_deref() {
                    None => DeniedReply::Default,
                    Some("") => DeniedReply::Silent,
                    Some(text) => DeniedReply::Text(text.into()),
                };
                c.session.duration = match given.duration_hours {
                    None => c.session.duration,
                    Some(-1) => SessionDuration::None,
                    Some(0) => SessionDuration::Infinite,
                    Some(hours) => SessionDuration::Hours(u32::try_from(hours).expect("hours")),
                };
                c.session.max_messages = given.max_messages.unwrap_or(c.session.max_messages);
                c.messages_per_minute = given.messages_per_minute.unwrap_or(c.messages_per_minute);
            });
        Ok(())
    }

    fn new_group(&mut self, new: NewGroup) -> Result<(), String> {
        let telegram = &self.world.telegram;
        telegram.set_privacy(self.connector.id, new.privacy_mode);
        let chat = telegram.add_group(&new.kind, &new.name, &[self.connector.id]);
        for topic in new.topics {
            let id = telegram.add_topic(chat, &topic);
            self.topics.insert(topic, id);
        }
        if self.groups.insert(new.name, chat).is_some() {
            return Err("there is such a group already".into());
        }
        Ok(())
    }

    fn says(&mut self, who: i64, chat: Option<i64>, said: TextOr<Saying>) -> Result<(), String> {
        let said = match said {
            TextOr::Text(text) => Saying {
                text: Some(text),
                ..Saying::default()
            },
            TextOr::Map(said) => said,
        };
        self.here = chat.unwrap_or(who);
        let repeated = |text: String| text.repeat(said.times.unwrap_or(1));
        let named = |name: &Option<String>| {
            let found = name.as_deref().map(|name| self.message(name, self.here));
            found.transpose()
        };
        let say = Say {
            bot: chat.is_none().then_some(self.connector.id.0),
            from: Some(who),
            chat,
            thread: self.topic(said.topic.as_deref())?,
            text: said.text.map(repeated),
            caption: said.caption,
            entities: None,
            content: said.content,
            reply_to: named(&said.reply_to)?,
            quote: said.quote,
            edit: named(&said.edits)?,
            forward_from: said.forward_from.as_deref().map(people::id).transpose()?,
            media_group_id: said.media_group_id,
            sender_chat: chat.filter(|_| said.anonymous),
            date: said.at.map(|at| BEGAN + at),
        };
        let came = self.world.telegram.send(&say)?;
        if let Some(name) = said.called {
            self.messages.insert(name, came.message_id);
        }
        Ok(())
    }

    /// Messages of the bot that stand in a chat and that the script has not told of yet.
    fn untold(&self, chat: i64) -> Vec<Sent> {
        let sent = self.world.telegram.sent(self.connector.id, chat);
        sent.into_iter()
            .filter(|m| !m.deleted && !self.told.contains(&(chat, m.message_id)))
            .collect()
    }

    async fn bot_shows(&mut self, chat: i64, shown: TextOr<Shown>) -> Result<(), String> {
        let shown = match shown {
            TextOr::Text(text) => Shown {
                text: Some(text),
                ..Shown::default()
            },
            TextOr::Map(shown) => shown,
        };
        let reply_to = shown.reply_to.as_deref();
        let reply_to = reply_to.map(|name| self.message(name, chat)).transpose()?;
        let topic = self.topic(shown.topic.as_deref())?;
        let fits = |m: &Sent| {
            let begins = shown.begins.as_ref();
            shown.text.as_ref().is_none_or(|text| *text == m.text)
                && begins.is_none_or(|b| m.text.starts_with(b))
                && shown.part.as_ref().is_none_or(|part| m.text.contains(part))
                && shown.source.as_ref().is_none_or(|s| *s == m.source)
                && (reply_to.is_none() || m.reply_to == reply_to)
                && (topic.is_none() || m.thread_id == topic)
        };
        let came = self
            .world
            .telegram
            .wait_until(self.connector.id, SOON, |_| {
                self.untold(chat).into_iter().next().filter(fits)
            })
            .await;
        let Some(message) = came else {
            let asked = self.questions();
            return Err(format!(
                "not shown: {shown:?}\nbut: {:#?}\nthe assistant was asked {asked:#?}",
                self.untold(chat)
            ));
        };
        self.told.insert((chat, message.message_id));
        self.last_of_bot.insert(chat, message.message_id);
        Ok(())
    }

    async fn preview_shows(&self, chat: i64, text: &str) -> Result<(), String> {
        let on_the_screen = || {
            let telegram = &self.world.telegram;
            let drafts = telegram.drafts(self.connector.id).into_iter();
            let drafts = drafts.filter(|d| d.chat_id == chat).map(|d| d.text);
            drafts
                .chain(self.untold(chat).into_iter().map(|m| m.text))
                .collect::<Vec<_>>()
        };
        let begins = |shown: &Vec<String>| shown.iter().any(|shown| shown.starts_with(text));
        self.world
            .telegram
            .wait_until(self.connector.id, SOON, |_| {
                Some(on_the_screen()).filter(begins)
            })
            .await
            .map(drop)
            .ok_or_else(|| format!("on the screen: {:?}", on_the_screen()))
    }

    fn nothing_more(&self, chat: i64) -> Result<(), String> {
        let untold = self.untold(chat);
        if untold.is_empty() {
            return Ok(());
        }
        Err(format!("shown all the same: {untold:#?}"))
    }

    /// Waits until more than `already` questions have come.
    async fn asked(&self, already: usize) -> Result<(), String> {
        let came = self.world.assistant.wait_for_asked(already as u64, SOON);
        if came.await {
            return Ok(());
        }
        Err("the assistant was not asked".into())
    }

    async fn assistant_saw(&mut self, seen: TextOr<Seen>) -> Result<(), String> {
        let seen = match seen {
            TextOr::Text(text) => Seen {
                text: Some(text),
                ..Seen::default()
            },
            TextOr::Map(seen) => seen,
        };
        self.asked(self.seen).await?;
        let asked = self.questions()[self.seen].clone();
        self.seen += 1;
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
    fn questions(&self) -> Vec<Vec<(String, usize)>> {
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
        let asked = self.world.assistant.asked().into_iter();
        asked
            .map(|asked| {
                let messages = asked.body["messages"].as_array().cloned();
                messages.unwrap_or_default().iter().map(message).collect()
            })
            .collect()
    }

    /// Waits until everything that was said is in the inbox.
    async fn accepted(&self) {
        until("everything said has been accepted", async || {
            let info = self.connector.bot.get_webhook_info().await.unwrap();
            info.pending_update_count == 0
        })
        .await;
    }

    /// Waits until nothing waits, neither at Telegram nor in the inbox.
    async fn handled(&self) {
        self.accepted().await;
        self.world.drained().await;
    }

    fn all_seen(&self) -> Result<(), String> {
        match &self.questions()[self.seen..] {
            [] => Ok(()),
            more => Err(format!("the assistant was also asked {more:#?}")),
        }
    }

    async fn has_left(&self, group: &str) -> Result<(), String> {
        let chat = self.group(group)?.to_string();
        let left = |telegram: &telegram_connector_operator::dev::telegram::Simulator| {
            let calls = telegram.calls(self.connector.id);
            calls
                .iter()
                .any(|c| c.method == "leavechat" && c.params["chat_id"] == *chat)
                .then_some(())
        };
        let telegram = &self.world.telegram;
        let left = telegram.wait_until(self.connector.id, SOON, left).await;
        left.ok_or_else(|| "it is still there".into())
    }

    async fn denied(&self, texts: Vec<String>) -> Result<(), String> {
        self.handled().await;
        let listing = Listing {
            limit: 100,
            ..Listing::default()
        };
        let rows = self.world.store.denied(&listing).await.unwrap().rows;
        let stored: Vec<_> = rows
            .into_iter()
            .map(|d| d.text.unwrap_or(format!("[{}]", d.content)))
            .collect();
        if stored == texts {
            return Ok(());
        }
        Err(format!("stored are {stored:?}"))
    }

    /// Everything that was shown or asked has been told of. The pipeline is stopped first: what it had begun it has then ended.
    async fn end(mut self) -> Result<(), String> {
        self.handled().await;
        self.world.stop(SOON).await;
        for chat in self.world.telegram.chats(self.connector.id) {
            self.nothing_more(chat)
                .map_err(|why| format!("at the end: {why}"))?;
        }
        self.all_seen().map_err(|why| format!("at the end: {why}"))
    }
}

enum TextOr<T> {
    Text(String),
    Map(T),
}

fn text_or<T: DeserializeOwned>(with: &Value) -> Result<TextOr<T>, String> {
    match with {
        Value::String(text) => Ok(TextOr::Text(text.clone())),
        map => read(map).map(TextOr::Map),
    }
}

fn read<T: DeserializeOwned>(with: &Value) -> Result<T, String> {
    // By way of JSON: in YAML an enum's variant would be a tag.
    let json = serde_json::to_value(with).map_err(|error| error.to_string())?;
    serde_json::from_value(json).map_err(|error| error.to_string())
}
