//! The control interface over HTTP, under `/control`: requests and responses are JSON; 400 with `{"error": …}` says what is wrong.
//!
//! `{bot}` is a bot's id or username.
//!
//! | request | body or query | what it does |
//! |---|---|---|
//! | `GET /control` | | number of bots, users, groups and so on |
//! | `GET`, `PATCH /control/options` | fields of [`SimulatorOptions`] | reads and changes the options |
//! | `GET /control/bots`, `GET /control/bots/{bot}` | | bots with counters, webhook, commands, pending updates |
//! | `POST /control/bots` | `token`, `username?`, `name?`, `privacy?` | adds a bot, or gives it a new token |
//! | `PATCH /control/bots/{bot}` | `privacy?`, `revoked?`, `next_update_id?` | changes it |
//! | `DELETE /control/bots/{bot}` | | revokes its token: 401 from now on |
//! | `POST /control/say` | a [`UserAction`]; `bot` may be a username, and be absent if there is one bot | performs a user's action: `{message_id, updates: [[bot, update_id]]}` |
//! | `POST /control/tap` | a [`Tap`]: `bot` as above, `from`, `chat?`, `message_id`, and `row` and `column`, or `text` of the button, or raw `data`; `inaccessible?` | taps a button: `{callback_query_id, update_id}` |
//! | `GET /control/bots/{bot}/callbacks` | `?after=&wait_ms=` | the taps ([`CallbackQuery`](crate::CallbackQuery)) with the bot's answers; waits until one after the first `after` is answered |
//! | `GET /control/bots/{bot}/reactions` | `?chat=&message_id=` | the bot's reactions to a message |
//! | `POST /control/bulk` | `bots`, `from`, `users`, `messages`, `text` | sends private messages from many users |
//! | `POST /control/bots/{bot}/raw` | `kind`, `object`, `lane?` | queues an update of any kind |
//! | `GET /control/bots/{bot}/sent` | `?chat=&after=&wait_ms=` | the bot's messages ([`SentMessage`]); waits for the first |
//! | `GET …/calls`, `…/deliveries`, `…/drafts` | | its recorded calls, webhook requests, previews |
//! | `DELETE /control/bots/{bot}/sent` | | clears what was recorded |
//! | `POST /control/users` | a [`User`] | adds or replaces a user |
//! | `POST /control/block` | `bot`, `user`, `blocked?` | blocks or unblocks the bot |
//! | `GET`, `POST /control/groups` | `type` (`group`, `supergroup`, `forum`, `channel`), `title`, `username?`, `bots?` | lists and creates groups |
//! | `POST /control/groups/{chat}/topics` | `name` | creates a topic |
//! | `POST /control/groups/{chat}/members` | `bot`, `status` (`member`, `administrator`, `kicked`, `left`), `by?` | adds or removes a bot |
//! | `POST /control/groups/{chat}/migrate` | | migrates a group to a supergroup |
//! | `GET`, `POST /control/faults` | a [`Fault`] | lists faults with hits; adds a fault |
//! | `DELETE /control/faults`, `DELETE /control/faults/{id}` | `?seed=` | removes all faults (and restarts the random numbers), or one |

mod callbacks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::objects::User;
use crate::sent_messages::SentMessage;
use crate::telegram_state::{Bot, Membership, SimulatorOptions, TelegramState};
use crate::user_actions::{self, UserAction};
use crate::{groups, webhook};

type Shared = State<Arc<TelegramState>>;
type Result<T = Json<Value>> = std::result::Result<T, BadRequest>;

/// A response with status 400 and the reason.
pub(super) struct BadRequest(String);

impl IntoResponse for BadRequest {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": self.0}))).into_response()
    }
}

impl From<String> for BadRequest {
    fn from(text: String) -> Self {
        Self(text)
    }
}

