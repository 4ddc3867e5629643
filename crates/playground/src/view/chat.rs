//! The chat: who writes, where, what was said, and the box to say more.

use bot_api_simulator::{ConversationMessage, GroupSummary, User};
use maud::{Markup, html};

use super::entities::formatted;
use super::message::{Bubble, bubble, colour, shortened};
use super::{Person, Snapshot, button_form};
use crate::selection::SelectionQuery;

/// What the sample assistant answers in a way of its own, and the commands of every bot.
const EXAMPLES: [&str; 5] = ["Hello", "markdown", "long 900", "/start", "/new"];

pub(super) fn section(snapshot: &Snapshot) -> Markup {
    let selection = &snapshot.selection;
    html! {
        section #chat aria-labelledby="chat-title" {
            div .choices {
                div .choice {
                    h3 #people-title { "Write as" }
                    nav #people aria-labelledby="people-title" { (people(snapshot)) }
                }
                div .choice {
                    h3 #chats-title { "In" }
                    nav #chats aria-labelledby="chats-title" { (chats(snapshot)) }
                }
            }
            div .phone {
                div .chat-head {
                    span .avatar .(colour(selection.query.chat.or(selection.query.bot).unwrap_or(0))) aria-hidden="true" { (initial(&chat_title(snapshot))) }
                    div {
                        h2 #chat-title { (chat_title(snapshot)) }
                        p #presence .presence { (presence(snapshot)) }
                    }
                }
                // The scroll box stays at its end while it grows, since it is laid out from its end.
                div #scroll tabindex="0" role="region" aria-label="Conversation" {
                    div .flow {
                        div #messages role="log" aria-live="polite" aria-relevant="additions" aria-label="Messages" { (messages(snapshot)) }
                        div #preview { (preview(snapshot)) }
                    }
                }
                (composer(snapshot))
            }
        }
    }
}

fn chat_title(snapshot: &Snapshot) -> String {
    let selection = &snapshot.selection;
    match (&selection.group, &selection.bot) {
        (Some(group), _) => topic_name(group, selection.query.thread).map_or_else(
            || group.title.clone(),
            |topic| format!("{} › {topic}", group.title),
        ),
        (None, Some(bot)) => bot.name.clone(),
        (None, None) => "No bot yet".to_owned(),
    }
}

fn topic_name(group: &GroupSummary, thread: Option<i64>) -> Option<&str> {
    match thread {
        Some(thread) => group.topics.get(&thread).map(String::as_str),
        None => group.is_forum.then_some("General"),
    }
}

/// What stands below the chat's title: what the bot does just now, or how to address it.
pub(super) fn presence(snapshot: &Snapshot) -> Markup {
    let selection = &snapshot.selection;
    let Some(bot) = &selection.bot else {
        return html! { "Apply a TelegramConnector with a bot token" };
    };
    if let Some(action) = &snapshot.conversation.chat_action {
        let name = selection.group.is_some().then_some(bot.name.as_str());
        return html! {
            span .typing {
                @if let Some(name) = name { (name) " is " }
                (action.replace('_', " ")) span .dots aria-hidden="true" { i {} i {} i {} }
            }
        };
    }
    let silent = snapshot
        .connector()
        .is_some_and(|connector| !connector.answers_in_groups);
    match &selection.group {
        Some(_) if silent => html! { "silent in groups: its connector has no spec.groups" },
        Some(_) if bot.privacy => {
            html! { "sees commands, replies to it and mentions of @" (bot.username) }
        }
        Some(group) => html! { (group.kind) ", with @" (bot.username) },
        None => html! { "bot · @" (bot.username) },
    }
}

/// The users, as links to the same page for each of them.
pub(super) fn people(snapshot: &Snapshot) -> Markup {
    let query = snapshot.selection.query;
    html! {
        @for person in &snapshot.people { (person_link(query, person)) }
        (button_form(&format!("/users{}", query.to_url_query()), "new-user", "New user", None))
    }
}

fn person_link(query: SelectionQuery, person: &Person) -> Markup {
    let user = &person.user;
    let (class, access) = match person.may_write {
        Some(true) => ("allowed", "allowed"),
        Some(false) => ("denied", "denied"),
        None => ("unknown", "no connector"),
    };
    let id = format!("user-{}", user.id);
    let current = (query.user == Some(user.id)).then_some("true");
    html! {
        a .chip #(id) href=(query.with_user(user.id).page_url()) aria-current=[current] {
            span .avatar .(colour(user.id)) aria-hidden="true" { (initial(&user.first_name)) }
            span { (user.first_name) span .access .(class) { (access) } }
        }
    }
}

fn initial(name: &str) -> String {
    name.chars()
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect())
}

