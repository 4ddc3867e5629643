//! The Kubernetes side of an aggregated API.
//!
//! An [`ApiServer`] answers what kube-apiserver's aggregator hands on for one API group, and asks a [`Resource`] for plain values: which
//! objects there are, what has changed, make this, delete that. Discovery, OpenAPI, tables, selectors, pages, watches, `Status` errors,
//! the aggregator's identity and the access reviews are its own. It listens nowhere: whoever has a TLS connection gives it the requests.
//!
//! README.md has an example.

mod caller;
mod description;
mod error;
mod object;
mod resource;

pub use caller::{AccessAttributes, AccessDecision, Authorizer, Caller};
pub use description::{
    ColumnType, ResourceDescription, ResourceVerb, SelectableField, SubresourceDescription,
    SubresourceVerb, TableColumn,
};
pub use error::{ApiError, CauseReason, FieldCause};
pub use object::Object;
pub use resource::{Change, Changes, DeletedObject, ListQuery, ObjectPage, Resource};
