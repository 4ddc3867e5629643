//! Get and list: consistent snapshots, pages, and the shapes a client may ask for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::ServerState;
use super::conversion;
use super::kinds::Kind;
use super::object_store::{Snapshot, StoredObject};
use super::request::{Query, Representation, RequestInfo};
use super::response::{self, ApiResponse};
use super::selectors::Selector;
use super::status_error::StatusError;
use super::table::{self, IncludeObject};
use crate::schema::StatusCause;

/// One object.
pub(super) fn get(
    server: &ServerState,
    kind: &Kind,
    info: &RequestInfo,
    query: &Query,
    representation: Representation,
) -> Result<ApiResponse, StatusError> {
    let stored = server
        .store
        .get(&kind.storage, &info.namespace, &info.name)
        .ok_or_else(|| StatusError::not_found(kind, &info.name))?;
    object_response(kind, &stored, query, representation, StatusCode::OK)
}

/// One object in the shape that was asked for.
pub(super) fn object_response(
    kind: &Kind,
    stored: &StoredObject,
    query: &Query,
    representation: Representation,
    status: StatusCode,
) -> Result<ApiResponse, StatusError> {
    Ok(match representation {
        Representation::Full => {
            response::json_bytes(status, conversion::to_served_bytes(kind, stored))
        }
        _ => response::json(
            status,
            &represent(kind, &stored.object(), query, representation)?,
        ),
    })
}

/// One object, not stored as such, in the shape that was asked for.
pub(super) fn represent(
    kind: &Kind,
    object: &Value,
    query: &Query,
    representation: Representation,
) -> Result<Value, StatusError> {
    Ok(match representation {
        Representation::Full => conversion::to_served(kind, object.clone()),
        Representation::PartialObjectMetadata => {
            table::metadata_only(object, "PartialObjectMetadata")
        }
        Representation::PartialObjectMetadataList => {
            return Err(StatusError::not_acceptable(&["application/json"]));
        }
        Representation::Table => {
            let metadata =
                json!({"resourceVersion": super::object::metadata_str(object, "resourceVersion")});
            let include_object = include_object(query)?;
            table::table(
                table::column_definitions(&kind.columns),
                vec![row(kind, object, include_object)],
                metadata,
            )
        }
    })
}

/// One row; an object that is carried whole is in the kind's own form.
pub(super) fn row(kind: &Kind, object: &Value, include_object: IncludeObject) -> Value {
    let mut row = table::row(&kind.columns, object, include_object);
    if include_object == IncludeObject::Object {
        row["object"] = conversion::to_served(kind, object.clone());
    }
    row
}

/// What rows carry.
pub(super) fn include_object(query: &Query) -> Result<IncludeObject, StatusError> {
    Ok(match query.include_object.as_str() {
        "" | "Metadata" => IncludeObject::Metadata,
        "None" => IncludeObject::None,
        "Object" => IncludeObject::Object,
        other => {
            let known = ["None", "Metadata", "Object"];
            return Err(StatusError::unsupported_option(
                "TableOptions",
                "includeObject",
                other,
                &known,
            ));
        }
    })
}