pub(super) fn router(telegram: Arc<TelegramState>) -> Router {
    Router::new()
        .route("/control", get(overview))
        .route("/control/options", get(options).patch(change_options))
        .route("/control/bots", get(bots).post(add_bot))
        .route(
            "/control/bots/{bot}",
            get(bot).patch(change_bot).delete(revoke),
        )
        .route("/control/bots/{bot}/sent", get(sent).delete(clear_recorded))
        .route("/control/bots/{bot}/drafts", get(drafts))
        .route("/control/bots/{bot}/calls", get(calls))
        .route("/control/bots/{bot}/deliveries", get(deliveries))
        .route("/control/bots/{bot}/raw", post(raw))
        .route("/control/users", post(add_user))
        .route("/control/block", post(block))
        .route("/control/say", post(say))
        .route("/control/tap", post(callbacks::tap))
        .route("/control/bots/{bot}/callbacks", get(callbacks::list))
        .route("/control/bots/{bot}/reactions", get(callbacks::reactions))
        .route("/control/bulk", post(bulk))
        .route("/control/groups", get(all_groups).post(add_group))
        .route("/control/groups/{chat}/topics", post(add_topic))
        .route("/control/groups/{chat}/members", post(set_member))
        .route("/control/groups/{chat}/migrate", post(migrate))
        .route(
            "/control/faults",
            get(faults).post(add_fault).delete(clear_faults),
        )
        .route("/control/faults/{id}", delete(remove_fault))
        .with_state(telegram)
}

fn find_bot(telegram: &TelegramState, bot: &str) -> Result<Arc<Bot>> {
    let name = bot.trim_start_matches('@');
    telegram
        .bots()
        .into_iter()
        .find(|known| known.id.to_string() == name || known.user.username.as_deref() == Some(name))
        .ok_or_else(|| {
            BadRequest(format!(
                "there is no bot {bot}; POST /control/bots {{\"token\": …}} adds one"
            ))
        })
}

async fn overview(State(telegram): Shared) -> Json<Value> {
    Json(json!({
        "bots": telegram.bots().len(),
        "groups": telegram.groups().len(),
        "faults": telegram.faults.list().len(),
        "uptime_seconds": telegram.began.elapsed().as_secs(),
    }))
}

async fn options(State(telegram): Shared) -> Json<SimulatorOptions> {
    Json(SimulatorOptions::clone(&telegram.options.load()))
}

async fn change_options(
    State(telegram): Shared,
    Json(change): Json<Value>,
) -> Result<Json<SimulatorOptions>> {
    let mut options = serde_json::to_value(&**telegram.options.load()).unwrap_or_default();
    for (name, value) in change.as_object().into_iter().flatten() {
        options[name] = value.clone();
    }
    let options: SimulatorOptions =
        serde_json::from_value(options).map_err(|error| error.to_string())?;
    telegram.options.store(Arc::new(options.clone()));
    Ok(Json(options))
}

fn describe(bot: &Bot) -> Value {
    let webhook = webhook::describe(bot);
    let state = bot.state.lock();
    json!({
        "id": bot.id,
        "username": bot.user.username,
        "name": bot.user.first_name,
        "revoked": state.revoked,
        "privacy": !state.reads_all_group_messages,
        "pending": state.queue.len(),
        "polls_in_flight": bot.polls_in_flight.load(Ordering::Acquire),
        "webhook": webhook,
        "commands": state.commands.iter().map(|((scope, language), list)| json!({
            "scope": scope,
            "language": language,
            "commands": serde_json::from_str::<Value>(list).unwrap_or_default(),
        })).collect::<Vec<_>>(),
        "counters": state.stats.counters,
    })
}

