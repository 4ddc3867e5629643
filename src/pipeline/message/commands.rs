//! The bot's own commands. Any other word behind a slash is text for the assistant.

/// A command that the operator answers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `/start`, with what stands behind it: the payload of a deep link (`t.me/bot?start=payload`), or words.
    Start {
        /// Not empty. A payload is 1-64 of `A-Za-z0-9_-` by Telegram's rule; not checked here.
        payload: Option<String>,
    },
    /// `/new`: begins a new session.
    New,
    /// `/help`.
    Help,
    /// `/id`: shows the user's and the chat's id, also to denied users.
    Id,
    /// `/stop`: ends a running answer.
    Stop,
    /// `/logout`: ends what a sign-in gave; where nobody signs in, text for the assistant.
    Logout,
}

/// What the first word of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedCommand {
    /// No command at all.
    NotACommand,
    /// One of ours; `addressed` if it named this bot (`/new@this_bot`).
    Own {
        /// Which.
        command: Command,
        /// It named this bot.
        addressed: bool,
    },
    /// Some command that is not ours, for the assistant as text; `addressed` if it named this bot.
    Unknown {
        /// It named this bot.
        addressed: bool,
    },
    /// A command that named another bot: nothing for us.
    ForAnotherBot,
}

/// Reads the first word of a text. `bot_username` is without @; names are compared without case.
///
/// A command is `/` and 1-32 of `A-Za-z0-9_`, perhaps `@` and a bot's username, and then the end or white space:
/// `/etc/hosts` and `/new.` are text.
pub(crate) fn parse_command(text: &str, bot_username: &str) -> ParsedCommand {
    let Some(rest) = text.strip_prefix('/') else {
        return ParsedCommand::NotACommand;
    };
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, argument) = rest.split_at(end);
    let (name, bot) = match word.split_once('@') {
        Some((name, bot)) => (name, Some(bot)),
        None => (word, None),
    };
    let well_formed = |s: &str| {
        (1..=32).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !well_formed(name) || !bot.is_none_or(well_formed) {
        return ParsedCommand::NotACommand;
    }
    if bot.is_some_and(|bot| !bot.eq_ignore_ascii_case(bot_username)) {
        return ParsedCommand::ForAnotherBot;
    }
    let addressed = bot.is_some();
    let command = match name.to_ascii_lowercase().as_str() {
        "start" => Command::Start {
            payload: Some(argument.trim().to_owned()).filter(|a| !a.is_empty()),
        },
        "new" => Command::New,
        "help" => Command::Help,
        "id" => Command::Id,
        "stop" => Command::Stop,
        "logout" => Command::Logout,
        _ => return ParsedCommand::Unknown { addressed },
    };
    ParsedCommand::Own { command, addressed }
}

/// The words behind a `/new`; any other text as it is.
pub(crate) fn strip_new_command<'a>(text: &'a str, bot_username: &str) -> &'a str {
    match parse_command(text, bot_username) {
        ParsedCommand::Own {
            command: Command::New,
            ..
        } => text
            .split_once(char::is_whitespace)
            .map_or("", |(_, words)| words.trim_start()),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/new", Some(Command::New))]
    #[case("/NEW", Some(Command::New))]
    #[case("/new@Support_Bot", Some(Command::New))]
    #[case("/help me please", Some(Command::Help))]
    #[case("/id\n", Some(Command::Id))]
    #[case("/stop\u{a0}now", Some(Command::Stop))]
    #[case("/logout", Some(Command::Logout))]
    #[case("/start", Some(Command::Start { payload: None }))]
    #[case("/start  ref_1 x ", Some(Command::Start { payload: Some("ref_1 x".into()) }))]
    #[case("/start@support_bot ref", Some(Command::Start { payload: Some("ref".into()) }))]
    #[case("/new.", None)]
    #[case("/new@", None)]
    #[case("/newer", None)]
    #[case(" /new", None)]
    #[case("new", None)]
    #[case("/", None)]
    #[case("", None)]
    #[case("/новый", None)]
    fn own_commands_are_recognized(#[case] text: &str, #[case] expected: Option<Command>) {
        let ours = match parse_command(text, "support_bot") {
            ParsedCommand::Own { command, .. } => Some(command),
            _ => None,
        };
        assert_eq!(ours, expected);
    }

    #[rstest]
    #[case("/new@other_bot", ParsedCommand::ForAnotherBot)]
    #[case("/weather@other_bot", ParsedCommand::ForAnotherBot)]
    #[case("/weather Rome", ParsedCommand::Unknown { addressed: false })]
    #[case("/weather@SUPPORT_BOT Rome", ParsedCommand::Unknown { addressed: true })]
    #[case("/etc/hosts", ParsedCommand::NotACommand)]
    #[case("/a@b@c", ParsedCommand::NotACommand)]
    fn other_commands_are_classified(#[case] text: &str, #[case] expected: ParsedCommand) {
        assert_eq!(parse_command(text, "support_bot"), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(text in any::<String>(), bot in "[a-z_]{5,10}") {
            parse_command(&text, &bot);
            parse_command(&format!("/{text}"), &bot);
        }
    }
}
