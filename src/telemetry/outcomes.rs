//! What becomes of updates and of webhook requests, as metrics count it.

/// The outcome of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// Written to the inbox for the first time.
    Received,
    /// Received before: a redelivery.
    Duplicate,
    /// Its sender has no access.
    Denied,
    /// Replied to, and Telegram accepted the whole reply.
    Answered,
    /// An attempt failed and will be repeated.
    Failed,
    /// Ignored: a group message without a mention, a service message, an unknown kind.
    Ignored,
    /// Given up: a dead letter.
    DeadLettered,
}

impl UpdateOutcome {
    pub(super) const ALL: [Self; 7] = [
        Self::Received,
        Self::Duplicate,
        Self::Denied,
        Self::Answered,
        Self::Failed,
        Self::Ignored,
        Self::DeadLettered,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Duplicate => "duplicate",
            Self::Denied => "denied",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// What becomes of a sign-in with the organization's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInOutcome {
    /// It has begun: somebody wrote who is no member.
    Begun,
    /// They signed in and are let in.
    SignedIn,
    /// They, or the provider, said no.
    Refused,
    /// Its time was over.
    Expired,
    /// They signed in, and a claim does not hold.
    ClaimsMissing,
    /// The provider could not be used.
    ProviderFailed,
    /// It is needed no more: they logged out, or are let in otherwise.
    Cancelled,
}

impl SignInOutcome {
    pub(super) const ALL: [Self; 7] = [
        Self::Begun,
        Self::SignedIn,
        Self::Refused,
        Self::Expired,
        Self::ClaimsMissing,
        Self::ProviderFailed,
        Self::Cancelled,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::SignedIn => "signed_in",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::ClaimsMissing => "claims_missing",
            Self::ProviderFailed => "provider_failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a recheck of a member found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecheckOutcome {
    /// A member still.
    Member,
    /// The provider could not be asked; it is tried again.
    Retried,
    /// There is no refresh token, and the recheck is not due yet.
    NotDue,
    /// The provider honours the refresh token no more.
    Revoked,
    /// A claim holds no longer.
    ClaimsMissing,
    /// There is no refresh token: they sign in again.
    SignInAgain,
    /// The provider could not be asked until the grace was over.
    Unreachable,
    /// The connector has another provider now, or none.
    OtherProvider,
}

impl RecheckOutcome {
    pub(super) const ALL: [Self; 8] = [
        Self::Member,
        Self::Retried,
        Self::NotDue,
        Self::Revoked,
        Self::ClaimsMissing,
        Self::SignInAgain,
        Self::Unreachable,
        Self::OtherProvider,
    ];

    /// In snake case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Retried => "retried",
            Self::NotDue => "not_due",
            Self::Revoked => "revoked",
            Self::ClaimsMissing => "claims_missing",
            Self::SignInAgain => "sign_in_again",
            Self::Unreachable => "unreachable",
            Self::OtherProvider => "other_provider",
        }
    }

    /// Whether the person is let in no more.
    pub(crate) fn ends_access(self) -> bool {
        !matches!(self, Self::Member | Self::Retried | Self::NotDue)
    }
}

/// Why the webhook server refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookRefusal {
    /// No connector has this uid, or it is not in webhook mode.
    UnknownConnector,
    /// The `X-Telegram-Bot-Api-Secret-Token` is missing or wrong.
    BadSecret,
    /// The method is not `POST`.
    Method,
    /// The body is longer than the limit.
    TooLarge,
    /// Not `application/json`, or an incomplete body.
    NotAnUpdate,
    /// From Telegram and complete, but not an update: acknowledged, so that Telegram does not send it again.
    Unusable,
    /// The inbox does not accept it now: 503.
    Backlog,
}

impl WebhookRefusal {
    pub(super) const ALL: [Self; 7] = [
        Self::UnknownConnector,
        Self::BadSecret,
        Self::Method,
        Self::TooLarge,
        Self::NotAnUpdate,
        Self::Unusable,
        Self::Backlog,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::UnknownConnector => "unknown_connector",
            Self::BadSecret => "bad_secret",
            Self::Method => "method",
            Self::TooLarge => "too_large",
            Self::NotAnUpdate => "not_an_update",
            Self::Unusable => "unusable",
            Self::Backlog => "backlog",
        }
    }
}
