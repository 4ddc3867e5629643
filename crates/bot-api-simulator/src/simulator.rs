//! The Rust handle of a simulator: start it, act as users, inject faults, read what bots sent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::callback_queries::{self, CallbackQuery, Tap, TapOutcome};
use super::faults::Fault;
use super::groups;
use super::objects::User;
use super::sent_messages::SentMessage;
use super::server;
use super::stats::{ApiCall, BotCounters, WebhookDelivery};
use super::telegram_state::{Bot, Draft, Group, Membership, SimulatorOptions, TelegramState};
use super::user_actions::{self, UserAction, UserActionOutcome};
use super::webhook;

/// Handle of a running simulator. Cheap to clone; the server stops when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Simulator {
    /// The listen address.
    pub addr: SocketAddr,
    pub(super) telegram: Arc<TelegramState>,
    running: Arc<RunningServer>,
}

#[derive(Debug)]
struct RunningServer {
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Starts a simulator on an address (port 0: any free one); it runs in a background task.
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

    /// The root URL of the simulated Bot API.
    ///
    /// # Panics
    /// Never: an address always makes a URL.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}", self.addr)).expect("an address makes a URL")
    }

    /// Waits until the server has stopped, which [`Simulator::stop`] causes.
    pub async fn wait(&self) {
        let task = self.running.task.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// Stops listening and closes every connection.
    pub fn stop(&self) {
        self.running.stop.cancel();
    }

    /// Changes the options of the running simulator.
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

    pub(super) fn bot(&self, bot: impl Into<i64>) -> Arc<Bot> {
        self.telegram.bot(bot.into()).expect("a bot that was added")
    }

    /// Revokes the bot's token: 401 until [`Simulator::add_bot`] gives another.
    pub fn revoke(&self, bot: impl Into<i64>) {
        self.bot(bot).state.lock().revoked = true;
    }

    /// Accepts a revoked token again.
    pub fn restore_token(&self, bot: impl Into<i64>) {
        self.bot(bot).state.lock().revoked = false;
    }

    /// Sets privacy mode. On (the default, as in Telegram), a bot gets only commands, mentions and replies in groups.
    pub fn set_privacy(&self, bot: impl Into<i64>, on: bool) {
        self.bot(bot).state.lock().reads_all_group_messages = !on;
    }

    /// Adds or replaces a user.
    pub fn add_user(&self, user: User) -> i64 {
        self.telegram.put_user(user).id
    }

    /// Sends a private message from a user to a bot; returns the `update_id`.
    ///
    /// # Panics
    /// The bot is unknown, or its `allowed_updates` excludes messages.
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

    /// Sends a message from a user to a group.
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

    /// Sends `messages` rounds of one private message from each of `users` users, whose ids begin at `first_user`; `{n}` in the
    /// text is replaced by the round. Returns the number of queued updates.
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

    /// Performs any action of a user.
    ///
    /// # Errors
    /// A sentence that says what is missing or unknown.
    pub fn perform(&self, action: &UserAction) -> Result<UserActionOutcome, String> {
        user_actions::perform(&self.telegram, action)
    }

    /// Taps a button of a bot's message on behalf of a user.
    ///
    /// # Errors
    /// A sentence that says what is missing or unknown.
    pub fn tap(&self, tap: &Tap) -> Result<TapOutcome, String> {
        callback_queries::tap(&self.telegram, tap)
    }

    /// The taps on the bot's buttons with its answers, oldest first.
    pub fn callback_queries(&self, bot: impl Into<i64>) -> Vec<CallbackQuery> {
        self.bot(bot).state.lock().callback_queries.list()
    }

    /// The bot's reactions (`ReactionType`) to a message in a chat, be it of a user or of the bot.
    pub fn reactions(&self, bot: impl Into<i64>, chat: i64, message_id: i64) -> Vec<Value> {
        let bot = self.bot(bot);
        let state = bot.state.lock();
        let stored = state.history.find(chat, message_id);
        stored.map_or_else(Vec::new, |stored| stored.reactions.clone())
    }

    /// Queues an update of any kind, whose object is given as JSON; returns its id, or `None` if `allowed_updates` excludes it.
    pub fn push_raw_update(
        &self,
        bot: impl Into<i64>,
        kind: &str,
        lane: i64,
        json: &str,
    ) -> Option<i64> {
        let bot = self.bot(bot);
        let mut state = bot.state.lock();
        let now = super::telegram_state::unix_now();
        user_actions::push_update(&bot, &mut state, kind, lane, now, json)
    }

    /// Sets the next `update_id` of a bot, which Telegram changes after an idle week.
    pub fn set_next_update_id(&self, bot: impl Into<i64>, next: i64) {
        self.bot(bot).state.lock().queue.set_next_id(next);
    }

    /// Blocks or unblocks the bot on behalf of a user.
    pub fn block(&self, bot: impl Into<i64>, user: i64, blocked: bool) {
        groups::block(&self.telegram, &self.bot(bot), user, blocked);
    }

    /// Deletes a user's account, as the bot sees it.
    pub fn deactivate(&self, bot: impl Into<i64>, user: i64) {
        let bot = self.bot(bot);
        let mut state = bot.state.lock();
        state.private.entry(user).or_default().deactivated = true;
    }

    /// Creates a `group`, `supergroup`, `forum` or `channel` with these bots as members; returns its id.
    ///
    /// # Panics
    /// The kind is none of these.
    pub fn add_group(&self, kind: &str, title: &str, bots: &[i64]) -> i64 {
        groups::create(&self.telegram, kind, title, None, bots).expect("a kind of group")
    }

    /// Creates a topic in a forum; returns its `message_thread_id`.
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

    /// Migrates a basic group to a supergroup; returns its new id.
    ///
    /// # Panics
    /// There is no such basic group.
    pub fn migrate(&self, chat: i64) -> i64 {
        groups::migrate(&self.telegram, chat).expect("a basic group")
    }

    /// The ids of all chats that a bot has sent messages to, in ascending order.
    pub fn chats(&self, bot: impl Into<i64>) -> Vec<i64> {
        let bot = self.bot(bot);
        let state = bot.state.lock();
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

    /// The messages of a bot in a chat, oldest first; deleted ones are included and marked.
    pub fn sent_messages(&self, bot: impl Into<i64>, chat: i64) -> Vec<SentMessage> {
        let bot = self.bot(bot);
        let state = bot.state.lock();
        state
            .history
            .iter()
            .filter(|stored| stored.by_bot && stored.message.chat.id == chat)
            .map(SentMessage::from)
            .collect()
    }

    /// Waits until the bot has sent more than `already` messages to a chat; returns all of them.
    ///
    /// # Panics
    /// It has not after `within`.
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

    /// Sends a private message and waits for the bot's next message to that user.
    ///
    /// # Panics
    /// No message arrives in time.
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

    /// Calls `found` after every message of the bot until it returns a value; `None` after `within`.
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

    /// Clears recorded messages, calls, deliveries and drafts; counters are kept.
    pub fn clear_recorded(&self, bot: impl Into<i64>) {
        self.bot(bot).state.lock().clear_recorded();
    }

    /// The bot's drafts, in the order of its calls.
    pub fn drafts(&self, bot: impl Into<i64>) -> Vec<Draft> {
        self.bot(bot).state.lock().drafts.clone()
    }

    /// The bot's recorded calls (all but `getUpdates`), oldest first.
    pub fn calls(&self, bot: impl Into<i64>) -> Vec<ApiCall> {
        let bot = self.bot(bot);
        let state = bot.state.lock();
        state.stats.calls.iter().cloned().collect()
    }

    /// The recorded requests to the bot's webhook, in the order of their responses.
    pub fn deliveries(&self, bot: impl Into<i64>) -> Vec<WebhookDelivery> {
        let bot = self.bot(bot);
        let state = bot.state.lock();
        state.stats.deliveries.iter().cloned().collect()
    }

    /// The bot's counters.
    pub fn counters(&self, bot: impl Into<i64>) -> BotCounters {
        self.bot(bot).state.lock().stats.counters.clone()
    }

    /// Number of updates pending for the bot.
    pub fn pending(&self, bot: impl Into<i64>) -> usize {
        self.bot(bot).state.lock().queue.len()
    }

    /// Number of the bot's `getUpdates` in flight.
    pub fn polls_in_flight(&self, bot: impl Into<i64>) -> u32 {
        self.bot(bot)
            .polls_in_flight
            .load(std::sync::atomic::Ordering::Acquire)
    }

    /// The bot's `WebhookInfo`.
    pub fn webhook_info(&self, bot: impl Into<i64>) -> Value {
        webhook::describe(&self.bot(bot))
    }

    /// The active faults: id, fault, and how many calls it has hit.
    pub fn faults(&self) -> Vec<(u64, Fault, u64)> {
        self.telegram.faults.list()
    }

    /// Adds a fault; returns its id.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.telegram.faults.add(fault)
    }

    /// Removes a fault by the id of [`Simulator::add_fault`].
    pub fn remove_fault(&self, id: u64) {
        self.telegram.faults.remove(Some(id));
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.telegram.faults.remove(None);
    }
}
