//! What is to be done next about the certificates: a pure decision over what the Secret and the `APIService` hold.

use std::time::Duration;

/// How long a serving certificate is valid.
pub(super) const SERVING_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// How long an authority is valid.
pub(super) const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// What the Secret holds, judged at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaterialState {
    /// For how long the serving certificate is still good; `None` if it is not: ended, for another name, or of an authority that is not there.
    pub(super) serving_left: Option<Duration>,
    /// The newest authority has issued the serving certificate.
    pub(super) issued_by_newest: bool,
    /// For how long the newest authority is still good.
    pub(super) authority_left: Duration,
    /// The `APIService` holds exactly the authorities of the Secret.
    pub(super) published: bool,
}

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateAction {
    /// Makes an authority and a serving certificate.
    Create,
    /// Issues a serving certificate by the newest authority; an authority that is needed no more goes.
    Issue,
    /// Adds an authority. It issues nothing before it is published.
    AddAuthority,
    /// Writes the authorities into the `APIService`.
    Publish,
}

/// `None`: nothing is due. `state` is `None` when the Secret holds nothing that can be used.
///
/// A serving certificate of a new authority comes after the authority is published: until then the aggregator would refuse it. That is why
/// what can be done without publishing comes first, so that an `APIService` that cannot be written stops no renewal.
pub(super) fn next_action(state: Option<MaterialState>) -> Option<CertificateAction> {
    let Some(state) = state else {
        return Some(CertificateAction::Create);
    };
    if state.authority_left.is_zero() {
        return Some(CertificateAction::Create);
    }
    let Some(serving_left) = state.serving_left else {
        return Some(CertificateAction::Issue);
    };
    if state.issued_by_newest {
        if is_due(state.authority_left, AUTHORITY_LIFETIME) {
            return Some(CertificateAction::AddAuthority);
        }
        if is_due(serving_left, SERVING_LIFETIME) {
            return Some(CertificateAction::Issue);
        }
    }
    if !state.published {
        return Some(CertificateAction::Publish);
    }
    (!state.issued_by_newest).then_some(CertificateAction::Issue)
}

/// After two thirds of its life: a leader that is away for weeks misses nothing.
fn is_due(left: Duration, lifetime: Duration) -> bool {
    left < lifetime / 3
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn state(serving_days: u32, issued_by_newest: bool, authority_days: u32) -> MaterialState {
        MaterialState {
            serving_left: (serving_days > 0).then_some(DAY * serving_days),
            issued_by_newest,
            authority_left: DAY * authority_days,
            published: true,
        }
    }

    #[rstest]
    #[case::nothing_there(None, Some(CertificateAction::Create))]
    #[case::new(Some(state(90, true, 3650)), None)]
    #[case::serving_at_two_thirds(Some(state(31, true, 3650)), None)]
    #[case::serving_past_two_thirds(Some(state(29, true, 3650)), Some(CertificateAction::Issue))]
    #[case::serving_ended(Some(state(0, false, 3650)), Some(CertificateAction::Issue))]
    #[case::authority_past_two_thirds(
        Some(state(60, true, 1200)),
        Some(CertificateAction::AddAuthority)
    )]
    #[case::authority_added(Some(state(60, false, 3650)), Some(CertificateAction::Issue))]
    #[case::authority_ended(Some(state(60, true, 0)), Some(CertificateAction::Create))]
    fn action_follows_from_what_is_left(
        #[case] state: Option<MaterialState>,
        #[case] expected: Option<CertificateAction>,
    ) {
        assert_eq!(next_action(state), expected);
    }

    #[test]
    fn new_authority_is_published_before_it_issues() {
        let unpublished = MaterialState {
            published: false,
            ..state(20, false, 3650)
        };
        assert_eq!(
            next_action(Some(unpublished)),
            Some(CertificateAction::Publish)
        );
    }

    #[test]
    fn unpublished_bundle_stops_no_renewal() {
        let unpublished = MaterialState {
            published: false,
            ..state(20, true, 3650)
        };
        assert_eq!(
            next_action(Some(unpublished)),
            Some(CertificateAction::Issue)
        );
    }
}