async fn bots(State(telegram): Shared) -> Json<Value> {
    Json(telegram.bots().iter().map(|bot| describe(bot)).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBot {
    token: String,
    username: Option<String>,
    name: Option<String>,
    #[serde(default = "default_true")]
    privacy: bool,
}

fn default_true() -> bool {
    true
}

async fn add_bot(State(telegram): Shared, Json(new): Json<NewBot>) -> Result {
    let id = new.token.split(':').next().unwrap_or_default();
    let username = new.username.unwrap_or_else(|| format!("bot_{id}_bot"));
    let name = new.name.unwrap_or_else(|| format!("Bot {id}"));
    let bot = telegram
        .add_bot(&new.token, &username, &name)
        .ok_or_else(|| {
            BadRequest("token: expected <digits>:<8 or more of A-Z a-z 0-9 _ ->".to_owned())
        })?;
    bot.state.lock().reads_all_group_messages = !new.privacy;
    Ok(Json(describe(&bot)))
}

async fn bot(State(telegram): Shared, Path(bot): Path<String>) -> Result {
    Ok(Json(describe(&*find_bot(&telegram, &bot)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBot {
    privacy: Option<bool>,
    revoked: Option<bool>,
    next_update_id: Option<i64>,
}

async fn change_bot(
    State(telegram): Shared,
    Path(bot): Path<String>,
    Json(change): Json<ChangeBot>,
) -> Result {
    let bot = find_bot(&telegram, &bot)?;
    {
        let mut state = bot.state.lock();
        if let Some(on) = change.privacy {
            state.reads_all_group_messages = !on;
        }
        if let Some(revoked) = change.revoked {
            state.revoked = revoked;
        }
        if let Some(next) = change.next_update_id {
            state.queue.set_next_id(next);
        }
    }
    Ok(Json(describe(&bot)))
}

async fn revoke(State(telegram): Shared, Path(bot): Path<String>) -> Result {
    let bot = find_bot(&telegram, &bot)?;
    bot.state.lock().revoked = true;
    Ok(Json(describe(&bot)))
}

#[derive(Deserialize)]
struct SentQuery {
    chat: Option<i64>,
    /// Only messages with a higher `message_id`.
    #[serde(default)]
    after: i64,
    /// How long to wait for the first, in milliseconds.
    #[serde(default)]
    wait_ms: u64,
}

fn sent_by(bot: &Bot, query: &SentQuery) -> Vec<SentMessage> {
    let state = bot.state.lock();
    state
        .history
        .iter()
        .filter(|stored| {
            stored.by_bot
                && query.chat.is_none_or(|chat| chat == stored.message.chat.id)
                && stored.message.message_id > query.after
        })
        .map(SentMessage::from)
        .collect()
}

async fn sent(
    State(telegram): Shared,
    Path(bot): Path<String>,
    Query(query): Query<SentQuery>,
) -> Result<Json<Vec<SentMessage>>> {
    let bot = find_bot(&telegram, &bot)?;
    let deadline = tokio::time::Instant::now() + Duration::from_millis(query.wait_ms);
    loop {
        let messages_changed = bot.messages_changed.notified();
        let sent = sent_by(&bot, &query);
        if !sent.is_empty()
            || tokio::time::timeout_at(deadline, messages_changed)
                .await
                .is_err()
        {
            return Ok(Json(sent));
        }
    }
}

async fn clear_recorded(State(telegram): Shared, Path(bot): Path<String>) -> Result {
    let bot = find_bot(&telegram, &bot)?;
    bot.state.lock().clear_recorded();
    Ok(Json(json!({"ok": true})))
}

async fn drafts(State(telegram): Shared, Path(bot): Path<String>) -> Result {
    Ok(Json(json!(find_bot(&telegram, &bot)?.state.lock().drafts)))
}

async fn calls(State(telegram): Shared, Path(bot): Path<String>) -> Result {
    Ok(Json(json!(
        find_bot(&telegram, &bot)?.state.lock().stats.calls
    )))
}

async fn deliveries(State(telegram): Shared, Path(bot): Path<String>) -> Result {
    let bot = find_bot(&telegram, &bot)?;
    Ok(Json(json!(bot.state.lock().stats.deliveries)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpdate {
    kind: String,
    #[serde(default)]
    lane: i64,
    object: Value,
}

async fn raw(
    State(telegram): Shared,
    Path(bot): Path<String>,
    Json(raw): Json<RawUpdate>,
) -> Result {
    let bot = find_bot(&telegram, &bot)?;
    let mut state = bot.state.lock();
    let now = crate::telegram_state::unix_now();
    let json = raw.object.to_string();
    let id = user_actions::push_update(&bot, &mut state, &raw.kind, raw.lane, now, &json);
    Ok(Json(json!({"update_id": id})))
}

async fn add_user(State(telegram): Shared, Json(user): Json<User>) -> Json<User> {
    Json(User::clone(&telegram.put_user(user)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockRequest {
    bot: Value,
    user: i64,
    #[serde(default = "default_true")]
    blocked: bool,
}

fn selector(bot: &Value) -> String {
    bot.as_str()
        .map_or_else(|| bot.to_string(), ToOwned::to_owned)
}

async fn block(State(telegram): Shared, Json(block): Json<BlockRequest>) -> Result {
    let bot = find_bot(&telegram, &selector(&block.bot))?;
    groups::block(&telegram, &bot, block.user, block.blocked);
    Ok(Json(json!({"ok": true})))
}

/// Reads an action and resolves its bot: id or username; optional in private chats if there is only one bot.
fn resolve_action<T: DeserializeOwned>(telegram: &TelegramState, mut value: Value) -> Result<T> {
    let bot = &value["bot"];
    if bot.is_string() {
        value["bot"] = json!(find_bot(telegram, &selector(bot))?.id);
    } else if bot.is_null() && value["chat"].is_null() {
        let bots = telegram.bots();
        if let [only] = bots.as_slice() {
            value["bot"] = json!(only.id);
        }
    }
    serde_json::from_value(value).map_err(|error| BadRequest(error.to_string()))
}

async fn say(State(telegram): Shared, Json(value): Json<Value>) -> Result {
    let say: UserAction = resolve_action(&telegram, value)?;
    Ok(Json(json!(user_actions::perform(&telegram, &say)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkRequest {
    bots: Vec<i64>,
    /// The first user's id; the others' ids follow.
    from: i64,
    users: i64,
    /// Messages per user and bot.
    messages: i64,
    /// `{n}` is replaced by the number of the message.
    text: String,
}

async fn bulk(State(telegram): Shared, Json(bulk): Json<BulkRequest>) -> Result {
    let mut count = 0;
    for bot in &bulk.bots {
        let bot = find_bot(&telegram, &bot.to_string())?;
        count += user_actions::bulk(
            &telegram,
            &bot,
            bulk.from,
            bulk.users,
            bulk.messages,
            &bulk.text,
        );
    }
    Ok(Json(json!({"updates": count})))
}

async fn all_groups(State(telegram): Shared) -> Json<Value> {
    let list = telegram.groups();
    Json(
        list.iter()
            .map(|group| {
                let group = group.lock();
                json!({"chat": group.chat, "topics": group.topics, "bots": group.bots, "migrated_to": group.migrated_to})
            })
            .collect(),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    username: Option<String>,
    #[serde(default)]
    bots: Vec<i64>,
}

async fn add_group(State(telegram): Shared, Json(new): Json<NewGroup>) -> Result {
    let id = groups::create(&telegram, &new.kind, &new.title, new.username, &new.bots)?;
    Ok(Json(json!({"id": id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTopic {
    name: String,
}

async fn add_topic(
    State(telegram): Shared,
    Path(chat): Path<i64>,
    Json(topic): Json<NewTopic>,
) -> Result {
    let id = groups::add_topic(&telegram, chat, &topic.name)?;
    Ok(Json(json!({"message_thread_id": id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetMemberRequest {
    bot: Value,
    status: Membership,
    by: Option<i64>,
}

async fn set_member(
    State(telegram): Shared,
    Path(chat): Path<i64>,
    Json(member): Json<SetMemberRequest>,
) -> Result {
    let bot = find_bot(&telegram, &selector(&member.bot))?;
    let group = telegram
        .group(chat)
        .ok_or_else(|| BadRequest(format!("there is no chat {chat}")))?;
    user_actions::change_membership(&telegram, &bot, &group, member.status, member.by);
    Ok(Json(json!({"ok": true})))
}

async fn migrate(State(telegram): Shared, Path(chat): Path<i64>) -> Result {
    Ok(Json(json!({"id": groups::migrate(&telegram, chat)?})))
}

async fn faults(State(telegram): Shared) -> Json<Value> {
    let list = telegram.faults.list().into_iter();
    Json(
        list.map(|(id, fault, hits)| json!({"id": id, "hits": hits, "fault": fault}))
            .collect(),
    )
}

async fn add_fault(State(telegram): Shared, Json(fault): Json<Fault>) -> Json<Value> {
    Json(json!({"id": telegram.faults.add(fault)}))
}

#[derive(Deserialize)]
struct SeedQuery {
    seed: Option<u64>,
}

async fn clear_faults(State(telegram): Shared, Query(query): Query<SeedQuery>) -> Json<Value> {
    telegram.faults.remove(None);
    if let Some(seed) = query.seed {
        telegram.faults.reseed(seed);
    }
    Json(json!({"ok": true}))
}

async fn remove_fault(State(telegram): Shared, Path(id): Path<u64>) -> Json<Value> {
    telegram.faults.remove(Some(id));
    Json(json!({"ok": true}))
}
