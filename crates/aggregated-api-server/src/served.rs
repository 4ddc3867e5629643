//! A resource with the names it is served under.

use std::sync::Arc;

use crate::description::ResourceDescription;
use crate::error::ApiError;
use crate::resource::Resource;
use crate::status::{StatusError, Subject};
use crate::watch::WatchHub;

/// One resource of the server.
pub(crate) struct Served {
    pub group: String,
    pub version: String,
    pub resource: Arc<dyn Resource>,
    pub hub: Arc<WatchHub>,
}

impl Served {
    pub(crate) fn description(&self) -> &ResourceDescription {
        self.resource.description()
    }

    /// As in `data.example.com/v1`.
    pub(crate) fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    pub(crate) fn subject<'a>(&'a self, name: &'a str) -> Subject<'a> {
        Subject {
            group: &self.group,
            kind: &self.description().kind,
            resource: &self.description().plural,
            name,
        }
    }

    /// What the resource says of the object `name` (empty: of all), as a `Status`.
    pub(crate) fn error(&self, error: ApiError, name: &str) -> StatusError {
        StatusError::from_error(error, self.subject(name))
    }
}
