//! Grants, and requests for them: decided once, with what follows; expired, muted, counted, pruned and deleted. Shared by the tests of both databases.

mod fixture;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use telegram_connector_operator::store::{
    AccessVerdict, AskOutcome, AskReplies, Change, DecideOutcome, Grant, GrantSource, LaneWrite,
    NewAccessRequest, ObjectChange, ObjectKey, ObjectKind, ObjectQuery, Release, ReplyPart,
    RequestPhase, Retention, Store,
};

pub(crate) use fixture::request;
use fixture::{
    ALLOW, ANN, GROUP, HOUR, accept, ask, asked, connector_number, follow, lane, new_grant, stored,
    tap,
};

use super::{BOT, StoreFixture, claim, connector, end, finish, retention_since, store_backlog};

pub(crate) async fn check_grant_lets_in_until_it_ends(store: &dyn Store) {
    let number = connector_number(store).await;
    let later = Timestamp::now() + HOUR;
    let past = Timestamp::now() - HOUR;
    let ended = new_grant(GrantSource::SignIn, Some(past));
    let first = store.grant(new_grant(GrantSource::Admin, None)).await;
    let first = first.unwrap();
    store.grant(ended).await.unwrap();
    store
        .grant(new_grant(GrantSource::Request, Some(later)))
        .await
        .unwrap();
    let grants = store.grants_of(number, ANN).await.unwrap();
    let sources: Vec<_> = grants.iter().map(|grant| grant.source).collect();
    assert_eq!(sources, [GrantSource::Admin, GrantSource::Request]);
    assert!(store.grants_of(number, ANN + 1).await.unwrap().is_empty());
    assert!(store.grants_of(number + 1, ANN).await.unwrap().is_empty());
    // One of the same source is replaced, and is gone as an object.
    let all = ObjectQuery::all(ObjectKind::AccessGrant);
    let seen = store.list_objects(&all, None, 10).await.unwrap();
    assert_eq!(seen.objects.len(), 3);
    let second = new_grant(GrantSource::Admin, Some(later));
    let second = store.grant(second).await.unwrap();
    assert!(second.id > first.id);
    let changes = store.object_changes(&all, seen.revision, 10).await.unwrap();
    let mut keys: Vec<_> = changes.changes.iter().map(ObjectChange::key).collect();
    keys.sort();
    assert_eq!(keys, [first.key(), second.key()]);
    // Deleting ends it with the next message.
    let keys = vec![second.key()];
    let delete = |namespace: &'static str| {
        store.delete_objects(ObjectKind::AccessGrant, namespace, keys.clone())
    };
    assert_eq!(delete("globex").await.unwrap(), 0);
    assert_eq!(delete("acme").await.unwrap(), 1);
    assert_eq!(store.grants_of(number, ANN).await.unwrap().len(), 1);
}

pub(crate) async fn check_request_is_decided_once(store: &dyn Store) {
    let number = connector_number(store).await;
    let id = asked(store, 1, |_| {}).await;
    let waiting = store.open_access_request(number, ANN).await.unwrap();
    let waiting = waiting.expect("it waits");
    assert_eq!((waiting.id, waiting.chat), (id, ANN));
    assert_eq!(waiting.notice(), Some((GROUP, 55)));
    let by_token = store.access_request_by_token(number, &waiting.token);
    assert_eq!(by_token.await.unwrap().as_ref(), Some(&waiting));
    let until = Some(Timestamp::now().round(jiff::Unit::Second).unwrap() + HOUR);
    let all = ObjectQuery::all(ObjectKind::AccessRequest);
    let seen = store.list_objects(&all, None, 10).await.unwrap().revision;
    let first = tap(store, 2, id, AccessVerdict::Allow { until }).await;
    assert!(first.access_request_decided);
    let changes = store.object_changes(&all, seen, 10).await.unwrap().changes;
    let [ObjectChange::Present(changed)] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(changed.key, ObjectKey(id, 0));
    follow(store).await;
    let grants = store.grants_of(number, ANN).await.unwrap();
    let [Grant { source, by, .. }] = &grants[..] else {
        panic!("{grants:?}");
    };
    assert_eq!((*source, &**by), (GrantSource::Request, "@bob (8)"));
    assert_eq!((grants[0].until, &*grants[0].name), (until, "Ann"));
    // Whoever is killed now: a second tap decides nothing.
    let again = tap(store, 3, id, AccessVerdict::Refuse).await;
    assert!(!again.access_request_decided && !again.more_waits);
    let kept = store.access_request(number, id).await.unwrap().unwrap();
    assert_eq!(kept.phase, RequestPhase::Allowed);
    assert_eq!(kept.decided_by.as_deref(), Some("@bob (8)"));
    assert_eq!(
        (kept.notice_message, kept.notice_copy),
        (Some(56), Some(55))
    );
    assert_eq!(store_backlog(store).await, 0);
}