/// The private chat, the groups and their topics, as links.
pub(super) fn chats(snapshot: &Snapshot) -> Markup {
    let query = snapshot.selection.query;
    let action = |path: &str| format!("{path}{}", query.to_url_query());
    let forum = snapshot
        .selection
        .group
        .as_ref()
        .filter(|group| group.is_forum);
    html! {
        (chat_link(query, "chat-private", "Private", None, None))
        @for group in &snapshot.groups {
            (chat_link(query, &format!("chat{}", group.id), &group.title, Some(group.id), None))
            @for (thread, name) in &group.topics {
                (chat_link(query, &format!("chat{}-{thread}", group.id), &format!("› {name}"), Some(group.id), Some(*thread)))
            }
        }
        (button_form(&action("/groups"), "new-group", "Group", Some(("kind", "group"))))
        (button_form(&action("/groups"), "new-forum", "Forum", Some(("kind", "forum"))))
        @if forum.is_some() { (button_form(&action("/topics"), "new-topic", "Topic", None)) }
    }
}

fn chat_link(
    query: SelectionQuery,
    id: &str,
    label: &str,
    chat: Option<i64>,
    thread: Option<i64>,
) -> Markup {
    let target = query.with_chat(chat, thread);
    let current = (query.with_reply(None) == target).then_some("true");
    html! {
        a .chip .topic[thread.is_some()] #(id) href=(target.page_url()) aria-current=[current] { (label) }
    }
}

pub(super) fn messages(snapshot: &Snapshot) -> Markup {
    let selection = &snapshot.selection;
    let messages = &snapshot.conversation.messages;
    let names = selection.group.is_some();
    html! {
        @if messages.is_empty() {
            p .empty #no-messages { "Nothing said here yet. Write something below." }
        }
        @for message in messages {
            (bubble(&Bubble {
                message,
                own: is_own(message, &selection.user),
                sender: message
                    .from
                    .as_ref()
                    .filter(|user| names && user.id != selection.user.id)
                    .map(|user| user.first_name.as_str()),
                query: selection.query,
                notice: snapshot.notices.get(&message.message_id).map(String::as_str),
            }))
        }
    }
}

fn is_own(message: &ConversationMessage, user: &User) -> bool {
    !message.by_bot && message.from.as_ref().is_some_and(|from| from.id == user.id)
}

/// The preview that the bot shows before its message; not read out, since the message will be.
pub(super) fn preview(snapshot: &Snapshot) -> Markup {
    html! {
        @if let Some(draft) = &snapshot.conversation.draft {
            div .bubble.bot.draft data-draft=(draft.draft_id) {
                div .body {
                    @if draft.text.is_empty() { "…" } @else { (formatted(&draft.text, &draft.entities)) }
                    span .caret aria-hidden="true" {}
                }
                p .meta { "preview" }
            }
        }
    }
}

fn composer(snapshot: &Snapshot) -> Markup {
    let query = snapshot.selection.query;
    let action = format!("/messages{}", query.to_url_query());
    // A reply leads back to the page without it.
    let live = query.reply.is_none().then_some(action.as_str());
    let bot = snapshot.selection.bot.as_ref();
    let mention = bot.filter(|_| query.chat.is_some());
    html! {
        form #compose method="post" action=(action) hx-post=[live] hx-swap="none" {
            @if let Some(reply) = query.reply { (replying(snapshot, reply)) }
            div .examples role="group" aria-label="Examples" {
                @if let Some(bot) = mention {
                    button type="submit" name="example" value={ "@" (bot.username) " hello" } { "@" (bot.username) " hello" }
                } @else {
                    @for example in EXAMPLES {
                        button type="submit" name="example" value=(example) { (example) }
                    }
                }
            }
            div .line {
                label .hidden for="text" { "Message" }
                textarea #text name="text" rows="1" autofocus autocomplete="off" maxlength="4096"
                    placeholder={ "Write as " (snapshot.selection.user.first_name) "…" } aria-describedby="compose-hint" {}
                button #send type="submit" disabled[bot.is_none()] { span .hidden { "Send" } span aria-hidden="true" { "➤" } }
            }
            p #compose-hint .hidden { "Enter sends, Shift and Enter begins a new line." }
        }
    }
}

fn replying(snapshot: &Snapshot, reply: i64) -> Markup {
    let messages = &snapshot.conversation.messages;
    let replied = messages.iter().find(|message| message.message_id == reply);
    let text = replied.map_or("", |message| message.text.as_str());
    html! {
        p .replying {
            span { "Reply to: " (shortened(text)) }
            a href=(snapshot.selection.query.with_reply(None).page_url()) { "Cancel" }
        }
    }
}
