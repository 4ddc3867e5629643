//! Sign-ins: people who wrote to a bot and are asked to sign in with their organization's account, the messages that wait for it, and who signed in.
//!
//! A sign-in is *begun* by the change that takes the first message out of the inbox, *asked* once the person is sent link and code, and *ended*:
//! then its messages stand in the inbox again, before what waits there, or are denied. Each of these steps is one transaction, fenced by how often the sign-in was claimed:
//! whenever a process ends, a message waits in the inbox or for the sign-in, never both and never neither, and two processes never take the same step.
//!
//! A membership stands beside the grant that lets the person in, and ends with it.

pub(super) mod rows;
pub(super) mod statements;
mod steps;
pub(super) mod transaction;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::listing_records::DeniedMessage;
use super::reply_part::ReplyPart;
use crate::identity::{BotId, ConnectorUid};

/// Messages that wait for one sign-in; what comes beyond it is denied.
pub const MAX_HELD: i64 = 20;
/// Bytes of messages that wait for one sign-in: the message that goes beyond it is the last.
pub(crate) const MAX_HELD_BYTES: i64 = 64 << 10;
/// Sign-ins of one connector that are open at once; who comes beyond it is denied.
pub const MAX_OPEN: i64 = 300;
/// Sign-ins that a user may begin in an hour.
pub const MAX_PER_HOUR: i64 = 5;
/// So long a provider is tried until it gives a link and a code.
pub(crate) const START_PATIENCE: Duration = Duration::from_mins(2);
/// Codes that a provider is asked for again because it knows nothing of one any more.
pub(crate) const MAX_RESTARTS: i64 = 3;

/// A message that waits for its sender's sign-in: it leaves the inbox, if it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldForSignIn {
    /// The message ([`super::WaitingMessage::id`]).
    pub message: i64,
    /// Its sender.
    pub user: i64,
    /// First and last name.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
    /// Of the sender's client.
    pub language: Option<String>,
}

/// What became of a message that is to wait for a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOutcome {
    /// It waits, and a sign-in has begun with it.
    Begun,
    /// It waits with others.
    Held,
    /// It is in the inbox as before: its sender has signed in meanwhile.
    AlreadyMember,
    /// It is in the inbox as before: too many wait, of its sender or of all.
    TooMany,
}

/// For which connectors there is something to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignInWork {
    /// With sign-ins that are due.
    pub sign_ins: Vec<ConnectorUid>,
    /// With memberships that are due.
    pub memberships: Vec<ConnectorUid>,
}

/// A row that was claimed, and its fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignInClaim {
    /// The store's number of the sign-in.
    pub id: i64,
    /// How often it was claimed.
    pub claims: i64,
}

/// A sign-in that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedSignIn {
    /// The right to it.
    pub claim: SignInClaim,
    /// The store's number of its connector.
    pub connector: i64,
    /// The bot that was written to.
    pub bot: BotId,
    /// Who signs in.
    pub user: i64,
    /// First and last name.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
    /// Of the person's client.
    pub language: Option<String>,
    /// The sealed device code; `None`: the provider has given none yet.
    pub device: Option<Vec<u8>>,
    /// Time between two polls.
    pub poll_every: Duration,
    /// How often in a row the provider failed.
    pub failures: u32,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// The person wants it no more.
    pub is_cancelled: bool,
}

/// A message that waits for a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMessage {
    /// The number that it had in the inbox.
    pub id: i64,
    /// The update's JSON as it came.
    pub json: String,
}

/// Who signed in, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMembership {
    /// The provider's issuer, as the spec names it.
    pub issuer: String,
    /// The person's subject at that provider (OIDC `sub`).
    pub subject: String,
    /// The provider's refresh token, sealed; `None`: it gave none.
    pub refresh_token: Option<Vec<u8>>,
    /// When the provider is asked again.
    pub recheck_at: Timestamp,
    /// When that is due.
    pub valid_until: Timestamp,
    /// Who else is signed in with the same account at the same connector, and what they are told.
    pub replaced: Option<(i64, Vec<ReplyPart>)>,
}

/// A step of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInStep {
    /// The provider gave a device code: the person is told.
    Asked {
        /// The device code that the provider is polled with, sealed.
        device: Vec<u8>,
        /// When the provider is asked first.
        next_at: Timestamp,
        /// Time between two polls.
        poll_every: Duration,
        /// When the code is over.
        expires_at: Timestamp,
        /// What the person is told.
        parts: Vec<ReplyPart>,
    },
    /// The provider knows nothing of the code any more: it is asked for another one. [`StepOutcome::Changed`]: that was done too often.
    BeginAnew,
    /// The person has not signed in yet: the provider is asked again.
    Wait {
        /// When the provider is asked next.
        next_at: Timestamp,
        /// Time between two polls.
        poll_every: Duration,
        /// How often in a row it failed.
        failures: u32,
    },
    /// The person has signed in: they are let in, and what waits is in the inbox.
    SignedIn(Box<NewMembership>),
    /// What waits is in the inbox again, to be decided about as if it came now.
    Released,
    /// It ended without success.
    Ended {
        /// What is kept of the messages that waited.
        denied: Vec<DeniedMessage>,
        /// What the person is told.
        parts: Vec<ReplyPart>,
        /// The newest of those messages ([`HeldMessage::id`]; 0: none): one that came since must not be lost.
        last_message: i64,
    },
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// It is done.
    Done,
    /// It has no effect: another process has it, it ended, or it was erased.
    Lost,
    /// It has no effect: what it rests on has changed meanwhile.
    Changed,
}