pub(crate) async fn check_user_asks_once_and_so_often(store: &dyn Store) {
    let number = connector_number(store).await;
    let twice = |new: &mut NewAccessRequest| new.per_user_per_day = 2;
    let first = asked(store, 1, twice).await;
    assert_eq!(ask(store, 2, twice).await, Some(AskOutcome::Waiting));
    assert!(
        tap(store, 3, first, AccessVerdict::Refuse)
            .await
            .access_request_decided
    );
    follow(store).await;
    assert!(store.grants_of(number, ANN).await.unwrap().is_empty());
    let second = asked(store, 4, twice).await;
    tap(store, 5, second, AccessVerdict::Mute).await;
    follow(store).await;
    assert_eq!(ask(store, 6, twice).await, Some(AskOutcome::Muted));
    let muted = store.open_access_request(number, ANN).await.unwrap();
    assert_eq!(muted.map(|request| request.id), Some(second));
    // Who is muted may ask again once an administrator has deleted that.
    let kind = ObjectKind::AccessRequest;
    let keys = vec![ObjectKey(second, 0)];
    store.delete_objects(kind, "acme", keys).await.unwrap();
    let open = store.open_access_request(number, ANN).await.unwrap();
    assert_eq!(open, None);
    let third = asked(store, 7, twice).await;
    tap(store, 8, third, AccessVerdict::Refuse).await;
    follow(store).await;
    assert_eq!(ask(store, 9, twice).await, Some(AskOutcome::TooMany));
}

pub(crate) async fn check_request_expires_once(store: &dyn Store) {
    let number = connector_number(store).await;
    let past = Timestamp::UNIX_EPOCH + HOUR;
    let over = |new: &mut NewAccessRequest| new.expires_at = past;
    let id = asked(store, 1, over).await;
    let expired = store.expire_access_requests().await.unwrap();
    let uid = connector("a").uid;
    assert_eq!((expired.len(), expired[0].id), (1, id));
    assert_eq!(expired[0].connector, uid);
    assert!(store.expire_access_requests().await.unwrap().is_empty());
    follow(store).await;
    // One that nobody has ended yet lets nobody in, and keeps nobody from asking.
    let id = asked(store, 2, over).await;
    assert!(!tap(store, 3, id, ALLOW).await.access_request_decided);
    assert_eq!(stored(store, id).await.phase, RequestPhase::Expired);
    follow(store).await;
    let id = asked(store, 4, over).await;
    accept(store, 5, ANN).await;
    let asking = lane(store).await;
    let mut changes = vec![request(asking.messages[0].id, |_| {})];
    changes.extend(finish(&asking));
    let written = end(store, asking.claim, changes).await;
    assert!(matches!(written.access_request, Some(AskOutcome::Asked(new)) if new > id));
    assert_eq!(stored(store, id).await.phase, RequestPhase::Expired);
    assert!(store.grants_of(number, ANN).await.unwrap().is_empty());
}

pub(crate) async fn check_administrator_decides_a_request(store: &dyn Store) {
    let number = connector_number(store).await;
    let decide = |namespace, id, verdict| {
        store.decide_access_request(namespace, id, verdict, "system:admin")
    };
    let id = asked(store, 1, |_| {}).await;
    assert_eq!(
        decide("globex", id, ALLOW).await.unwrap(),
        DecideOutcome::NotFound
    );
    let DecideOutcome::Decided(decided) = decide("acme", id, ALLOW).await.unwrap() else {
        panic!("it waited");
    };
    assert_eq!(decided.phase, RequestPhase::Allowed);
    assert_eq!(decided.decided_by.as_deref(), Some("system:admin"));
    assert!(decided.revision > 1);
    follow(store).await;
    assert_eq!(store.grants_of(number, ANN).await.unwrap().len(), 1);
    let again = decide("acme", id, AccessVerdict::Refuse).await.unwrap();
    assert_eq!(again, DecideOutcome::AlreadyDecided(decided));
    let past = Timestamp::UNIX_EPOCH + HOUR;
    let id = asked(store, 2, |new| new.expires_at = past).await;
    let late = decide("acme", id, ALLOW).await.unwrap();
    let DecideOutcome::AlreadyDecided(late) = late else {
        panic!("{late:?}");
    };
    assert_eq!(late.phase, RequestPhase::Expired);
    follow(store).await;
}

