//! Failures that users of other bots reported (TELEGRAM.md): the tests that need the whole program, and a table of the tests that
//! cover each failure. A test checks that every test in the table exists.
//!
//! | reported by users of other bots | tests that would fail if the operator did it |
//! |---|---|
//! | 200 before the update is durable | `killed_behind_webhook_loses_nothing_and_keeps_order`, `volume_failure_behind_webhook_answers_503_and_heals` |
//! | the offset saved before the updates are | `killed_while_polling_loses_nothing_and_keeps_order` |
//! | the offset advanced in memory after its write failed | `volume_failure_while_polling_moves_no_offset_and_heals`, `full_disk_acknowledges_nothing_and_recovers` |
//! | a runner that confirms a batch early and loses up to 100 updates on a kill | `killed_while_polling_loses_nothing_and_keeps_order`, `crash_loses_no_message` |
//! | one stuck handler that stops the whole bot | `hanging_assistant_does_not_delay_other_connectors`, `messages_are_ordered_per_chat_and_chats_are_independent` |
//! | a poison update redelivered for ever | `empty_answer_gets_a_reply_and_is_not_retried`, `invalid_updates_block_nothing`, `requests_not_from_telegram_are_rejected` |
//! | a dead claim that blocks all later messages | `claims_of_dead_process_are_taken_over`, `lanes_of_a_dead_replica_are_claimed_after_its_lease` |
//! | a poller that hangs for hours without noticing | `hanging_poll_is_detected_and_replaced` |
//! | "connected" shown after a 409 | `conflict_and_throttling_are_reported_and_recover` |
//! | a poller that deletes a webhook that is not its own | `foreign_webhook_is_named_in_an_event_and_removed`, `returning_webhook_in_polling_mode_is_contested_until_recheck` |
//! | a rate limiter before authentication that throttled Telegram itself | `forged_requests_are_rejected_before_their_body_arrives`; measured by `benches/flood.rs` |
//! | blanket retries of sendMessage that post twice | `send_with_a_lost_response_is_repeated_once`, `failed_send_is_never_duplicated` |
//! | broken IPv6 egress | `silent_ipv6_address_hardly_delays_startup` |
//! | tokens in error messages | `no_error_contains_the_token`, `no_secret_leaks_during_a_full_run` |
//! | a Secret reference resolved on one code path and not on another | `token_reasons_follow_the_secret`, `missing_api_key_is_reported_and_found`, `missing_transcription_key_blocks_only_voice_and_is_reported`, `connector_deleted_while_down_is_disconnected_at_startup` |
//! | two pods of one Deployment polling the same bot during a rolling update | `stopped_leader_is_replaced_at_once_and_never_doubled`, `rolling_update_loses_no_webhook_and_follower_writes_nothing` |

use std::path::Path;
use std::time::Duration;

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind};

use crate::test_env::{DeliveryMode, TestEnv};

const ANN: i64 = 1001;
/// A test that has to wait longer fails.
const TIMEOUT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_poll_is_detected_and_replaced() {
    let env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let bot = env.bots[0];
    env.telegram
        .add_fault(Fault::new(FaultKind::Hang).method("getUpdates").times(1));
    let operator = env.start();
    // The first poll has no long-poll timeout, so it counts as hanging after 15 s; later polls have 45 s more.
    let answer = env
        .telegram
        .send_and_wait(bot, ANN, "anybody there?", TIMEOUT)
        .await;
    assert!(answer.text.starts_with("You said: anybody there?"));
    let counters = env.telegram.counters(bot);
    assert!(
        counters.methods["getupdates"] > counters.polls,
        "{counters:?}"
    );
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_ids_restarting_lower_lose_no_message() {
    let env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let (telegram, bot) = (&env.telegram, env.bots[0]);
    telegram.set_next_update_id(bot, 900_000_000);
    let operator = env.start();
    telegram.send_and_wait(bot, ANN, "before", TIMEOUT).await;
    // First while the operator runs, then before it restarts with the stored offset.
    telegram.set_next_update_id(bot, 500_000_000);
    telegram.send_and_wait(bot, ANN, "lower", TIMEOUT).await;
    operator.kill();
    telegram.set_next_update_id(bot, 100_000_000);
    let operator = env.start();
    telegram.send_private_message(bot, ANN, "lower still");
    // The kill may have doubled the previous answer, so only the last message is compared.
    let answered = telegram.wait_until(bot, TIMEOUT, |telegram| {
        let sent = telegram.sent_messages(bot, ANN);
        let last = sent.last()?;
        last.text.starts_with("You said: lower still").then_some(())
    });
    assert!(
        answered.await.is_some(),
        "{:?}",
        telegram.sent_messages(bot, ANN)
    );
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_migration_during_an_answer_is_followed() {
    let env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let (telegram, bot) = (&env.telegram, env.bots[0]);
    telegram.set_privacy(bot, false);
    let group = telegram.add_group("group", "Acme", &[bot.0]);
    env.assistant.set_behaviour(Behaviour {
        latency_ms: 1000,
        ..Behaviour::default()
    });
    let operator = env.start();
    telegram.send_group_message(group, ANN, "asked in the group");
    assert!(env.assistant.wait_for_requests(0, TIMEOUT).await);
    let supergroup = telegram.migrate(group);
    let sent = telegram
        .wait_for_sent_messages(bot, supergroup, 0, TIMEOUT)
        .await;
    assert!(sent[0].text.contains("asked in the group"), "{sent:?}");
    telegram.send_group_message(supergroup, ANN, "asked in the supergroup");
    let sent = telegram
        .wait_for_sent_messages(bot, supergroup, 1, TIMEOUT)
        .await;
    assert!(sent[1].text.contains("asked in the supergroup"), "{sent:?}");
    assert!(telegram.sent_messages(bot, group).is_empty());
    assert!(env.dead_letters().is_empty());
    operator.kill();
}

/// The concatenated Rust sources below a folder.
fn rust_sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut text = String::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            text += &rust_sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text += &std::fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_named_in_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = rust_sources(&root.join("src")) + &rust_sources(&root.join("tests"));
    let table: Vec<_> = include_str!("field.rs")
        .lines()
        .filter_map(|line| {
            line.strip_prefix("//! | ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .skip(1)
        .collect();
    assert_eq!(table.len(), 16, "TELEGRAM.md lists 16 failures");
    for (reported, tests) in table {
        let named = tests.split('`').skip(1).step_by(2);
        let named: Vec<_> = named.filter(|name| !name.contains('/')).collect();
        assert!(!named.is_empty(), "no test covers: {reported}");
        for name in named {
            let exists = sources.contains(&format!("fn {name}("));
            assert!(exists, "there is no test {name}: {reported}");
        }
    }
}
