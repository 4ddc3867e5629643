//! What is to be done with a message: a pure decision over the connector and the message.

use super::access::{self, Verdict};
use super::attached;
use super::commands::{self, Command, FirstWord};
use super::content::{self, Gist};
use super::groups::{self, Me, Place};
use super::message::{Content, Incoming, Sender, UpdateKind};
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
    /// What is being answered is to end.
    Stop,
    /// The assistant is asked this.
    Ask(Gist),
}

/// Decides. Nobody whom the access level does not name gets further than [`Plan::Deny`], except to their own id.
pub(super) fn plan(connector: &ResolvedConnector, incoming: &Incoming) -> Plan {
    let me = me(connector);
    match groups::decide(connector.groups.as_ref(), incoming, me) {
        Place::Ignore => return Plan::Ignore,
        Place::Leave => return Plan::Leave,
        Place::Listen => {}
    }
    if incoming.kind == UpdateKind::EditedMessage && !is_edit_by_a_person(incoming) {
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
        Some(Command::Stop) => Plan::Stop,
        Some(Command::Id) | None => ask(connector, incoming, me),
    }
}

fn ask(connector: &ResolvedConnector, incoming: &Incoming, me: Me<'_>) -> Plan {
    let said = texts(language(incoming));
    let gist = content::gist(incoming, me);
    if let Some(mute) = attached::mute(connector, &gist) {
        return Plan::Say(mute.sentence(said).to_owned());
    }
    match gist {
        Gist::Ask { .. } | Gist::Hear(_) | Gist::Read(_) => Plan::Ask(gist),
        Gist::Nothing => Plan::Say(said.greeting.clone()),
        Gist::Unsupported => Plan::Say(said.unsupported.clone()),
    }
}

/// The connector's bot, as it is spoken to.
pub(super) fn me(connector: &ResolvedConnector) -> Me<'_> {
    Me {
        id: connector.bot.id(),
        username: &connector.bot_username,
    }
}

/// Whether somebody changed what they had said. A live location that moves is an `edited_message` too, and so is a change of
/// fields that no bot sees, which then has no `edit_date`.
pub(super) fn is_edit_by_a_person(incoming: &Incoming) -> bool {
    incoming.kind == UpdateKind::EditedMessage
        && incoming.edited.is_some()
        && !matches!(incoming.content, Content::Location { .. })
}

/// The language to speak to the sender in.
pub(super) fn language(incoming: &Incoming) -> Option<&str> {
    incoming
        .sender
        .as_ref()
        .and_then(|s: &Sender| s.language_code.as_deref())
}