/// A collection, or a page of it.
pub(super) fn list(
    server: &ServerState,
    kind: &Kind,
    info: &RequestInfo,
    query: &Query,
    representation: Representation,
) -> Result<ApiResponse, StatusError> {
    let selector = Selector::parse(kind, &query.label_selector, &query.field_selector)?;
    let page = Page::parse(query)?;
    let snapshot = snapshot(server, kind, info, query, page.as_ref())?;
    let after = page.as_ref().map(|page| page.after.clone());
    let passed = |object: &&Arc<StoredObject>| {
        after.as_ref().is_none_or(|(namespace, name)| {
            (object.namespace.as_str(), object.name.as_str()) > (namespace.as_str(), name.as_str())
        })
    };
    let mut rest = snapshot
        .objects
        .iter()
        .filter(passed)
        .filter(|object| selector.matches(object));
    let most = if query.limit == 0 {
        usize::MAX
    } else {
        query.limit
    };
    let shown: Vec<&Arc<StoredObject>> = rest.by_ref().take(most).collect();
    let left = rest.count();

    let mut metadata = json!({"resourceVersion": snapshot.revision.to_string()});
    if kind.is_custom() && representation == Representation::Full {
        metadata["continue"] = "".into();
    }
    if left > 0
        && let Some(last) = shown.last()
    {
        let next = Page {
            revision: snapshot.revision,
            after: (last.namespace.clone(), last.name.clone()),
        };
        metadata["continue"] = next.to_token().into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    write_list(kind, &shown, query, representation, metadata)
}

fn write_list(
    kind: &Kind,
    shown: &[&Arc<StoredObject>],
    query: &Query,
    representation: Representation,
    metadata: Value,
) -> Result<ApiResponse, StatusError> {
    let document = match representation {
        Representation::Full => {
            let bytes = shown
                .iter()
                .map(|object| object.json.len() + 1)
                .sum::<usize>();
            let mut out = Vec::with_capacity(bytes + 256);
            let head = format!(
                "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
                kind.list_kind(),
                kind.api_version()
            );
            out.extend_from_slice(head.as_bytes());
            for (index, object) in shown.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(&conversion::to_served_bytes(kind, object));
            }
            out.extend_from_slice(b"]}");
            return Ok(response::json_bytes(StatusCode::OK, out));
        }
        Representation::PartialObjectMetadata | Representation::PartialObjectMetadataList => {
            let items: Value = shown
                .iter()
                .map(|object| table::metadata_only(&object.object(), "PartialObjectMetadata"))
                .collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
        }
        Representation::Table => {
            let include_object = include_object(query)?;
            let rows = shown
                .iter()
                .map(|object| row(kind, &object.object(), include_object))
                .collect();
            table::table(table::column_definitions(&kind.columns), rows, metadata)
        }
    };
    Ok(response::json(StatusCode::OK, &document))
}

/// The state that a list shows: now, at an exact revision, or (an injected fault) as a stale cache has it.
fn snapshot(
    server: &ServerState,
    kind: &Kind,
    info: &RequestInfo,
    query: &Query,
    page: Option<&Page>,
) -> Result<Snapshot, StatusError> {
    let at = |revision: u64| {
        server
            .store
            .list_at(&kind.storage, &info.namespace, revision)
    };
    if let Some(page) = page {
        return at(page.revision).map_err(|_| StatusError::continue_expired());
    }
    let wanted = parse_revision(&query.resource_version)?;
    check_resource_version_match(query)?;
    if query.resource_version_match == "Exact" {
        return at(wanted).map_err(|oldest| StatusError::expired(wanted, oldest));
    }
    let current = server.store.revision();
    if wanted > current {
        return Err(StatusError::resource_version_too_large(wanted, current));
    }
    if let Some(frozen) = server
        .faults
        .frozen(&kind.resource())
        .filter(|frozen| *frozen >= wanted)
    {
        return at(frozen).map_err(|oldest| StatusError::expired(frozen, oldest));
    }
    Ok(server.store.list(&kind.storage, &info.namespace))
}

fn check_resource_version_match(query: &Query) -> Result<(), StatusError> {
    let refuse = |why: &str| {
        Err(StatusError::invalid_options(
            "ListOptions",
            &StatusCause::forbidden("resourceVersionMatch", why),
        ))
    };
    match query.resource_version_match.as_str() {
        "" => Ok(()),
        _ if query.resource_version.is_empty() => {
            refuse("resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        "Exact" if query.resource_version == "0" => {
            refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        "Exact" | "NotOlderThan" => Ok(()),
        other => {
            let known = ["Exact", "NotOlderThan", ""];
            Err(StatusError::unsupported_option(
                "ListOptions",
                "resourceVersionMatch",
                other,
                &known,
            ))
        }
    }
}

/// A `resourceVersion` of a query; "" is 0.
pub(super) fn parse_revision(text: &str) -> Result<u64, StatusError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        StatusError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })
}

/// Where a list goes on: the client carries it as an opaque token.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    revision: u64,
    after: (String, String),
}

impl Page {
    fn parse(query: &Query) -> Result<Option<Self>, StatusError> {
        if query.continue_token.is_empty() {
            return Ok(None);
        }
        let broken = || {
            StatusError::bad_request(
                "invalid continue token: continue key is not valid: the token was not made by this server",
            )
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(&query.continue_token)
            .map_err(|_| broken())?;
        let (revision, namespace, name): (u64, String, String) =
            serde_json::from_slice(&bytes).map_err(|_| broken())?;
        if !query.resource_version.is_empty() && query.resource_version != "0" {
            return Err(StatusError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(Some(Self {
            revision,
            after: (namespace, name),
        }))
    }

    fn to_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!([self.revision, self.after.0, self.after.1]).to_string())
    }
}
