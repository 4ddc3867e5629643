//! Just enough protobuf for `kubectl create`, which sends built-in kinds in it: decoding into JSON, by tables of fields.
//!
//! Source: the `generated.proto` files of k8s.io/api and apimachinery. An object is preceded by `k8s\0` and wrapped in a
//! `runtime.Unknown`. Answers are always JSON, which clients that send protobuf accept as well.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::kinds::{Kind, Nature};

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
enum Type {
    Text,
    Bytes,
    Flag,
    Number,
    Time,
    Message(&'static [Field]),
    /// A map with text keys.
    Map(&'static Type),
    /// Repeated.
    List(&'static Type),
}

/// (number, JSON name, type)
type Field = (u64, &'static str, Type);

const OWNER: &[Field] = &[
    (1, "kind", Type::Text),
    (3, "name", Type::Text),
    (4, "uid", Type::Text),
    (5, "apiVersion", Type::Text),
    (6, "controller", Type::Flag),
    (7, "blockOwnerDeletion", Type::Flag),
];
const META: &[Field] = &[
    (1, "name", Type::Text),
    (2, "generateName", Type::Text),
    (3, "namespace", Type::Text),
    (5, "uid", Type::Text),
    (6, "resourceVersion", Type::Text),
    (7, "generation", Type::Number),
    (8, "creationTimestamp", Type::Time),
    (11, "labels", Type::Map(&Type::Text)),
    (12, "annotations", Type::Map(&Type::Text)),
    (13, "ownerReferences", Type::List(&Type::Message(OWNER))),
    (14, "finalizers", Type::List(&Type::Text)),
];
const SECRET: &[Field] = &[
    (1, "metadata", Type::Message(META)),
    (2, "data", Type::Map(&Type::Bytes)),
    (3, "type", Type::Text),
    (4, "stringData", Type::Map(&Type::Text)),
    (5, "immutable", Type::Flag),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Type::Message(META)),
    (2, "data", Type::Map(&Type::Text)),
    (3, "binaryData", Type::Map(&Type::Bytes)),
    (4, "immutable", Type::Flag),
];
/// `spec` and `status` are the server's.
const NAMESPACE: &[Field] = &[(1, "metadata", Type::Message(META))];

/// Decodes an object of a kind that `kubectl create` makes.
pub(super) fn object(kind: &Kind, body: &[u8]) -> Result<Value, ProtobufError> {
    let wrapped = body.strip_prefix(b"k8s\0").ok_or(ProtobufError::NoMagic)?;
    let fields = match kind.nature {
        Nature::Secret => SECRET,
        Nature::ConfigMap => CONFIG_MAP,
        Nature::Namespace => NAMESPACE,
        _ => return Err(ProtobufError::Unknown),
    };
    let mut raw: &[u8] = &[];
    let mut rest = wrapped;
    while !rest.is_empty() {
        let (number, wire) = field(&mut rest)?;
        if let (2, Wire::Bytes(bytes)) = (number, wire) {
            raw = bytes;
        }
    }
    let mut object = message(raw, fields)?;
    object.insert("apiVersion".into(), kind.api_version().into());
    object.insert("kind".into(), kind.kind.clone().into());
    Ok(Value::Object(object))
}

enum Wire<'a> {
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

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Wire<'a>), ProtobufError> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => Wire::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Wire::Skipped)?,
        2 => {
            let length = varint(rest)?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Wire::Skipped)?,
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
            Type::Map(values) => {
                let Wire::Bytes(entry) = wire else { continue };
                let (key, value) = map_entry(entry, values)?;
                object.entry(*name).or_insert_with(|| json!({}))[key] = value;
            }
            Type::List(items) => {
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

fn map_entry(mut entry: &[u8], values: &Type) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut found) = (String::new(), Value::from(""));
    while !entry.is_empty() {
        match field(&mut entry)? {
            (1, Wire::Bytes(bytes)) => key = String::from_utf8_lossy(bytes).into_owned(),
            (2, wire) => found = value(wire, values)?.unwrap_or(found),
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(wire: Wire<'_>, kind: &Type) -> Result<Option<Value>, ProtobufError> {
    Ok(match (kind, wire) {
        (Type::Text, Wire::Bytes(bytes)) => {
            Some(String::from_utf8_lossy(bytes).into_owned().into())
        }
        (Type::Bytes, Wire::Bytes(bytes)) => Some(STANDARD.encode(bytes).into()),
        (Type::Flag, Wire::Number(number)) => Some((number != 0).into()),
        (Type::Number, Wire::Number(number)) if number != 0 => Some(number.into()),
        (Type::Message(fields), Wire::Bytes(bytes)) => Some(Value::Object(message(bytes, fields)?)),
        // The server sets times itself.
        _ => None,
    })
}
