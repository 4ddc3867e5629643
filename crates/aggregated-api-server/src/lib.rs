//! The Kubernetes side of an aggregated API.
//!
//! An [`ApiServer`] answers what kube-apiserver's aggregator hands on for one API group, and asks a [`Resource`] for plain values: which
//! objects there are, what has changed, make this, delete that. Discovery, `OpenAPI`, tables, selectors, pages, watches, `Status` errors,
//! the aggregator's identity and the access reviews are its own. It listens nowhere: whoever has a TLS connection gives it the requests.
//!
//! The README has an example, and says what is served and what is not.

mod access_review;
mod audit;
mod body;
mod caller;
mod continue_token;
mod description;
mod discovery;
mod documents;
mod encoding;
mod error;
mod front_proxy;
mod list;
mod negotiation;
mod object;
mod openapi;
mod request;
mod resource;
mod response;
mod selector;
mod served;
mod server;
mod status;
mod table;
mod unknown_fields;
mod watch;
mod write;

pub use access_review::SubjectAccessReviewer;
pub use caller::{AccessAttributes, AccessDecision, Authorizer, Caller};
pub use description::{
    ColumnType, ResourceDescription, ResourceVerb, SelectableField, SubresourceDescription,
    SubresourceVerb, TableColumn,
};
pub use error::{ApiError, CauseReason, FieldCause};
pub use front_proxy::{FrontProxyConfig, FrontProxyConfigError, client_certificate_verifier};
pub use object::Object;
pub use resource::{Change, Changes, DeletedObject, ListQuery, ObjectPage, Resource};
pub use response::{ApiBody, BoxError};
pub use server::{ApiGroup, ApiServer, ServerSettings};
pub use unknown_fields::METADATA_FIELDS;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