/// A membership that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMembership {
    /// The store's number of its connector.
    pub connector: i64,
    /// Who signed in.
    pub user: i64,
    /// How often it was claimed.
    pub claims: i64,
    /// The provider's issuer, as the spec names it.
    pub issuer: String,
    /// The person's subject at that provider (OIDC `sub`).
    pub subject: String,
    /// The provider's refresh token, sealed.
    pub refresh_token: Option<Vec<u8>>,
    /// When the recheck is due.
    pub valid_until: Timestamp,
    /// How often in a row the provider failed.
    pub failures: u32,
}

/// What becomes of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipStep {
    /// The person is a member still.
    Keep {
        /// The new refresh token, sealed; `None`: the one before is kept.
        refresh_token: Option<Vec<u8>>,
        /// When the provider is asked again.
        recheck_at: Timestamp,
        /// When that is due.
        valid_until: Timestamp,
    },
    /// The provider could not be asked.
    Wait {
        /// When it is asked again.
        recheck_at: Timestamp,
        /// How often in a row it failed.
        failures: u32,
    },
    /// The person is let in no more.
    End,
}

/// A caller's request about sign-ins.
pub(super) enum SignInRequest {
    ClaimSignIns(ConnectorUid, u32),
    Step(SignInClaim, SignInStep),
    ClaimMemberships(ConnectorUid, u32),
    MembershipStep(ClaimedMembership, MembershipStep),
    EndMemberships(ConnectorUid, Option<String>),
    Release(ConnectorUid),
}

impl SignInRequest {
    /// Whether it may change what lists and watches of objects show.
    pub(super) fn may_change_objects(&self) -> bool {
        match self {
            Self::Step(_, step) => {
                matches!(step, SignInStep::SignedIn(_) | SignInStep::Ended { .. })
            }
            Self::MembershipStep(_, step) => *step == MembershipStep::End,
            Self::EndMemberships(..) => true,
            Self::ClaimSignIns(..) | Self::ClaimMemberships(..) | Self::Release(_) => false,
        }
    }
}

/// What a [`SignInRequest`] is answered.
pub(super) enum SignInAnswer {
    SignIns(Vec<ClaimedSignIn>),
    Step(StepOutcome),
    Memberships(Vec<ClaimedMembership>),
    Ended(u64),
}

/// The store's side of sign-ins.
#[async_trait]
pub trait SignInStore: Send + Sync + 'static {
    /// For which connectors something is due at this time. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sign_in_work(&self, now: Timestamp) -> Result<SignInWork, StoreError>;

    /// Claims at most so many due sign-ins of a connector, the longest due first. They are left to this process for some minutes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn claim_sign_ins(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedSignIn>, StoreError>;

    /// The messages that wait for a sign-in, oldest first. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn held_messages(&self, sign_in: i64) -> Result<Vec<HeldMessage>, StoreError>;

    /// Takes a step of a sign-in durably, at once or not at all.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn step_sign_in(
        &self,
        claim: SignInClaim,
        step: SignInStep,
    ) -> Result<StepOutcome, StoreError>;

    /// Ends the open sign-ins of a connector: what waits for them is in the inbox again. Returns how many there were, of a bounded number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_sign_ins(&self, connector: &ConnectorUid) -> Result<u64, StoreError>;

    /// Who is signed in at a connector (its number) with this account: their id and language. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn member_with(
        &self,
        connector: i64,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<(i64, Option<String>)>, StoreError>;

    /// The connectors at which somebody is signed in, each with the provider. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn membership_issuers(&self) -> Result<Vec<(ConnectorUid, String)>, StoreError>;

    /// Claims at most so many due memberships of a connector, likewise.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn claim_memberships(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedMembership>, StoreError>;

    /// Says durably what becomes of a claimed membership. One that ends takes its grant along.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn step_membership(
        &self,
        membership: ClaimedMembership,
        step: MembershipStep,
    ) -> Result<StepOutcome, StoreError>;

    /// Ends a connector's memberships with their grants, but for those of one provider. Returns how many there were, of a bounded number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn end_memberships(
        &self,
        connector: &ConnectorUid,
        but: Option<&str>,
    ) -> Result<u64, StoreError>;
}
