//! Two connectors that have one bot in turns, and all that a store keeps of them. Every text names the uid that it belongs to.

mod checks;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    self, ClaimRequest, ClaimedLane, CreateOutcome, GrantSource, HoldOutcome, LaneWrite,
    MembershipStep, NewGrant, NewMembership, NewOutgoing, Release, SignInStep, StepOutcome, Store,
    WriteOutcome,
};

use super::changes::{self, Treatment};
use crate::store::tables::rows_of_connector;
use crate::store::{part, update};

/// Something that happens to one of the two connectors.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// It accepts a message in one of two chats.
    Accepts { chat: i64 },
    /// It works through what it may claim. A connector that is suspended does not.
    Works(Treatment),
    /// Somebody sends a message through its bot.
    Sends { chat: i64 },
    /// An administrator lets somebody in.
    Grants { user: i64 },
    /// Who is asked to sign in does so, with the same account at either connector; or does not.
    SignsIn { succeeds: bool },
    /// The provider is asked again, and knows the member or does not.
    Rechecks { is_member: bool },
    /// It is given the token of the other of two bots.
    Rotates,
    /// It is deleted, and one of its name is made.
    IsReplaced,
    /// The same while it works: what it writes down then is too late.
    IsReplacedInWork(Treatment),
    /// The same while the operator is down: nobody tells the store of the deletion.
    IsReplacedUnseen,
    /// The operator starts again.
    Restarts,
}

pub(super) fn event() -> impl Strategy<Value = (usize, Event)> {
    let treatment = || prop::sample::select(&Treatment::ALL[..]);
    let event = prop_oneof![
        8 => (1..3_i64).prop_map(|chat| Event::Accepts { chat }),
        10 => treatment().prop_map(Event::Works),
        1 => (1..3_i64).prop_map(|chat| Event::Sends { chat }),
        1 => (1..3_i64).prop_map(|user| Event::Grants { user }),
        2 => any::<bool>().prop_map(|succeeds| Event::SignsIn { succeeds }),
        1 => any::<bool>().prop_map(|is_member| Event::Rechecks { is_member }),
        1 => Just(Event::Rotates),
        1 => Just(Event::IsReplaced),
        1 => treatment().prop_map(Event::IsReplacedInWork),
        1 => Just(Event::IsReplacedUnseen),
        1 => Just(Event::Restarts),
    ];
    (0..2_usize, event)
}

/// The store and the two connectors.
pub(super) struct Model {
    address: String,
    store: Arc<dyn Store>,
    bots: [BotId; 2],
    connectors: [ConnectorRef; 2],
    /// Which of the bots each has now.
    has_bot: [usize; 2],
    /// Messages that were accepted and neither handled nor held for a sign-in, by uid and bot.
    waiting: HashSet<(ConnectorUid, BotId, i64)>,
    /// Connectors whose deletion nobody told the store.
    unseen: Vec<ConnectorUid>,
    /// Questions that were counted for a day, by uid.
    counted: Vec<ConnectorUid>,
    next: i64,
}

impl Model {
    /// `bot` and the number behind it are those of its bots.
    pub(super) async fn new(address: &str, bot: i64) -> Self {
        let mut model = Self {
            address: address.to_owned(),
            store: store::open(address).await.unwrap(),
            bots: [BotId(bot), BotId(bot + 1)],
            connectors: ["one", "two"].map(|name| ConnectorRef {
                namespace: "acme".into(),
                name: format!("{name}-{bot}").into(),
                uid: ConnectorUid::from(format!("<{bot}-{name}-0>").as_str()),
            }),
            has_bot: [0, 0],
            waiting: HashSet::new(),
            unseen: Vec::new(),
            counted: Vec::new(),
            next: 1,
        };
        for side in 0..2 {
            model.replace(side).await;
        }
        model
    }

    fn uid(&self, side: usize) -> ConnectorUid {
        self.connectors[side].uid.clone()
    }

    fn bot(&self, side: usize) -> BotId {
        self.bots[self.has_bot[side]]
    }

    async fn replace(&mut self, side: usize) {
        self.next += 1;
        let connector = &mut self.connectors[side];
        connector.uid = ConnectorUid::from(format!("<{}-{}>", connector.name, self.next).as_str());
        self.store.register(connector).await.unwrap();
    }

