//! What a storage gives to be served as a Kubernetes resource. Nothing here is of the Kubernetes protocol, so that a resource is written
//! and tested without it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::caller::Caller;
use crate::description::ResourceDescription;
use crate::error::ApiError;
use crate::object::Object;

/// Objects of one kind, in namespaces.
///
/// Authentication and authorization are done before any of these is called. A call may be dropped at any await point, when its client has
/// gone or its time is over. What the description does not name as a verb is never called, so that the default bodies only say so.
#[async_trait]
pub trait Resource: Send + Sync + 'static {
    /// What it is called, what can be done with it and how it is shown. Asked often: keep it.
    fn description(&self) -> &ResourceDescription;

    /// One page of the objects that `query` names, in an order that does not change.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] if the storage is away; [`ApiError::BadRequest`] for a position that is none.
    async fn list(&self, query: &ListQuery) -> Result<ObjectPage, ApiError>;

    /// One object.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is none of this name in this namespace.
    async fn get(&self, namespace: &str, name: &str) -> Result<Object, ApiError>;

    /// What has changed after revision `after`, in the order of the revisions; in all namespaces or in one.
    ///
    /// `limit` is a wish: an answer holds whole revisions only, and at least one if there is any.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] if the storage is away. A revision that is too old or has not been is no error: [`Changes`] tells it.
    async fn changes(
        &self,
        namespace: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Changes, ApiError>;

    /// Makes an object of what a client sent: a JSON object with `metadata.name`, if the client gave one or let one be generated,
    /// and with `spec`. Fields that the schema does not know are gone. With `dry_run` everything is checked and nothing is made.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] names each field that is wrong; [`ApiError::AlreadyExists`], [`ApiError::Forbidden`] and
    /// [`ApiError::TooManyRequests`] as they say.
    async fn create(
        &self,
        namespace: &str,
        caller: &Caller,
        body: Value,
        dry_run: bool,
    ) -> Result<Object, ApiError> {
        let _ = (namespace, caller, body, dry_run);
        Err(ApiError::MethodNotAllowed)
    }

    /// Deletes objects of one namespace. A name that is gone already is no error; the objects are gone for [`get`](Self::get) and
    /// [`list`](Self::list) when this returns. Called with at most 500 names.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] for what cannot be deleted now.
    async fn delete(
        &self,
        namespace: &str,
        caller: &Caller,
        names: &[String],
    ) -> Result<(), ApiError> {
        let _ = (namespace, caller, names);
        Err(ApiError::MethodNotAllowed)
    }

    /// What lies under an object, as a JSON object; `apiVersion`, `kind` and `metadata` are added if they lack.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such object.
    async fn get_subresource(
        &self,
        namespace: &str,
        caller: &Caller,
        name: &str,
        subresource: &str,
    ) -> Result<Value, ApiError> {
        let _ = (namespace, caller, name, subresource);
        Err(ApiError::MethodNotAllowed)
    }

    /// Does what the subresource stands for; `body` is null if the client sent none. The answer is completed as with
    /// [`get_subresource`](Self::get_subresource).
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`ApiError::NotFound`] if there is no such object.
    async fn create_subresource(
        &self,
        namespace: &str,
        caller: &Caller,
        name: &str,
        subresource: &str,
        body: Value,
        dry_run: bool,
    ) -> Result<Value, ApiError> {
        let _ = (namespace, caller, name, subresource, body, dry_run);
        Err(ApiError::MethodNotAllowed)
    }
}

/// Which objects, and from where on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only of this namespace; all if absent.
    pub namespace: Option<String>,
    /// Fields that must have these values, by their path as in `spec.user.id` (`metadata.name` among them). A resource that cannot ask
    /// its storage for one may ignore it: every object is compared again. It must not ignore [`namespace`](Self::namespace).
    pub fields: BTreeMap<String, String>,
    /// The [`next`](ObjectPage::next) of the page before; absent for the first one.
    pub after: Option<String>,
    /// At most so many objects, 1 to 500.
    pub limit: usize,
}

/// A part of a list.
#[derive(Debug, Clone, Default)]
pub struct ObjectPage {
    /// The objects.
    pub objects: Vec<Object>,
    /// Where the next page begins, in words of the resource's own (at most 200 bytes); absent on the last one. A client may have changed
    /// it: it must not lead out of [`ListQuery::namespace`].
    pub next: Option<String>,
    /// Every change up to this revision is in this page, if it concerns it.
    pub revision: i64,
}

/// What has changed after a revision.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The changes, by revision. Of an object that changed more than once the last change is enough.
    pub changes: Vec<Change>,
    /// Every change up to this revision is told. Never smaller than before, and smaller than what was asked for only if that revision has
    /// not been.
    pub complete_to: i64,
    /// Changes after this revision and later are known; whoever asks for earlier ones has to list anew.
    pub oldest: i64,
}

/// One change.
#[derive(Debug, Clone)]
pub enum Change {
    /// The object is there, as it is now.
    Present(Object),
    /// The object is gone.
    Deleted(DeletedObject),
}

/// An object that is gone: what may still be known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeletedObject {
    /// Where it was.
    pub namespace: String,
    /// What it was called.
    pub name: String,
    /// What it had as `metadata.uid`.
    pub uid: String,
    /// The revision at which it went.
    pub revision: i64,
}
