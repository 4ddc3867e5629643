//! The listings of the commands `grants` and `requests`: who is let in beside the lists, and who asks, or asked, to be.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

use super::{Format, ListingError, ListingWriter, PAGE, or_dash, printable};
use crate::store::{
    AccessRequest, Grant, ObjectContent, ObjectKind, ObjectQuery, Store, StoredObject,
};

/// Whose grants or requests are listed.
#[derive(Debug, Clone)]
pub struct AccessListing {
    /// The connectors' namespace.
    pub namespace: String,
    /// Only of this connector.
    pub connector: Option<String>,
}

/// Writes grants, oldest first, those included that ended and are kept still. Returns how many.
///
/// # Errors
/// [`ListingError`].
pub async fn grants(
    store: &dyn Store,
    listing: AccessListing,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    write_objects::<GrantRow>(store, listing, format, out).await
}

/// Writes requests, oldest first, those included that were decided and are kept still. Returns how many.
///
/// # Errors
/// [`ListingError`].
pub async fn requests(
    store: &dyn Store,
    listing: AccessListing,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    write_objects::<RequestRow>(store, listing, format, out).await
}

async fn write_objects<R: ObjectRow>(
    store: &dyn Store,
    listing: AccessListing,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    let mut lines = ListingWriter::new(format, R::HEADER, out);
    let query = ObjectQuery {
        namespace: Some(listing.namespace),
        connector: listing.connector,
        ..ObjectQuery::all(R::KIND)
    };
    let mut after = None;
    loop {
        let page = store.list_objects(&query, after, PAGE).await?;
        for row in page.objects.into_iter().filter_map(R::new) {
            lines.row(&row, || row.cells())?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return lines.end(),
        }
    }
}

/// An object as a row.
trait ObjectRow: Serialize + Sized {
    const KIND: ObjectKind;
    const HEADER: &[&str];

    /// `None`: it is of another kind.
    fn new(object: StoredObject) -> Option<Self>;

    fn cells(&self) -> Vec<String>;
}

/// What both have. A row begins with the name by which `approve`, `refuse` and kubectl know the object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    name: String,
    namespace: String,
    connector: String,
    user_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    user_name: String,
}

impl Person {
    fn cells(&self) -> [String; 4] {
        [
            self.name.clone(),
            format!("{}/{}", self.namespace, self.connector),
            self.user_id.to_string(),
            or_dash(self.username.as_deref()),
        ]
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantRow {
    #[serde(flatten)]
    person: Person,
    source: &'static str,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    by: String,
}

impl ObjectRow for GrantRow {
    const KIND: ObjectKind = ObjectKind::AccessGrant;
    const HEADER: &[&str] = &[
        "NAME",
        "CONNECTOR",
        "USER",
        "USERNAME",
        "SOURCE",
        "SINCE",
        "UNTIL",
        "PERSON",
        "BY",
    ];

    fn new(object: StoredObject) -> Option<Self> {
        let (namespace, connector) = (object.namespace, object.connector);
        let ObjectContent::AccessGrant(grant) = object.content else {
            return None;
        };
        let Grant {
            id,
            user,
            name,
            username,
            source,
            by,
            since,
            until,
            ..
        } = *grant;
        Some(Self {
            person: Person {
                name: format!("grant-{id}"),
                namespace,
                connector,
                user_id: user,
                username,
                user_name: name,
            },
            source: source.as_str(),
            since,
            until,
            by,
        })
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = Vec::from(self.person.cells());
        cells.extend([
            self.source.to_owned(),
            self.since.to_string(),
            or_dash(self.until),
            printable(&self.person.user_name),
            printable(&self.by),
        ]);
        cells
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestRow {
    #[serde(flatten)]
    person: Person,
    level: String,
    phase: &'static str,
    asked_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl ObjectRow for RequestRow {
    const KIND: ObjectKind = ObjectKind::AccessRequest;
    const HEADER: &[&str] = &[
        "NAME",
        "CONNECTOR",
        "USER",
        "USERNAME",
        "PHASE",
        "ASKED",
        "DECIDED BY",
        "UNTIL",
        "PERSON",
    ];

    fn new(object: StoredObject) -> Option<Self> {
        let (namespace, connector) = (object.namespace, object.connector);
        let ObjectContent::AccessRequest(request) = object.content else {
            return None;
        };
        let AccessRequest {
            id,
            user,
            name,
            username,
            level,
            phase,
            asked_at,
            expires_at,
            until,
            decided_at,
            decided_by,
            ..
        } = *request;
        Some(Self {
            person: Person {
                name: format!("request-{id}"),
                namespace,
                connector,
                user_id: user,
                username,
                user_name: name,
            },
            level,
            phase: phase.as_str(),
            asked_at,
            expires_at,
            decided_at,
            decided_by,
            until,
        })
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = Vec::from(self.person.cells());
        cells.extend([
            self.phase.to_owned(),
            self.asked_at.to_string(),
            or_dash(self.decided_by.as_deref().map(printable)),
            or_dash(self.until),
            printable(&self.person.user_name),
        ]);
        cells
    }
}
