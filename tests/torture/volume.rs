//! The volume fails under the running program: no room, then read-only, then well again. Nothing is acknowledged meanwhile, everything
//! that does not need the store goes on, and nobody has to restart anything.
//!
//! No room is a file size limit on the process (`prlimit`): the kernel refuses its writes, as it does on a full disk. Read-only is what a
//! file system does after an error: a write fails, and from then on everything is read-only (the process has no right to override
//! that, although tests may run as root).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use telegram_connector_operator::api::TelegramConnector;
use telegram_connector_operator::identity::BotId;

use crate::world::{Way, World, connector};

const ANN: i64 = 1001;
const BOB: i64 = 1002;
/// A test that waits so long has failed.
const SOON: Duration = Duration::from_mins(1);

async fn until(world: &World, what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}\n{}", world.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Status and body of the admin endpoint.
async fn admin(world: &World, path: &str) -> (u16, String) {
    let Ok(answer) = reqwest::get(format!("http://{}{path}", world.admin)).await else {
        return (0, String::new());
    };
    (
        answer.status().as_u16(),
        answer.text().await.unwrap_or_default(),
    )
}

fn writable(volume: &Path, writable: bool) {
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    for file in std::fs::read_dir(volume).unwrap() {
        set(&file.unwrap().path(), if writable { 0o600 } else { 0o400 });
    }
    set(volume, if writable { 0o700 } else { 0o500 });
}

/// What Telegram still holds for the bot; an update that it holds was not acknowledged.
fn held(world: &World, bot: BotId) -> usize {
    world.telegram.pending(bot)
}

async fn fails_and_heals(way: Way) {
    let world = World::new(way, 1, 1).await;
    let bot = world.bots[0];
    let operator = world.start();
    world.telegram.send_and_wait(bot, ANN, "before", SOON).await;
    until(&world, "ready", async || {
        admin(&world, "/readyz").await.0 == 200
    })
    .await;

    operator.limit_files(Some(0));
    let refused = world.telegram.counters(bot).failed_deliveries;
    world
        .telegram
        .send_private_message(bot, ANN, "while there is no room");
    until(&world, "/readyz says why", async || {
        let (status, why) = admin(&world, "/readyz").await;
        status == 503 && why.contains("[-] store-writable") && why.contains("connectors.db")
    })
    .await;
    stays_unacknowledged(&world, way, refused).await;

    // The error has closed the file; from now on it can be opened for reading only.
    writable(&world.volume(), false);
    operator.limit_files(None);
    until(&world, "/readyz says that it is read-only", async || {
        let (status, why) = admin(&world, "/readyz").await;
        status == 503 && why.contains("make it and its folder writable")
    })
    .await;
    let refused = world.telegram.counters(bot).failed_deliveries;
    world
        .telegram
        .send_private_message(bot, BOB, "while it is read-only");
    stays_unacknowledged(&world, way, refused).await;

    // What does not need the store goes on.
    let (status, metrics) = admin(&world, "/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("# EOF"), "{metrics}");
    assert_eq!(admin(&world, "/healthz").await.0, 200);
    let api: Api<TelegramConnector> = Api::namespaced(world.plane.client(), "acme");
    let change = json!({"spec": {"displayName": "Changed"}});
    let changed = api
        .patch(
            &connector(0),
            &PatchParams::default(),
            &Patch::Merge(change),
        )
        .await
        .unwrap();
    until(&world, "the status follows the spec", async || {
        let now = api.get(&connector(0)).await.unwrap();
        now.status.and_then(|s| s.observed_generation) == changed.metadata.generation
    })
    .await;

    writable(&world.volume(), true);
    for (from, already, said) in [
        (ANN, 1, "You said: while there is no room"),
        (BOB, 0, "You said: while it is read-only"),
    ] {
        let sent = world
            .telegram
            .wait_for_sent_messages(bot, from, already, SOON)
            .await;
        assert_eq!(sent.len(), already + 1, "{sent:?}");
        assert!(sent[already].text.starts_with(said), "{sent:?}");
    }
    until(&world, "ready again", async || {
        admin(&world, "/readyz").await.0 == 200
    })
    .await;
    until(&world, "all is acknowledged", async || {
        held(&world, bot) == 0
    })
    .await;
    operator.kill();
}

/// The operator has tried at least twice more, and Telegram still has every update.
async fn stays_unacknowledged(world: &World, way: Way, refused: u64) {
    let bot = world.bots[0];
    let polls = world.telegram.counters(bot).polls;
    until(world, "it was tried again", async || {
        let now = world.telegram.counters(bot);
        match way {
            Way::Polling => now.polls >= polls + 2,
            Way::Webhook => now.failed_deliveries >= refused + 2,
        }
    })
    .await;
    assert!(held(world, bot) > 0, "it was acknowledged\n{}", world.log());
    assert_eq!(world.telegram.sent_messages(bot, ANN).len(), 1);
    assert!(world.telegram.sent_messages(bot, BOB).is_empty());
    if way == Way::Webhook {
        let answers = world.telegram.deliveries(bot);
        let last = answers.last().unwrap();
        assert_eq!((last.status, last.retry_after), (503, 2), "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_fails_while_polling_moves_no_offset_and_heals_without_a_restart() {
    fails_and_heals(Way::Polling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_fails_behind_a_webhook_is_answered_503_and_heals_without_a_restart() {
    fails_and_heals(Way::Webhook).await;
}
