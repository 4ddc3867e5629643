//! The handle for Rust: start a simulator, speak as a user, break things, read what bots sent.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::entity::Entity;
use super::faults::Fault;
use super::groups;
use super::objects::User;
use super::server;
use super::stats::{ApiCall, BotCounters, WebhookDelivery};
use super::telegram_state::{
    Bot, Draft, Group, Membership, SimulatorOptions, StoredMessage, TelegramState, lock,
};
use super::user_actions::{self, UserAction, UserActionOutcome};
use super::webhook;

/// A running simulator. Cheap to clone; it ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Simulator {
    /// Where it listens.
    pub addr: SocketAddr,
    telegram: Arc<TelegramState>,
    running: Arc<RunningServer>,
}

#[derive(Debug)]
struct RunningServer {
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// A message that a bot sent, as it stands now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentMessage {
    /// Its number in the chat.
    pub message_id: i64,
    /// The chat.
    pub chat_id: i64,
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<i64>,
    /// What it replies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<i64>,
    /// The text that people see.
    pub text: String,
    /// Its formatting.
    pub entities: Vec<Entity>,
    /// The text as the bot sent it, with its markup.
    pub source: String,
    /// `html`, `markdownv2`, `markdown`, or empty.
    pub parse_mode: String,
    /// The texts it was changed to, one after the other; the last is `text`.
    pub edits: Vec<String>,
    /// It was deleted.
    pub deleted: bool,
    /// It was sent, but [`DropAfter`](super::FaultKind::DropAfter) or [`HangAfter`](super::FaultKind::HangAfter) kept the answer from its
    /// bot, which may therefore send it again.
    pub unanswered: bool,
    /// When it was sent.
    pub at: jiff::Timestamp,
}

impl From<&StoredMessage> for SentMessage {
    fn from(stored: &StoredMessage) -> Self {
        let message = &stored.message;
        Self {
            message_id: message.message_id,
            chat_id: message.chat.id,
            thread_id: message.message_thread_id,
            reply_to: message.reply_to_message.as_ref().map(|m| m.message_id),
            text: message.text.clone().unwrap_or_default(),
            entities: message.entities.clone(),
            source: stored.source.clone(),
            parse_mode: stored.parse_mode.clone(),
            edits: stored.edits.clone(),
            deleted: stored.deleted,
            unanswered: stored.unanswered,
            at: stored.at,
        }
    }
}

/// Starts a simulator on an address (port 0: any free one) and leaves it running in the background.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(listen: SocketAddr, options: SimulatorOptions) -> io::Result<Simulator> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    let telegram = Arc::new(TelegramState::new(options));
    let stop = CancellationToken::new();
    let task = tokio::spawn(server::accept(listener, telegram.clone(), stop.clone()));
    Ok(Simulator {
        addr,
        telegram,
        running: Arc::new(RunningServer {
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
            task: Mutex::new(Some(task)),
        }),
    })
}

