//! Just enough protobuf for `kubectl create`, which sends built-in kinds in it: decoding into JSON, by tables of fields.
//!
//! Source: the `generated.proto` files of k8s.io/api and apimachinery. An object is preceded by `k8s\0` and wrapped in a
//! `runtime.Unknown`. Answers are always JSON, which clients that send protobuf accept as well.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::kinds::{Kind, Strategy};

/// Why a body could not be read.
#[derive(Debug, Error)]
pub(super) enum ProtobufError {
    /// No `k8s\0` in front.
    #[error("provided data does not appear to be a protobuf message")]
    NoMagic,
    /// It ends in the middle of a field, or has a wire type that Kubernetes does not use.
    #[error("proto: illegal wireType or unexpected EOF")]
    Malformed,
    /// We have no table for the kind.
    #[error("this kind is taken in JSON and YAML only")]
    Unknown,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum FieldType {
    Text,
    Bytes,
    Flag,
    Number,
    Time,
    Message(&'static [Field]),
    /// A map with text keys.
    Map(&'static FieldType),
    /// Repeated.
    List(&'static FieldType),
}

/// (number, JSON name, type)
type Field = (u64, &'static str, FieldType);

const OWNER: &[Field] = &[
    (1, "kind", FieldType::Text),
    (3, "name", FieldType::Text),
    (4, "uid", FieldType::Text),
    (5, "apiVersion", FieldType::Text),
    (6, "controller", FieldType::Flag),
    (7, "blockOwnerDeletion", FieldType::Flag),
];
const META: &[Field] = &[
    (1, "name", FieldType::Text),
    (2, "generateName", FieldType::Text),
    (3, "namespace", FieldType::Text),
    (5, "uid", FieldType::Text),
    (6, "resourceVersion", FieldType::Text),
    (7, "generation", FieldType::Number),
    (8, "creationTimestamp", FieldType::Time),
    (11, "labels", FieldType::Map(&FieldType::Text)),
    (12, "annotations", FieldType::Map(&FieldType::Text)),
    (
        13,
        "ownerReferences",
        FieldType::List(&FieldType::Message(OWNER)),
    ),
    (14, "finalizers", FieldType::List(&FieldType::Text)),
];
const SECRET: &[Field] = &[
    (1, "metadata", FieldType::Message(META)),
    (2, "data", FieldType::Map(&FieldType::Bytes)),
    (3, "type", FieldType::Text),
    (4, "stringData", FieldType::Map(&FieldType::Text)),
    (5, "immutable", FieldType::Flag),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", FieldType::Message(META)),
    (2, "data", FieldType::Map(&FieldType::Text)),
    (3, "binaryData", FieldType::Map(&FieldType::Bytes)),
    (4, "immutable", FieldType::Flag),
];
/// `spec` and `status` are the server's.
const NAMESPACE: &[Field] = &[(1, "metadata", FieldType::Message(META))];

const RESOURCE_ATTRIBUTES: &[Field] = &[
    (1, "namespace", FieldType::Text),
    (2, "verb", FieldType::Text),
    (3, "group", FieldType::Text),
    (4, "version", FieldType::Text),
    (5, "resource", FieldType::Text),
    (6, "subresource", FieldType::Text),
    (7, "name", FieldType::Text),
];
const NON_RESOURCE_ATTRIBUTES: &[Field] =
    &[(1, "path", FieldType::Text), (2, "verb", FieldType::Text)];
/// Of a `SubjectAccessReview`; a `SelfSubjectAccessReview` has the first two.
const REVIEW_SPEC: &[Field] = &[
    (
        1,
        "resourceAttributes",
        FieldType::Message(RESOURCE_ATTRIBUTES),
    ),
    (
        2,
        "nonResourceAttributes",
        FieldType::Message(NON_RESOURCE_ATTRIBUTES),
    ),
    (3, "user", FieldType::Text),
    (4, "groups", FieldType::List(&FieldType::Text)),
];
const REVIEW: &[Field] = &[(2, "spec", FieldType::Message(REVIEW_SPEC))];

/// Decodes an access review, as `kubectl auth can-i` sends it.
pub(super) fn decode_review(body: &[u8]) -> Result<Value, ProtobufError> {
    Ok(Value::Object(message(unwrap(body)?, REVIEW)?))
}

/// Decodes an object of a kind that `kubectl create` makes.
pub(super) fn decode(kind: &Kind, body: &[u8]) -> Result<Value, ProtobufError> {
    let fields = match kind.strategy {
        Strategy::Secret => SECRET,
        Strategy::ConfigMap => CONFIG_MAP,
        Strategy::Namespace => NAMESPACE,
        _ => return Err(ProtobufError::Unknown),
    };
    let mut object = message(unwrap(body)?, fields)?;
    object.insert("apiVersion".into(), kind.api_version().into());
    object.insert("kind".into(), kind.kind.clone().into());
    Ok(Value::Object(object))
}

/// The object in Kubernetes' envelope.
fn unwrap(body: &[u8]) -> Result<&[u8], ProtobufError> {
    let mut rest = body.strip_prefix(b"k8s\0").ok_or(ProtobufError::NoMagic)?;
    let mut raw: &[u8] = &[];
    while !rest.is_empty() {
        let (number, wire) = field(&mut rest)?;
        if let (2, WireValue::Bytes(bytes)) = (number, wire) {
            raw = bytes;
        }
    }
    Ok(raw)
}

enum WireValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers, which our kinds do not use.
    Skipped,
}

fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(ProtobufError::Malformed)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Malformed)
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], ProtobufError> {
    let length = usize::try_from(length).map_err(|_| ProtobufError::Malformed)?;
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or(ProtobufError::Malformed)?;
    *rest = tail;
    Ok(head)
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, WireValue<'a>), ProtobufError> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => WireValue::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| WireValue::Skipped)?,
        2 => {
            let length = varint(rest)?;
            WireValue::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| WireValue::Skipped)?,
        _ => return Err(ProtobufError::Malformed),
    };
    Ok((key >> 3, wire))
}

fn message(mut rest: &[u8], fields: &[Field]) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    while !rest.is_empty() {
        let (number, wire) = field(&mut rest)?;
        let Some((_, name, kind)) = fields.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        match kind {
            FieldType::Map(values) => {
                let WireValue::Bytes(entry) = wire else {
                    continue;
                };
                let (key, value) = map_entry(entry, values)?;
                object.entry(*name).or_insert_with(|| json!({}))[key] = value;
            }
            FieldType::List(items) => {
                if let Some(item) = value(wire, items)?
                    && let Some(list) = object
                        .entry(*name)
                        .or_insert_with(|| json!([]))
                        .as_array_mut()
                {
                    list.push(item);
                }
            }
            plain => {
                // An empty text is an absent one.
                if let Some(value) = value(wire, plain)?.filter(|value| value != "") {
                    object.insert((*name).to_owned(), value);
                }
            }
        }
    }
    Ok(object)
}

fn map_entry(mut entry: &[u8], values: &FieldType) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut found) = (String::new(), Value::from(""));
    while !entry.is_empty() {
        match field(&mut entry)? {
            (1, WireValue::Bytes(bytes)) => key = String::from_utf8_lossy(bytes).into_owned(),
            (2, wire) => found = value(wire, values)?.unwrap_or(found),
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(wire: WireValue<'_>, kind: &FieldType) -> Result<Option<Value>, ProtobufError> {
    Ok(match (kind, wire) {
        (FieldType::Text, WireValue::Bytes(bytes)) => {
            Some(String::from_utf8_lossy(bytes).into_owned().into())
        }
        (FieldType::Bytes, WireValue::Bytes(bytes)) => Some(STANDARD.encode(bytes).into()),
        (FieldType::Flag, WireValue::Number(number)) => Some((number != 0).into()),
        (FieldType::Number, WireValue::Number(number)) if number != 0 => Some(number.into()),
        (FieldType::Message(fields), WireValue::Bytes(bytes)) => {
            Some(Value::Object(message(bytes, fields)?))
        }
        // The server sets times itself.
        _ => None,
    })
}
