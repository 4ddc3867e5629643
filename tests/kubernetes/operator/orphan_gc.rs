//! The stored data of deleted connectors: sessions end with their connector, even if it is deleted while no operator runs, but the store
//! of another cluster is left alone.

use std::time::Duration;

use telegram_connector_operator::operator::Operator;
use telegram_connector_operator::store::ListingQuery;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        store_without_known_connectors_keeps_their_sessions
    );
    add!(
        suite,
        [Core],
        sessions_end_for_connectors_deleted_while_down
    );
}

/// The names of the connectors that have sessions in the store, oldest session first.
async fn connectors_with_sessions(operator: &Operator) -> Vec<String> {
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let sessions = operator.store().sessions(&listing).await;
    let rows = sessions.expect("the sessions").rows;
    rows.into_iter().map(|s| s.name).collect()
}

async fn sessions_end_for_connectors_deleted_while_down(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let options = || OperatorOptions {
        recheck_interval: Duration::from_millis(300),
        ..OperatorOptions::polling()
    };
    let operator = env.start_operator(options()).await;
    for name in ["watched", "unwatched", "stays"] {
        let (bot, _) = env.create_working_connector(name).await;
        env.wait_until_ready(name).await;
        env.telegram
            .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
            .await;
    }
    assert_eq!(
        connectors_with_sessions(&operator).await,
        ["watched", "unwatched", "stays"]
    );
    env.delete_connector("watched").await;
    env.cluster
        .eventually("the sessions of the watched deletion end", || async {
            (connectors_with_sessions(&operator).await == ["unwatched", "stays"]).then_some(())
        })
        .await;
    operator.shutdown().await;
    env.delete_connector("unwatched").await;
    env.wait_until_gone("unwatched").await;
    let operator = env.start_operator(options()).await;
    env.cluster
        .eventually("the sessions of the unwatched deletion end", || async {
            (connectors_with_sessions(&operator).await == ["stays"]).then_some(())
        })
        .await;
    operator.shutdown().await;
}

async fn store_without_known_connectors_keeps_their_sessions(cluster: Cluster) {
    const RECHECK_INTERVAL: Duration = Duration::from_millis(200);
    let env = TestEnv::new(cluster).await;
    let options = || OperatorOptions {
        recheck_interval: RECHECK_INTERVAL,
        ..OperatorOptions::polling()
    };
    let operator = env.start_operator(options()).await;
    let (bot, _) = env.create_working_connector("here").await;
    env.wait_until_ready("here").await;
    let send_and_wait = |bot, text| {
        env.telegram
            .send_and_wait(bot, 1001, text, Duration::from_secs(20))
    };
    send_and_wait(bot, "hello").await;
    operator.shutdown().await;
    // Simulate the store of another cluster: none of its connectors exists here, and this cluster has others, which receive messages.
    env.delete_connector("here").await;
    env.wait_until_gone("here").await;
    let (bot, _) = env.create_working_connector("elsewhere").await;
    let operator = env.start_operator(options()).await;
    env.wait_until_ready("elsewhere").await;
    send_and_wait(bot, "hello").await;
    // The orphan GC deletes the data of a connector that two checks in a row have missed; ten checks pass.
    tokio::time::sleep(10 * RECHECK_INTERVAL).await;
    assert_eq!(
        connectors_with_sessions(&operator).await,
        ["here", "elsewhere"]
    );
    operator.shutdown().await;
}
