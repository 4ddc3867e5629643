//! What callers ask of the writer: each request with the place for its outcome, and whoever waits for it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::access::{ExpiredRequest, NewGrant};
use super::access_statements::{DecideRequest, WrittenVerdict};
use super::day_usage::{LimitedQuestion, ReachedLimit};
use super::objects::{ErasedCounts, ObjectKey, ObjectKind};
use super::outgoing::{NewOutgoing, WrittenOutgoing};
use super::records::{Change, ClaimOutcome, ClaimRequest, LaneWrite, Retention, WriteOutcome};
use super::sign_ins::{SignInAnswer, SignInRequest};
use super::user_decisions::ExpiredDecision;
use super::{AcceptOutcome, StoreError};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;

/// A request, the place for its outcome, and whoever waits for it.
pub(super) struct Pending<Q, R> {
    pub(super) request: Q,
    outcome: Option<Result<R, StoreError>>,
    /// `None`: nobody.
    caller: Option<oneshot::Sender<Result<R, StoreError>>>,
}

impl<Q, R> Pending<Q, R> {
    /// For a caller, or for nobody.
    pub(super) fn new(request: Q, caller: Option<oneshot::Sender<Result<R, StoreError>>>) -> Self {
        Self {
            request,
            outcome: None,
            caller,
        }
    }

    /// Notes what became of it; its caller is told once the batch is committed.
    pub(super) fn resolve(&mut self, outcome: Result<R, StoreError>) {
        self.outcome = Some(outcome);
    }

    /// Tells its caller: the failure of the whole batch, if there is one.
    pub(super) fn answer(self, failure: Option<&StoreError>) {
        let outcome = match (failure, self.outcome) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(StoreError::Unavailable("it was not carried out".into())),
        };
        match (self.caller, outcome) {
            // A caller that has gone away needs no answer; its write is done all the same.
            (Some(caller), outcome) => drop(caller.send(outcome)),
            (None, Err(error)) => {
                tracing::warn!(%error, "what nobody waits for was not written");
            }
            (None, Ok(_)) => {}
        }
    }
}

/// Updates to be made durable.
pub(super) struct Accept {
    pub(super) connector: ConnectorUid,
    pub(super) bot: BotId,
    pub(super) updates: Vec<RawUpdate>,
}

/// Messages to be given up: a connector's, for any bot but this.
pub(super) struct OtherBots {
    pub(super) connector: ConnectorUid,
    pub(super) bot: BotId,
    pub(super) before: Timestamp,
}

/// Changes to a lane.
pub(super) struct ChangeLane {
    pub(super) write: Arc<LaneWrite>,
    /// Told to the notifier if something still waits in the lane that was given back; `None`: the caller sees to it.
    pub(super) notify: Option<ConnectorUid>,
}

/// Messages of a sender that count in a minute.
pub(super) struct CountMessages {
    pub(super) connector: i64,
    pub(super) sender: i64,
    pub(super) minute: i64,
    pub(super) messages: u32,
}

/// Objects to be deleted, of one namespace.
pub(super) struct DeleteObjects {
    pub(super) kind: ObjectKind,
    pub(super) namespace: String,
    pub(super) keys: Vec<ObjectKey>,
}

/// A person to be erased.
pub(super) struct Erase {
    pub(super) user: i64,
    /// `None`: in all namespaces.
    pub(super) namespace: Option<String>,
}

