//! What a click does: a user's message, a tap on a button, a new user, group or topic, a switch.
//!
//! Each is a form. htmx gets 204, since what changed comes with the live updates; a browser without scripts is led back to the page.

use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use bot_api_simulator::{Tap, User, UserAction};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::faults::Switch;
use crate::routes::Shared;
use crate::selection::SelectionQuery;

/// Names of new users, who come in this order.
const NEW_USERS: [&str; 8] = [
    "Dana", "Emil", "Farah", "Goran", "Hanna", "Ivo", "Jana", "Karim",
];
/// The id of the first new user; the others' follow.
const FIRST_NEW_USER: i64 = 9001;

/// The end of an action: where the page leads, or a sentence of what is wrong, with status 400.
type Outcome = Result<Response, (StatusCode, String)>;

fn refused(reason: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, reason.into())
}

/// 204 for htmx if the page stays the same, otherwise a redirect.
fn done(headers: &HeaderMap, query: SelectionQuery) -> Response {
    if headers.contains_key("hx-request") {
        return StatusCode::NO_CONTENT.into_response();
    }
    Redirect::to(&query.page_url()).into_response()
}

#[derive(Deserialize)]
pub(crate) struct MessageForm {
    /// The text of the compose box.
    #[serde(default)]
    text: String,
    /// The text of a button that was pressed instead.
    #[serde(default)]
    example: String,
}

pub(crate) async fn send_message(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
    headers: HeaderMap,
    Form(form): Form<MessageForm>,
) -> Outcome {
    let text = if form.example.is_empty() {
        form.text
    } else {
        form.example
    };
    // A form sends line ends as CR LF.
    let text = text.replace("\r\n", "\n");
    if !text.trim().is_empty() {
        let action = UserAction {
            // In a group every bot gets the message.
            bot: query.bot.filter(|_| query.chat.is_none()),
            from: query.user,
            chat: query.chat,
            thread: query.thread,
            text: Some(text.trim().to_owned()),
            reply_to: query.reply,
            ..UserAction::default()
        };
        sources.simulator.perform(&action).map_err(refused)?;
    }
    Ok(done(&headers, query.with_reply(None)))
}

#[derive(Deserialize)]
pub(crate) struct TapForm {
    /// The message with the button.
    message: i64,
    /// Row and place in it, from 0: `0.1`.
    button: String,
}

/// The selected user taps a button.
pub(crate) async fn tap(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
    headers: HeaderMap,
    Form(form): Form<TapForm>,
) -> Outcome {
    let place = form.button.split_once('.');
    let place = place.and_then(|(row, column)| Some((row.parse().ok()?, column.parse().ok()?)));
    let (row, column) = place.ok_or_else(|| refused("button: row and place, as 0.1"))?;
    let tap = Tap {
        bot: query.bot,
        from: query.user.ok_or_else(|| refused("choose who taps"))?,
        chat: query.chat,
        message_id: form.message,
        row: Some(row),
        column: Some(column),
        ..Tap::default()
    };
    sources.simulator.tap(&tap).map_err(refused)?;
    Ok(done(&headers, query))
}

pub(crate) async fn add_user(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
) -> Response {
    let taken = sources.simulator.users();
    let number = (0..=i64::try_from(taken.len()).unwrap_or(0))
        .find(|number| !taken.iter().any(|user| user.id == FIRST_NEW_USER + number))
        .unwrap_or(0);
    let round = usize::try_from(number).unwrap_or(0);
    let mut name = NEW_USERS[round % NEW_USERS.len()].to_owned();
    if round >= NEW_USERS.len() {
        name = format!("{name} {}", round / NEW_USERS.len() + 1);
    }
    let user = User::new(FIRST_NEW_USER + number, &name).language("en");
    let id = sources.simulator.add_user(user);
    Redirect::to(&query.with_user(id).page_url()).into_response()
}

#[derive(Deserialize)]
pub(crate) struct GroupForm {
    /// `group` or `forum`.
    kind: String,
}

pub(crate) async fn add_group(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
    Form(form): Form<GroupForm>,
) -> Outcome {
    let bots = sources.simulator.bots();
    let bot = bots.iter().find(|bot| Some(bot.id) == query.bot);
    let bot = bot.ok_or_else(|| refused("there is no such bot: reload the page"))?;
    let (kind, title) = match form.kind.as_str() {
        "group" => ("supergroup", "Group"),
        "forum" => ("forum", "Forum"),
        other => return Err(refused(format!("kind {other}: group or forum"))),
    };
    let number = sources.simulator.groups().len() + 1;
    let chat = sources
        .simulator
        .add_group(kind, &format!("{title} {number}"), &[bot.id]);
    Ok(Redirect::to(&query.with_chat(Some(chat), None).page_url()).into_response())
}

pub(crate) async fn add_topic(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
) -> Outcome {
    let groups = sources.simulator.groups();
    let forum = groups
        .iter()
        .find(|group| Some(group.id) == query.chat && group.is_forum)
        .ok_or_else(|| refused("topics are in forums only: choose or add one"))?;
    let name = format!("Topic {}", forum.topics.len() + 1);
    let thread = sources.simulator.add_topic(forum.id, &name);
    Ok(Redirect::to(&query.with_chat(query.chat, Some(thread)).page_url()).into_response())
}

#[derive(Deserialize)]
pub(crate) struct SwitchForm {
    name: String,
    on: bool,
}

pub(crate) async fn set_switch(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
    headers: HeaderMap,
    Form(form): Form<SwitchForm>,
) -> Outcome {
    let switch = Switch::parse(&form.name).ok_or_else(|| refused("there is no such switch"))?;
    let bots = sources.simulator.bots();
    let bot = bots.iter().find(|bot| Some(bot.id) == query.bot);
    let bot = bot.ok_or_else(|| refused("there is no such bot: reload the page"))?;
    switch.set(&sources, bot.id, form.on).await;
    Ok(done(&headers, query))
}
