//! Entries of lists that end while the operator runs: whoever handles the next message looks at the time, and no reconcile is needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use telegram_connector_operator::clock::ManualClock;
use telegram_connector_operator::pipeline::{Pipeline, PipelineContext};
use telegram_connector_operator::registry::AccessEnds;

use crate::test_env::{ANN, TIMEOUT, TestEnv, open, specific_users};

#[tokio::test]
async fn entry_that_ended_admits_nobody_without_a_reconcile() {
    let mut env = TestEnv::new().await;
    env.stop(Duration::from_secs(5)).await;
    env.store = open(&env.address).await;
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let context = PipelineContext {
        clock: clock.clone(),
        ..env.pipeline_context(env.store.clone())
    };
    let pipeline = Pipeline::start(context);
    let support = env.connector_with("support", |connector| {
        let end = Timestamp::now() + SignedDuration::from_mins(10);
        connector.access = specific_users(&[ANN]);
        connector.access.ends = Arc::new(AccessEnds {
            ids: HashMap::from([(ANN, end)]),
            usernames: HashMap::new(),
        });
    });
    env.telegram.send_private_message(support.id, ANN, "hello");
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    let questions = env.assistant.requests().len();
    assert_eq!(questions, 1, "she may write");

    clock.advance_seconds(601);
    env.telegram
        .send_private_message(support.id, ANN, "hello again");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    assert!(sent[1].text.contains(&ANN.to_string()), "denied: {sent:?}");
    assert_eq!(env.assistant.requests().len(), questions, "it is not asked");
    pipeline.shutdown(Duration::from_secs(5)).await;
}
