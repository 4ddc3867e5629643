//! The store's volume fails while the operator runs: first it is full, then read-only, then it works again. Meanwhile no update is
//! acknowledged, everything that does not need the store goes on, and no restart is needed.
//!
//! A file size limit on the process (`prlimit`) simulates the full disk: the kernel refuses its writes. The read-only phase simulates a
//! file system that was remounted read-only after an error; the process is started without root's capability to write read-only files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use telegram_connector_operator::api::TelegramConnector;
use telegram_connector_operator::identity::BotId;

use crate::test_env::{DeliveryMode, TestEnv, connector_name};

const ANN: i64 = 1001;
const BOB: i64 = 1002;
/// A test that has to wait longer fails.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn wait_until(env: &TestEnv, what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < deadline, "timeout: {what}\n{}", env.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Status and body of a path of the admin endpoint; status 0 if it does not answer.
async fn get_admin(env: &TestEnv, path: &str) -> (u16, String) {
    let Ok(answer) = reqwest::get(format!("http://{}{path}", env.admin)).await else {
        return (0, String::new());
    };
    (
        answer.status().as_u16(),
        answer.text().await.unwrap_or_default(),
    )
}

/// Makes the volume and its files writable or read-only.
fn set_writable(volume: &Path, writable: bool) {
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    for file in std::fs::read_dir(volume).unwrap() {
        set_mode(&file.unwrap().path(), if writable { 0o600 } else { 0o400 });
    }
    set_mode(volume, if writable { 0o700 } else { 0o500 });
}

/// The number of updates that Telegram still holds for the bot, that is, of those not acknowledged.
fn pending_updates(env: &TestEnv, bot: BotId) -> usize {
    env.telegram.pending(bot)
}

async fn fail_and_heal_volume(mode: DeliveryMode) {
    let env = TestEnv::new(mode, 1, 1).await;
    let bot = env.bots[0];
    let operator = env.start();
    env.telegram
        .send_and_wait(bot, ANN, "before", TIMEOUT)
        .await;
    wait_until(&env, "ready", async || {
        get_admin(&env, "/readyz").await.0 == 200
    })
    .await;

    operator.limit_file_size(Some(0));
    let failed_before = env.telegram.counters(bot).failed_deliveries;
    env.telegram
        .send_private_message(bot, ANN, "while there is no room");
    wait_until(&env, "/readyz names the failed check", async || {
        let (status, text) = get_admin(&env, "/readyz").await;
        status == 503 && text.contains("[-] store-writable") && text.contains("connectors.db")
    })
    .await;
    assert_unacknowledged(&env, mode, failed_before).await;

    // The failed write made the operator close the file, so the next open is for reading only.
    set_writable(&env.volume(), false);
    operator.limit_file_size(None);
    wait_until(&env, "/readyz reports the read-only store", async || {
        let (status, text) = get_admin(&env, "/readyz").await;
        status == 503 && text.contains("make it and its folder writable")
    })
    .await;
    let failed_before = env.telegram.counters(bot).failed_deliveries;
    env.telegram
        .send_private_message(bot, BOB, "while it is read-only");
    assert_unacknowledged(&env, mode, failed_before).await;

    // Everything that does not need the store goes on.
    let (status, metrics) = get_admin(&env, "/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("# EOF"), "{metrics}");
    assert_eq!(get_admin(&env, "/healthz").await.0, 200);
    let api: Api<TelegramConnector> = Api::namespaced(env.plane.client(), "acme");
    let change = json!({"spec": {"displayName": "Changed"}});
    let changed = api
        .patch(
            &connector_name(0),
            &PatchParams::default(),
            &Patch::Merge(change),
        )
        .await
        .unwrap();
    wait_until(&env, "the status follows the spec", async || {
        let now = api.get(&connector_name(0)).await.unwrap();
        now.status.and_then(|s| s.observed_generation) == changed.metadata.generation
    })
    .await;

    set_writable(&env.volume(), true);
    for (user, sent_before, answer) in [
        (ANN, 1, "You said: while there is no room"),
        (BOB, 0, "You said: while it is read-only"),
    ] {
        let sent = env
            .telegram
            .wait_for_sent_messages(bot, user, sent_before, TIMEOUT)
            .await;
        assert_eq!(sent.len(), sent_before + 1, "{sent:?}");
        assert!(sent[sent_before].text.starts_with(answer), "{sent:?}");
    }
    wait_until(&env, "ready again", async || {
        get_admin(&env, "/readyz").await.0 == 200
    })
    .await;
    wait_until(&env, "all updates are acknowledged", async || {
        pending_updates(&env, bot) == 0
    })
    .await;
    operator.kill();
}

/// Waits for two more delivery attempts, and checks that Telegram still holds the updates and that nothing was answered.
async fn assert_unacknowledged(env: &TestEnv, mode: DeliveryMode, failed_before: u64) {
    let bot = env.bots[0];
    let polls = env.telegram.counters(bot).polls;
    wait_until(env, "two more delivery attempts", async || {
        let now = env.telegram.counters(bot);
        match mode {
            DeliveryMode::Polling => now.polls >= polls + 2,
            DeliveryMode::Webhook => now.failed_deliveries >= failed_before + 2,
        }
    })
    .await;
    assert!(
        pending_updates(env, bot) > 0,
        "an update was acknowledged\n{}",
        env.log()
    );
    assert_eq!(env.telegram.sent_messages(bot, ANN).len(), 1);
    assert!(env.telegram.sent_messages(bot, BOB).is_empty());
    if mode == DeliveryMode::Webhook {
        let answers = env.telegram.deliveries(bot);
        let last = answers.last().unwrap();
        assert_eq!((last.status, last.retry_after), (503, 2), "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_failure_while_polling_moves_no_offset_and_heals() {
    fail_and_heal_volume(DeliveryMode::Polling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_failure_behind_webhook_answers_503_and_heals() {
    fail_and_heal_volume(DeliveryMode::Webhook).await;
}
