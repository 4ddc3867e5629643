//! What went wrong in the field with other bots, done to the whole program; and where the rest of it is tested.
//!
//! | reported by users of other bots | the test that would fail if it were so here |
//! |---|---|
//! | 200 before the update is durable | `killed_again_and_again_behind_a_webhook_it_loses_nothing_and_keeps_the_order`, `a_volume_that_fails_behind_a_webhook_is_answered_503_and_heals_without_a_restart` |
//! | the offset saved before the updates are | `killed_again_and_again_while_polling_it_loses_nothing_and_keeps_the_order` |
//! | the offset advanced in memory after its write failed | `a_volume_that_fails_while_polling_moves_no_offset_and_heals_without_a_restart`, `a_full_disk_acknowledges_nothing_and_intake_goes_on_when_there_is_room` |
//! | a runner that confirms a batch early and loses up to 100 updates on a kill | `killed_again_and_again_while_polling_it_loses_nothing_and_keeps_the_order`, `a_crash_in_the_middle_of_the_work_loses_nothing` |
//! | one stuck handler that stops the whole bot | `a_connector_whose_assistant_hangs_in_every_chat_holds_up_no_other`, `messages_of_a_chat_are_answered_in_order_and_chats_do_not_wait_for_each_other` |
//! | a poison update redelivered for ever | `an_empty_answer_is_said_politely_and_is_not_repeated_for_ever`, `updates_that_make_no_sense_are_done_with_and_block_nothing`, `requests_not_from_telegram_are_rejected` |
//! | a dead claim that blocks all later messages | `a_living_process_keeps_its_claims_and_a_dead_ones_are_taken_over`, `a_dead_replicas_lanes_are_taken_over_when_its_lease_ends` |
//! | a poller that hangs for hours without noticing | `a_poll_that_hangs_is_noticed_and_replaced` |
//! | "connected" shown after a 409 | `conflict_and_throttling_are_reported_and_recover` |
//! | a poller that deletes a webhook that is not its own | `foreign_webhook_is_named_in_an_event_and_removed`, `returning_webhook_in_polling_mode_is_contested_until_recheck` |
//! | a rate limiter before authentication that throttled Telegram itself | `forged_requests_are_rejected_before_their_body_arrives`; measured by `benches/flood.rs` |
//! | blanket retries of sendMessage that post twice | `a_send_whose_answer_was_lost_is_made_once_more`, `a_send_that_did_not_get_through_is_never_doubled` |
//! | broken IPv6 egress | `an_ipv6_address_where_nothing_answers_costs_next_to_nothing` |
//! | tokens in error messages | `no_error_holds_the_token_however_it_comes`, `no_secret_leaks_during_a_full_run` |
//! | a Secret reference resolved on one code path and not on another | `token_reasons_follow_the_secret`, `missing_api_key_is_reported_and_found`, `missing_transcription_key_blocks_only_voice_and_is_reported`, `connector_deleted_while_down_is_disconnected_at_startup` |
//! | two pods of one Deployment polling the same bot during a rolling update | `stopped_leader_is_replaced_at_once_and_never_doubled`, `rolling_update_loses_no_webhook_and_follower_writes_nothing` |

use std::path::Path;
use std::time::Duration;

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind};

use crate::world::{Way, World};

const ANN: i64 = 1001;
/// A test that waits so long has failed.
const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_hangs_is_noticed_and_replaced() {
    let world = World::new(Way::Polling, 1, 1).await;
    let bot = world.bots[0];
    world
        .telegram
        .add_fault(Fault::new(FaultKind::Hang).method("getUpdates").times(1));
    let operator = world.start();
    // The first poll asks for no wait, so it hangs after 15 s; later ones after that and the 45 s that they may wait.
    let answer = world
        .telegram
        .send_and_wait(bot, ANN, "anybody there?", SOON)
        .await;
    assert!(answer.text.starts_with("You said: anybody there?"));
    let counted = world.telegram.counters(bot);
    assert!(counted.methods["getupdates"] > counted.polls, "{counted:?}");
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_ids_that_start_over_lower_after_an_idle_week_swallow_nothing() {
    let world = World::new(Way::Polling, 1, 1).await;
    let (telegram, bot) = (&world.telegram, world.bots[0]);
    telegram.set_next_update_id(bot, 900_000_000);
    let operator = world.start();
    telegram.send_and_wait(bot, ANN, "before", SOON).await;
    // While it runs, and then before it starts again with what it has stored.
    telegram.set_next_update_id(bot, 500_000_000);
    telegram.send_and_wait(bot, ANN, "lower", SOON).await;
    operator.kill();
    telegram.set_next_update_id(bot, 100_000_000);
    let operator = world.start();
    telegram.send_private_message(bot, ANN, "lower still");
    // The kill may have doubled the answer before.
    let answered = telegram.wait_until(bot, SOON, |telegram| {
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
async fn a_group_that_becomes_a_supergroup_under_way_is_followed() {
    let world = World::new(Way::Polling, 1, 1).await;
    let (telegram, bot) = (&world.telegram, world.bots[0]);
    telegram.set_privacy(bot, false);
    let group = telegram.add_group("group", "Acme", &[bot.0]);
    world.assistant.set_behaviour(Behaviour {
        latency_ms: 1000,
        ..Behaviour::default()
    });
    let operator = world.start();
    telegram.send_group_message(group, ANN, "asked in the group");
    assert!(world.assistant.wait_for_requests(0, SOON).await);
    let supergroup = telegram.migrate(group);
    let sent = telegram
        .wait_for_sent_messages(bot, supergroup, 0, SOON)
        .await;
    assert!(sent[0].text.contains("asked in the group"), "{sent:?}");
    telegram.send_group_message(supergroup, ANN, "asked in the supergroup");
    let sent = telegram
        .wait_for_sent_messages(bot, supergroup, 1, SOON)
        .await;
    assert!(sent[1].text.contains("asked in the supergroup"), "{sent:?}");
    assert!(telegram.sent_messages(bot, group).is_empty());
    assert!(world.dead_letters().is_empty());
    operator.kill();
}

/// All Rust below a folder, as one text.
fn source(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut text = String::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            text += &source(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text += &std::fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = source(&root.join("src")) + &source(&root.join("tests"));
    let table: Vec<_> = include_str!("field.rs")
        .lines()
        .filter_map(|line| {
            line.strip_prefix("//! | ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .skip(1)
        .collect();
    assert_eq!(table.len(), 16, "TELEGRAM.md has so many lines");
    for (reported, tests) in table {
        let named = tests.split('`').skip(1).step_by(2);
        let named: Vec<_> = named.filter(|name| !name.contains('/')).collect();
        assert!(!named.is_empty(), "nothing tests: {reported}");
        for name in named {
            let there = source.contains(&format!("fn {name}("));
            assert!(there, "there is no test {name}: {reported}");
        }
    }
}
