//! State of the simulator: bots, users, groups, files and options.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::callback_queries::CallbackQueries;
use super::entity::Entity;
use super::faults::Faults;
use super::files::Files;
use super::method_result::MethodError;
use super::objects::{Chat, Message, User};
use super::polling::PollState;
use super::queue::UpdateQueue;
use super::rate_limits::RateLimiter;
use super::sent_messages::SentMedia;
use super::stats::Stats;
use super::update_kinds::AllowedUpdates;
use super::webhook::WebhookState;

/// Options: differences between Telegram's servers and self-hosted ones, and limits of what is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct SimulatorOptions {
    /// A self-hosted Bot API server in local mode: webhooks may be http, on any port, with up to 100,000 connections.
    pub local_mode: bool,
    /// Where a server in local mode keeps its files: `getFile` then answers with a path in this folder, and nothing is served by HTTP. Absent: files
    /// are served as ever.
    pub local_files_dir: Option<PathBuf>,
    /// Registers a bot at the first use of any well-formed token.
    pub register_any_token: bool,
    /// About one message a second per chat with short bursts, 20 a minute per group; more is answered with 429.
    pub flood_limits: bool,
    /// Refuse webhooks to loopback and private addresses, as Telegram does outside of local mode. Off by default,
    /// because a simulator lives on loopback.
    pub refuse_reserved_addresses: bool,
    /// How many messages (received and sent) are kept per bot; older ones are dropped.
    pub keep_messages: usize,
    /// How many calls (with their parameters) and how many webhook requests are kept per bot.
    pub keep_calls: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// The first `update_id` of each bot; absent: random.
    pub first_update_id: Option<i64>,
    /// How long a second of webhook delivery lasts, in microseconds: retries, the 60 s limit and the 410 rule shrink with
    /// it. 1,000,000 is real time.
    pub webhook_second_micros: u64,
    /// For how many seconds a callback query waits for `answerCallbackQuery`, and its update for the bot.
    pub callback_query_seconds: u32,
    /// For how many seconds a webhook may answer 410 before it is removed: 23 hours at Telegram.
    pub webhook_gone_seconds: u32,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            local_mode: false,
            local_files_dir: None,
            register_any_token: false,
            flood_limits: false,
            refuse_reserved_addresses: false,
            keep_messages: 100_000,
            keep_calls: 1_000,
            seed: 0,
            first_update_id: None,
            webhook_second_micros: 1_000_000,
            callback_query_seconds: 150,
            webhook_gone_seconds: 60 * 60 * 23,
        }
    }
}

/// Unix seconds.
pub(super) fn unix_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[derive(Debug)]
pub(super) struct TelegramState {
    pub options: ArcSwap<SimulatorOptions>,
    bots: RwLock<HashMap<i64, Arc<Bot>>>,
    users: RwLock<HashMap<i64, Arc<User>>>,
    groups: RwLock<HashMap<i64, Arc<Mutex<Group>>>>,
    next_group: AtomicI64,
    /// Callback queries of all bots share one numbering.
    pub next_callback_query: AtomicI64,
    pub faults: Faults,
    pub files: Files,
    /// The start of the simulator; its counters begin here.
    pub began: Instant,
}

/// A bot: its state, and the signals that its tasks wait for.
#[derive(Debug)]
pub(super) struct Bot {
    pub id: i64,
    pub user: Arc<User>,
    pub state: Mutex<BotState>,
    /// Signals queued updates to a waiting `getUpdates`.
    pub poll_notify: Notify,
    /// Signals queued updates to the webhook delivery.
    pub webhook_notify: Notify,
    /// Signals a message, edit, deletion, draft or chat action in a chat of the bot, by the bot or a user.
    pub messages_changed: Arc<Notify>,
    /// Number of `getUpdates` in flight.
    pub polls_in_flight: AtomicU32,
}

#[derive(Debug)]
pub(super) struct BotState {
    pub token: String,
    pub revoked: bool,
    /// Privacy mode is off.
    pub reads_all_group_messages: bool,
    pub queue: UpdateQueue,
    pub allowed: AllowedUpdates,
    pub poll: PollState,
    pub webhook: WebhookState,
    /// By scope (as JSON) and language.
    pub commands: BTreeMap<(String, String), String>,
    /// Private chats, by user.
    pub private: HashMap<i64, PrivateChat>,
    /// Private chats and basic groups share one numbering.
    pub next_message_id: i64,
    pub history: MessageHistory,
    pub drafts: Vec<Draft>,
    /// The newest chat action of each chat.
    pub chat_actions: HashMap<i64, ChatAction>,
    pub callback_queries: CallbackQueries,
    pub rate_limiter: RateLimiter,
    pub stats: Stats,
}

impl BotState {
    /// Clears recorded messages, calls, deliveries, drafts and taps; counters are kept.
    pub(super) fn clear_recorded(&mut self) {
        self.history.clear();
        self.stats.calls.clear();
        self.stats.deliveries.clear();
        self.drafts.clear();
        self.callback_queries.clear();
    }
}

