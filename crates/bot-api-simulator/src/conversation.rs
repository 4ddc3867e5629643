//! The simulator as a Telegram client sees it: its bots, groups and users, and what a chat shows now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::futures::OwnedNotified;

use super::entity::Entity;
use super::objects::User;
use super::simulator::Simulator;
use super::telegram_state::{BotState, Draft, StoredMessage};

/// How long a chat action is shown, unless a message ends it (Bot API, `sendChatAction`).
const CHAT_ACTION_LIFETIME: Duration = Duration::from_secs(5);
/// How long a draft is shown, unless a message or a later draft replaces it (Bot API, `sendMessageDraft`).
const DRAFT_LIFETIME: Duration = Duration::from_secs(30);

/// A bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotSummary {
    /// Its id.
    pub id: i64,
    /// Without the leading `@`.
    pub username: String,
    /// Its name.
    pub name: String,
    /// Whether its token is revoked.
    pub revoked: bool,
    /// Whether privacy mode is on.
    pub privacy: bool,
}

/// A group, supergroup, forum or channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// The chat's id.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// `group`, `supergroup` or `channel`.
    pub kind: &'static str,
    /// Whether it has topics.
    pub is_forum: bool,
    /// The topics: `message_thread_id` and name.
    pub topics: BTreeMap<i64, String>,
    /// The bots inside.
    pub bots: Vec<i64>,
    /// The supergroup that it became.
    pub migrated_to: Option<i64>,
}

/// A message as a chat shows it: with the last edit of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationMessage {
    /// Its id in the chat.
    pub message_id: i64,
    /// The sender; `None` in channels.
    pub from: Option<User>,
    /// Whether the bot sent it.
    pub by_bot: bool,
    /// The text, or the caption of the media in `content`.
    pub text: String,
    /// The formatting of `text`.
    pub entities: Vec<Entity>,
    /// The fields that depend on the kind of message (`photo`, `voice` and so on), as the Bot API has them.
    pub content: Map<String, Value>,
    /// The keyboard under it.
    pub reply_markup: Option<Value>,
    /// The id and text of the message that it replies to.
    pub reply_to: Option<(i64, String)>,
    /// Whether its sender has edited it.
    pub edited: bool,
    /// When it was sent.
    pub at: Timestamp,
}

/// What a chat or topic shows.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The newest messages, oldest first, without deleted ones.
    pub messages: Vec<ConversationMessage>,
    /// The preview that `sendMessageDraft` shows.
    pub draft: Option<Draft>,
    /// What `sendChatAction` shows: `typing` and so on.
    pub chat_action: Option<String>,
}

impl From<&StoredMessage> for ConversationMessage {
    fn from(stored: &StoredMessage) -> Self {
        let message = &stored.message;
        let (text, entities) = match (&message.text, &message.caption) {
            (Some(text), _) => (text.clone(), message.entities.clone()),
            (None, Some(caption)) => (caption.clone(), message.caption_entities.clone()),
            (None, None) => (String::new(), Vec::new()),
        };
        Self {
            message_id: message.message_id,
            from: message.from.as_deref().cloned(),
            by_bot: stored.by_bot,
            text,
            entities,
            content: message.content.clone(),
            reply_markup: message.reply_markup.clone(),
            reply_to: message.reply_to_message.as_ref().map(|replied| {
                let text = replied.text.as_ref().or(replied.caption.as_ref());
                (replied.message_id, text.cloned().unwrap_or_default())
            }),
            edited: message.edit_date.is_some(),
            at: stored.at,
        }
    }
}

impl Simulator {
    /// The bots, ordered by id.
    pub fn bots(&self) -> Vec<BotSummary> {
        let bots = self.telegram.bots().into_iter();
        bots.map(|bot| {
            let state = bot.state.lock();
            BotSummary {
                id: bot.id,
                username: bot.user.username.clone().unwrap_or_default(),
                name: bot.user.first_name.clone(),
                revoked: state.revoked,
                privacy: !state.reads_all_group_messages,
            }
        })
        .collect()
    }

