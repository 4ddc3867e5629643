//! What is to be done with a message: a pure decision over the connector and the message.

use jiff::Timestamp;

use crate::history::ChatMessage;
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::decide::assistant_input::{self, AssistantInput, InputContext};
use crate::pipeline::decide::attachment_check;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::decide::groups::{BotIdentity, GroupDecision};
use crate::pipeline::decide::sign_in;
use crate::pipeline::message::commands::{self, Command, ParsedCommand};
use crate::pipeline::message::incoming_update::{Content, IncomingUpdate, UpdateKind};
use crate::registry::{ResolvedConnector, SessionDuration, Transcription};

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// Nothing: it was not said to the bot, or it is no saying at all.
    Ignore,
    /// Leave this group.
    LeaveChat,
    /// Its sender may not write, and is asked to sign in; it waits for that.
    HoldForSignIn,
    /// Its sender is signed in no more.
    SignOut,
    /// Its sender may not write.
    Deny,
    /// Its sender may not write, and asks for the ids to hand on.
    DenyWithIds,
    /// A button was tapped by somebody who may write.
    Tap,
    /// A button was tapped by somebody who may not.
    DenyTap,
    /// A request for access has ended, and its asker is told.
    TellAccessOutcome,
    /// The bot answers by itself.
    Reply(CannedReply),
    /// A new session begins, and the bot says so.
    StartSession,
    /// What is being answered is to end.
    Stop,
    /// The assistant is asked this.
    AskAssistant(AssistantInput),
    /// A new session begins with this question.
    AskInNewSession(AssistantInput),
}

impl Decision {
    /// Whether the assistant is asked.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Self::AskAssistant(_) | Self::AskInNewSession(_))
    }

    /// Whether it begins a new session: it ends what is being answered, and is no part of the turn before it.
    pub(crate) fn begins_session(&self) -> bool {
        matches!(self, Self::StartSession | Self::AskInNewSession(_))
    }
}

/// Decides, given whether it was said to the bot. Nobody whom the access level does not name gets further than being denied.
pub(crate) fn decide(
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
    group: GroupDecision,
    now: Timestamp,
) -> Decision {
    match group {
        GroupDecision::Ignore => return Decision::Ignore,
        GroupDecision::Leave => return Decision::LeaveChat,
        GroupDecision::Handle => {}
    }
    if incoming.tap().is_some() {
        return match access::decide(&connector.access, incoming.sender.as_ref(), now) {
            AccessDecision::Allowed => Decision::Tap,
            AccessDecision::Denied => Decision::DenyTap,
        };
    }
    if incoming.kind == UpdateKind::EditedMessage && !is_user_edit(incoming) {
        return Decision::Ignore;
    }
    let text = incoming.text.as_deref().unwrap_or_default();
    let command = match commands::parse_command(text, &connector.bot_username) {
        ParsedCommand::Own { command, .. } => Some(command),
        _ => None,
    };
    let signs_in = sign_in::policy(connector).is_some();
    let command = command.filter(|command| *command != Command::Logout || signs_in);
    // It was carried out when it was sent.
    if incoming.kind == UpdateKind::EditedMessage && command.is_some() {
        return Decision::Ignore;
    }
    let access = access::decide(&connector.access, incoming.sender.as_ref(), now);
    let (AccessDecision::Allowed, Some(_)) = (access, &incoming.sender) else {
        // A code in a group would be anybody's.
        let signs_in = sign_in::may_sign_in(connector, incoming);
        return match command {
            Some(Command::Id) => Decision::DenyWithIds,
            Some(Command::Logout) if signs_in => Decision::SignOut,
            _ if signs_in => Decision::HoldForSignIn,
            _ => Decision::Deny,
        };
    };
    match command {
        Some(Command::Id) => Decision::Reply(CannedReply::ids(incoming)),
        Some(Command::Start { .. }) if start_payload(connector, incoming).is_some() => {
            decide_in_new_session(connector, incoming)
        }
        Some(Command::Start { .. }) => Decision::Reply(
            connector
                .greeting
                .clone()
                .map_or(CannedReply::Greeting, CannedReply::CustomGreeting),
        ),
        Some(Command::New) if asks_with_new_command(connector, incoming) => {
            decide_in_new_session(connector, incoming)
        }
        Some(Command::New) if connector.session.duration == SessionDuration::None => {
            Decision::Reply(CannedReply::NoSession)
        }
        Some(Command::New) => Decision::StartSession,
        Some(Command::Help) => Decision::Reply(CannedReply::Help),
        Some(Command::Stop) => Decision::Stop,
        Some(Command::Logout) => Decision::SignOut,
        None => decide_content(connector, incoming),
    }
}

