//! What may be asked in a day: by one user and by all, counted once by all processes, until midnight of a time zone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use telegram_connector_operator::assistant::{AnswerPart, FailureKind, TokenUsage};
use telegram_connector_operator::calendar;
use telegram_connector_operator::clock::ManualClock;
use telegram_connector_operator::observation::UsageFact;
use telegram_connector_operator::pipeline::Pipeline;
use telegram_connector_operator::registry::DayLimits;
use telegram_connector_operator::store::{self, DayLimit, ReachedLimit, Store, StoreOptions};

use crate::intercepted_store::{Fate, InterceptedStore};
use crate::postgres::Postgres;
use crate::scripted_assistant::{ScriptedAssistant, refusal, text};
use crate::store::{retention_since, update};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, noon_zone, specific_users, wait_until};

const BOB: i64 = 1002;
/// Beyond those of the simulator.
static NEXT_UPDATE: AtomicI64 = AtomicI64::new(1 << 41);

fn limits(user: DayLimit, connector: DayLimit, zone: &str) -> DayLimits {
    DayLimits {
        user,
        connector,
        zone: calendar::time_zone(zone).unwrap(),
    }
}

fn messages(most: u64) -> DayLimit {
    DayLimit {
        messages: Some(most),
        tokens: None,
    }
}

fn tokens(most: u64) -> DayLimit {
    DayLimit {
        messages: None,
        tokens: Some(most),
    }
}

const ANY: DayLimit = DayLimit {
    messages: None,
    tokens: None,
};

/// A bot whose days a test lets pass. Each answer costs 60 tokens; "free" costs none that is known.
struct Days {
    env: TestEnv,
    clock: Arc<ManualClock>,
    assistant: ScriptedAssistant,
    support: Connector,
}

impl Days {
    /// It is 20:00 UTC of the 28th of November.
    async fn new(address: Option<&str>, limits: DayLimits) -> Self {
        let mut env = match address {
            Some(address) => TestEnv::on(address).await,
            None => TestEnv::new().await,
        };
        env.stop(TIMEOUT).await;
        let now: Timestamp = "2026-11-28T20:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::new(now));
        env.clock = clock.clone();
        env.store = open_at(&env.address, &clock).await;
        env.start();
        let assistant = ScriptedAssistant::new(|question| match question.text.as_str() {
            "free" => text("ok"),
            _ => Ok(vec![Ok(usage(60)), Ok(AnswerPart::Text("ok".into()))]),
        });
        let support = env.connector_with("support", |c| {
            c.assistant = Some(assistant.shared());
            c.access = specific_users(&[ANN, BOB]);
            c.day_limits = Some(limits);
        });
        for user in [ANN, BOB] {
            // The simulator takes messages for whoever has written to the bot.
            env.telegram.send_private_message(support.id, user, "/id");
            env.telegram
                .wait_for_sent_messages(support.id, user, 0, TIMEOUT)
                .await;
        }
        Self {
            env,
            clock,
            assistant,
            support,
        }
    }

    /// Somebody says this; what the bot says to it, if anything.
    async fn say(&self, from: i64, words: &str) -> Option<String> {
        let (telegram, id) = (&self.env.telegram, self.support.id);
        let before = telegram.sent_messages(id, from).len();
        accept(&*self.env.store, &self.support, from, words).await;
        // Told behind it, and no question.
        accept(&*self.env.store, &self.support, from, "/id").await;
        let told_id = |text: &str| text.contains(&from.to_string());
        let texts = telegram
            .wait_until(id, TIMEOUT, |telegram| {
                let sent = telegram.sent_messages(id, from).into_iter().skip(before);
                let texts: Vec<String> = sent.map(|message| message.text).collect();
                texts
                    .last()
                    .is_some_and(|last| told_id(last))
                    .then_some(texts)
            })
            .await
            .expect("the ids");
        assert!(texts.len() <= 2, "{texts:?}");
        texts.into_iter().rev().nth(1)
    }

    async fn is_answered(&self, from: i64, words: &str) -> bool {
        let answer = self.say(from, words).await;
        answer.as_deref() == Some("ok")
    }

    fn pass_hours(&self, hours: i64) {
        self.clock.advance_seconds(3600 * hours);
    }

    fn reached(&self) -> Vec<ReachedLimit> {
        let facts = self.env.observations.facts(&self.support.uid);
        facts
            .day_limits
            .map(|fact| fact.reached)
            .unwrap_or_default()
    }

