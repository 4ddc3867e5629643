//! Three replicas on `PostgreSQL` share the polling: the loss of one stops its bots for seconds and disturbs no other, a rolling update makes no
//! conflict, and the leader reports what the pollers of other replicas see.
//!
//! `TAKEOVER_KILLS=20 cargo test --test kubernetes bots_of_a_killed -- --nocapture` is the long run that prints the takeover times.

mod fleet;

use std::time::{Duration, Instant};

use serde_json::json;

use self::fleet::{BOTS, Fleet, MAX_TAKEOVER, REPLICAS, name_of};
use super::load_generator::LoadGenerator;
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        bots_of_a_killed_replica_are_polled_elsewhere_within_5_s
    );
    add!(
        suite,
        [Core],
        rolling_update_makes_no_conflict_and_loses_nothing
    );
    add!(
        suite,
        [Core],
        leader_reports_what_other_replicas_pollers_see
    );
    add!(
        suite,
        [Core],
        outage_of_the_database_stops_polls_and_moves_no_shard
    );
    add!(
        suite,
        [Core],
        replica_ends_in_time_though_the_database_never_answers
    );
    add!(suite, [Core], event_is_written_by_the_replica_that_noticed);
    add!(
        suite,
        [Core],
        bot_of_a_new_token_is_polled_by_the_holder_of_its_shard
    );
    add!(suite, [Core], idle_fleet_writes_one_heartbeat_per_second);
}

