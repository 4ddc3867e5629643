//! Who asks, and who says whether they may.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::ApiError;

/// Who made a request, as kube-apiserver has found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The user's name, as in `system:serviceaccount:acme:reporter`.
    pub user: String,
    /// The user's uid; empty if there is none.
    pub uid: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What else the authenticator knows, such as scopes.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AccessAttributes {
    /// `get`, `list`, `watch`, `create`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The version in it.
    pub version: String,
    /// The plural name.
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// Empty for all namespaces.
    pub namespace: String,
    /// Empty for all objects.
    pub name: String,
}

/// Whether a caller may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessDecision {
    /// Whether.
    pub allowed: bool,
    /// Why, as far as the authorizer says; may be empty.
    pub reason: String,
}

/// Says who may do what.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Decides on one request.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] if that cannot be found out now. Nothing is then done.
    async fn authorize(
        &self,
        caller: &Caller,
        attributes: &AccessAttributes,
    ) -> Result<AccessDecision, ApiError>;
}