/// A private chat as the bot sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PrivateChat {
    pub blocked: bool,
    pub deactivated: bool,
}

/// A preview shown by `sendMessageDraft` or `sendRichMessageDraft`.
#[derive(Debug, Clone, Serialize)]
pub struct Draft {
    /// The chat.
    pub chat_id: i64,
    /// The topic's `message_thread_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<i64>,
    /// The draft's id; the same id changes the same preview.
    pub draft_id: i64,
    /// The previewed text; of a rich message its words.
    pub text: String,
    /// The formatting of `text`.
    pub entities: Vec<Entity>,
    /// The `RichMessage` of `sendRichMessageDraft`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rich_message: Option<Value>,
    /// When it was sent.
    pub at: jiff::Timestamp,
}

/// What `sendChatAction` shows: `typing`, `upload_photo` and so on.
#[derive(Debug, Clone)]
pub(super) struct ChatAction {
    pub thread_id: Option<i64>,
    pub action: String,
    pub at: jiff::Timestamp,
}

/// The newest messages of all chats of a bot.
#[derive(Debug, Default)]
pub(super) struct MessageHistory {
    next: u64,
    by_sequence: BTreeMap<u64, StoredMessage>,
    by_message_id: HashMap<(i64, i64), u64>,
}

#[derive(Debug, Clone)]
pub(super) struct StoredMessage {
    pub message: Message,
    pub by_bot: bool,
    pub source: String,
    pub parse_mode: String,
    pub edits: Vec<String>,
    pub deleted: bool,
    /// A fault suppressed the response to the bot.
    pub unanswered: bool,
    /// `reply_markup` of any kind, as it is now.
    pub markup: Option<Value>,
    /// The file in it.
    pub media: Option<SentMedia>,
    /// The bot's reactions (`ReactionType`).
    pub reactions: Vec<Value>,
    pub at: jiff::Timestamp,
}

impl MessageHistory {
    pub(super) fn keep(&mut self, stored: StoredMessage, limit: usize) {
        if limit == 0 {
            return;
        }
        let destination = (stored.message.chat.id, stored.message.message_id);
        self.by_message_id.insert(destination, self.next);
        self.by_sequence.insert(self.next, stored);
        self.next += 1;
        while self.by_sequence.len() > limit {
            if let Some((_, old)) = self.by_sequence.pop_first() {
                self.by_message_id
                    .remove(&(old.message.chat.id, old.message.message_id));
            }
        }
    }

    pub(super) fn find(&self, chat: i64, message: i64) -> Option<&StoredMessage> {
        self.by_sequence
            .get(self.by_message_id.get(&(chat, message))?)
    }

    pub(super) fn find_mut(&mut self, chat: i64, message: i64) -> Option<&mut StoredMessage> {
        self.by_sequence
            .get_mut(self.by_message_id.get(&(chat, message))?)
    }

    /// Whether an edit by its sender has replaced this version of the message.
    pub(super) fn is_replaced(&self, stored: &StoredMessage) -> bool {
        let newest = self.find(stored.message.chat.id, stored.message.message_id);
        newest.is_some_and(|newest| !std::ptr::eq(newest, stored))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &StoredMessage> {
        self.by_sequence.values()
    }

    pub(super) fn clear(&mut self) {
        self.by_sequence.clear();
        self.by_message_id.clear();
    }
}

/// A group, supergroup or channel, shared by the bots in it.
#[derive(Debug)]
pub(super) struct Group {
    pub chat: Chat,
    pub topics: BTreeMap<i64, String>,
    pub bots: HashMap<i64, Membership>,
    pub migrated_to: Option<i64>,
    pub deleted: bool,
    /// Supergroups and channels number their own messages.
    pub next_message_id: i64,
}

/// A bot's membership in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// An ordinary member.
    Member,
    /// An administrator, who gets every message even in privacy mode.
    Administrator,
    /// Removed by an administrator.
    Kicked,
    /// Left by `leaveChat`.
    Left,
}

impl Membership {
    pub(super) fn is_inside(self) -> bool {
        matches!(self, Self::Member | Self::Administrator)
    }

    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Administrator => "administrator",
            Self::Kicked => "kicked",
            Self::Left => "left",
        }
    }
}

/// A chat that a bot may write to.
#[derive(Debug)]
pub(super) enum WritableChat {
    Private(Arc<User>),
    Group(Arc<Mutex<Group>>),
}

impl TelegramState {
    pub(super) fn new(options: SimulatorOptions) -> Self {
        Self {
            faults: Faults::seeded(options.seed),
            options: ArcSwap::from_pointee(options),
            bots: RwLock::default(),
            users: RwLock::default(),
            groups: RwLock::default(),
            next_group: AtomicI64::new(1),
            next_callback_query: AtomicI64::new(1),
            files: Files::default(),
            began: Instant::now(),
        }
    }

