//! The store's promises, on a real file.

pub(crate) mod access;
mod bounds;
mod clock;
mod erasure;
mod history;
mod intake;
mod left_objects;
mod listings;
mod migration;
mod objects;
mod opening;
mod other_bots;
pub(crate) mod outgoing;
mod parked_claims;
mod pruning;
pub(crate) mod read_along;
pub(crate) mod rich;
mod sign_ins;
pub(crate) mod tables;
pub(crate) mod uploads;
pub(crate) mod user_decisions;
mod work;

pub(crate) use parked_claims::check_parked_claim_takes_the_next_message;

use std::sync::Arc;

use jiff::Timestamp;
use telegram_connector_operator::clock::{ManualClock, SharedClock};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    self, Change, Claim, ClaimOutcome, ClaimRequest, ClaimedLane, LaneWrite, Release, ReplyPart,
    Retention, Store, StoreOptions, WaitingPart, WriteOutcome,
};
use telegram_connector_operator::telegram::RawUpdate;

pub(crate) const BOT: BotId = BotId(8_400_000_001);

pub(crate) fn connector(name: &str) -> ConnectorRef {
    ConnectorRef {
        namespace: "acme".into(),
        name: name.into(),
        uid: ConnectorUid::from(format!("uid-{name}").as_str()),
    }
}

pub(crate) fn update(update_id: i64, chat: i64, date: i64, text: &str) -> RawUpdate {
    let json = serde_json::json!({
        "update_id": update_id,
        "message": {
            "message_id": update_id, "date": date, "text": text,
            "chat": {"id": chat, "type": "private", "first_name": "Ann"},
            "from": {"id": chat, "is_bot": false, "first_name": "Ann", "language_code": "en"},
        },
    });
    RawUpdate::from_body(json.to_string().as_bytes()).unwrap()
}

pub(crate) fn part(text: &str) -> ReplyPart {
    ReplyPart::text(None, text.into(), None)
}

/// What is done once Telegram has taken these parts.
pub(crate) fn sent_changes(parts: &[WaitingPart]) -> Vec<Change> {
    let sent = parts.iter().map(|part| Change::Sent {
        reply: part.reply,
        number: part.number,
        message_id: None,
    });
    sent.collect()
}

/// Everything goes that is older.
pub(crate) fn retention_since(before: Timestamp) -> Retention {
    Retention {
        identities: before,
        denied: before,
        read_along: before,
        outgoing: before,
        grants: before,
        sessions: before,
    }
}

struct StoreFixture {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl StoreFixture {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(
                Timestamp::from_second(1_800_000_000).unwrap(),
            )),
        }
    }

    fn address(&self) -> String {
        format!(
            "sqlite:{}/deep/er/connectors.db",
            self.folder.path().display()
        )
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.open_with(|_| {}).await
    }

    async fn open_with(&self, change: impl FnOnce(&mut StoreOptions)) -> Arc<dyn Store> {
        let clock: SharedClock = self.clock.clone();
        let mut options = StoreOptions {
            clock,
            ..StoreOptions::default()
        };
        change(&mut options);
        store::open_with(&self.address(), options).await.unwrap()
    }
}

/// Claims as the pipeline does.
pub(crate) async fn claim(store: &dyn Store, name: &str, lanes: usize) -> ClaimOutcome {
    store
        .claim(vec![ClaimRequest {
            connector: connector(name),
            bot: BOT,
            lanes,
            history: 25,
        }])
        .await
        .unwrap()
}

fn ids(claimed: &ClaimOutcome) -> Vec<Vec<i64>> {
    claimed
        .lanes
        .iter()
        .map(|l| l.messages.iter().map(|m| m.update_id).collect())
        .collect()
}

/// The messages of a lane are done with.
pub(crate) fn finish(lane: &ClaimedLane) -> Vec<Change> {
    let ids = lane.messages.iter().map(|m| m.id);
    ids.map(|message| Change::Finish { message }).collect()
}

/// The last write under a claim: the lane is given back with it.
pub(crate) async fn end(store: &dyn Store, claim: Claim, changes: Vec<Change>) -> WriteOutcome {
    let release = Some(Release::Now);
    let write = LaneWrite {
        claim,
        changes,
        release,
    };
    store.write(write.into()).await.unwrap()
}

async fn store_backlog(store: &dyn Store) -> u64 {
    store
        .backlog()
        .await
        .unwrap()
        .iter()
        .map(|b| b.messages)
        .sum()
}

/// A tap on a button under a message of the bot, which is older than what waits.
fn tap(update_id: i64, chat: i64) -> RawUpdate {
    let json = serde_json::json!({
        "update_id": update_id,
        "callback_query": {
            "id": "9", "data": "yes", "from": {"id": chat, "is_bot": false, "first_name": "Ann"},
            "message": {"message_id": 1, "date": 50, "text": "Go on?", "chat": {"id": chat, "type": "private"}},
        },
    });
    RawUpdate::from_body(json.to_string().as_bytes()).unwrap()
}

/// In another request, and in the same.
pub(crate) async fn check_tap_waits_behind_what_came_before_it(store: &dyn Store) {
    let uid = connector("a").uid;
    let accept = async |updates| store.accept(&uid, BOT, updates).await.unwrap();
    accept(vec![update(1, 7, 100, "one")]).await;
    accept(vec![tap(2, 7)]).await;
    accept(vec![
        update(3, 7, 102, "two"),
        tap(4, 7),
        tap(5, 8),
        update(6, 8, 103, "three"),
        update(7, 7, 103, "three"),
    ])
    .await;
    let mut claimed = ids(&claim(store, "a", 10).await);
    claimed.sort_unstable();
    assert_eq!(claimed, [vec![1, 2, 3, 4, 7], vec![5, 6]]);
}

/// A lane that waits is left alone whatever comes, except for a command that may end what waits.
pub(crate) async fn check_stop_makes_waiting_lane_ready(store: &dyn Store) {
    let uid = connector("a").uid;
    let accept = async |update_id, text| {
        let updates = vec![update(update_id, 77, 100, text)];
        store.accept(&uid, BOT, updates).await.unwrap();
    };
    accept(201, "think").await;
    let claimed = claim(store, "a", 10).await;
    let release = Some(Release::At(Timestamp::from_second(4_000_000_000).unwrap()));
    let write = LaneWrite {
        claim: claimed.lanes[0].claim,
        changes: Vec::new(),
        release,
    };
    assert!(store.write(write.into()).await.unwrap().more_waits);
    accept(202, "and this").await;
    assert!(claim(store, "a", 10).await.lanes.is_empty());
    accept(203, "/stop").await;
    assert_eq!(ids(&claim(store, "a", 10).await), [[201, 202, 203]]);
}