    async fn stop(mut self) {
        self.env.stop(TIMEOUT).await;
    }
}

fn usage(tokens: u64) -> AnswerPart {
    AnswerPart::Usage(TokenUsage {
        input: tokens - 10,
        output: 10,
    })
}

async fn open_at(address: &str, clock: &Arc<ManualClock>) -> Arc<dyn Store> {
    let options = StoreOptions {
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    store::open_with(address, options).await.unwrap()
}

async fn accept(store: &dyn Store, to: &Connector, from: i64, words: &str) {
    let id = NEXT_UPDATE.fetch_add(1, Ordering::Relaxed);
    let update = update(id, from, 1_796_000_000, words);
    store.accept(&to.uid, to.id, vec![update]).await.unwrap();
}

async fn check_user_is_refused_until_the_next_day(address: Option<&str>) {
    let days = Days::new(address, limits(messages(2), ANY, "Europe/Rome")).await;
    assert!(days.is_answered(ANN, "one").await);
    assert!(days.say(ANN, "/help").await.is_some(), "no question");
    assert!(days.is_answered(ANN, "two").await);
    let answer = days.say(ANN, "three").await.unwrap();
    let expected =
        "You have asked all that you may ask today. It goes on at 2026-11-29 00:00 (Europe/Rome).";
    assert_eq!(answer, expected);
    assert_eq!(days.say(ANN, "four").await, None, "told once a day");
    assert!(days.say(ANN, "/help").await.is_some());
    assert!(days.is_answered(BOB, "one").await, "somebody else");
    assert_eq!(days.reached(), [ReachedLimit::UserMessages]);
    let metrics = days.env.metrics.encode();
    let counted = "limited_messages_total{limit=\"user_messages\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    // 22:59 UTC, and then midnight in Rome.
    days.clock.advance_seconds(3 * 3600 - 60);
    assert_eq!(days.say(ANN, "five").await, None);
    days.clock.advance_seconds(60);
    assert!(days.is_answered(ANN, "six").await);
    // A clock that steps back finds the day before as it was, and then this one.
    days.pass_hours(-1);
    days.say(ANN, "seven").await;
    days.pass_hours(1);
    assert!(days.is_answered(ANN, "eight").await);
    assert!(!days.is_answered(ANN, "nine").await);
    let asked: Vec<String> = days
        .assistant
        .take_questions()
        .into_iter()
        .map(|q| q.text)
        .collect();
    assert_eq!(asked, ["one", "two", "one", "six", "eight"]);
    days.stop().await;
}

#[tokio::test]
async fn user_is_refused_from_the_limit_to_the_next_day() {
    check_user_is_refused_until_the_next_day(None).await;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_user_is_refused_until_the_next_day(Some(&postgres.address())).await;
}

async fn check_answer_beyond_the_tokens_is_the_last(address: Option<&str>) {
    let days = Days::new(address, limits(tokens(100), tokens(200), "UTC")).await;
    assert!(days.is_answered(ANN, "60").await);
    assert!(days.is_answered(ANN, "120, which is delivered").await);
    let refusal = days.say(ANN, "no more").await.unwrap();
    assert!(refusal.starts_with("You have asked all"), "{refusal}");
    assert!(days.is_answered(BOB, "180").await);
    assert!(days.is_answered(BOB, "240").await);
    let refusal = days.say(BOB, "nobody any more").await.unwrap();
    assert!(refusal.starts_with("You have asked all"), "{refusal}");
    assert_eq!(days.reached(), [ReachedLimit::UserTokens]);
    days.pass_hours(24);
    assert!(days.is_answered(ANN, "a new day").await);
    days.stop().await;
}

#[tokio::test]
async fn answer_that_goes_beyond_the_tokens_is_the_last() {
    check_answer_beyond_the_tokens_is_the_last(None).await;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_answer_beyond_the_tokens_is_the_last(Some(&postgres.address())).await;
}

#[tokio::test]
async fn limit_of_all_is_told_to_each_user_once() {
    let days = Days::new(None, limits(ANY, messages(2), "UTC")).await;
    assert!(days.is_answered(ANN, "one").await);
    assert!(days.is_answered(BOB, "two").await);
    let expected =
        "This bot has answered all that it may answer today. It goes on at 2026-11-29 00:00 (UTC).";
    for user in [ANN, BOB] {
        assert_eq!(days.say(user, "three").await.as_deref(), Some(expected));
        assert_eq!(days.say(user, "four").await, None);
    }
    assert_eq!(days.reached(), [ReachedLimit::ConnectorMessages]);
    // An administrator allows more.
    days.env.update_connector(&days.support, |c| {
        c.day_limits = Some(limits(ANY, messages(3), "UTC"));
    });
    assert!(days.is_answered(ANN, "five").await);
    assert!(!days.is_answered(ANN, "six").await);
    days.stop().await;
}

#[tokio::test]
async fn zone_that_changes_begins_the_day_of_its_date() {
    let days = Days::new(None, limits(messages(1), ANY, "UTC")).await;
    let move_to = |zone: TimeZone| {
        days.env.update_connector(&days.support, |c| {
            c.day_limits.as_mut().unwrap().zone = zone;
        });
    };
    assert!(days.is_answered(ANN, "the 28th").await);
    move_to(calendar::time_zone("Asia/Tokyo").unwrap());
    assert!(days.is_answered(ANN, "the 29th in Tokyo").await);
    assert!(!days.is_answered(ANN, "used up").await);
    move_to(TimeZone::UTC);
    assert!(!days.is_answered(ANN, "the 28th was used up").await);
    days.pass_hours(5);
    assert!(!days.is_answered(ANN, "and so was the 29th").await);
    days.pass_hours(24);
    assert!(days.is_answered(ANN, "the 30th").await);
    days.stop().await;
}

#[tokio::test]
async fn question_that_is_retried_counts_once() {
    let mut env = TestEnv::new().await;
    let failures = AtomicI64::new(2);
    let assistant = ScriptedAssistant::new(move |_| {
        if failures.fetch_sub(1, Ordering::Relaxed) > 0 {
            refusal(FailureKind::Overloaded)
        } else {
            text("ok")
        }
    });
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.day_limits = Some(DayLimits {
            user: messages(2),
            connector: messages(2),
            zone: noon_zone(),
        });
    });
    assert_eq!(env.ask(&support, "one").await.text, "ok");
    assert_eq!(env.ask(&support, "two").await.text, "ok");
    let refusal = env.ask(&support, "three").await.text;
    assert!(refusal.starts_with("You have asked all"), "{refusal}");
    assert_eq!(assistant.take_questions().len(), 4, "two in vain");
}

