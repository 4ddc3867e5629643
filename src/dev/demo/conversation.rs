//! The demo's conversation: each scene sends messages as its users and checks what the bot and the assistant received.

use anyhow::Result;
use jiff::{Timestamp, ToSpan};

use super::{NO_REPLY_WAIT, REPLY_TIMEOUT};
use crate::dev::console::Console;
use crate::dev::environment::SimulatedUser;
use crate::identity::BotId;
use bot_api_simulator::{Simulator, UserAction, sample_assistant};

/// A conversation with one bot, and the checks made of it so far.
pub(super) struct DemoRun {
    pub(super) console: Console,
    pub(super) simulator: Simulator,
    pub(super) bot: BotId,
    /// Of the bot, without `@`.
    pub(super) username: String,
    pub(super) assistant: sample_assistant::SampleAssistant,
    /// Whether each check held, and what it says.
    pub(super) checks: Vec<(bool, String)>,
}

impl DemoRun {
    /// Adds a check to the list that is printed at the end.
    pub(super) fn record_check(&mut self, held: bool, statement: impl Into<String>) {
        self.checks.push((held, statement.into()));
    }

    /// Sends a private message dated `at` and prints it with the bot's reply; `None` if none came within [`REPLY_TIMEOUT`].
    async fn send_and_wait(
        &mut self,
        user: &SimulatedUser,
        at: Timestamp,
        text: &str,
    ) -> Option<String> {
        let before = self.simulator.sent_messages(self.bot, user.id).len();
        let time = at.strftime("%a %H:%M").to_string();
        self.console.chat(&time, &user.name, text);
        let action = UserAction {
            bot: Some(self.bot.0),
            from: Some(user.id),
            text: Some(text.to_owned()),
            date: Some(at.as_second()),
            ..UserAction::default()
        };
        self.simulator.perform(&action).ok()?;
        let reply = self
            .simulator
            .wait_until(self.bot, REPLY_TIMEOUT, |simulator| {
                simulator
                    .sent_messages(self.bot, user.id)
                    .into_iter()
                    .nth(before)
            })
            .await
            .map(|sent| sent.text);
        match &reply {
            Some(text) => self
                .console
                .chat(&time, &format!("@{}", self.username), text),
            None => self.console.item("(no answer)"),
        }
        reply
    }

    /// Number of messages in the last request to the assistant: the question and its history, without the system message.
    fn messages_in_last_request(&self) -> usize {
        let last = self.assistant.requests().pop();
        let messages = last.and_then(|request| {
            request
                .body
                .get("messages")
                .and_then(|m| m.as_array().cloned())
        });
        messages
            .unwrap_or_default()
            .iter()
            .filter(|message| message["role"] != "system")
            .count()
    }
}

/// Plays all scenes.
///
/// # Errors
/// The simulator does not take a message.
pub(super) async fn run_conversation(run: &mut DemoRun) -> Result<()> {
    let ann = simulated_user(1001, "Ann", None);
    let carol = simulated_user(1003, "Carol", Some("Carol_Example"));
    let dave = simulated_user(6600, "Dave", Some("dave_example"));
    for user in [&ann, &carol, &dave] {
        run.simulator.add_user(user.into());
    }
    let today = Timestamp::now();
    let tomorrow = today + 25.hours();
    allowed_user(run, &ann, today).await;
    user_listed_by_username(run, &carol, today).await;
    denied_user(run, &dave, today).await?;
    new_sessions(run, &ann, tomorrow).await;
    Ok(())
}

fn simulated_user(id: i64, name: &str, username: Option<&str>) -> SimulatedUser {
    SimulatedUser {
        id,
        name: name.to_owned(),
        username: username.map(str::to_owned),
    }
}

async fn allowed_user(run: &mut DemoRun, ann: &SimulatedUser, at: Timestamp) {
    run.console
        .heading("Ann (id 1001) is on the list acme-staff");
    let greeting = run.send_and_wait(ann, at, "/start").await;
    run.record_check(
        greeting.is_some_and(|text| text.contains("Acme")),
        "/start is answered with the connector's greeting",
    );
    let reply = run.send_and_wait(ann, at, "Where is my order 17?").await;
    run.record_check(
        reply.is_some() && run.assistant.requests().len() == 1,
        "an allowed user gets the assistant's answer",
    );
    run.send_and_wait(ann, at, "And order 18?").await;
    run.record_check(
        run.messages_in_last_request() == 3,
        "within a session the assistant is sent the conversation so far",
    );
}

async fn user_listed_by_username(run: &mut DemoRun, carol: &SimulatedUser, at: Timestamp) {
    run.console
        .heading("Carol is on it by her username, Dave is not on it at all");
    let reply = run.send_and_wait(carol, at, "Do you know me?").await;
    run.record_check(
        reply.is_some() && run.messages_in_last_request() == 1,
        "a username counts whatever its case; every chat has a session of its own",
    );
}

async fn denied_user(run: &mut DemoRun, dave: &SimulatedUser, at: Timestamp) -> Result<()> {
    let requests_before = run.assistant.requests().len();
    let refusal = run.send_and_wait(dave, at, "Let me in, please.").await;
    run.record_check(
        refusal.is_some_and(|text| text.contains("6600")),
        "a denied user is told so, with the id to hand on",
    );
    run.simulator
        .perform(&UserAction {
            bot: Some(run.bot.0),
            from: Some(dave.id),
            text: Some("Hello?".into()),
            ..UserAction::default()
        })
        .map_err(anyhow::Error::msg)?;
    run.console
        .chat(&at.strftime("%a %H:%M").to_string(), "Dave", "Hello?");
    tokio::time::sleep(NO_REPLY_WAIT).await;
    run.record_check(
        run.simulator.sent_messages(run.bot, dave.id).len() == 1,
        "and told once an hour at most",
    );
    run.record_check(
        run.assistant.requests().len() == requests_before,
        "nothing a denied user writes reaches the assistant",
    );
    Ok(())
}

async fn new_sessions(run: &mut DemoRun, ann: &SimulatedUser, at: Timestamp) {
    run.console
        .heading("A day later the session of 24 hours has ended; /new begins another at once");
    run.send_and_wait(ann, at, "Do you remember my orders?")
        .await;
    run.record_check(
        run.messages_in_last_request() == 1,
        "a session ends by the time of the message: the next begins with no history",
    );
    run.send_and_wait(ann, at, "One more thing.").await;
    let confirmation = run.send_and_wait(ann, at, "/new").await;
    run.send_and_wait(ann, at, "Who are you?").await;
    run.record_check(
        confirmation.is_some() && run.messages_in_last_request() == 1,
        "/new begins a new session and says so",
    );
}
