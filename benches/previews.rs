//! Measures previews of answers against Telegram's rate limits in 50 continuous conversations: the time until the first words are
//! visible, the interval between previews of a chat, and the number of 429s.
//!
//! ```text
//! cargo bench --bench previews             # 10 minutes
//! cargo bench --bench previews -- 60       # 60 seconds
//! ```
//!
//! The simulator enforces its rate limits (30 messages per second and bot, one per second and chat with short bursts, 20 per minute and
//! group; drafts and edits count like messages). 40 chats are private, 10 are groups. Each asks, waits for the whole answer, pauses
//! and asks again. The assistant writes eight words per second for 12 seconds.
//!
//! The exit code is 1 if a limit is missed: the first words of every answer within 1.5 s of the assistant's first word, previews of a
//! chat at least one second apart, no 429.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/pipeline/test_env.rs"]
#[allow(dead_code, reason = "shared with the tests of the pipeline")]
mod test_env;

use std::collections::HashMap;
use std::time::Duration;

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{ApiCall, Simulator};
use rand::Rng;
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::registry::GroupPolicy;

use test_env::{Connector, TestEnv, specific_users};

const PRIVATE_CHATS: i64 = 40;
const GROUPS: usize = 10;
const FIRST_USER: i64 = 2000;
const WORDS: usize = 96;
/// The time per word.
const WORD_DELAY: Duration = Duration::from_millis(125);
/// The time before the first word.
const LATENCY: Duration = Duration::from_millis(700);

/// The longest time from the assistant's first word to the first visible one, in milliseconds.
const MAX_FIRST_VISIBLE: f64 = 1500.0;
/// The shortest time between two previews of a chat, in milliseconds.
const MIN_BETWEEN_PREVIEWS: f64 = 1000.0;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(600);
    let duration = Duration::from_secs(seconds);
    let mut env = TestEnv::new().await;
    env.telegram.configure(|options| {
        options.flood_limits = true;
        options.keep_calls = 500_000;
        options.keep_messages = 100_000;
    });
    let users: Vec<i64> = (FIRST_USER..FIRST_USER + 50).collect();
    let support = env.connector_with("support", |c| {
        c.access = specific_users(&users);
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::All,
            chats: None,
        });
    });
    let word = |n: usize| format!("word{n:03}");
    env.assistant.set_behaviour(Behaviour {
        latency_ms: u64::try_from(LATENCY.as_millis()).unwrap(),
        word_delay_ms: u64::try_from(WORD_DELAY.as_millis()).unwrap(),
        answer: Some((0..WORDS).map(word).collect::<Vec<_>>().join(" ")),
        ..Behaviour::default()
    });
    env.telegram.set_privacy(support.id, false);
    let groups: Vec<i64> = (0..GROUPS)
        .map(|n| {
            env.telegram
                .add_group("supergroup", &format!("Group {n}"), &[support.id.0])
        })
        .collect();
    let end = tokio::time::Instant::now() + duration;
    let conversations = users
        .iter()
        .zip(
            (0..PRIVATE_CHATS)
                .map(|_| None)
                .chain(groups.into_iter().map(Some)),
        )
        .map(|(user, group)| run_conversation(env.telegram.clone(), &support, *user, group, end));
    let question_times: HashMap<i64, Vec<jiff::Timestamp>> =
        futures::future::join_all(conversations)
            .await
            .into_iter()
            .collect();
    let missed = report(&env, &support, &question_times, duration);
    for bar in &missed {
        println!("previews: FAIL {bar}");
    }
    u8::from(!missed.is_empty()).into()
}

/// Runs the conversation of one chat until `end`. Returns the chat and the time of each question.
async fn run_conversation(
    telegram: Simulator,
    support: &Connector,
    user: i64,
    group: Option<i64>,
    end: tokio::time::Instant,
) -> (i64, Vec<jiff::Timestamp>) {
    let chat = group.unwrap_or(user);
    let pause = |from: u64, to: u64| Duration::from_millis(rand::rng().random_range(from..to));
    let mut question_times = Vec::new();
    tokio::time::sleep(pause(0, 12_000)).await;
    while tokio::time::Instant::now() < end {
        question_times.push(jiff::Timestamp::now());
        match group {
            Some(group) => {
                telegram.send_group_message(group, user, "Tell me something long.");
            }
            None => {
                telegram.send_private_message(support.id, user, "Tell me something long.");
            }
        }
        // Reading the sent messages becomes slower during the run and would disturb the measurement, so it starts when the answer can be
        // complete.
        tokio::time::sleep(LATENCY + WORD_DELAY * u32::try_from(WORDS).unwrap()).await;
        let whole = |telegram: &Simulator| {
            let sent = telegram.sent_messages(support.id, chat);
            let last = format!("word{:03}", WORDS - 1);
            let whole = sent
                .iter()
                .filter(|m| !m.deleted && m.text.ends_with(&last));
            (whole.count() >= question_times.len()).then_some(())
        };
        let answered = telegram.wait_until(support.id, Duration::from_mins(3), whole);
        answered.await.expect("an answer within three minutes");
        tokio::time::sleep(pause(2_000, 8_000)).await;
    }
    (chat, question_times)
}

