//! One key of a Secret that a spec may name.

use secrecy::SecretString;

use super::context::Context;
use super::error::ReconcileError;
use super::status::SecretProblem;
use crate::api::connector::SecretKeyRef;
use crate::identity::ConnectorRef;

/// Reads the key of an assistant, a transcriber, a speaker or a sign-in's client, if it has one.
pub(super) async fn read_key(
    reference: Option<&SecretKeyRef>,
    default_key: &str,
    purpose: &'static str,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Result<Option<SecretString>, SecretProblem>, ReconcileError> {
    let Some(reference) = reference else {
        return Ok(Ok(None));
    };
    let read = ctx
        .inputs
        .secrets
        .get(
            &connector_ref.namespace,
            &reference.name,
            reference.key_or(default_key),
        )
        .await
        .map_err(|source| ReconcileError::ReadSecret { purpose, source })?;
    Ok(read.map(Some))
}
