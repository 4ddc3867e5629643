//! What went wrong in the field with other bots, done to the whole program.

use std::time::Duration;

use telegram_connector_operator::dev::assistant::Behaviour;
use telegram_connector_operator::dev::telegram::{Break, Fault};

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
        .add_fault(Fault::new(Break::Hang).method("getUpdates").times(1));
    let operator = world.start();
    // The first poll asks for no wait, so it hangs after 15 s; later ones after that and the 45 s that they may wait.
    let answer = world.telegram.ask(bot, ANN, "anybody there?", SOON).await;
    assert!(answer.text.starts_with("You said: anybody there?"));
    let counted = world.telegram.counters(bot);
    assert!(counted.methods["getupdates"] > counted.polls, "{counted:?}");
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_ids_that_start_over_lower_after_an_idle_week_swallow_nothing() {
    let world = World::new(Way::Polling, 1, 1).await;
    let (telegram, bot) = (&world.telegram, world.bots[0]);
    telegram.jump_update_id(bot, 900_000_000);
    let operator = world.start();
    telegram.ask(bot, ANN, "before", SOON).await;
    // While it runs, and then before it starts again with what it has stored.
    telegram.jump_update_id(bot, 500_000_000);
    telegram.ask(bot, ANN, "lower", SOON).await;
    operator.kill();
    telegram.jump_update_id(bot, 100_000_000);
    let operator = world.start();
    telegram.say(bot, ANN, "lower still");
    // The kill may have doubled the answer before.
    let answered = telegram.wait_until(bot, SOON, |telegram| {
        let sent = telegram.sent(bot, ANN);
        let last = sent.last()?;
        last.text.starts_with("You said: lower still").then_some(())
    });
    assert!(answered.await.is_some(), "{:?}", telegram.sent(bot, ANN));
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_becomes_a_supergroup_under_way_is_followed() {
    let world = World::new(Way::Polling, 1, 1).await;
    let (telegram, bot) = (&world.telegram, world.bots[0]);
    telegram.set_privacy(bot, false);
    let group = telegram.add_group("group", "Acme", &[bot]);
    world.assistant.behave(Behaviour {
        latency_ms: 1000,
        ..Behaviour::default()
    });
    let operator = world.start();
    telegram.say_in(group, ANN, "asked in the group");
    assert!(world.assistant.wait_for_asked(0, SOON).await);
    let supergroup = telegram.migrate(group);
    let sent = telegram.wait_for_sent(bot, supergroup, 0, SOON).await;
    assert!(sent[0].text.contains("asked in the group"), "{sent:?}");
    telegram.say_in(supergroup, ANN, "asked in the supergroup");
    let sent = telegram.wait_for_sent(bot, supergroup, 1, SOON).await;
    assert!(sent[1].text.contains("asked in the supergroup"), "{sent:?}");
    assert!(telegram.sent(bot, group).is_empty());
    assert!(world.dead_letters().is_empty());
    operator.kill();
}