/// Prints the figures and returns the limits that were missed.
fn report(
    env: &TestEnv,
    support: &Connector,
    question_times: &HashMap<i64, Vec<jiff::Timestamp>>,
    duration: Duration,
) -> Vec<String> {
    let calls = env.telegram.calls(support.id);
    let is_visible = |call: &&ApiCall| {
        matches!(
            call.method.as_str(),
            "sendmessage" | "sendmessagedraft" | "editmessagetext"
        )
    };
    let mut by_chat: HashMap<i64, Vec<&ApiCall>> = HashMap::new();
    for call in calls.iter().filter(is_visible) {
        let chat = call.params["chat_id"]
            .as_str()
            .and_then(|id| id.parse().ok());
        by_chat.entry(chat.unwrap()).or_default().push(call);
    }
    let ms = |a: jiff::Timestamp, b: jiff::Timestamp| b.duration_since(a).as_secs_f64() * 1000.0;
    let (mut first_visible, mut busiest, mut closest) = (Vec::new(), 0, f64::INFINITY);
    for (chat, calls) in &by_chat {
        for question in &question_times[chat] {
            // The assistant sends its first word after its latency and one word delay.
            let first_word = *question + (LATENCY + WORD_DELAY);
            if let Some(shown) = calls.iter().find(|c| c.at > *question && c.status == 200) {
                let after = *question - question_times.values().flatten().min().copied().unwrap();
                first_visible.push((ms(first_word, shown.at), *chat, after));
            }
        }
        for (n, call) in calls.iter().enumerate() {
            let within = calls[n..].iter().take_while(|c| ms(call.at, c.at) < 1000.0);
            busiest = busiest.max(within.count());
        }
        let is_preview = |c: &&&ApiCall| c.method != "sendmessage";
        let previews: Vec<_> = calls.iter().filter(is_preview).collect();
        for pair in previews.windows(2) {
            closest = closest.min(ms(pair[0].at, pair[1].at));
        }
    }
    first_visible.sort_by(|a, b| a.0.total_cmp(&b.0));
    let percentile =
        |p: usize| first_visible[(first_visible.len() * p / 100).min(first_visible.len() - 1)].0;
    let (worst, worst_chat, worst_after) = *first_visible.last().unwrap();
    let late = first_visible
        .iter()
        .filter(|f| f.0 > MAX_FIRST_VISIBLE)
        .count();
    let throttled = calls.iter().filter(|c| c.status == 429).count();
    let count = |method: &str| calls.iter().filter(|c| c.method == method).count();
    println!(
        "previews: {} answers in {PRIVATE_CHATS} private chats and {GROUPS} groups in {:.0} s, assistant at {:.0} words/s for {:.0} s each",
        first_visible.len(),
        duration.as_secs_f64(),
        1.0 / WORD_DELAY.as_secs_f64(),
        WORD_DELAY.as_secs_f64() * WORDS as f64,
    );
    println!(
        "previews: first visible text p50 {:.0} ms, p99 {:.0} ms, most {worst:.0} ms after the assistant's first word (its way there included); the worst in a {}, {:.0} s from the start",
        percentile(50),
        percentile(99),
        if worst_chat < 0 {
            "group"
        } else {
            "private chat"
        },
        worst_after.total(jiff::Unit::Second).unwrap_or_default(),
    );
    println!(
        "previews: {} drafts, {} edits, {} messages; {:.1} a second in all; two previews of a chat never closer than {closest:.0} ms, at most {busiest} calls in any second of a chat, the answer itself included",
        count("sendmessagedraft"),
        count("editmessagetext"),
        count("sendmessage"),
        by_chat.values().map(Vec::len).sum::<usize>() as f64 / duration.as_secs_f64(),
    );
    println!(
        "previews: {throttled} times \"Too Many Requests\" (429) in {} calls",
        calls.len()
    );
    let mut missed = Vec::new();
    if late > 0 {
        missed.push(format!(
            "{late} answers showed later than {MAX_FIRST_VISIBLE:.0} ms after the assistant's first word"
        ));
    }
    if closest < MIN_BETWEEN_PREVIEWS {
        missed.push(format!(
            "two previews of a chat were {closest:.0} ms apart, less than {MIN_BETWEEN_PREVIEWS:.0}"
        ));
    }
    if throttled > 0 {
        missed.push(format!(
            "Telegram said \"Too Many Requests\" {throttled} times"
        ));
    }
    missed
}