    pub(super) fn bots(&self) -> Vec<Arc<Bot>> {
        let bots = self.bots.read();
        let mut bots: Vec<_> = bots.values().cloned().collect();
        bots.sort_by_key(|bot| bot.id);
        bots
    }

    pub(super) fn bot(&self, id: i64) -> Option<Arc<Bot>> {
        let bots = self.bots.read();
        bots.get(&id).cloned()
    }

    /// Registers a bot, or gives a known one a new token.
    pub(super) fn add_bot(&self, token: &str, username: &str, name: &str) -> Option<Arc<Bot>> {
        let id = bot_id_of(token)?;
        let mut bots = self.bots.write();
        if let Some(known) = bots.get(&id) {
            let mut state = known.state.lock();
            token.clone_into(&mut state.token);
            state.revoked = false;
            drop(state);
            return Some(known.clone());
        }
        let options = self.options.load();
        let first = options
            .first_update_id
            .unwrap_or_else(|| self.faults.between(100_000_000, 900_000_000));
        let mut user = User::new(id, name).username(username);
        user.is_bot = true;
        let bot = Arc::new(Bot {
            id,
            user: Arc::new(user),
            state: Mutex::new(BotState {
                token: token.to_owned(),
                revoked: false,
                reads_all_group_messages: false,
                queue: UpdateQueue::starting_at(first),
                allowed: AllowedUpdates::default(),
                poll: PollState::default(),
                webhook: WebhookState::default(),
                commands: BTreeMap::new(),
                private: HashMap::new(),
                next_message_id: 1,
                history: MessageHistory::default(),
                drafts: Vec::new(),
                chat_actions: HashMap::new(),
                callback_queries: CallbackQueries::default(),
                rate_limiter: RateLimiter::default(),
                stats: Stats::default(),
            }),
            poll_notify: Notify::new(),
            webhook_notify: Notify::new(),
            messages_changed: Arc::new(Notify::new()),
            polls_in_flight: AtomicU32::new(0),
        });
        bots.insert(id, bot.clone());
        Some(bot)
    }

    /// The bot of a token, if the token is valid.
    pub(super) fn authorize(&self, token: &str) -> Result<Arc<Bot>, MethodError> {
        let Some(id) = bot_id_of(token) else {
            return Err(MethodError::new(404, "Not Found"));
        };
        let known = self.bot(id);
        match known {
            Some(bot) => {
                let state = bot.state.lock();
                if state.revoked || state.token != token {
                    return Err(MethodError::unauthorized());
                }
                drop(state);
                Ok(bot)
            }
            None if self.options.load().register_any_token => self
                .add_bot(token, &format!("bot_{id}_bot"), &format!("Bot {id}"))
                .ok_or_else(MethodError::unauthorized),
            None => Err(MethodError::unauthorized()),
        }
    }

    /// All users, ordered by id.
    pub(super) fn users(&self) -> Vec<Arc<User>> {
        let users = self.users.read();
        let mut users: Vec<_> = users.values().cloned().collect();
        users.sort_by_key(|user| user.id);
        users
    }

    pub(super) fn user(&self, id: i64) -> Option<Arc<User>> {
        let users = self.users.read();
        users.get(&id).cloned()
    }

    pub(super) fn put_user(&self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        let mut users = self.users.write();
        users.insert(user.id, user.clone());
        user
    }

    /// The user; created if unknown.
    pub(super) fn user_or_new(&self, id: i64) -> Arc<User> {
        self.user(id)
            .unwrap_or_else(|| self.put_user(User::new(id, &format!("User {id}"))))
    }

    pub(super) fn group(&self, id: i64) -> Option<Arc<Mutex<Group>>> {
        let groups = self.groups.read();
        groups.get(&id).cloned()
    }

    pub(super) fn groups(&self) -> Vec<Arc<Mutex<Group>>> {
        let groups = self.groups.read();
        groups.values().cloned().collect()
    }

    /// Adds a group; id 0 is replaced by an unused one.
    pub(super) fn put_group(&self, mut group: Group) -> Arc<Mutex<Group>> {
        if group.chat.id == 0 {
            let number = self.next_group.fetch_add(1, Ordering::Relaxed);
            group.chat.id = if group.chat.kind == "group" {
                -4_000_000 - number
            } else {
                -1_002_000_000_000 - number
            };
        }
        let id = group.chat.id;
        let group = Arc::new(Mutex::new(group));
        let mut groups = self.groups.write();
        groups.insert(id, group.clone());
        group
    }
}

/// The bot id of a well-formed token.
pub(super) fn bot_id_of(token: &str) -> Option<i64> {
    let (id, secret) = token.split_once(':')?;
    let id_is_plain = !id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit());
    let secret_is_plain = secret
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !id_is_plain || !secret_is_plain || secret.len() < 8 || token.len() > 80 {
        return None;
    }
    id.parse().ok().filter(|id| (1..1 << 54).contains(id))
}
