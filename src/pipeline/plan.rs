//! What is to be done with a message: a pure decision over the connector and the message.

use super::access::{self, Verdict};
use super::commands::{self, Command, FirstWord};
use super::groups::{self, Me, Place};
use super::message::{Content, File, Incoming, Sender, UpdateKind};
use super::texts::texts;
use crate::registry::{ResolvedConnector, SessionDuration};

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Nothing: it was not said to the bot, or it is no saying at all.
    Ignore,
    /// Leave this group.
    Leave,
    /// Its sender may not write.
    Deny,
    /// The bot answers by itself.
    Say(String),
    /// A new session begins, and the bot says so.
    NewSession(String),
    /// The assistant is asked.
    Ask {
        /// What.
        text: String,
        /// A picture that goes with it.
        picture: Option<File>,
    },
}

/// The longest piece of a message answered to that is quoted to the assistant, in characters.
const LONGEST_QUOTE: usize = 2_000;

/// Decides. Nobody whom the access level does not name gets further than [`Plan::Deny`], except to their own id.
pub(super) fn plan(connector: &ResolvedConnector, incoming: &Incoming) -> Plan {
    let me = Me {
        id: connector.bot.id(),
        username: &connector.bot_username,
    };
    match groups::decide(connector.groups.as_ref(), incoming, me) {
        Place::Ignore => return Plan::Ignore,
        Place::Leave => return Plan::Leave,
        Place::Listen => {}
    }
    // What was said before is answered already; an edit changes no answer.
    if incoming.kind == UpdateKind::EditedMessage {
        return Plan::Ignore;
    }
    let said = texts(language(incoming));
    let text = incoming.text.as_deref().unwrap_or_default();
    let command = match commands::first_word(text, &connector.bot_username) {
        FirstWord::Ours { command, .. } => Some(command),
        _ => None,
    };
    if command == Some(Command::Id) {
        let user = incoming.sender.as_ref().map(|s| s.id);
        return Plan::Say(said.id(user, incoming.chat.id));
    }
    let verdict = access::decide(&connector.access, incoming.sender.as_ref());
    let (Verdict::Allowed, Some(_)) = (verdict, &incoming.sender) else {
        return Plan::Deny;
    };
    match command {
        Some(Command::Start { .. }) => Plan::Say(
            connector
                .greeting
                .as_deref()
                .unwrap_or(&said.greeting)
                .to_owned(),
        ),
        Some(Command::New) if connector.session.duration == SessionDuration::None => {
            Plan::Say(said.no_session.clone())
        }
        Some(Command::New) => Plan::NewSession(said.new_session.clone()),
        Some(Command::Help) => Plan::Say(said.help.clone()),
        Some(Command::Stop) => Plan::Say(said.nothing_to_stop.clone()),
        Some(Command::Id) | None => ask(incoming, me),
    }
}

fn ask(incoming: &Incoming, me: Me<'_>) -> Plan {
    let said = texts(language(incoming));
    let text = with_context(incoming, me, groups::without_address(incoming, me));
    match &incoming.content {
        Content::Text if text.is_empty() => Plan::Say(said.greeting.clone()),
        Content::Text => Plan::Ask {
            text,
            picture: None,
        },
        Content::Photo(file) => Plan::Ask {
            text,
            picture: Some(file.clone()),
        },
        Content::Document(file) if is_picture(file) => Plan::Ask {
            text,
            picture: Some(file.clone()),
        },
        Content::Location {
            latitude,
            longitude,
            venue,
        } => Plan::Ask {
            text: match venue {
                Some((name, address)) => format!("{name}, {address} ({latitude}, {longitude})"),
                None => format!("{latitude}, {longitude}"),
            },
            picture: None,
        },
        Content::Contact { name, phone } => Plan::Ask {
            text: format!("{name}: {phone}"),
            picture: None,
        },
        Content::Voice(..) | Content::Audio(_) => Plan::Say(said.voice_unsupported.clone()),
        Content::Document(_) => Plan::Say(said.file_unsupported.clone()),
        Content::Service(_) | Content::Membership(_) => Plan::Ignore,
        Content::Video(_)
        | Content::Animation(_)
        | Content::Sticker(_)
        | Content::Poll(_)
        | Content::Dice(..)
        | Content::Other => Plan::Say(said.unsupported.clone()),
    }
}

/// The text with what it answers or forwards, which the assistant has not seen otherwise.
fn with_context(incoming: &Incoming, me: Me<'_>, text: String) -> String {
    let mut before = String::new();
    if let Some(from) = &incoming.forwarded_from {
        before = format!("[forwarded from {from}]\n");
    }
    if let Some(reply) = &incoming.reply_to {
        let ours = reply.sender.as_ref().is_some_and(|s| s.id == me.id.0);
        let quoted = reply
            .quote
            .as_deref()
            .or(reply.text.as_deref().filter(|_| !ours));
        if let Some(quoted) = quoted {
            for line in quoted
                .chars()
                .take(LONGEST_QUOTE)
                .collect::<String>()
                .lines()
            {
                before.push_str("> ");
                before.push_str(line);
                before.push('\n');
            }
        }
    }
    if before.is_empty() {
        text
    } else {
        format!("{before}\n{text}").trim_end().to_owned()
    }
}

fn is_picture(file: &File) -> bool {
    file.media_type
        .as_deref()
        .is_some_and(|m| matches!(m, "image/jpeg" | "image/png" | "image/webp" | "image/gif"))
}

/// The language to speak to the sender in.
pub(super) fn language(incoming: &Incoming) -> Option<&str> {
    incoming
        .sender
        .as_ref()
        .and_then(|s: &Sender| s.language_code.as_deref())
}
