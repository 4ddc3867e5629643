//! What people see of answers while they are written, against Telegram's limits: 50 chats in talks without end, and how soon the
//! first words show, how often a chat is written to, and whether Telegram ever had to say "too many requests".
//!
//! ```text
//! cargo bench --bench previews             # 10 minutes
//! cargo bench --bench previews -- 60       # 60 seconds
//! ```
//!
//! The simulator's limits are on (30 messages a second per bot, one a second per chat with short bursts, 20 a minute per group;
//! drafts and edits count like messages). 40 of the chats are private, 10 are groups; each asks, waits for the whole answer, reads
//! it for a while and asks again. The assistant writes eight words a second for 12 seconds.
//!
//! Ends with 1 where a bar is not held: every answer's first words within 1.5 s of the assistant's, previews of a chat at least a
//! second apart, no 429.

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

const PRIVATE: i64 = 40;
const GROUPS: usize = 10;
const FIRST_USER: i64 = 2000;
const WORDS: usize = 96;
const WORD: Duration = Duration::from_millis(125);
/// Before the first word.
const THINKING: Duration = Duration::from_millis(700);

/// The bars: milliseconds from the assistant's first word to the first that shows, at most, and between two previews of a chat,
/// at least.
const FIRST_VISIBLE: f64 = 1500.0;
const BETWEEN_PREVIEWS: f64 = 1000.0;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(600);
    let time = Duration::from_secs(seconds);
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
            respond_to: RespondTo::All,
            chats: None,
        });
    });
    let word = |n: usize| format!("word{n:03}");
    env.assistant.set_behaviour(Behaviour {
        latency_ms: u64::try_from(THINKING.as_millis()).unwrap(),
        word_delay_ms: u64::try_from(WORD.as_millis()).unwrap(),
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
    let ends = tokio::time::Instant::now() + time;
    let talks = users
        .iter()
        .zip(
            (0..PRIVATE)
                .map(|_| None)
                .chain(groups.into_iter().map(Some)),
        )
        .map(|(user, group)| run_conversation(env.telegram.clone(), &support, *user, group, ends));
    let asked: HashMap<i64, Vec<jiff::Timestamp>> =
        futures::future::join_all(talks).await.into_iter().collect();
    let missed = report(&env, &support, &asked, time);
    for bar in &missed {
        println!("previews: FAIL {bar}");
    }
    u8::from(!missed.is_empty()).into()
}

/// One chat's talk; gives the chat and when each question was asked.
async fn run_conversation(
    telegram: Simulator,
    support: &Connector,
    user: i64,
    group: Option<i64>,
    ends: tokio::time::Instant,
) -> (i64, Vec<jiff::Timestamp>) {
    let chat = group.unwrap_or(user);
    let pause = |from: u64, to: u64| Duration::from_millis(rand::rng().random_range(from..to));
    let mut asked = Vec::new();
    tokio::time::sleep(pause(0, 12_000)).await;
    while tokio::time::Instant::now() < ends {
        asked.push(jiff::Timestamp::now());
        match group {
            Some(group) => {
                telegram.send_group_message(group, user, "Tell me something long.");
            }
            None => {
                telegram.send_private_message(support.id, user, "Tell me something long.");
            }
        }
        // Looking costs more the longer the run is, and would be measured with it: not before the answer can be there.
        tokio::time::sleep(THINKING + WORD * u32::try_from(WORDS).unwrap()).await;
        let whole = |telegram: &Simulator| {
            let sent = telegram.sent_messages(support.id, chat);
            let last = format!("word{:03}", WORDS - 1);
            let whole = sent
                .iter()
                .filter(|m| !m.deleted && m.text.ends_with(&last));
            (whole.count() >= asked.len()).then_some(())
        };
        let answered = telegram.wait_until(support.id, Duration::from_mins(3), whole);
        answered.await.expect("an answer within three minutes");
        tokio::time::sleep(pause(2_000, 8_000)).await;
    }
    (chat, asked)
}

/// Prints what was measured; gives the bars that were missed.
fn report(
    env: &TestEnv,
    support: &Connector,
    asked: &HashMap<i64, Vec<jiff::Timestamp>>,
    time: Duration,
) -> Vec<String> {
    let calls = env.telegram.calls(support.id);
    let shows = |call: &&ApiCall| {
        matches!(
            call.method.as_str(),
            "sendmessage" | "sendmessagedraft" | "editmessagetext"
        )
    };
    let mut by_chat: HashMap<i64, Vec<&ApiCall>> = HashMap::new();
    for call in calls.iter().filter(shows) {
        let chat = call.params["chat_id"]
            .as_str()
            .and_then(|id| id.parse().ok());
        by_chat.entry(chat.unwrap()).or_default().push(call);
    }
    let ms = |a: jiff::Timestamp, b: jiff::Timestamp| b.duration_since(a).as_secs_f64() * 1000.0;
    let (mut first_visible, mut busiest, mut closest) = (Vec::new(), 0, f64::INFINITY);
    for (chat, calls) in &by_chat {
        for question in &asked[chat] {
            // The first word leaves the assistant after it has thought, and one pause.
            let token = *question + (THINKING + WORD);
            if let Some(shown) = calls.iter().find(|c| c.at > *question && c.status == 200) {
                let after = *question - asked.values().flatten().min().copied().unwrap();
                first_visible.push((ms(token, shown.at), *chat, after));
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
    let late = first_visible.iter().filter(|f| f.0 > FIRST_VISIBLE).count();
    let refused = calls.iter().filter(|c| c.status == 429).count();
    let count = |method: &str| calls.iter().filter(|c| c.method == method).count();
    println!(
        "previews: {} answers in {PRIVATE} private chats and {GROUPS} groups in {:.0} s, assistant at {:.0} words/s for {:.0} s each",
        first_visible.len(),
        time.as_secs_f64(),
        1.0 / WORD.as_secs_f64(),
        WORD.as_secs_f64() * WORDS as f64,
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
        by_chat.values().map(Vec::len).sum::<usize>() as f64 / time.as_secs_f64(),
    );
    println!(
        "previews: {refused} times \"Too Many Requests\" (429) in {} calls",
        calls.len()
    );
    let mut missed = Vec::new();
    if late > 0 {
        missed.push(format!(
            "{late} answers showed later than {FIRST_VISIBLE:.0} ms after the assistant's first word"
        ));
    }
    if closest < BETWEEN_PREVIEWS {
        missed.push(format!(
            "two previews of a chat were {closest:.0} ms apart, less than {BETWEEN_PREVIEWS:.0}"
        ));
    }
    if refused > 0 {
        missed.push(format!(
            "Telegram said \"Too Many Requests\" {refused} times"
        ));
    }
    missed
}