/// What was said begins a session, where there are sessions.
fn decide_in_new_session(connector: &ResolvedConnector, incoming: &IncomingUpdate) -> Decision {
    match decide_content(connector, incoming) {
        Decision::AskAssistant(input) if connector.session.duration != SessionDuration::None => {
            Decision::AskInNewSession(input)
        }
        decision => decision,
    }
}

/// The longest payload of a link to a bot (Bot API, "Deep Linking").
const MAX_PAYLOAD_CHARS: usize = 64;

/// The payload of the link by which a user came: what stands behind a `/start`, where it is one that a link can hold.
pub(crate) fn start_payload(
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
) -> Option<String> {
    let text = incoming.text.as_deref()?;
    let ParsedCommand::Own {
        command: Command::Start { payload },
        ..
    } = commands::parse_command(text, &connector.bot_username)
    else {
        return None;
    };
    let is_payload = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    payload.filter(|p| p.len() <= MAX_PAYLOAD_CHARS && p.chars().all(is_payload))
}

/// Decides about a message that follows from a decision of a user: its words are no command, and it was said to the bot.
pub(crate) fn decide_follow_up(
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
    now: Timestamp,
) -> Decision {
    match access::decide(&connector.access, incoming.sender.as_ref(), now) {
        AccessDecision::Allowed => decide_content(connector, incoming),
        AccessDecision::Denied => Decision::Deny,
    }
}

/// Whether there is a question behind a `/new`: more words, or what the command is the caption of.
fn asks_with_new_command(connector: &ResolvedConnector, incoming: &IncomingUpdate) -> bool {
    let text = incoming.text.as_deref().unwrap_or_default();
    let words = commands::strip_new_command(text, &connector.bot_username);
    incoming.content != Content::Text || !words.trim().is_empty()
}

/// What was said is no command.
fn decide_content(connector: &ResolvedConnector, incoming: &IncomingUpdate) -> Decision {
    let input = assistant_input::assistant_input(incoming, input_context(connector, &[]));
    if let Some(unreadable) = attachment_check::unreadable_reason(connector, &input) {
        return Decision::Reply(CannedReply::Unreadable(unreadable));
    }
    match input {
        AssistantInput::Text { .. }
        | AssistantInput::Transcribe(_)
        | AssistantInput::ReadFile(_) => Decision::AskAssistant(input),
        AssistantInput::Empty => Decision::Reply(CannedReply::Greeting),
        AssistantInput::Unsupported => Decision::Reply(CannedReply::Unsupported),
    }
}

/// With what a connector reads messages besides themselves.
pub(crate) fn input_context<'a>(
    connector: &'a ResolvedConnector,
    history: &'a [ChatMessage],
) -> InputContext<'a> {
    InputContext {
        bot: bot_identity(connector),
        history,
        hears: !matches!(connector.transcription, Transcription::None),
    }
}

/// The connector's bot, as it is spoken to.
pub(crate) fn bot_identity(connector: &ResolvedConnector) -> BotIdentity<'_> {
    BotIdentity {
        id: connector.bot.id(),
        username: &connector.bot_username,
    }
}

/// Whether somebody changed what they had said. A live location that moves is an `edited_message` too, and so is a change of
/// fields that no bot sees, which then has no `edit_date`.
pub(crate) fn is_user_edit(incoming: &IncomingUpdate) -> bool {
    incoming.kind == UpdateKind::EditedMessage
        && incoming.edited.is_some()
        && !matches!(incoming.content, Content::Location { .. })
}

#[cfg(test)]
mod tests;