    pub(super) async fn apply(&mut self, side: usize, event: Event) {
        let uid = self.uid(side);
        match event {
            Event::Accepts { chat } => {
                self.next += 1;
                let message = update(self.next, chat, 100 + self.next, &format!("said to {uid}"));
                let bot = self.bot(side);
                let accepted = self.store.accept(&uid, bot, vec![message]).await;
                assert_eq!(accepted.unwrap().new, 1);
                self.waiting.insert((uid, bot, self.next));
            }
            Event::Works(treatment) => self.work(side, treatment).await,
            Event::Sends { chat } => self.send(side, chat).await,
            Event::Grants { user } => {
                let new = NewGrant {
                    connector: self.connectors[side].clone(),
                    user,
                    name: uid.to_string(),
                    username: None,
                    source: GrantSource::Admin,
                    by: uid.to_string(),
                    until: None,
                };
                self.store.grant(new).await.unwrap();
            }
            Event::SignsIn { succeeds } => self.sign_in(side, succeeds).await,
            Event::Rechecks { is_member } => self.recheck(side, is_member).await,
            Event::Rotates => self.has_bot[side] = 1 - self.has_bot[side],
            Event::IsReplaced => self.delete(side, Vec::new()).await,
            Event::IsReplacedInWork(treatment) => {
                let mut late = Vec::new();
                for lane in self.claim(side).await {
                    let changes = self.changes(side, &lane, treatment).await;
                    late.push(write_of(&lane, changes));
                }
                self.delete(side, late).await;
            }
            Event::IsReplacedUnseen => {
                self.unseen.push(uid);
                self.replace(side).await;
            }
            Event::Restarts => {
                self.store.release_claims().await.unwrap();
                self.store = store::open(&self.address).await.unwrap();
            }
        }
        for side in 0..2 {
            let uid = self.uid(side).to_string();
            for row in self.listed(side).await {
                assert!(row.contains(&uid), "{uid} is shown {row}");
            }
        }
    }

    /// Deletes the connector, whose work is written down behind it. Nothing of it is left but for denied messages and what tells watches that its
    /// objects went; and nothing of the other one's has changed.
    async fn delete(&mut self, side: usize, late: Vec<LaneWrite>) {
        let (uid, others) = (self.uid(side), self.uid(1 - side));
        let other = rows_of_connector(&self.address, others.as_str()).await;
        self.store.delete_connector_data(&uid).await.unwrap();
        let was_in_work = !late.is_empty();
        for write in late {
            self.store.write(write.into()).await.unwrap();
        }
        if was_in_work {
            // What came behind the deletion is found when the operator looks for what has no connector any more.
            let found = self.store.connectors().await.unwrap();
            if found.iter().any(|connector| connector.uid == uid) {
                self.store.delete_connector_data(&uid).await.unwrap();
            }
        }
        self.check_gone(&uid).await;
        self.waiting.retain(|(owner, ..)| *owner != uid);
        let after = rows_of_connector(&self.address, others.as_str()).await;
        assert_eq!(after, other, "{others} lost or got something");
        self.replace(side).await;
        let left = self.listed_of(side, Some(uid.to_string())).await;
        assert!(left.iter().all(|row| row.starts_with("denied")), "{left:?}");
    }

    /// Deletes what is left of a connector that is gone, if it is found when the operator looks for what has none any more.
    async fn collect(&self, uid: &ConnectorUid) {
        let found = self.store.connectors().await.unwrap();
        if found.iter().any(|connector| connector.uid == *uid) {
            self.store.delete_connector_data(uid).await.unwrap();
        }
    }

    /// Nothing is left of the connectors that went while the operator was down.
    pub(super) async fn collect_unseen(&self) {
        for uid in &self.unseen {
            self.collect(uid).await;
            self.check_gone(uid).await;
        }
    }

    async fn claim(&mut self, side: usize) -> Vec<ClaimedLane> {
        let request = ClaimRequest {
            connector: self.connectors[side].clone(),
            bot: self.bot(side),
            lanes: 10,
            history: 25,
        };
        self.store.claim(vec![request]).await.unwrap().lanes
    }

    async fn work(&mut self, side: usize, treatment: Treatment) {
        let (uid, bot) = (self.uid(side), self.bot(side));
        let mut stays = Vec::new();
        for lane in self.claim(side).await {
            self.check_what_is_given(side, &lane).await;
            for message in &lane.messages {
                // What follows from a decision is no message of Telegram's.
                if changes::is_said(message) {
                    let known = (uid.clone(), bot, message.update_id);
                    assert!(self.waiting.remove(&known), "{message:?} comes twice");
                }
            }
            let changes = self.changes(side, &lane, treatment).await;
            self.check_others_objects(side, &lane).await;
            let written = self.store.write(write_of(&lane, changes).into()).await;
            stays.extend(stays_in_inbox(written.unwrap(), &lane));
        }
        let left = self
            .waiting
            .iter()
            .any(|(owner, of, _)| *owner == uid && *of == bot);
        assert!(!left, "{uid} does not get what it accepted");
        let stays = stays.into_iter().map(|id| (uid.clone(), bot, id));
        self.waiting.extend(stays);
    }

