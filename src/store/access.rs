//! Who is let in beside the lists: grants, and the requests of those who ask for one.
//!
//! A *grant* is an entry of the list that a connector's level names, kept here rather than in Git: given by a sign-in, by an approver, or by an
//! administrator. It ends with its time, or when its object is deleted; then the next message finds none.
//!
//! A *request* waits until an approver decides it, an administrator does so through the data API, or its time is over. It is decided at most once, by
//! a change that has no effect where it waits no longer, in the same transaction that settles the tap, writes the grant and puts what follows into the
//! lane of whoever asked: an update of our own that names the request, handled like any other. Whenever the process ends, the tap is either still to be
//! handled, or what follows from it is; never both and never neither.
//!
//! What was decided stays as a record as long as ended sessions do. A request that was refused for good (*muted*) stays until it is deleted.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::objects::ObjectKey;
use super::reply_part::ReplyPart;
use super::user_decisions::ShownElsewhere;
use crate::identity::{ConnectorRef, ConnectorUid};

/// Requests of one connector that wait at once: whoever asks beyond it asks too often.
pub const MAX_WAITING_REQUESTS: i64 = 1_000;
/// So long a grant is kept after it ended.
pub(crate) const GRANT_RETENTION: Duration = Duration::from_hours(24);

/// Where a grant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantSource {
    /// The user signed in with the organization's identity provider.
    SignIn,
    /// The user asked, and it was allowed.
    Request,
    /// An administrator gave it.
    Admin,
}

impl GrantSource {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "SignIn",
            Self::Request => "Request",
            Self::Admin => "Admin",
        }
    }

    /// The source as the store keeps it.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::SignIn => 0,
            Self::Request => 1,
            Self::Admin => 2,
        }
    }

    /// Reads [`code`](Self::code).
    pub(super) fn from_code(code: i64) -> Self {
        match code {
            0 => Self::SignIn,
            1 => Self::Request,
            _ => Self::Admin,
        }
    }
}

/// A grant as it is kept. A user has at most one of each source for a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The store's number; never given twice.
    pub id: i64,
    /// Which connector lets the user in.
    pub connector: ConnectorRef,
    /// Telegram's id of the user.
    pub user: i64,
    /// First and last name; empty where it is not known.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
    /// Where it comes from.
    pub source: GrantSource,
    /// Who gave it: the OIDC subject (`issuer#sub`), the approver (`@username (id)` or the Kubernetes user), or who created it. Empty where that was a
    /// person who was erased.
    pub by: String,
    /// When it was given.
    pub since: Timestamp,
    /// When it ends; `None`: it does not by itself.
    pub until: Option<Timestamp>,
    /// When it changed last, in the order of changes of objects.
    pub revision: i64,
}

impl Grant {
    /// What it is called as an object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey(self.id, 0)
    }

    /// Whether it lets its user in at this time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// A grant that is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Which connector lets the user in.
    pub connector: ConnectorRef,
    /// Telegram's id of the user.
    pub user: i64,
    /// First and last name; empty where it is not known.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
    /// Where it comes from. A grant of the same source that the user has is replaced.
    pub source: GrantSource,
    /// As [`Grant::by`].
    pub by: String,
    /// When it ends.
    pub until: Option<Timestamp>,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestPhase {
    /// Nobody has decided it.
    Waiting,
    /// It was allowed: there is a grant, unless that has ended or was deleted.
    Allowed,
    /// It was refused.
    Refused,
    /// It was refused, and the user may not ask again.
    Muted,
    /// Its time was over before anybody decided it.
    Expired,
}

impl RequestPhase {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Allowed => "Allowed",
            Self::Refused => "Refused",
            Self::Muted => "Muted",
            Self::Expired => "Expired",
        }
    }

    /// The phase as the store keeps it.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Allowed => 1,
            Self::Refused => 2,
            Self::Muted => 3,
            Self::Expired => 4,
        }
    }

    /// Reads [`code`](Self::code). What is none of them was tampered with, and lets nobody in.
    pub(super) fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Waiting,
            1 => Self::Allowed,
            3 => Self::Muted,
            4 => Self::Expired,
            _ => Self::Refused,
        }
    }
}

/// A request as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// The store's number; never given twice.
    pub id: i64,
    /// Names it in `callback_data` and in what follows from it: nobody can guess it.
    pub token: String,
    /// Which connector is asked.
    pub connector: ConnectorRef,
    /// Telegram's id of whoever asks.
    pub user: i64,
    /// First and last name.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
    /// The connector's level when it was asked, as manifests write it.
    pub level: String,
    /// How far it has come.
    pub phase: RequestPhase,
    /// When it was made.
    pub asked_at: Timestamp,
    /// When it expires, if nobody decides it.
    pub expires_at: Timestamp,
    /// When the grant ends that it was allowed.
    pub until: Option<Timestamp>,
    /// When it was decided or expired.
    pub decided_at: Option<Timestamp>,
    /// Who decided it: `@username (id)` or the Kubernetes user. Empty where that was a person who was erased.
    pub decided_by: Option<String>,
    /// The language of whoever asks, as their client says.
    pub language: Option<String>,
    /// The chat in which it was asked: the private one of whoever asks. What follows is told there.
    pub chat: i64,
    /// The topic in it; 0: none.
    pub topic: i64,
    /// The chat that was told of it, by the id that it has now.
    pub notice_chat: i64,
    /// The message there with the buttons, as far as it is known: that which was tapped, as a process that ends between sending it and writing its id
    /// down knows none, or that of a copy.
    pub notice_message: Option<i64>,
    /// The copy of that message, if it is known that it came twice.
    pub notice_copy: Option<i64>,
    /// When it changed last, in the order of changes of objects.
    pub revision: i64,
}