/// One caller's write.
pub(super) enum StoreRequest {
    Accept(Pending<Accept, AcceptOutcome>),
    Claim(Pending<Vec<ClaimRequest>, ClaimOutcome>),
    Write(Pending<ChangeLane, WriteOutcome>),
    KeepClaims(Pending<(), Vec<(ConnectorUid, Timestamp)>>),
    ReleaseClaims(Pending<(), ()>),
    ReadyNow(Pending<ConnectorUid, ()>),
    DeadLetterOtherBots(Pending<OtherBots, u64>),
    Prune(Pending<Retention, bool>),
    /// Removes these lanes, should they still hold nothing.
    PruneLanes(Pending<Vec<i64>, u64>),
    DeleteConnectorData(Pending<ConnectorUid, ()>),
    Retry(Pending<Vec<i64>, u64>),
    Register(Pending<ConnectorRef, ()>),
    ExpireDecisions(Pending<(), Vec<ExpiredDecision>>),
    CreateOutgoing(Pending<NewOutgoing, WrittenOutgoing>),
    /// Answered with its number.
    Grant(Pending<NewGrant, i64>),
    DecideAccessRequest(Pending<DecideRequest, WrittenVerdict>),
    ExpireAccessRequests(Pending<(), Vec<ExpiredRequest>>),
    SignIn(Pending<SignInRequest, SignInAnswer>),
    /// Answered with all that were counted in the minute.
    CountMessages(Pending<CountMessages, u32>),
    /// Answered with the limit that lets it not be asked.
    CountQuestion(Pending<LimitedQuestion, Option<ReachedLimit>>),
    /// Answered with how many there were.
    DeleteObjects(Pending<DeleteObjects, u64>),
    Erase(Pending<Erase, ErasedCounts>),
    Probe(Pending<(), ()>),
}

/// The operations' names in metrics: every [`StoreRequest::label`].
pub(super) const OPERATIONS: [&str; 22] = [
    "accept",
    "claim",
    "write",
    "keep_claims",
    "release_claims",
    "ready_now",
    "bury_other_bots",
    "prune",
    "forget",
    "retry",
    "register",
    "expire_decisions",
    "create_outgoing",
    "grant",
    "decide_access_request",
    "expire_access_requests",
    "sign_in",
    "count_messages",
    "count_question",
    "delete_objects",
    "erase",
    "probe",
];

impl StoreRequest {
    /// Whether its caller relies on it to survive the loss of power. Where a lane's changes do not, its message is there as before and is
    /// answered again; a lost claim is claimed again.
    pub(super) fn must_be_durable(&self) -> bool {
        match self {
            Self::Accept(_)
            | Self::DeadLetterOtherBots(_)
            | Self::DeleteConnectorData(_)
            | Self::Retry(_)
            | Self::ExpireDecisions(_)
            | Self::DeleteObjects(_)
            | Self::Erase(_)
            | Self::CreateOutgoing(_)
            | Self::Grant(_)
            | Self::DecideAccessRequest(_)
            | Self::ExpireAccessRequests(_)
            | Self::SignIn(_)
            | Self::Probe(_) => true,
            Self::Claim(_)
            | Self::Write(_)
            | Self::KeepClaims(_)
            | Self::ReleaseClaims(_)
            | Self::ReadyNow(_)
            | Self::Prune(_)
            | Self::PruneLanes(_)
            | Self::Register(_)
            | Self::CountMessages(_)
            | Self::CountQuestion(_) => false,
        }
    }

    /// Whether other processes must not write beside it.
    pub(super) fn excludes_others(&self) -> bool {
        matches!(self, Self::DeleteObjects(_) | Self::Erase(_))
    }

    /// Whether it may change what lists and watches of objects show.
    pub(super) fn may_change_objects(&self) -> bool {
        match self {
            Self::Accept(accept) => {
                let mut updates = accept.request.updates.iter();
                updates.any(|update| update.route.moved.is_some())
            }
            Self::Write(write) => write.request.write.changes.iter().any(|change| {
                matches!(
                    change,
                    Change::BeginSession { .. }
                        | Change::EndSession
                        | Change::Exchange { .. }
                        | Change::Denied(..)
                        | Change::DeadLetter { .. }
                        | Change::EndReply { .. }
                        | Change::AskForAccess(_)
                        | Change::DecideAccessRequest { .. }
                        | Change::SignOut { .. }
                )
            }),
            Self::SignIn(sign_in) => sign_in.request.may_change_objects(),
            Self::DeadLetterOtherBots(_)
            | Self::Prune(_)
            | Self::DeleteConnectorData(_)
            | Self::Retry(_)
            | Self::CreateOutgoing(_)
            | Self::Grant(_)
            | Self::DecideAccessRequest(_)
            | Self::ExpireAccessRequests(_)
            | Self::DeleteObjects(_)
            | Self::Erase(_) => true,
            Self::Claim(_)
            | Self::KeepClaims(_)
            | Self::ReleaseClaims(_)
            | Self::ReadyNow(_)
            | Self::PruneLanes(_)
            | Self::Register(_)
            | Self::ExpireDecisions(_)
            | Self::CountMessages(_)
            | Self::CountQuestion(_)
            | Self::Probe(_) => false,
        }
    }