pub(crate) async fn check_access_goes_with_its_time_and_its_connector(store: &dyn Store) {
    let number = connector_number(store).await;
    let hours = |hours| Timestamp::now() + SignedDuration::from_hours(hours);
    for (source, until) in [
        (GrantSource::Admin, Some(hours(-2))),
        (GrantSource::SignIn, Some(hours(2))),
        (GrantSource::Request, None),
    ] {
        store.grant(new_grant(source, until)).await.unwrap();
    }
    let refused = asked(store, 1, |_| {}).await;
    tap(store, 2, refused, AccessVerdict::Refuse).await;
    follow(store).await;
    let muted = asked(store, 3, |_| {}).await;
    tap(store, 4, muted, AccessVerdict::Mute).await;
    follow(store).await;
    let prune = |grants, sessions| {
        let retention = Retention {
            grants,
            sessions,
            ..retention_since(Timestamp::MAX)
        };
        async move { while store.prune(retention).await.unwrap() {} }
    };
    let count = async |kind| {
        let all = ObjectQuery::all(kind);
        store
            .list_objects(&all, None, 10)
            .await
            .unwrap()
            .objects
            .len()
    };
    prune(hours(-3), hours(-3)).await;
    assert_eq!(count(ObjectKind::AccessGrant).await, 3);
    assert_eq!(count(ObjectKind::AccessRequest).await, 2);
    prune(hours(-1), hours(1)).await;
    assert_eq!(count(ObjectKind::AccessGrant).await, 2);
    assert_eq!(count(ObjectKind::AccessRequest).await, 1);
    assert_eq!(stored(store, muted).await.phase, RequestPhase::Muted);
    // Its lanes have gone by now; what is left is the connector's all the same.
    let reference = connector("a");
    let kept = store.connectors().await.unwrap();
    assert_eq!(kept, std::slice::from_ref(&reference));
    store.delete_connector_data(&reference.uid).await.unwrap();
    assert!(store.grants_of(number, ANN).await.unwrap().is_empty());
    assert_eq!(count(ObjectKind::AccessGrant).await, 0);
    assert_eq!(count(ObjectKind::AccessRequest).await, 0);
    assert!(store.connectors().await.unwrap().is_empty());
}

/// Nothing waits in the asker's lane for weeks.
pub(crate) async fn check_outcome_finds_a_lane_that_had_gone(store: &dyn Store) {
    connector_number(store).await;
    let id = asked(store, 1, |_| {}).await;
    let later = Timestamp::MAX;
    let retention = retention_since(later);
    while store.prune(retention).await.unwrap() {}
    assert!(tap(store, 2, id, ALLOW).await.access_request_decided);
    follow(store).await;
}

/// Also where it was deleted before the group was told of it.
pub(crate) async fn check_deleted_request_is_told_nobody(store: &dyn Store) {
    connector_number(store).await;
    accept(store, 1, ANN).await;
    let asking = lane(store).await;
    let silent = |new: &mut NewAccessRequest| new.replies = AskReplies::default();
    let mut changes = vec![request(asking.messages[0].id, silent)];
    changes.extend(finish(&asking));
    let written = end(store, asking.claim, changes).await;
    let Some(AskOutcome::Asked(id)) = written.access_request else {
        panic!("{written:?}");
    };
    let keys = vec![ObjectKey(id, 0)];
    let kind = ObjectKind::AccessRequest;
    assert_eq!(store.delete_objects(kind, "acme", keys).await.unwrap(), 1);
    let lanes = claim(store, "a", 10).await.lanes;
    let parts: Vec<&ReplyPart> = lanes
        .iter()
        .flat_map(|lane| lane.parts.iter().map(|part| &part.part))
        .collect();
    assert!(parts.is_empty(), "{parts:?}");
    for lane in lanes {
        end(store, lane.claim, Vec::new()).await;
    }
    assert!(!tap(store, 2, id, ALLOW).await.access_request_decided);
}