#[tokio::test]
async fn dead_letter_that_is_retried_is_answered_beyond_the_limit() {
    let mut env = TestEnv::new().await;
    let is_down = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let down = is_down.clone();
    let assistant = ScriptedAssistant::new(move |_| {
        if down.load(Ordering::Relaxed) {
            refusal(FailureKind::Misconfigured)
        } else {
            text("ok")
        }
    });
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.day_limits = Some(DayLimits {
            user: messages(1),
            connector: ANY,
            zone: noon_zone(),
        });
    });
    env.ask(&support, "one").await;
    env.wait_until_drained().await;
    is_down.store(false, Ordering::Relaxed);
    let letters: Vec<i64> = env
        .dead_letters()
        .await
        .iter()
        .map(|letter| letter.id)
        .collect();
    env.store.retry_dead_letters(&letters).await.unwrap();
    env.store.work_notifier().notify(&support.uid);
    env.telegram
        .wait_until(support.id, TIMEOUT, |telegram| {
            let sent = telegram.sent_messages(support.id, ANN);
            sent.iter().any(|m| m.text == "ok").then_some(())
        })
        .await
        .expect("an answer");
}

#[tokio::test]
async fn assistant_without_usage_is_told_to_the_administrator() {
    let days = Days::new(None, limits(tokens(50), ANY, "UTC")).await;
    let reported = |days: &Days| days.env.observations.facts(&days.support.uid).usage;
    assert!(days.is_answered(ANN, "free").await);
    assert!(days.is_answered(ANN, "free").await, "nothing is counted");
    let fact = |is_reported| {
        Some(UsageFact {
            generation: 1,
            is_reported,
        })
    };
    assert_eq!(reported(&days), fact(false));
    assert!(days.is_answered(ANN, "60").await);
    assert_eq!(reported(&days), fact(true));
    assert!(!days.is_answered(ANN, "free").await);
    assert_eq!(reported(&days), fact(true));
    days.stop().await;
}

