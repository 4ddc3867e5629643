//! The chat of `dev` at a terminal: typed lines become users' messages, and what the bot sends is printed.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::shutdown_signal;
use crate::dev::console::Console;
use crate::dev::environment::{Environment, SimulatedUser};
use crate::identity::BotId;
use bot_api_simulator::Simulator;

/// How often the bot's new messages are looked up.
const PRINT_INTERVAL: Duration = Duration::from_millis(100);

/// Sends what is typed to the first connector's bot and prints its messages, until Ctrl-C.
///
/// # Errors
/// The Kubernetes API or standard input cannot be read.
pub(super) async fn chat_as_users(
    console: Console,
    environment: &Environment,
    simulator: &Simulator,
) -> Result<()> {
    let users = environment.users().await?;
    for user in &users {
        simulator.add_user(user.into());
    }
    let Some((bot, username)) = environment.bots().await?.pop_first() else {
        console.item("no bot is connected yet; see kubectl get tgc -A");
        shutdown_signal().await;
        return Ok(());
    };
    console.heading("Speak as a user");
    let from = users.first().map_or(1, |user| user.id);
    console.item(&format!(
        "curl -s {}control/say -H 'content-type: application/json' -d '{{\"bot\": {bot}, \"from\": {from}, \"text\": \"Hello\"}}'",
        simulator.url()
    ));
    console.item(&format!(
        "curl -s {}control/bots/{bot}/sent",
        simulator.url()
    ));
    let printer = tokio::spawn(print_bot_messages(
        console,
        simulator.clone(),
        bot,
        username,
        users.clone(),
    ));
    if std::io::stdin().is_terminal() {
        let names: Vec<String> = users.iter().map(|user| user.name.to_lowercase()).collect();
        console.item(&format!(
            "or type here, as {}: a line goes out as the last one who spoke; \"stranger: hello\" and \"4711: hello\" work too",
            names.join(", ")
        ));
        tokio::select! {
            result = send_typed_lines(console, simulator, bot, &users) => result?,
            () = shutdown_signal() => {}
        }
    } else {
        shutdown_signal().await;
    }
    printer.abort();
    Ok(())
}

/// Sends each typed line as a private message; never returns unless standard input fails.
async fn send_typed_lines(
    console: Console,
    simulator: &Simulator,
    bot: BotId,
    users: &[SimulatedUser],
) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut speaker = users.first().cloned().unwrap_or_else(unlisted_user);
    while let Some(line) = lines.next_line().await? {
        let (user, text) = parse_typed_line(&line, users, &speaker);
        if text.is_empty() {
            continue;
        }
        simulator.add_user((&user).into());
        simulator.send_private_message(bot, user.id, &text);
        if user != speaker {
            console.item(&format!("(speaking as {}, id {})", user.name, user.id));
        }
        speaker = user;
    }
    // End of input (Ctrl-D) does not end the environment; Ctrl-C does.
    std::future::pending().await
}

/// The sender and the text of a typed line: `<name>: text` with a listed name, `<id>: text`, `stranger: text`; any other line
/// is a text of the last speaker.
fn parse_typed_line(
    line: &str,
    users: &[SimulatedUser],
    last_speaker: &SimulatedUser,
) -> (SimulatedUser, String) {
    let line = line.trim();
    if let Some((sender, text)) = line.split_once(':') {
        let sender = sender.trim();
        let listed = users
            .iter()
            .find(|user| user.name.eq_ignore_ascii_case(sender))
            .cloned();
        let by_id = sender.parse().ok().map(|id| SimulatedUser {
            id,
            name: format!("user {id}"),
            username: None,
        });
        let unlisted = sender.eq_ignore_ascii_case("stranger").then(unlisted_user);
        if let Some(user) = listed.or(by_id).or(unlisted) {
            return (user, text.trim().to_owned());
        }
    }
    (last_speaker.clone(), line.to_owned())
}

/// A user whom no list names, for trying what a denied user sees.
fn unlisted_user() -> SimulatedUser {
    SimulatedUser {
        id: 6600,
        name: "Stranger".into(),
        username: None,
    }
}

/// Prints every new message of the bot, until the task is aborted.
async fn print_bot_messages(
    console: Console,
    simulator: Simulator,
    bot: BotId,
    username: String,
    users: Vec<SimulatedUser>,
) {
    let mut printed: HashMap<i64, usize> = HashMap::new();
    loop {
        let chats: Vec<i64> = simulator.chats(bot);
        for chat in chats {
            let sent = simulator.sent_messages(bot, chat);
            let printed_in_chat = printed.entry(chat).or_default();
            for message in &sent[(*printed_in_chat).min(sent.len())..] {
                let name = users
                    .iter()
                    .find(|user| user.id == chat)
                    .map_or_else(|| chat.to_string(), |user| user.name.clone());
                let time = message.at.strftime("%H:%M:%S").to_string();
                console.chat(&time, &format!("@{username} to {name}"), &message.text);
            }
            *printed_in_chat = sent.len();
        }
        tokio::time::sleep(PRINT_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_line_names_its_sender_or_continues_the_last_one() {
        let ann = SimulatedUser {
            id: 1001,
            name: "Ann".into(),
            username: None,
        };
        let bob = SimulatedUser {
            id: 1002,
            name: "Bob".into(),
            username: None,
        };
        let users = [ann.clone(), bob.clone()];
        assert_eq!(
            parse_typed_line("bob: hi there", &users, &ann),
            (bob.clone(), "hi there".into())
        );
        assert_eq!(
            parse_typed_line("and now?", &users, &bob),
            (bob.clone(), "and now?".into())
        );
        assert_eq!(
            parse_typed_line("note: not a name", &users, &bob),
            (bob, "note: not a name".into())
        );
        assert_eq!(parse_typed_line("4711: hi", &users, &ann).0.id, 4711);
        assert_eq!(
            parse_typed_line("stranger: hi", &users, &ann).0,
            unlisted_user()
        );
    }
}
