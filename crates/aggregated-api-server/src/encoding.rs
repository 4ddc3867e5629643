//! Objects and lists as JSON, in each form that a client can ask for.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::negotiation::{MetaVersion, Representation};
use crate::object::Object;
use crate::resource::{Change, DeletedObject};
use crate::served::Served;
use crate::table;

/// The object in the form of `representation`, alone.
pub(crate) fn object(served: &Served, object: &Object, representation: Representation) -> Value {
    match representation {
        Representation::Object => whole(served, object),
        Representation::Metadata(meta) => partial(object, Some(meta)),
        Representation::Table(meta, include) => {
            let row = table::row(served, object, include, Timestamp::now());
            table::of_rows(served, meta, object.revision, vec![row])
        }
    }
}

/// The object of a change, alone.
pub(crate) fn change(served: &Served, change: &Change, representation: Representation) -> Value {
    let gone = match change {
        Change::Present(present) => return object(served, present, representation),
        Change::Deleted(gone) => gone,
    };
    match representation {
        Representation::Object => {
            let description = served.description();
            json!({"apiVersion": served.api_version(), "kind": description.kind, "metadata": deleted_metadata(gone)})
        }
        Representation::Metadata(meta) => {
            json!({"apiVersion": meta.api_version(), "kind": "PartialObjectMetadata", "metadata": deleted_metadata(gone)})
        }
        Representation::Table(meta, include) => {
            let row = table::deleted_row(served, gone, deleted_metadata(gone), include);
            table::of_rows(served, meta, gone.revision, vec![row])
        }
    }
}

/// The object of a bookmark.
pub(crate) fn bookmark(
    served: &Served,
    revision: i64,
    initial_events_end: bool,
    representation: Representation,
) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_events_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    match representation {
        Representation::Object => {
            json!({"apiVersion": served.api_version(), "kind": served.description().kind, "metadata": metadata})
        }
        Representation::Metadata(meta) => {
            json!({"apiVersion": meta.api_version(), "kind": "PartialObjectMetadata", "metadata": metadata})
        }
        Representation::Table(meta, _) => {
            let mut table = table::of_rows(served, meta, revision, Vec::new());
            table["metadata"] = metadata;
            table
        }
    }
}

/// An item of a list.
pub(crate) fn item(
    served: &Served,
    object: &Object,
    representation: Representation,
    now: Timestamp,
) -> Value {
    match representation {
        Representation::Object => whole(served, object),
        Representation::Metadata(meta) => partial(object, Some(meta)),
        Representation::Table(_, include) => table::row(served, object, include, now),
    }
}

/// A list up to its items; they follow, parted by commas, and then [`list_end`].
pub(crate) fn list_start(served: &Served, representation: Representation) -> String {
    let head = match representation {
        Representation::Object => {
            let kind = format!("{}List", served.description().kind);
            json!({"kind": kind, "apiVersion": served.api_version()})
        }
        Representation::Metadata(meta) => {
            json!({"kind": "PartialObjectMetadataList", "apiVersion": meta.api_version()})
        }
        Representation::Table(meta, _) => {
            json!({"kind": "Table", "apiVersion": meta.api_version(), "columnDefinitions": table::columns(served.description())})
        }
    };
    let mut text = head.to_string();
    text.pop();
    let items = match representation {
        Representation::Table(..) => "rows",
        _ => "items",
    };
    text.push_str(",\"");
    text.push_str(items);
    text.push_str("\":[");
    text
}

/// What follows the items: the metadata come last, because only then it is known whether there is more.
pub(crate) fn list_end(revision: i64, token: Option<&str>) -> String {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let Some(token) = token {
        metadata["continue"] = token.into();
    }
    format!("],\"metadata\":{metadata}}}\n")
}

fn whole(served: &Served, object: &Object) -> Value {
    let mut all = Map::new();
    all.insert("apiVersion".into(), served.api_version().into());
    all.insert("kind".into(), served.description().kind.as_str().into());
    all.insert("metadata".into(), metadata(object));
    for (name, part) in [("spec", &object.spec), ("status", &object.status)] {
        if !part.is_null() {
            all.insert(name.into(), part.clone());
        }
    }
    Value::Object(all)
}

/// `PartialObjectMetadata`.
pub(crate) fn partial(object: &Object, meta: Option<MetaVersion>) -> Value {
    let version = meta.unwrap_or(MetaVersion::V1).api_version();
    json!({"apiVersion": version, "kind": "PartialObjectMetadata", "metadata": metadata(object)})
}

/// `metadata` of an object.
pub(crate) fn metadata(object: &Object) -> Value {
    let mut metadata = Map::new();
    let mut add = |name: &str, value: Value| metadata.insert(name.into(), value);
    add("name", object.name.as_str().into());
    add("namespace", object.namespace.as_str().into());
    add("uid", object.uid.as_str().into());
    add("resourceVersion", object.revision.to_string().into());
    add("creationTimestamp", seconds(object.created).into());
    for (name, map) in [
        ("labels", &object.labels),
        ("annotations", &object.annotations),
    ] {
        if !map.is_empty() {
            add(name, json!(map));
        }
    }
    Value::Object(metadata)
}

fn deleted_metadata(gone: &DeletedObject) -> Value {
    json!({"name": gone.name, "namespace": gone.namespace, "uid": gone.uid, "resourceVersion": gone.revision.to_string(),
        "creationTimestamp": null})
}

/// RFC 3339 in whole seconds, as Kubernetes writes its times.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