    /// Whose messages can be claimed now that it is committed.
    pub(super) fn new_work(&self) -> Option<&ConnectorUid> {
        match self {
            Self::Accept(Pending {
                request,
                outcome: Some(Ok(accepted)),
                ..
            }) if accepted.new > 0 => Some(&request.connector),
            Self::Write(Pending {
                request:
                    ChangeLane {
                        notify: Some(connector),
                        ..
                    },
                outcome: Some(Ok(written)),
                ..
            }) if written.more_waits => Some(connector),
            Self::CreateOutgoing(Pending {
                request,
                outcome: Some(Ok(WrittenOutgoing::Created { .. })),
                ..
            }) => Some(&request.connector.uid),
            Self::DecideAccessRequest(Pending {
                outcome: Some(Ok(written)),
                ..
            }) => written.follows_for.as_ref(),
            _ => None,
        }
    }

    /// Whether nobody waits for it.
    pub(super) fn is_background(&self) -> bool {
        matches!(self, Self::Write(pending) if pending.caller.is_none())
    }

    /// The operation's name in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Claim(_) => "claim",
            Self::Write(_) => "write",
            Self::KeepClaims(_) => "keep_claims",
            Self::ReleaseClaims(_) => "release_claims",
            Self::ReadyNow(_) => "ready_now",
            Self::DeadLetterOtherBots(_) => "bury_other_bots",
            Self::Prune(_) | Self::PruneLanes(_) => "prune",
            Self::DeleteConnectorData(_) => "forget",
            Self::Retry(_) => "retry",
            Self::Register(_) => "register",
            Self::ExpireDecisions(_) => "expire_decisions",
            Self::CreateOutgoing(_) => "create_outgoing",
            Self::Grant(_) => "grant",
            Self::DecideAccessRequest(_) => "decide_access_request",
            Self::ExpireAccessRequests(_) => "expire_access_requests",
            Self::SignIn(_) => "sign_in",
            Self::CountMessages(_) => "count_messages",
            Self::CountQuestion(_) => "count_question",
            Self::DeleteObjects(_) => "delete_objects",
            Self::Erase(_) => "erase",
            Self::Probe(_) => "probe",
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Accept(accept) => accept.request.updates.len().max(1),
            _ => 1,
        }
    }

    pub(super) fn answer(self, failure: Option<&StoreError>) {
        match self {
            Self::Accept(pending) => pending.answer(failure),
            Self::Claim(pending) => pending.answer(failure),
            Self::Write(pending) => pending.answer(failure),
            Self::KeepClaims(pending) => pending.answer(failure),
            Self::ReleaseClaims(pending) => pending.answer(failure),
            Self::ReadyNow(pending) => pending.answer(failure),
            Self::DeadLetterOtherBots(pending) => pending.answer(failure),
            Self::Prune(pending) => pending.answer(failure),
            Self::PruneLanes(pending) => pending.answer(failure),
            Self::DeleteConnectorData(pending) => pending.answer(failure),
            Self::Retry(pending) => pending.answer(failure),
            Self::Register(pending) => pending.answer(failure),
            Self::ExpireDecisions(pending) => pending.answer(failure),
            Self::CreateOutgoing(pending) => pending.answer(failure),
            Self::Grant(pending) => pending.answer(failure),
            Self::DecideAccessRequest(pending) => pending.answer(failure),
            Self::ExpireAccessRequests(pending) => pending.answer(failure),
            Self::SignIn(pending) => pending.answer(failure),
            Self::CountMessages(pending) => pending.answer(failure),
            Self::CountQuestion(pending) => pending.answer(failure),
            Self::DeleteObjects(pending) => pending.answer(failure),
            Self::Erase(pending) => pending.answer(failure),
            Self::Probe(pending) => pending.answer(failure),
        }
    }
}