async fn bots_of_a_killed_replica_are_polled_elsewhere_within_5_s(cluster: Cluster) {
    let kills = std::env::var("TAKEOVER_KILLS").map_or(1, |n| n.parse().expect("a number"));
    let Some(mut fleet) = Fleet::start(cluster).await else {
        return;
    };
    let count = std::env::var("TAKEOVER_BOTS").map_or(BOTS, |n| n.parse().expect("a number"));
    let bots = fleet.create_bots(count).await;
    let mut takeovers = Vec::new();
    for _ in 0..kills {
        let polled = fleet.metrics("pollers").await;
        assert_eq!(polled.iter().sum::<u64>(), count as u64, "{polled:?}");
        assert!(polled.iter().all(|n| *n > 0), "spread over all: {polled:?}");
        let before: Vec<_> = bots.iter().map(|bot| fleet.disturbances(*bot)).collect();
        let killed_at = Instant::now();
        fleet.replicas.remove(0).kill();
        // The kernel closes its connections.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (kept, lost): (Vec<_>, Vec<_>) = (0..count).partition(|n| fleet.is_polled(bots[*n]));
        assert_eq!(lost.len() as u64, polled[0], "{polled:?}");
        let mut missing = lost;
        while !missing.is_empty() {
            let took = killed_at.elapsed();
            let was = missing.len();
            missing.retain(|n| !fleet.is_polled(bots[*n]));
            takeovers.extend(vec![took; was - missing.len()]);
            assert!(took < MAX_TAKEOVER, "{} bots are not polled", missing.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for n in kept {
            assert_eq!(
                fleet.disturbances(bots[n]),
                before[n],
                "a bot of another replica"
            );
        }
        fleet.add_replica().await;
        fleet.wait_until_shared().await;
        fleet.wait_until_polled(&bots).await;
    }
    fleet.assert_no_conflicts(&bots);
    takeovers.sort_unstable();
    let at = |share: f64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let n = ((takeovers.len() as f64 * share).ceil() as usize).clamp(1, takeovers.len());
        takeovers[n - 1].as_secs_f64()
    };
    eprintln!(
        "{kills} times one of {REPLICAS} replicas was killed, and one of {count} bots taken over {} times: median {:.2} s, p99 {:.2} s, at most {:.2} s; no other bot disturbed, no conflict",
        takeovers.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn rolling_update_makes_no_conflict_and_loses_nothing(cluster: Cluster) {
    let Some(mut fleet) = Fleet::start(cluster).await else {
        return;
    };
    let bots = fleet.create_bots(6).await;
    let load = LoadGenerator::start(
        &fleet.env.telegram,
        &bots,
        10_000,
        Duration::from_millis(40),
    );
    for n in 0..REPLICAS {
        fleet.add_replica().await;
        // The first is replaced before its successor has its share, the others after.
        if n > 0 {
            fleet.wait_until_shared().await;
        }
        let mut old = fleet.replicas.remove(0);
        old.terminate();
        let ended = tokio::time::timeout(Duration::from_secs(25), old.ended()).await;
        assert!(
            ended.is_ok(),
            "it does not end after SIGTERM: {}",
            old.log()
        );
    }
    fleet.wait_until_shared().await;
    let answers = load.all_answered(Duration::from_mins(1)).await;
    fleet.assert_no_conflicts(&bots);
    let slowest = super::load_generator::slowest(&answers);
    eprintln!(
        "{} messages during a rolling update of {REPLICAS} replicas: none lost, no conflict, the slowest answered after {:.2} s",
        answers.len(),
        slowest.as_secs_f64()
    );
}

async fn leader_reports_what_other_replicas_pollers_see(cluster: Cluster) {
    const COUNT: usize = 9;
    let Some(fleet) = Fleet::start(cluster).await else {
        return;
    };
    let bots = fleet.create_bots(COUNT).await;
    let leader = fleet.leader().await;
    let polled = fleet.metrics("pollers").await;
    assert!(
        polled[leader] < COUNT as u64,
        "others poll too: {polled:?}, {leader} leads"
    );
    for (n, bot) in bots.iter().enumerate() {
        let name = name_of(n);
        fleet
            .env
            .wait_for_condition(&name, "Connected", "True", "Polling")
            .await;
        fleet
            .env
            .telegram
            .send_and_wait(*bot, 4001, "hello", MAX_TAKEOVER)
            .await;
    }
    for n in 0..COUNT {
        fleet
            .env
            .wait_for_condition(&name_of(n), "AssistantReady", "True", "ExchangesSucceed")
            .await;
    }
    // What happens at the poller reaches the status: the tokens are revoked.
    for bot in &bots {
        fleet.env.telegram.revoke(*bot);
    }
    // The long polls of before go on until an update ends them.
    for (n, bot) in bots.iter().enumerate() {
        fleet
            .env
            .telegram
            .send_private_message(*bot, 4002, "are you there?");
        let message = fleet
            .env
            .wait_until_not_ready(&name_of(n), "TokenValid", "False", "TokenUnauthorized")
            .await;
        assert!(!message.contains("AAH"), "{message}");
    }
}

async fn event_is_written_by_the_replica_that_noticed(cluster: Cluster) {
    let Some(fleet) = Fleet::start(cluster).await else {
        return;
    };
    let bots = fleet.create_bots(6).await;
    for (n, bot) in bots.iter().enumerate() {
        let named = json!({"spec": {"access": {"level": "Specific", "specificUsers": {"users": [{"id": 4001}]}}}});
        fleet.env.patch_connector(&name_of(n), named).await;
        fleet
            .env
            .wait_for_condition(&name_of(n), "AccessResolved", "True", "Resolved")
            .await;
        fleet
            .env
            .telegram
            .send_and_wait(*bot, 4003, "let me in", MAX_TAKEOVER)
            .await;
        fleet
            .env
            .cluster
            .eventually("an event tells of it", || async {
                fleet.env.event_notes(&name_of(n), "UserDenied").await.pop()
            })
            .await;
    }
}

async fn bot_of_a_new_token_is_polled_by_the_holder_of_its_shard(cluster: Cluster) {
    const COUNT: usize = 6;
    let Some(fleet) = Fleet::start(cluster).await else {
        return;
    };
    let mut bots = fleet.create_bots(COUNT).await;
    for (n, polled) in bots.iter_mut().enumerate() {
        let (bot, token) = fleet.env.add_bot();
        fleet.env.set_secret(&name_of(n), "token", &token).await;
        let before = std::mem::replace(polled, bot);
        fleet.wait_until_polled(&[bot]).await;
        fleet
            .env
            .cluster
            .eventually("the bot before is polled no more", || async {
                (!fleet.is_polled(before)).then_some(())
            })
            .await;
        fleet.env.wait_until_ready(&name_of(n)).await;
    }
    fleet.assert_no_conflicts(&bots);
}

/// The chart's `terminationGracePeriodSeconds` is ten seconds more than the grace period.
async fn replica_ends_in_time_though_the_database_never_answers(cluster: Cluster) {
    let flags = &["--shutdown-grace-seconds=2"];
    let Some(mut fleet) = Fleet::start_with(cluster, flags).await else {
        return;
    };
    let bots = fleet.create_bots(REPLICAS).await;
    fleet.postgres.freeze();
    for bot in bots {
        fleet.env.telegram.send_private_message(bot, 1001, "hello");
    }
    let told_at = Instant::now();
    for replica in &fleet.replicas {
        replica.terminate();
    }
    for replica in &mut fleet.replicas {
        let left = Duration::from_secs(12).saturating_sub(told_at.elapsed());
        let ended = tokio::time::timeout(left, replica.ended()).await;
        assert!(ended.is_ok(), "it is still there: {}", replica.log());
    }
    eprintln!("all have ended after {:.1?}", told_at.elapsed());
}

async fn outage_of_the_database_stops_polls_and_moves_no_shard(cluster: Cluster) {
    let Some(mut fleet) = Fleet::start(cluster).await else {
        return;
    };
    let bots = fleet.create_bots(BOTS).await;
    let taken = fleet.metrics("shards_taken_total").await;
    let telegram = fleet.env.telegram.clone();
    let observed = bots.clone();
    let is_silent = tokio::spawn(async move {
        let began = Instant::now();
        while observed
            .iter()
            .any(|bot| telegram.polls_in_flight(*bot) > 0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    });
    fleet.postgres.go_away_for(Duration::from_secs(6)).await;
    let silent_after = tokio::time::timeout(Duration::from_millis(1), is_silent)
        .await
        .expect("who cannot renew its lease stops polling")
        .expect("it does not panic");
    assert!(silent_after < Duration::from_secs(4), "{silent_after:?}");
    fleet.wait_until_polled(&bots).await;
    // Long enough that a replica would be judged.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        fleet.metrics("shards_taken_total").await,
        taken,
        "who came back first took nothing"
    );
    fleet.assert_no_conflicts(&bots);
    for (user, bot) in (4001..).zip(&bots) {
        fleet
            .env
            .telegram
            .send_and_wait(*bot, user, "hello", MAX_TAKEOVER)
            .await;
    }
}

/// How long an idle fleet is watched.
const IDLE: Duration = Duration::from_secs(10);

async fn idle_fleet_writes_one_heartbeat_per_second(cluster: Cluster) {
    let Some(fleet) = Fleet::start(cluster).await else {
        return;
    };
    let bots = fleet.create_bots(BOTS).await;
    let mut db = fleet.postgres.connect().await;
    let counted = "CREATE TABLE written (what text)";
    let function = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO written VALUES (TG_TABLE_NAME); RETURN NULL; END $$";
    for statement in [counted, function] {
        sqlx::query(statement)
            .execute(&mut db)
            .await
            .expect(statement);
    }
    let wal = "SELECT (pg_current_wal_lsn() - '0/0')::bigint";
    let wal_before: i64 = sqlx::query_scalar(wal).fetch_one(&mut db).await.expect(wal);
    let calls_before = fleet.kubernetes_writes().await;
    tokio::time::sleep(IDLE).await;
    let wal_after: i64 = sqlx::query_scalar(wal).fetch_one(&mut db).await.expect(wal);
    for table in [
        "replica",
        "shard",
        "observation",
        "lane",
        "inbox",
        "connector",
    ] {
        let trigger = format!(
            "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION note()"
        );
        sqlx::query(sqlx::AssertSqlSafe(trigger.clone()))
            .execute(&mut db)
            .await
            .expect(&trigger);
    }
    tokio::time::sleep(IDLE).await;
    let written: Vec<(String, i64)> =
        sqlx::query_as("SELECT what, count(*) FROM written GROUP BY what")
            .fetch_all(&mut db)
            .await
            .expect("the rows");
    let calls_after = fleet.kubernetes_writes().await;
    assert_eq!(written.len(), 1, "heartbeats only: {written:?}");
    let (table, rows) = &written[0];
    let seconds = i64::try_from(IDLE.as_secs()).expect("few");
    let expected = 3 * (seconds - 2)..=3 * (seconds + 1);
    assert!(table == "replica" && expected.contains(rows), "{written:?}");
    assert_eq!(calls_before, calls_after, "writes to Kubernetes");
    fleet.assert_no_conflicts(&bots);
    eprintln!(
        "an idle fleet of {REPLICAS} replicas and {BOTS} bots: {rows} rows in {seconds} s, {} bytes of WAL a second",
        (wal_after - wal_before) / seconds
    );
}