/// Two administrators, two approvers' taps and the clock: one of them decides.
pub(crate) async fn check_replicas_decide_once(replicas: [Arc<dyn Store>; 2]) {
    let number = connector_number(&*replicas[0]).await;
    for round in 0..10 {
        let id = asked(&*replicas[0], 10 * round + 1, |_| {}).await;
        let decisions = replicas.iter().cycle().take(6).map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                let verdict = AccessVerdict::Refuse;
                let decided = store.decide_access_request("acme", id, verdict, "admin");
                matches!(decided.await.unwrap(), DecideOutcome::Decided(_))
            })
        });
        let mut decided = 0;
        for decision in decisions.collect::<Vec<_>>() {
            decided += u32::from(decision.await.unwrap());
        }
        assert_eq!(decided, 1);
        follow(&*replicas[0]).await;
    }
    let grants = replicas[1].grants_of(number, ANN).await.unwrap();
    assert!(grants.is_empty(), "{grants:?}");
}

/// From several topics of her chat at once.
pub(crate) async fn check_replicas_ask_once(replicas: [Arc<dyn Store>; 2]) {
    let store = &replicas[0];
    connector_number(&**store).await;
    let updates = (1..=6).map(|topic| {
        let json = serde_json::json!({"update_id": topic, "message": {
            "message_id": topic, "date": 100, "text": "ask", "message_thread_id": topic, "is_topic_message": true,
            "chat": {"id": ANN, "type": "private"}, "from": {"id": ANN, "is_bot": false, "first_name": "Ann"}}});
        telegram_connector_operator::telegram::RawUpdate::from_body(json.to_string().as_bytes())
            .unwrap()
    });
    let uid = connector("a").uid;
    store.accept(&uid, BOT, updates.collect()).await.unwrap();
    let mut asking = Vec::new();
    for replica in &replicas {
        for lane in claim(&**replica, "a", 3).await.lanes {
            let replica = replica.clone();
            asking.push(tokio::spawn(async move {
                let mut changes = vec![request(lane.messages[0].id, |_| {})];
                changes.extend(finish(&lane));
                end(&*replica, lane.claim, changes).await.access_request
            }));
        }
    }
    assert_eq!(asking.len(), 6);
    let mut made = 0;
    for outcome in asking {
        match outcome.await.unwrap() {
            Some(AskOutcome::Asked(_)) => made += 1,
            other => assert_eq!(other, Some(AskOutcome::Waiting)),
        }
    }
    assert_eq!(made, 1);
}

macro_rules! on_sqlite {
    ($($name:ident => $check:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let fixture = StoreFixture::new();
            fixture.clock.advance_seconds(Timestamp::now().as_second() - 1_800_000_000);
            $check(&*fixture.open().await).await;
        }
    )*};
}

on_sqlite! {
    grant_lets_in_until_it_ends => check_grant_lets_in_until_it_ends;
    access_request_is_decided_once => check_request_is_decided_once;
    user_asks_for_access_once_and_so_often => check_user_asks_once_and_so_often;
    access_request_expires_once => check_request_expires_once;
    administrator_decides_an_access_request => check_administrator_decides_a_request;
    access_goes_with_its_time_and_its_connector => check_access_goes_with_its_time_and_its_connector;
    outcome_finds_a_lane_that_had_gone => check_outcome_finds_a_lane_that_had_gone;
    deleted_access_request_is_told_nobody => check_deleted_request_is_told_nobody;
}

/// A process ends before the write of a tap or after it: the tap is handled again, or what follows waits; never both, never neither.
#[tokio::test]
async fn access_is_given_with_the_tap_that_decides() {
    let fixture = StoreFixture::new();
    fixture
        .clock
        .advance_seconds(Timestamp::now().as_second() - 1_800_000_000);
    let mut store: Arc<dyn Store> = fixture.open().await;
    let number = connector_number(&*store).await;
    let id = asked(&*store, 1, |_| {}).await;
    accept(&*store, 2, GROUP).await;
    for is_written in [false, true] {
        let taps = lane(&*store).await;
        assert_eq!((taps.key.chat, taps.messages[0].update_id), (GROUP, 2));
        assert!(store.grants_of(number, ANN).await.unwrap().is_empty());
        let mut changes = finish(&taps);
        changes.push(Change::DecideAccessRequest {
            id,
            verdict: ALLOW,
            by: "@bob (8)".into(),
            message: taps.messages[0].id,
            tapped_message: None,
        });
        // The message that decides goes with the decision, whichever of the two is named first.
        changes.rotate_right(1);
        let write = LaneWrite {
            claim: taps.claim,
            changes,
            release: Some(Release::Now),
        };
        if is_written {
            let written = store.write(write.into()).await.unwrap();
            assert!(written.access_request_decided);
        }
        drop(store);
        store = fixture.open().await;
        store.keep_claims().await.unwrap();
    }
    assert_eq!(store.grants_of(number, ANN).await.unwrap().len(), 1);
    follow(&*store).await;
}
