//! Sign-in with the company account, resolved: the identity provider that `spec.access.companyUsers.oidc` names, built once for each spec and
//! client secret. Nothing here waits for the provider: it is asked in the background, and its standing asks for another reconcile.

use std::sync::Arc;

use secrecy::SecretString;

use super::access::AccessProblem;
use super::context::Context;
use super::error::ReconcileError;
use super::provider_spec::ProviderSpec;
use super::secret_key::read_key;
use super::status::SecretProblem;
use crate::api::conditions::Reason;
use crate::api::connector::{DEFAULT_CLIENT_SECRET_KEY, TelegramConnectorSpec};
use crate::assistant::Credentials;
use crate::identity::ConnectorRef;
use crate::identity_provider::{
    IdentityProvider, ProviderConfig, ProviderError, RequiredClaim, Standing,
};
use crate::registry::SignInPolicy;

/// What came of `spec.access.companyUsers.oidc`.
#[derive(Default)]
pub(super) struct ResolvedSignIn {
    /// How members of the company are recognized; `None` where they are not. A provider that cannot be used is there all the same: members keep
    /// their access until their recheck fails.
    pub(super) policy: Option<SignInPolicy>,
    /// Nobody has looked yet whether the provider can be used.
    pub(super) is_unknown: bool,
    /// What keeps people from signing in.
    pub(super) problem: Option<AccessProblem>,
}

/// Resolves how people sign in with the company account.
///
/// # Errors
/// [`ReconcileError::ReadSecret`] when the API server cannot be asked.
pub(super) async fn resolve_sign_in(
    spec: &TelegramConnectorSpec,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<ResolvedSignIn, ReconcileError> {
    let uid = &connector_ref.uid;
    let Some(oidc) = spec.access.deciding_provider() else {
        ctx.caches.identity_providers.remove(uid);
        return Ok(ResolvedSignIn::default());
    };
    let secret = read_key(
        oidc.client_secret_ref.as_ref(),
        DEFAULT_CLIENT_SECRET_KEY,
        "the client secret of the identity provider",
        connector_ref,
        ctx,
    )
    .await?;
    let (secret, missing) = match secret {
        _ if !ctx.inputs.can_seal => (None, Some(key_missing())),
        Ok(secret) => (secret, None),
        Err(problem) => (None, Some(secret_missing(&problem))),
    };
    let spec = ProviderSpec {
        oidc: oidc.clone(),
        unavailable: missing
            .as_ref()
            .map(|problem| ProviderError::Refused(problem.message())),
    };
    let (built, _) = ctx.caches.identity_providers.get_or_build(
        uid,
        &spec,
        Credentials::from(secret),
        |spec, credentials| Ok(build(spec, credentials.api_key, connector_ref, ctx)),
    );
    let Ok(provider) = built else {
        return Ok(ResolvedSignIn::default());
    };
    let problem = missing.or_else(|| match provider.standing() {
        Standing::Failing(error) => Some(failing(&error)),
        Standing::Unknown | Standing::Ready => None,
    });
    Ok(ResolvedSignIn {
        is_unknown: provider.standing() == Standing::Unknown && problem.is_none(),
        problem,
        policy: Some(SignInPolicy {
            provider,
            recheck: oidc.recheck(),
            grace: oidc.grace(),
        }),
    })
}

/// A provider that is looked after in the background.
fn build(
    spec: &ProviderSpec,
    secret: Option<SecretString>,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Arc<IdentityProvider> {
    let oidc = &spec.oidc;
    let claims = oidc.required_claims.iter().flatten();
    let config = ProviderConfig {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        // Secrets that were made with `echo` end in a newline.
        client_secret: secret.map(|s| secrecy::ExposeSecret::expose_secret(&s).trim().into()),
        required_claims: claims
            .map(|required| RequiredClaim {
                claim: required.claim.clone(),
                values: required.values.clone(),
            })
            .collect(),
        scopes: oidc.scopes.clone(),
        unavailable: spec.unavailable.clone(),
    };
    let built = ctx
        .inputs
        .factory
        .build_identity_provider(config, ctx.clock.clone());
    let provider = Arc::new(built);
    let (requeue, uid) = (ctx.requeue.clone(), connector_ref.uid.clone());
    IdentityProvider::watch(&provider, move || {
        // The receiver is gone only when the process ends.
        let _ = requeue.send(uid.clone());
    });
    provider
}

fn failing(error: &ProviderError) -> AccessProblem {
    let reason = match error {
        ProviderError::Unreachable(_) | ProviderError::Invalid(_) => {
            Reason::IdentityProviderUnreachable
        }
        ProviderError::Refused(_) => Reason::IdentityProviderRefused,
        ProviderError::NoDeviceEndpoint => Reason::DeviceFlowUnsupported,
    };
    AccessProblem::SignIn(reason, error.to_string())
}

fn secret_missing(problem: &SecretProblem) -> AccessProblem {
    let reason = match problem {
        SecretProblem::NotFound { .. } => Reason::SecretNotFound,
        SecretProblem::KeyMissing { .. } => Reason::SecretKeyMissing,
        SecretProblem::NotAllowed { .. } => Reason::SecretNotAllowed,
    };
    let message = problem.message();
    AccessProblem::SignIn(
        reason,
        format!("spec.access.companyUsers.oidc.clientSecretRef: {message}"),
    )
}

fn key_missing() -> AccessProblem {
    AccessProblem::SignIn(
        Reason::SignInKeyMissing,
        "the operator has no key to seal what a sign-in leaves in the store; its administrator gives it one with --sign-in-key-file".to_owned(),
    )
}
