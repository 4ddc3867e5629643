//! What is stored of the conversations, and what the assistant was asked.

use bot_api_simulator::sample_assistant::RecordedRequest;
use maud::{Markup, html};
use serde_json::Value;

use super::{Snapshot, time, unreadable};
use crate::source::{DeadLetter, DeniedMessage, Session};

pub(super) fn rows(snapshot: &Snapshot) -> Markup {
    let requests = html! {
        @for request in &snapshot.requests { (request_row(request)) }
    };
    let requests = group(
        "requests",
        "Requests to the assistant",
        snapshot.request_count,
        "None yet. Each message of an allowed user becomes one.",
        &requests,
    );
    match &snapshot.stored {
        Err(error) => html! { (unreadable(error)) (requests) },
        Ok(stored) => html! {
            (group("sessions", "Sessions", stored.sessions.len() as u64,
                "None yet. The first message of an allowed user begins one.",
                &html! { @for session in &stored.sessions { (session_row(session)) } }))
            (group("denied", "Denied messages", stored.denied.len() as u64,
                "None. Write as a denied user; kept where spec.access.saveDeniedConversations is true.",
                &html! { @for denied in &stored.denied { (denied_row(denied)) } }))
            (group("dead-letters", "Dead letters", stored.dead_letters.len() as u64,
                "None. What cannot be handled after several attempts comes here.",
                &html! { @for letter in &stored.dead_letters { (dead_letter_row(letter)) } }))
            (requests)
        },
    }
}

fn group(id: &str, title: &str, count: u64, none: &str, rows: &Markup) -> Markup {
    html! {
        details .card #(id) open {
            summary { h3 { (title) } span .count { (count) } }
            @if count == 0 { p .empty { (none) } } @else { (rows) }
        }
    }
}

fn session_row(session: &Session) -> Markup {
    let id = format!("session-{}", session.id);
    let (input, output) = session.tokens;
    let exchanges = if session.exchanges == 1 {
        "exchange"
    } else {
        "exchanges"
    };
    html! {
        details .row #(id) {
            summary {
                (time::seconds(session.began)) " "
                b { "chat " (session.chat) @if session.topic != 0 { " topic " (session.topic) } } " "
                (session.exchanges) " " (exchanges)
                @if !session.current { " " span .tag { "ended" } }
            }
            p .details { "session " code { (session.id) } ", " (input) " + " (output) " tokens" }
            @for (role, text) in &session.history { (spoken(role, text)) }
        }
    }
}

fn denied_row(denied: &DeniedMessage) -> Markup {
    html! {
        div .row {
            p { (time::seconds(denied.time)) " " b { (denied.sender) } " in chat " (denied.chat) ", level " (denied.level) }
            p .said { (denied.text) }
        }
    }
}

fn dead_letter_row(letter: &DeadLetter) -> Markup {
    html! {
        div .row {
            p { (time::seconds(letter.time)) " " b { (letter.kind) " " (letter.id) } " in chat " (letter.chat) ", " (letter.attempts) " attempts" }
            p .said { (letter.reason) }
        }
    }
}

/// A request: its messages to read, its body as it was sent. Keys are not shown.
fn request_row(request: &RecordedRequest) -> Markup {
    let id = format!("request-{}", request.at.as_nanosecond());
    let messages = request.body["messages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let model = request.body["model"].as_str().unwrap_or("no model");
    let body = serde_json::to_string_pretty(&request.body).unwrap_or_default();
    let last = messages
        .last()
        .map(|message| content_text(&message["content"]));
    let noun = if messages.len() == 1 {
        "message"
    } else {
        "messages"
    };
    html! {
        details .row #(id) {
            summary {
                (time::seconds(request.at)) " " b { (super::message::shortened(&last.unwrap_or_default())) } " "
                (messages.len()) " " (noun) " to " (model)
            }
            @for message in messages {
                (spoken(message["role"].as_str().unwrap_or("?"), &content_text(&message["content"])))
            }
            details .body { summary { "Body as it was sent" } pre tabindex="0" { (body) } }
        }
    }
}

fn spoken(role: &str, text: &str) -> Markup {
    html! { div .spoken { span .role { (role) } p { (text) } } }
}

/// The text of a message's `content`; of other parts their type.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match part["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("[{}]", part["type"].as_str().unwrap_or("part")),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}
