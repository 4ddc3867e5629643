//! Limits of a day in the status: reached, over, without effect; and how often that is written.

use std::time::Duration;

use embedded_control_plane::Verb;
use serde_json::{Value, json};

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], reached_limit_of_the_day_is_reported);
    add!(suite, [Core], limit_that_counts_nothing_is_reported);
    add!(
        suite,
        [Core, Embedded],
        refused_questions_write_the_status_once
    );
}

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// A time zone in which it is about noon: no day ends during a test.
fn noon_zone() -> String {
    let hour = jiff::Timestamp::now().as_second().div_euclid(3600) % 24;
    // Of these names the sign is the other way round.
    match 12 - hour {
        0 => "Etc/GMT".to_owned(),
        east @ 1.. => format!("Etc/GMT-{east}"),
        west => format!("Etc/GMT+{}", -west),
    }
}

fn limits() -> Value {
    json!({"limits": {"messagesPerDay": 1, "timeZone": noon_zone()}})
}

async fn reached_limit_of_the_day_is_reported(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, _) = env.create_connector_with_bot("a", limits()).await;
    env.wait_until_ready("a").await;
    env.wait_for_condition("a", "WithinLimits", "True", "NotReached")
        .await;
    env.telegram
        .send_and_wait(bot, 1001, "one", REPLY_TIMEOUT)
        .await;
    let refusal = env
        .telegram
        .send_and_wait(bot, 1001, "two", REPLY_TIMEOUT)
        .await;
    assert!(refusal.text.contains("today"), "{}", refusal.text);
    let message = env
        .wait_for_condition("a", "WithinLimits", "False", "DayLimitReached")
        .await
        .message;
    assert!(message.contains("limits.messagesPerDay"), "{message}");
    assert!(!message.contains("1001"), "nobody is named: {message}");
    env.wait_until_ready("a").await;
    let note = env
        .cluster
        .eventually("the event", || async {
            env.event_notes("a", "DayLimitReached").await.pop()
        })
        .await;
    assert!(note.contains("limits.messagesPerDay"), "{note}");
    let more = json!({"spec": {"limits": {"messagesPerDay": 2}}});
    env.patch_connector("a", more).await;
    env.wait_for_condition("a", "WithinLimits", "True", "NotReached")
        .await;
    operator.shutdown().await;
}

async fn limit_that_counts_nothing_is_reported(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let assistant = json!({
        "protocol": "OpenAI", "url": env.assistant.url(), "model": "sample", "openAI": {"omit": ["stream_options"]},
    });
    let limits = json!({"tokensPerDay": 1000, "timeZone": "Europe/Rmoe"});
    let spec = json!({"assistant": assistant, "limits": limits});
    let (bot, _) = env.create_connector_with_bot("a", spec).await;
    env.wait_until_ready("a").await;
    env.wait_for_condition("a", "WithinLimits", "False", "TimeZoneUnknown")
        .await;
    let zone = json!({"spec": {"limits": {"timeZone": "Europe/Rome"}}});
    env.patch_connector("a", zone).await;
    env.wait_for_condition("a", "WithinLimits", "True", "NotReached")
        .await;
    env.telegram
        .send_and_wait(bot, 1001, "one", REPLY_TIMEOUT)
        .await;
    env.wait_for_condition("a", "WithinLimits", "False", "UsageNotReported")
        .await;
    operator.shutdown().await;
}

async fn refused_questions_write_the_status_once(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, _) = env.create_connector_with_bot("a", limits()).await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(bot, 1001, "one", REPLY_TIMEOUT)
        .await;
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    let requests = env.cluster.control_plane().request_log();
    requests.clear();
    for user in 1002..1006 {
        for words in ["two", "three"] {
            let telegram = &env.telegram;
            let answer = telegram
                .send_and_wait(bot, user, words, REPLY_TIMEOUT)
                .await;
            assert_eq!(answer.text.contains("today"), words == "three");
        }
    }
    env.wait_for_condition("a", "WithinLimits", "False", "DayLimitReached")
        .await;
    let writes = requests.count(Verb::Patch, "telegramconnectors.connectors.pupau.ai");
    assert_eq!(writes, 1, "{:?}", requests.counts());
    operator.shutdown().await;
}
