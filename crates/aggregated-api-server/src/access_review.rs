//! Kubernetes RBAC decides: each request is asked of kube-apiserver by a `SubjectAccessReview`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::caller::{AccessAttributes, AccessDecision, Authorizer, Caller};
use crate::error::ApiError;

/// How long a yes holds.
const ALLOWED_FOR: Duration = Duration::from_secs(10);

/// How long a no holds.
const DENIED_FOR: Duration = Duration::from_secs(5);

/// How many decisions are remembered.
const CAPACITY: usize = 4096;

/// How long kube-apiserver may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks kube-apiserver who may do what, and remembers the answers for seconds. Its `ServiceAccount` needs the `ClusterRole`
/// `system:auth-delegator`.
pub struct SubjectAccessReviewer {
    reviews: Api<SubjectAccessReview>,
    remembered: Mutex<HashMap<(Caller, AccessAttributes), (Instant, AccessDecision)>>,
}

impl SubjectAccessReviewer {
    /// Asks by `client`.
    pub fn new(client: Client) -> Self {
        Self {
            reviews: Api::all(client),
            remembered: Mutex::default(),
        }
    }

    fn remember(&self, key: (Caller, AccessAttributes), decision: &AccessDecision, now: Instant) {
        let holds = if decision.allowed {
            ALLOWED_FOR
        } else {
            DENIED_FOR
        };
        let mut remembered = self.remembered.lock();
        if remembered.len() >= CAPACITY {
            remembered.retain(|_, (until, _)| *until > now);
        }
        if remembered.len() >= CAPACITY {
            remembered.clear();
        }
        remembered.insert(key, (now + holds, decision.clone()));
    }
}

#[async_trait]
impl Authorizer for SubjectAccessReviewer {
    async fn authorize(
        &self,
        caller: &Caller,
        attributes: &AccessAttributes,
    ) -> Result<AccessDecision, ApiError> {
        let now = Instant::now();
        let key = (caller.clone(), attributes.clone());
        if let Some((until, decision)) = self.remembered.lock().get(&key)
            && *until > now
        {
            return Ok(decision.clone());
        }
        let review = review(caller, attributes);
        let asked = PostParams::default();
        let asked = tokio::time::timeout(TIMEOUT, self.reviews.create(&asked, &review)).await;
        let status = match asked {
            Ok(Ok(review)) => review.status.unwrap_or_default(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "an access review failed; the request is not carried out");
                return Err(ApiError::unavailable(
                    "it cannot be found out now whether this is allowed",
                ));
            }
            Err(_) => {
                return Err(ApiError::unavailable(
                    "it takes too long to find out whether this is allowed",
                ));
            }
        };
        if !status.allowed
            && let Some(error) = status.evaluation_error.as_deref()
        {
            tracing::warn!(error, "an access review was answered with an error");
        }
        let decision = AccessDecision {
            allowed: status.allowed && status.denied != Some(true),
            reason: status.reason.unwrap_or_default(),
        };
        self.remember(key, &decision, now);
        Ok(decision)
    }
}

fn review(caller: &Caller, attributes: &AccessAttributes) -> SubjectAccessReview {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(caller.user.clone()),
            uid: some(&caller.uid),
            groups: Some(caller.groups.clone()),
            extra: Some(caller.extra.clone()).filter(|extra| !extra.is_empty()),
            resource_attributes: Some(ResourceAttributes {
                verb: some(&attributes.verb),
                group: some(&attributes.group),
                version: some(&attributes.version),
                resource: some(&attributes.resource),
                subresource: some(&attributes.subresource),
                namespace: some(&attributes.namespace),
                name: some(&attributes.name),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