impl Simulator {
    /// Starts a simulator on a free port of loopback.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        serve(SocketAddr::from(([127, 0, 0, 1], 0)), options).await
    }

    /// The Bot API's root, for `--telegram-api-url`.
    ///
    /// # Panics
    /// Never: an address always makes a URL.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}", self.addr)).expect("an address makes a URL")
    }

    /// Waits until the server has ended; it ends when somebody calls [`Simulator::stop`].
    pub async fn wait(&self) {
        let task = lock(&self.running.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// Stops listening and closes every connection: Telegram is down.
    pub fn stop(&self) {
        self.running.stop.cancel();
    }

    /// Changes options while it runs.
    pub fn configure(&self, change: impl FnOnce(&mut SimulatorOptions)) {
        let mut options = SimulatorOptions::clone(&self.telegram.options.load());
        change(&mut options);
        self.telegram.options.store(Arc::new(options));
    }

    /// Registers a bot (or gives a known one a new token).
    ///
    /// # Panics
    /// The token is not well-formed.
    pub fn add_bot(&self, token: &str, username: &str, name: &str) -> i64 {
        let bot = self
            .telegram
            .add_bot(token, username, name)
            .expect("a well-formed token: <digits>:<letters, digits, _ or ->");
        bot.id
    }

    fn bot(&self, bot: impl Into<i64>) -> Arc<Bot> {
        self.telegram.bot(bot.into()).expect("a bot that was added")
    }

    /// The token no longer works: 401, until [`Simulator::add_bot`] gives another.
    pub fn revoke(&self, bot: impl Into<i64>) {
        lock(&self.bot(bot).state).revoked = true;
    }

    /// Privacy mode: on, a bot sees only what concerns it in groups (the default, as at Telegram).
    pub fn set_privacy(&self, bot: impl Into<i64>, on: bool) {
        lock(&self.bot(bot).state).reads_all_group_messages = !on;
    }

    /// Adds or changes a person.
    pub fn add_user(&self, user: User) -> i64 {
        self.telegram.put_user(user).id
    }

    /// A person writes to a bot privately; gives the update's id.
    ///
    /// # Panics
    /// There is no such bot, or it does not want messages.
    pub fn send_private_message(&self, bot: impl Into<i64>, from: i64, text: &str) -> i64 {
        let outcome = self.perform(&UserAction {
            bot: Some(bot.into()),
            from: Some(from),
            text: Some(text.to_owned()),
            ..UserAction::default()
        });
        let updates = outcome.expect("the bot exists").updates;
        updates.first().expect("the bot wants messages").1
    }

    /// A person writes in a group.
    ///
    /// # Panics
    /// There is no such group.
    pub fn send_group_message(&self, chat: i64, from: i64, text: &str) -> UserActionOutcome {
        let outcome = self.perform(&UserAction {
            chat: Some(chat),
            from: Some(from),
            text: Some(text.to_owned()),
            ..UserAction::default()
        });
        outcome.expect("the group exists")
    }

    /// Many people write to a bot at once: `messages` rounds of one message from each of `users` people, whose ids begin
    /// at `first_user`; `{n}` in the text becomes the round. Gives how many updates came of it.
    pub fn send_bulk(
        &self,
        bot: impl Into<i64>,
        first_user: i64,
        users: i64,
        messages: i64,
        text: &str,
    ) -> u64 {
        user_actions::bulk(
            &self.telegram,
            &self.bot(bot),
            first_user,
            users,
            messages,
            text,
        )
    }

    /// Anything a person can say or do.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn perform(&self, action: &UserAction) -> Result<UserActionOutcome, String> {
        user_actions::perform(&self.telegram, action)
    }

    /// An update of any kind, as JSON of the object under its kind; gives its id, or `None` if the bot does not want it.
    pub fn push_raw_update(
        &self,
        bot: impl Into<i64>,
        kind: &str,
        lane: i64,
        json: &str,
    ) -> Option<i64> {
        let bot = self.bot(bot);
        let mut state = lock(&bot.state);
        let now = super::telegram_state::unix_now();
        user_actions::push_update(&bot, &mut state, kind, lane, now, json)
    }

    /// The next `update_id` of a bot is this one, as after an idle week.
    pub fn set_next_update_id(&self, bot: impl Into<i64>, next: i64) {
        lock(&self.bot(bot).state).queue.set_next_id(next);
    }

    /// A person blocks the bot, or unblocks it.
    pub fn block(&self, bot: impl Into<i64>, user: i64, blocked: bool) {
        groups::block(&self.telegram, &self.bot(bot), user, blocked);
    }

    /// A person's account is deleted.
    pub fn deactivate(&self, bot: impl Into<i64>, user: i64) {
        let bot = self.bot(bot);
        let mut state = lock(&bot.state);
        state.private.entry(user).or_default().deactivated = true;
    }

    /// Creates a `group`, `supergroup`, `forum` or `channel` with these bots as members; gives its id.
    ///
    /// # Panics
    /// There is no such kind.
    pub fn add_group(&self, kind: &str, title: &str, bots: &[i64]) -> i64 {
        groups::create(&self.telegram, kind, title, None, bots).expect("a kind of group")
    }

    /// Creates a topic in a forum; gives its `message_thread_id`.
    ///
    /// # Panics
    /// There is no such forum.
    pub fn add_topic(&self, chat: i64, name: &str) -> i64 {
        groups::add_topic(&self.telegram, chat, name).expect("a forum")
    }

    /// Makes a bot a member, an administrator, or removes it.
    ///
    /// # Panics
    /// There is no such group.
    pub fn set_membership(&self, chat: i64, bot: impl Into<i64>, membership: Membership) {
        let group: Arc<Mutex<Group>> = self.telegram.group(chat).expect("a group");
        user_actions::change_membership(&self.telegram, &self.bot(bot), &group, membership, None);
    }

    /// Turns a basic group into a supergroup; gives its new id.
    ///
    /// # Panics
    /// There is no such basic group.
    pub fn migrate(&self, chat: i64) -> i64 {
        groups::migrate(&self.telegram, chat).expect("a basic group")
    }

    /// The chats that a bot has sent something to, in no order.
    pub fn chats(&self, bot: impl Into<i64>) -> Vec<i64> {
        let bot = self.bot(bot);
        let state = lock(&bot.state);
        let mut chats: Vec<i64> = state
            .history
            .iter()
            .filter(|stored| stored.by_bot)
            .map(|stored| stored.message.chat.id)
            .collect();
        chats.sort_unstable();
        chats.dedup();
        chats
    }

    /// What a bot has sent to a chat, oldest first; deleted messages are marked, not left out.
    pub fn sent_messages(&self, bot: impl Into<i64>, chat: i64) -> Vec<SentMessage> {
        let bot = self.bot(bot);
        let state = lock(&bot.state);
        state
            .history
            .iter()
            .filter(|stored| stored.by_bot && stored.message.chat.id == chat)
            .map(SentMessage::from)
            .collect()
    }

    /// Waits until the bot has sent more than `already` messages to a chat; gives all of them.
    ///
    /// # Panics
    /// It has not by the end of `within`.
    pub async fn wait_for_sent_messages(
        &self,
        bot: impl Into<i64>,
        chat: i64,
        already: usize,
        within: Duration,
    ) -> Vec<SentMessage> {
        let bot = bot.into();
        let sent = self.wait_until(bot, within, |simulator| {
            let sent = simulator.sent_messages(bot, chat);
            (sent.len() > already).then_some(sent)
        });
        match sent.await {
            Some(sent) => sent,
            None => panic!(
                "the bot {bot} has sent {} messages to chat {chat} after {within:?}, expected more than {already}",
                self.sent_messages(bot, chat).len()
            ),
        }
    }

    /// A person writes privately and waits for the next message of the bot.
    ///
    /// # Panics
    /// None comes in time.
    pub async fn send_and_wait(
        &self,
        bot: impl Into<i64>,
        from: i64,
        text: &str,
        within: Duration,
    ) -> SentMessage {
        let bot = bot.into();
        let before = self.sent_messages(bot, from).len();
        self.send_private_message(bot, from, text);
        let mut sent = self.wait_for_sent_messages(bot, from, before, within).await;
        sent.swap_remove(before)
    }

    /// Looks whenever the bot has said something, until `found` finds it; `None` when the time is over.
    pub async fn wait_until<T>(
        &self,
        bot: impl Into<i64>,
        within: Duration,
        found: impl Fn(&Self) -> Option<T>,
    ) -> Option<T> {
        let bot = self.bot(bot);
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let messages_changed = bot.messages_changed.notified();
            if let Some(found) = found(self) {
                return Some(found);
            }
            if tokio::time::timeout_at(deadline, messages_changed)
                .await
                .is_err()
            {
                return found(self);
            }
        }
    }

    /// Forgets the messages and calls kept so far; counters go on.
    pub fn clear_recorded(&self, bot: impl Into<i64>) {
        let bot = self.bot(bot);
        let mut state = lock(&bot.state);
        state.history.clear();
        state.stats.calls.clear();
        state.stats.deliveries.clear();
        state.drafts.clear();
    }

    /// The previews the bot showed with `sendMessageDraft`, in order.
    pub fn drafts(&self, bot: impl Into<i64>) -> Vec<Draft> {
        lock(&self.bot(bot).state).drafts.clone()
    }

    /// The bot's last calls (all but `getUpdates`), oldest first.
    pub fn calls(&self, bot: impl Into<i64>) -> Vec<ApiCall> {
        let bot = self.bot(bot);
        let state = lock(&bot.state);
        state.stats.calls.iter().cloned().collect()
    }

    /// The last requests to the bot's webhook, in the order they ended.
    pub fn deliveries(&self, bot: impl Into<i64>) -> Vec<WebhookDelivery> {
        let bot = self.bot(bot);
        let state = lock(&bot.state);
        state.stats.deliveries.iter().cloned().collect()
    }

    /// What was counted.
    pub fn counters(&self, bot: impl Into<i64>) -> BotCounters {
        lock(&self.bot(bot).state).stats.counters.clone()
    }

    /// How many updates wait for the bot.
    pub fn pending(&self, bot: impl Into<i64>) -> usize {
        lock(&self.bot(bot).state).queue.len()
    }

    /// How many `getUpdates` of the bot are being answered right now.
    pub fn polls_in_flight(&self, bot: impl Into<i64>) -> u32 {
        self.bot(bot)
            .polls_in_flight
            .load(std::sync::atomic::Ordering::Acquire)
    }

    /// What `getWebhookInfo` shows.
    pub fn webhook_info(&self, bot: impl Into<i64>) -> Value {
        webhook::describe(&self.bot(bot))
    }

    /// Breaks something; gives the rule's number.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.telegram.faults.add(fault)
    }

    /// Mends what [`Simulator::add_fault`] broke.
    pub fn remove_fault(&self, id: u64) {
        self.telegram.faults.remove(Some(id));
    }

    /// Mends everything.
    pub fn clear_faults(&self) {
        self.telegram.faults.remove(None);
    }
}
