//! What a connector is given and shown, which is to be its own: what a lane brings, what is read for it, and all listings.

use telegram_connector_operator::identity::ConnectorUid;
use telegram_connector_operator::store::{
    ClaimedLane, DayLimit, LaneWrite, LimitedQuestion, ListingQuery, ObjectContent, ObjectKey,
    ObjectKind, ObjectQuery,
};

use super::Model;
use crate::isolation::changes;
use crate::store::tables::rows_of_connector;

impl Model {
    /// Nothing is left of a connector but for denied messages, and what tells watches that its objects went.
    pub(super) async fn check_gone(&self, uid: &ConnectorUid) {
        let left = rows_of_connector(&self.address, uid.as_str()).await;
        let is_kept =
            |row: &&String| !row.starts_with("denied: ") && !row.starts_with("deleted_object: ");
        let left: Vec<_> = left.iter().filter(is_kept).collect();
        assert!(left.is_empty(), "{uid} left {left:#?}");
    }

    /// All that a lane brings, and all that is read for it.
    pub(super) async fn check_what_is_given(&mut self, side: usize, lane: &ClaimedLane) {
        let uid = self.uid(side).to_string();
        let mut given: Vec<String> = Vec::new();
        if let Some(session) = &lane.session {
            given.extend(session.history.iter().map(|m| m.text.clone()));
            given.extend(session.state.clone());
            given.push(session.key.clone());
        }
        given.extend(lane.messages.iter().map(|message| message.json.clone()));
        for waiting in &lane.parts {
            given.push(waiting.part.plain_text().to_owned());
            let file = self
                .store
                .upload(&lane.claim, waiting.reply, waiting.number);
            given.extend(file.await.unwrap().map(changes::text_of_file));
        }
        let read_along = self.store.read_along(lane.claim.lane).await.unwrap();
        given.extend(read_along.into_iter().map(|message| message.text));
        let open = self.store.open_user_decisions(lane.claim.lane).await;
        given.extend(open.unwrap().into_iter().map(|d| d.details.plain));
        for user in 1..3 {
            let grants = self.store.grants_of(lane.claim.connector, user).await;
            given.extend(grants.unwrap().into_iter().map(|grant| grant.name));
        }
        for text in given {
            assert!(text.contains(&uid), "{uid} is given {text}");
        }
        self.check_day(side, lane).await;
    }

    /// What others asked in a day counts for nobody else: of a question that was not counted yet, the limit is reached by its connector's own.
    async fn check_day(&self, side: usize, lane: &ClaimedLane) {
        let Some(message) = lane.messages.first() else {
            return;
        };
        let uid = self.uid(side);
        let counted = self.counted.iter().filter(|owner| **owner == uid).count() as u64;
        for (most, is_reached) in [(counted, true), (counted + 1, false)] {
            let question = LimitedQuestion {
                connector_limit: DayLimit {
                    messages: Some(most),
                    tokens: None,
                },
                user_limit: DayLimit::default(),
                ..changes::limited(lane.claim, message.id, 1)
            };
            let reached = self.store.reached_limit(&question).await.unwrap();
            assert_eq!(
                reached.is_some(),
                is_reached,
                "{uid} has asked {counted} times, not {most}"
            );
        }
    }

    /// What the other connector has is neither shown to this one's lanes nor changed by them.
    pub(super) async fn check_others_objects(&self, side: usize, lane: &ClaimedLane) {
        let others = self.uid(1 - side);
        let rows = rows_of_connector(&self.address, others.as_str()).await;
        let of_table = |table: &str| -> Vec<String> {
            let table = format!("{table}: ");
            let rows = rows.iter().filter_map(|row| row.strip_prefix(&table));
            let first = rows.filter_map(|row| row.split('|').next());
            first.map(str::to_owned).collect()
        };
        let number = |id: &String| Some(ObjectKey(id.parse().ok()?, 0));
        let foreign = changes::Open {
            decisions: of_table("user_decision"),
            requests: of_table("access_request")
                .iter()
                .filter_map(number)
                .collect(),
        };
        let claim = lane.claim;
        for id in &foreign.decisions {
            let found = self.store.user_decision(claim.connector, id).await.unwrap();
            assert_eq!(found, None, "a decision of {others}");
        }
        for key in &foreign.requests {
            let found = self.store.access_request(claim.connector, key.0).await;
            assert_eq!(found.unwrap(), None, "a request of {others}");
        }
        for reply in of_table("upload") {
            let found = self.store.upload(&claim, reply.parse().unwrap(), 0).await;
            assert_eq!(found.unwrap(), None, "a file of {others}");
        }
        let Some(message) = lane.messages.first() else {
            return;
        };
        let write = LaneWrite {
            claim,
            changes: changes::decisions(&foreign, "nobody", message.id),
            release: None,
        };
        let outcome = self.store.write(write.into()).await.unwrap();
        assert!(!outcome.decision_taken && !outcome.access_request_decided);
        let after = rows_of_connector(&self.address, others.as_str()).await;
        assert_eq!(after, rows, "{others} lost or got something");
    }

    /// The requests for access of a connector, whatever became of them.
    pub(super) async fn requests(&self, side: usize) -> Vec<ObjectKey> {
        let query = self.query(side, ObjectKind::AccessRequest);
        let page = self.store.list_objects(&query, None, 100).await.unwrap();
        page.objects.iter().map(|object| object.key).collect()
    }

    fn query(&self, side: usize, kind: ObjectKind) -> ObjectQuery {
        let connector = &self.connectors[side];
        ObjectQuery {
            namespace: Some(connector.namespace.to_string()),
            connector: Some(connector.name.to_string()),
            ..ObjectQuery::all(kind)
        }
    }

    /// All that listings and the data API show of a connector, by its name. What stands there as an object names it beside its words.
    pub(super) async fn listed(&self, side: usize) -> Vec<String> {
        let mut listed = self.listed_of(side, None).await;
        let uid = self.uid(side);
        for kind in ObjectKind::ALL {
            let query = self.query(side, kind);
            let page = self.store.list_objects(&query, None, 1000).await.unwrap();
            for object in page.objects {
                assert_eq!(object.connector_uid.as_ref(), Some(&uid), "{object:?}");
                listed.push(match &object.content {
                    ObjectContent::Conversation(_) => {
                        let words = self.store.transcript("acme", object.key).await;
                        format!("{:?} of {uid}", words.unwrap())
                    }
                    ObjectContent::OutgoingMessage(message) => message.text.clone(),
                    ObjectContent::AccessGrant(grant) => grant.name.clone(),
                    ObjectContent::AccessRequest(request) => request.name.clone(),
                    content => format!("{content:?}"),
                });
            }
        }
        listed
    }

    /// All that the listings show of a connector, by its name or by a uid.
    pub(super) async fn listed_of(&self, side: usize, uid: Option<String>) -> Vec<String> {
        let connector = &self.connectors[side];
        let query = ListingQuery {
            namespace: Some(connector.namespace.to_string()),
            name: Some(connector.name.to_string()),
            uid,
            texts: true,
            limit: 1000,
            ..ListingQuery::default()
        };
        let denied = self.store.denied(&query).await.unwrap().rows;
        let sessions = self.store.sessions(&query).await.unwrap().rows;
        let dead_letters = self.store.dead_letters(&query).await.unwrap().rows;
        let denied = denied.iter().map(|row| format!("denied {row:?}"));
        let sessions = sessions.iter().map(|row| format!("session {row:?}"));
        let dead_letters = dead_letters
            .iter()
            .map(|row| format!("dead letter {row:?}"));
        denied.chain(sessions).chain(dead_letters).collect()
    }
}