impl AccessRequest {
    /// What it is called as an object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey(self.id, 0)
    }

    /// The chat that was told of it, and the message there, if that is known.
    pub fn notice(&self) -> Option<(i64, i64)> {
        Some((self.notice_chat, self.notice_message?))
    }
}

/// A request that is to be made. It is not made where one of the user's waits, the user is muted, or has asked as often as they may in a day; nor where
/// [`MAX_WAITING_REQUESTS`] wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccessRequest {
    /// Names it in `callback_data` and in what follows from it: nobody can guess it.
    pub token: String,
    /// Telegram's id of whoever asks.
    pub user: i64,
    /// First and last name.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
    /// The connector's level, as manifests write it.
    pub level: String,
    /// The language of whoever asks, as their client says.
    pub language: Option<String>,
    /// When it expires, if nobody decides it.
    pub expires_at: Timestamp,
    /// How often a user may ask within 24 hours; at least once.
    pub per_user_per_day: u32,
    /// The message that asks ([`super::WaitingMessage::id`]), which the same write finishes after it. Where it has gone meanwhile, nothing is asked.
    pub message: i64,
    /// The update that stands in the inbox for the request once it is decided.
    pub follow_up: String,
    /// The chat that is told of it, and what is sent there.
    pub notice: ShownElsewhere,
    /// What whoever asks is told, depending on what became of it.
    pub replies: AskReplies,
}

/// What whoever asks for access is told. It takes the place of a [`super::Change::Reply`] to the same message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskReplies {
    /// The request was made.
    pub asked: Vec<ReplyPart>,
    /// One waits already.
    pub waiting: Vec<ReplyPart>,
    /// They have asked as often as they may.
    pub too_many: Vec<ReplyPart>,
    /// They are muted.
    pub muted: Vec<ReplyPart>,
}

impl AskReplies {
    /// What is told of this outcome.
    pub(super) fn of(&self, outcome: AskOutcome) -> &[ReplyPart] {
        match outcome {
            AskOutcome::Asked(_) => &self.asked,
            AskOutcome::Waiting => &self.waiting,
            AskOutcome::TooMany => &self.too_many,
            AskOutcome::Muted => &self.muted,
        }
    }
}

/// What became of a [`NewAccessRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskOutcome {
    /// It was made, and has this number.
    Asked(i64),
    /// One of the user's waits already.
    Waiting,
    /// The user has asked as often as they may within 24 hours.
    TooMany,
    /// A request of the user's was refused for good.
    Muted,
}

/// What is decided of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessVerdict {
    /// The user is let in.
    Allow {
        /// When that ends.
        until: Option<Timestamp>,
    },
    /// The user is not let in, and may ask again.
    Refuse,
    /// The user is not let in, and may not ask again.
    Mute,
}

impl AccessVerdict {
    /// What the request is then.
    pub(super) fn phase(self) -> RequestPhase {
        match self {
            Self::Allow { .. } => RequestPhase::Allowed,
            Self::Refuse => RequestPhase::Refused,
            Self::Mute => RequestPhase::Muted,
        }
    }

    /// When the grant ends that it gives.
    pub(super) fn until(self) -> Option<Timestamp> {
        match self {
            Self::Allow { until } => until,
            Self::Refuse | Self::Mute => None,
        }
    }
}

/// What became of a request that was to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecideOutcome {
    /// It was decided so.
    Decided(Box<AccessRequest>),
    /// It had been decided, or its time was over; nothing changed.
    AlreadyDecided(Box<AccessRequest>),
    /// There is none of this number.
    NotFound,
}

/// A request whose time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredRequest {
    /// The connector that was asked for access.
    pub connector: ConnectorUid,
    /// The request's number in the store.
    pub id: i64,
}

/// The store's side of grants and requests.
#[async_trait]
pub trait AccessStore: Send + Sync + 'static {
    /// The grants of a user for a connector ([`super::Claim::connector`]), those that are over left out. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn grants_of(&self, connector: i64, user: i64) -> Result<Vec<Grant>, StoreError>;

    /// Gives a grant, durably. One of the same source that the user has is replaced, and is gone as an object.
    ///
    /// # Errors
    /// [`StoreError`]; then it is not known to be given.
    async fn grant(&self, new: NewGrant) -> Result<Grant, StoreError>;

    /// A request of a connector ([`super::Claim::connector`]) by its number. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn access_request(
        &self,
        connector: i64,
        id: i64,
    ) -> Result<Option<AccessRequest>, StoreError>;

    /// A request of a connector by its [`AccessRequest::token`]. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn access_request_by_token(
        &self,
        connector: i64,
        token: &str,
    ) -> Result<Option<AccessRequest>, StoreError>;

    /// The request because of which a user may not ask a connector now: one that is muted, or else one that waits. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn open_access_request(
        &self,
        connector: i64,
        user: i64,
    ) -> Result<Option<AccessRequest>, StoreError>;

    /// Decides a request of a namespace, durably and at most once; what follows from it waits in the lane of whoever asked when this returns, and the
    /// [`work_notifier`](super::Store::work_notifier) is told.
    ///
    /// # Errors
    /// [`StoreError`]; then it is not known to be decided: asking again tells.
    async fn decide_access_request(
        &self,
        namespace: &str,
        id: i64,
        verdict: AccessVerdict,
        by: &str,
    ) -> Result<DecideOutcome, StoreError>;

    /// Ends a bounded number of requests whose time is over, and says which; what follows from each waits in the lane of whoever asked. Costs no write
    /// when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn expire_access_requests(&self) -> Result<Vec<ExpiredRequest>, StoreError>;
}
