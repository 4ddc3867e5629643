//! Get and list: consistent snapshots, pages, and the shapes a client may ask for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::World;
use super::failure::{Cause, Failure};
use super::kinds::Kind;
use super::reply::{self, Reply};
use super::request::{Place, Query, Shape};
use super::selectors::Selector;
use super::store::{Snapshot, Stored};
use super::table::{self, Carried};
use super::view;

/// One object.
pub(super) fn get(
    world: &World,
    kind: &Kind,
    place: &Place,
    query: &Query,
    shape: Shape,
) -> Result<Reply, Failure> {
    let stored = world
        .store
        .get(&kind.storage, &place.namespace, &place.name)
        .ok_or_else(|| Failure::not_found(kind, &place.name))?;
    one(kind, &stored, query, shape, StatusCode::OK)
}

/// One object in the shape that was asked for.
pub(super) fn one(
    kind: &Kind,
    stored: &Stored,
    query: &Query,
    shape: Shape,
    status: StatusCode,
) -> Result<Reply, Failure> {
    Ok(match shape {
        Shape::Whole => reply::written(status, view::bytes(kind, stored)),
        _ => reply::json(status, &shaped(kind, &stored.object(), query, shape)?),
    })
}

/// One object, not stored as such, in the shape that was asked for.
pub(super) fn shaped(
    kind: &Kind,
    object: &Value,
    query: &Query,
    shape: Shape,
) -> Result<Value, Failure> {
    Ok(match shape {
        Shape::Whole => view::show(kind, object.clone()),
        Shape::Metadata => table::metadata_only(object, "PartialObjectMetadata"),
        Shape::MetadataList => return Err(Failure::not_acceptable(&["application/json"])),
        Shape::Table => {
            let metadata =
                json!({"resourceVersion": super::object::meta(object, "resourceVersion")});
            let carried = carried(query)?;
            table::table(
                table::definitions(&kind.columns),
                vec![row(kind, object, carried)],
                metadata,
            )
        }
    })
}

/// One row; an object that is carried whole is in the kind's own form.
pub(super) fn row(kind: &Kind, object: &Value, carried: Carried) -> Value {
    let mut row = table::row(&kind.columns, object, carried);
    if carried == Carried::Object {
        row["object"] = view::show(kind, object.clone());
    }
    row
}

/// What rows carry.
pub(super) fn carried(query: &Query) -> Result<Carried, Failure> {
    Ok(match query.include_object.as_str() {
        "" | "Metadata" => Carried::Metadata,
        "None" => Carried::Nothing,
        "Object" => Carried::Object,
        other => {
            let known = ["None", "Metadata", "Object"];
            return Err(Failure::unsupported_option(
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
    world: &World,
    kind: &Kind,
    place: &Place,
    query: &Query,
    shape: Shape,
) -> Result<Reply, Failure> {
    let selector = Selector::parse(kind, &query.label_selector, &query.field_selector)?;
    let page = Page::read(query)?;
    let snapshot = snapshot(world, kind, place, query, page.as_ref())?;
    let after = page.as_ref().map(|page| page.after.clone());
    let passed = |object: &&Arc<Stored>| {
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
    let shown: Vec<&Arc<Stored>> = rest.by_ref().take(most).collect();
    let left = rest.count();

    let mut metadata = json!({"resourceVersion": snapshot.revision.to_string()});
    if kind.is_custom() && shape == Shape::Whole {
        metadata["continue"] = "".into();
    }
    if left > 0
        && let Some(last) = shown.last()
    {
        let next = Page {
            revision: snapshot.revision,
            after: (last.namespace.clone(), last.name.clone()),
        };
        metadata["continue"] = next.write().into();
        if selector.is_everything() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    write_list(kind, &shown, query, shape, metadata)
}

fn write_list(
    kind: &Kind,
    shown: &[&Arc<Stored>],
    query: &Query,
    shape: Shape,
    metadata: Value,
) -> Result<Reply, Failure> {
    let document = match shape {
        Shape::Whole => {
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
                out.extend_from_slice(&view::bytes(kind, object));
            }
            out.extend_from_slice(b"]}");
            return Ok(reply::written(StatusCode::OK, out));
        }
        Shape::Metadata | Shape::MetadataList => {
            let items: Value = shown
                .iter()
                .map(|object| table::metadata_only(&object.object(), "PartialObjectMetadata"))
                .collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
        }
        Shape::Table => {
            let carried = carried(query)?;
            let rows = shown
                .iter()
                .map(|object| row(kind, &object.object(), carried))
                .collect();
            table::table(table::definitions(&kind.columns), rows, metadata)
        }
    };
    Ok(reply::json(StatusCode::OK, &document))
}

/// The state that a list shows: now, at an exact revision, or (an injected fault) as a stale cache has it.
fn snapshot(
    world: &World,
    kind: &Kind,
    place: &Place,
    query: &Query,
    page: Option<&Page>,
) -> Result<Snapshot, Failure> {
    let at = |revision: u64| {
        world
            .store
            .list_at(&kind.storage, &place.namespace, revision)
    };
    if let Some(page) = page {
        return at(page.revision).map_err(|_| Failure::continue_expired());
    }
    let wanted = parse_revision(&query.resource_version)?;
    check_match(query)?;
    if query.resource_version_match == "Exact" {
        return at(wanted).map_err(|oldest| Failure::too_old(wanted, oldest));
    }
    let current = world.store.revision();
    if wanted > current {
        return Err(Failure::too_new(wanted, current));
    }
    if let Some(frozen) = world
        .faults
        .frozen(&kind.resource())
        .filter(|frozen| *frozen >= wanted)
    {
        return at(frozen).map_err(|oldest| Failure::too_old(frozen, oldest));
    }
    Ok(world.store.list(&kind.storage, &place.namespace))
}

fn check_match(query: &Query) -> Result<(), Failure> {
    let refuse = |why: &str| {
        Err(Failure::invalid_options(
            "ListOptions",
            &Cause::forbidden("resourceVersionMatch", why),
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
            Err(Failure::unsupported_option(
                "ListOptions",
                "resourceVersionMatch",
                other,
                &known,
            ))
        }
    }
}

/// A `resourceVersion` of a query; "" is 0.
pub(super) fn parse_revision(text: &str) -> Result<u64, Failure> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Failure::bad_request(format!(
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
    fn read(query: &Query) -> Result<Option<Self>, Failure> {
        if query.continue_token.is_empty() {
            return Ok(None);
        }
        let broken = || {
            Failure::bad_request(
                "invalid continue token: continue key is not valid: the token was not made by this server",
            )
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(&query.continue_token)
            .map_err(|_| broken())?;
        let (revision, namespace, name): (u64, String, String) =
            serde_json::from_slice(&bytes).map_err(|_| broken())?;
        if !query.resource_version.is_empty() && query.resource_version != "0" {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(Some(Self {
            revision,
            after: (namespace, name),
        }))
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!([self.revision, self.after.0, self.after.1]).to_string())
    }
}