    /// The groups and channels, in the order of their creation.
    pub fn groups(&self) -> Vec<GroupSummary> {
        let groups = self.telegram.groups();
        let mut groups: Vec<GroupSummary> = groups
            .iter()
            .map(|group| {
                let group = group.lock();
                let inside = group.bots.iter().filter(|(_, m)| m.is_inside());
                GroupSummary {
                    id: group.chat.id,
                    title: group.chat.title.clone().unwrap_or_default(),
                    kind: group.chat.kind,
                    is_forum: group.chat.is_forum,
                    topics: group.topics.clone(),
                    bots: inside.map(|(bot, _)| *bot).collect(),
                    migrated_to: group.migrated_to,
                }
            })
            .collect();
        // The ids of both kinds count downwards.
        groups.sort_by_key(|group| std::cmp::Reverse(group.id));
        groups
    }

    /// The users, ordered by id.
    pub fn users(&self) -> Vec<User> {
        let users = self.telegram.users();
        users.iter().map(|user| User::clone(user)).collect()
    }

    /// What a chat of the bot shows: its `newest` messages; in a forum those of one topic (`None`: General).
    pub fn conversation(
        &self,
        bot: impl Into<i64>,
        chat: i64,
        thread: Option<i64>,
        newest: usize,
    ) -> Conversation {
        let bot = self.bot(bot);
        let state = bot.state.lock();
        let mut stored: Vec<&StoredMessage> = state
            .history
            .iter()
            .filter(|stored| {
                let message = &stored.message;
                message.chat.id == chat
                    && message.message_thread_id == thread
                    && !stored.deleted
                    && !state.history.is_replaced(stored)
            })
            .collect();
        stored.sort_by_key(|stored| stored.message.message_id);
        let last_of_bot = stored.iter().rev().find(|stored| stored.by_bot);
        let ended = last_of_bot.map(|stored| stored.at);
        let first = stored.len().saturating_sub(newest);
        Conversation {
            draft: draft_shown(&state, chat, thread, ended),
            chat_action: chat_action_shown(&state, chat, thread, ended),
            messages: stored[first..]
                .iter()
                .map(|stored| ConversationMessage::from(*stored))
                .collect(),
        }
    }

    /// Completes at the next message, edit, deletion, draft or chat action in a chat of the bot, counted from this call.
    pub fn next_message_change(&self, bot: impl Into<i64>) -> OwnedNotified {
        Arc::clone(&self.bot(bot).messages_changed).notified_owned()
    }

    /// The content of a file that a user or a bot sent; `file_id` as in the message.
    pub fn file(&self, file_id: &str) -> Option<Bytes> {
        self.telegram.files.content(file_id)
    }
}

/// The newest draft, if it is younger than the bot's last message (`ended`) and still shown.
fn draft_shown(
    state: &BotState,
    chat: i64,
    thread: Option<i64>,
    ended: Option<Timestamp>,
) -> Option<Draft> {
    let newest = state
        .drafts
        .iter()
        .rev()
        .find(|draft| draft.chat_id == chat && draft.thread_id == thread)?;
    is_shown(newest.at, ended, DRAFT_LIFETIME).then(|| newest.clone())
}

fn chat_action_shown(
    state: &BotState,
    chat: i64,
    thread: Option<i64>,
    ended: Option<Timestamp>,
) -> Option<String> {
    let shown = state.chat_actions.get(&chat)?;
    let here = shown.thread_id == thread && shown.action != "cancel";
    (here && is_shown(shown.at, ended, CHAT_ACTION_LIFETIME)).then(|| shown.action.clone())
}

fn is_shown(at: Timestamp, ended: Option<Timestamp>, lifetime: Duration) -> bool {
    let age = Timestamp::now().duration_since(at);
    ended.is_none_or(|ended| ended < at)
        && age < jiff::SignedDuration::try_from(lifetime).unwrap_or_default()
}