#[tokio::test]
async fn erased_user_begins_to_count_anew() {
    let days = Days::new(None, limits(messages(1), messages(9), "UTC")).await;
    assert!(days.is_answered(ANN, "one").await);
    assert!(!days.is_answered(ANN, "two").await);
    days.env.store.erase(ANN, None).await.unwrap();
    assert!(days.is_answered(ANN, "three").await);
    days.stop().await;
}

#[tokio::test]
async fn days_that_are_over_are_pruned() {
    let days = Days::new(None, limits(messages(1), messages(9), "UTC")).await;
    assert!(days.is_answered(ANN, "one").await);
    let rows = || {
        let path = store::sqlite_path(&days.env.address).unwrap();
        let db = rusqlite::Connection::open(path).unwrap();
        db.query_row("SELECT count(*) FROM day_usage", (), |row| {
            row.get::<_, i64>(0)
        })
        .unwrap()
    };
    let prune = async || {
        let now = telegram_connector_operator::clock::Clock::now(&*days.clock);
        let identities = now - jiff::SignedDuration::from_hours(48);
        let retention = store::Retention {
            identities,
            ..retention_since(Timestamp::UNIX_EPOCH)
        };
        days.env.store.prune(retention).await.unwrap();
        rows()
    };
    assert_eq!(prune().await, 2);
    days.pass_hours(72);
    assert_eq!(prune().await, 2, "a zone may be behind, and so may a clock");
    days.pass_hours(24);
    assert_eq!(prune().await, 0);
    days.stop().await;
}

#[tokio::test]
async fn without_limits_nothing_is_read_or_written_more() {
    let mut env = TestEnv::new().await;
    env.stop(TIMEOUT).await;
    let is_clean = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let clean = is_clean.clone();
    let store = InterceptedStore::new(env.store.clone(), move |method| {
        if ["reached_limit", "count_question"].contains(&method) {
            clean.store(false, Ordering::Relaxed);
        }
        Fate::Answered
    });
    let pipeline = env.second_process(store);
    let support = env.connector("support");
    env.ask(&support, "one").await;
    env.ask(&support, "two").await;
    assert!(is_clean.load(Ordering::Relaxed));
    pipeline.shutdown(TIMEOUT).await;
}

/// Three processes, ten users who each say six things at once, of which four may be asked, and thirty of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn limits_hold_for_three_processes_together() {
    const USERS: i64 = 10;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut env = TestEnv::on(&postgres.address()).await;
    let users: Vec<i64> = (0..USERS).map(|n| 2_000 + n).collect();
    let assistant = ScriptedAssistant::new(|_| text("ok"));
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.access = specific_users(&users);
        c.day_limits = Some(DayLimits {
            user: messages(4),
            connector: messages(30),
            zone: noon_zone(),
        });
    });
    for user in &users {
        env.telegram.send_private_message(support.id, *user, "/id");
    }
    for user in &users {
        env.telegram
            .wait_for_sent_messages(support.id, *user, 0, TIMEOUT)
            .await;
    }
    let mut stores = vec![env.store.clone()];
    let mut processes: Vec<Pipeline> = Vec::new();
    for _ in 0..2 {
        let store = store::open(&env.address).await.unwrap();
        processes.push(env.second_process(store.clone()));
        stores.push(store);
    }
    let say = |n: usize| {
        let store = stores[n % 3].clone();
        let (support, users) = (&support, &users);
        async move {
            for user in users {
                accept(&*store, support, *user, &format!("question {n}")).await;
            }
        }
    };
    futures::future::join_all((0..6).map(say)).await;
    wait_until("all is handled", async || env.waiting_messages().await == 0).await;
    let asked = assistant.take_questions();
    assert_eq!(asked.len(), 30);
    for user in &users {
        let of_user = asked.iter().filter(|q| q.sender.id == *user).count();
        assert!(of_user <= 4, "{user}: {of_user}");
        let sent = || env.telegram.sent_messages(support.id, *user);
        let is_told = async || sent().iter().any(|m| m.text.contains("It goes on at"));
        wait_until("the user is told", is_told).await;
        let sent = sent();
        let notices = sent.iter().filter(|m| m.text.contains("It goes on at"));
        assert_eq!(notices.count(), 1, "{user}: {sent:?}");
    }
    for process in processes {
        process.shutdown(TIMEOUT).await;
    }
}