    /// The changes that a treatment makes; a question that is answered counts for the day.
    async fn changes(
        &mut self,
        side: usize,
        lane: &ClaimedLane,
        treatment: Treatment,
    ) -> Vec<store::Change> {
        let connector = self.connectors[side].clone();
        if treatment == Treatment::Answered {
            for message in &lane.messages {
                let question = changes::limited(lane.claim, message.id, 1);
                let refused = self.store.count_question(&question).await.unwrap();
                assert_eq!(refused, None);
                self.counted.push(connector.uid.clone());
            }
        }
        let decisions = self.store.open_user_decisions(lane.claim.lane).await;
        let own = changes::Open {
            decisions: decisions.unwrap().into_iter().map(|d| d.id).collect(),
            requests: self.requests(side).await,
        };
        changes::of(lane, &connector, treatment, &own)
    }

    /// Both use one idempotency key. Where the bot has met nobody, nothing is sent.
    async fn send(&mut self, side: usize, chat: i64) {
        self.next += 1;
        let uid = self.uid(side).to_string();
        let text = format!("sent by {uid}");
        let new = NewOutgoing {
            connector: self.connectors[side].clone(),
            bot: self.bot(side),
            chat,
            topic: 0,
            user: Some(chat),
            name: format!("{}-{}", self.connectors[side].name, self.next),
            idempotency_key: Some("key".into()),
            parts: vec![part(&text)],
            text,
            silent: false,
            per_minute: 1000,
            dry_run: false,
        };
        match self.store.create_outgoing(new).await.unwrap() {
            CreateOutcome::Created(message) | CreateOutcome::SameKey(message) => {
                assert!(message.text.contains(&uid), "{uid} is shown {message:?}");
            }
            CreateOutcome::NeverMet => {}
            other => panic!("{other:?}"),
        }
    }

    async fn sign_in(&mut self, side: usize, succeeds: bool) {
        let uid = self.uid(side);
        for sign_in in self.store.claim_sign_ins(&uid, 10).await.unwrap() {
            assert!(sign_in.name.contains(uid.as_str()), "{uid} has {sign_in:?}");
            let held = self.store.held_messages(sign_in.claim.id).await.unwrap();
            for message in &held {
                let text = &message.json;
                assert!(text.contains(uid.as_str()), "{uid} is given {text}");
            }
            let now = Timestamp::now();
            let step = if succeeds {
                let replaced = self
                    .store
                    .member_with(sign_in.connector, "issuer", "subject")
                    .await
                    .unwrap()
                    .map(|(user, _)| (user, vec![part(&format!("replaced at {uid}"))]));
                SignInStep::SignedIn(Box::new(NewMembership {
                    issuer: "issuer".into(),
                    subject: "subject".into(),
                    refresh_token: Some(uid.as_str().into()),
                    recheck_at: now,
                    valid_until: now + Duration::from_hours(1),
                    replaced,
                }))
            } else {
                SignInStep::Ended {
                    denied: Vec::new(),
                    parts: vec![part(&format!("not signed in at {uid}"))],
                    last_message: held.last().map_or(0, |message| message.id),
                }
            };
            let outcome = self.store.step_sign_in(sign_in.claim, step).await.unwrap();
            assert_eq!(outcome, StepOutcome::Done);
            if succeeds {
                let ids = held.iter().filter_map(|m| changes::update_id(&m.json));
                let again = ids.map(|id| (uid.clone(), sign_in.bot, id));
                self.waiting.extend(again);
            }
        }
    }

    async fn recheck(&mut self, side: usize, is_member: bool) {
        let uid = self.uid(side);
        for membership in self.store.claim_memberships(&uid, 10).await.unwrap() {
            let token = membership.refresh_token.clone();
            assert_eq!(token.as_deref(), Some(uid.as_str().as_bytes()));
            let now = Timestamp::now();
            let step = if is_member {
                MembershipStep::Keep {
                    refresh_token: None,
                    recheck_at: now,
                    valid_until: now + Duration::from_hours(1),
                }
            } else {
                MembershipStep::End
            };
            self.store.step_membership(membership, step).await.unwrap();
        }
    }
}

/// The message that is not held for a sign-in after all.
fn stays_in_inbox(outcome: WriteOutcome, lane: &ClaimedLane) -> Option<i64> {
    let stays = matches!(
        outcome.held?,
        HoldOutcome::TooMany | HoldOutcome::AlreadyMember
    );
    let last = lane.messages.iter().rfind(|m| changes::is_said(m));
    last.filter(|_| stays).map(|message| message.update_id)
}

fn write_of(lane: &ClaimedLane, changes: Vec<store::Change>) -> LaneWrite {
    LaneWrite {
        claim: lane.claim,
        changes,
        release: Some(Release::Now),
    }
}
