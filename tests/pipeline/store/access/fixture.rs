//! Ann, who asks for access, and the group in which it is decided.

use jiff::{SignedDuration, Timestamp};
use telegram_connector_operator::store::{
    AccessRequest, AccessVerdict, AskOutcome, AskReplies, Change, ClaimedLane, GrantSource,
    NewAccessRequest, NewGrant, ObjectContent, ObjectKey, ObjectKind, ObjectQuery, ShownElsewhere,
    Store, WriteOutcome,
};

use crate::store::{BOT, claim, connector, end, finish, part, sent_changes, store_backlog, update};

pub(super) const ANN: i64 = 7;
/// The group of the approvers.
pub(super) const GROUP: i64 = -100_777;
pub(super) const ALLOW: AccessVerdict = AccessVerdict::Allow { until: None };
pub(super) const FOLLOW_UP: &str = r#"{"access_request":"x"}"#;
pub(super) const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub(super) async fn accept(store: &dyn Store, update_id: i64, chat: i64) {
    let updates = vec![update(update_id, chat, 100, "text")];
    let uid = connector("a").uid;
    store.accept(&uid, BOT, updates).await.unwrap();
}

/// The only lane in which something waits.
pub(super) async fn lane(store: &dyn Store) -> ClaimedLane {
    let mut lanes = claim(store, "a", 10).await.lanes;
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    lanes.remove(0)
}

/// The store's number of the connector.
pub(super) async fn connector_number(store: &dyn Store) -> i64 {
    accept(store, 1_000, 999).await;
    let lane = lane(store).await;
    end(store, lane.claim, finish(&lane)).await;
    lane.claim.connector
}

pub(crate) fn request(message: i64, edit: impl FnOnce(&mut NewAccessRequest)) -> Change {
    let reply = |text: &str| vec![part(text)];
    let mut new = NewAccessRequest {
        token: format!("token-{message}"),
        user: ANN,
        name: "Ann".into(),
        username: Some("ann".into()),
        level: "Company".into(),
        language: Some("de".into()),
        expires_at: Timestamp::now() + HOUR,
        per_user_per_day: 10,
        message,
        follow_up: FOLLOW_UP.into(),
        notice: ShownElsewhere {
            chat: GROUP,
            topic: 0,
            parts: reply("may Ann?"),
        },
        replies: AskReplies {
            asked: reply("asked"),
            waiting: reply("waiting"),
            too_many: reply("too many"),
            muted: reply("muted"),
        },
    };
    edit(&mut new);
    Change::AskForAccess(Box::new(new))
}

/// Ann asks in her chat, and is told what became of it.
pub(super) async fn ask(
    store: &dyn Store,
    update_id: i64,
    edit: impl FnOnce(&mut NewAccessRequest),
) -> Option<AskOutcome> {
    accept(store, update_id, ANN).await;
    let asking = lane(store).await;
    let mut changes = vec![request(asking.messages[0].id, edit)];
    changes.extend(finish(&asking));
    let outcome = end(store, asking.claim, changes).await.access_request;
    let answer = match outcome {
        Some(AskOutcome::Asked(_)) => "asked",
        Some(AskOutcome::Waiting) => "waiting",
        Some(AskOutcome::TooMany) => "too many",
        Some(AskOutcome::Muted) => "muted",
        None => return None,
    };
    let mut lanes = claim(store, "a", 10).await.lanes;
    lanes.sort_by_key(|lane| lane.key.chat);
    let of_group = usize::from(matches!(outcome, Some(AskOutcome::Asked(_))));
    assert_eq!(lanes.len(), 1 + of_group);
    for (lane, text) in lanes.iter().rev().zip([answer, "may Ann?"]) {
        assert_eq!(lane.parts.len(), 1);
        assert_eq!(lane.parts[0].part, part(text));
        let mut changes = sent_changes(&lane.parts);
        if lane.key.chat == GROUP {
            changes.push(Change::DecisionShown {
                reply: lane.parts[0].reply,
                message_id: 55,
            });
        }
        end(store, lane.claim, changes).await;
    }
    outcome
}

pub(super) async fn asked(
    store: &dyn Store,
    update_id: i64,
    edit: impl FnOnce(&mut NewAccessRequest),
) -> i64 {
    match ask(store, update_id, edit).await {
        Some(AskOutcome::Asked(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Somebody in the group decides.
pub(super) async fn tap(
    store: &dyn Store,
    update_id: i64,
    id: i64,
    verdict: AccessVerdict,
) -> WriteOutcome {
    accept(store, update_id, GROUP).await;
    let lane = lane(store).await;
    let mut changes = vec![Change::DecideAccessRequest {
        id,
        verdict,
        by: "@bob (8)".into(),
        message: lane.messages[0].id,
        tapped_message: Some(56),
    }];
    changes.extend(finish(&lane));
    end(store, lane.claim, changes).await
}

/// What follows from a request waits in Ann's chat, and is done with.
pub(super) async fn follow(store: &dyn Store) {
    let lane = lane(store).await;
    assert_eq!((lane.key.chat, lane.messages.len()), (ANN, 1));
    assert_eq!(lane.messages[0].json, FOLLOW_UP);
    end(store, lane.claim, finish(&lane)).await;
    assert_eq!(store_backlog(store).await, 0);
}

pub(super) async fn stored(store: &dyn Store, id: i64) -> AccessRequest {
    let query = ObjectQuery {
        key: Some(ObjectKey(id, 0)),
        ..ObjectQuery::all(ObjectKind::AccessRequest)
    };
    let found = store.list_objects(&query, None, 10).await.unwrap().objects;
    match found.into_iter().next().map(|object| object.content) {
        Some(ObjectContent::AccessRequest(request)) => *request,
        other => panic!("{other:?}"),
    }
}

pub(super) fn new_grant(source: GrantSource, until: Option<Timestamp>) -> NewGrant {
    NewGrant {
        connector: connector("a"),
        user: ANN,
        name: "Ann".into(),
        username: None,
        source,
        by: "admin".into(),
        until,
    }
}
