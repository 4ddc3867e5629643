//! Reads foreign JSON field by field: an unknown field, or one of another type than expected, costs that field only. Strict types would
//! lose a whole message over one new enum value (TELEGRAM.md).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of one JSON object, each as raw JSON. The last of a repeated key counts.
pub(crate) struct JsonObject<'a>(Vec<(Key<'a>, &'a RawValue)>);

impl<'a> JsonObject<'a> {
    /// The object that `json` is; `None` if it is anything else.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The raw JSON of a field; `None` also for `null`.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .rev()
            .find(|(k, _)| k.0 == key)
            .map(|(_, value)| value.get())
            .filter(|value| *value != "null")
    }

    /// The keys, in the order of the JSON.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.0.as_ref())
    }

    /// Whether the field is there and not `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// An integer within `i64`; not a fraction or a string.
    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        serde_json::from_str(self.raw(key)?).ok()
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        serde_json::from_str(self.raw(key)?).ok()
    }

    /// True only if the field is `true`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.raw(key) == Some("true")
    }

    /// The field, by its shape: for fields that may be one of several.
    pub(crate) fn value(&self, key: &str) -> Option<JsonValue<'a>> {
        JsonValue::parse(self.raw(key)?)
    }

    /// A string. Invalid Unicode (half of a surrogate pair) and NUL, which `PostgreSQL` cannot store, become U+FFFD.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let LossyText(text) = serde_json::from_str(self.raw(key)?).ok()?;
        Some(text)
    }

    /// An object.
    pub(crate) fn object(&self, key: &str) -> Option<JsonObject<'a>> {
        JsonObject::parse(self.raw(key)?)
    }

    /// The objects in an array; other elements are skipped.
    pub(crate) fn objects(&self, key: &str) -> Vec<JsonObject<'a>> {
        let Some(raw) = self.raw(key) else {
            return Vec::new();
        };
        let elements: Vec<&'a RawValue> = serde_json::from_str(raw).unwrap_or_default();
        elements
            .into_iter()
            .filter_map(|e| JsonObject::parse(e.get()))
            .collect()
    }
}

/// A value that may have one of several shapes, read one level deep.
pub(crate) enum JsonValue<'a> {
    /// A string, as [`JsonObject::text`] reads it.
    Text(String),
    /// An array, each element as raw JSON.
    Array(Vec<&'a str>),
    /// An object.
    Object(JsonObject<'a>),
}

impl<'a> JsonValue<'a> {
    /// Reads raw JSON; `None` for a number, a truth value, `null` and what is no JSON.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        match json.trim_start().as_bytes().first()? {
            b'"' => {
                let LossyText(text) = serde_json::from_str(json).ok()?;
                Some(Self::Text(text))
            }
            b'[' => {
                let elements: Vec<&'a RawValue> = serde_json::from_str(json).ok()?;
                Some(Self::Array(elements.iter().map(|e| e.get()).collect()))
            }
            b'{' => JsonObject::parse(json).map(Self::Object),
            _ => None,
        }
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(v)))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonObjectVisitor;
        impl<'de> Visitor<'de> for JsonObjectVisitor {
            type Value = JsonObject<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(field) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    fields.push(field);
                }
                Ok(JsonObject(fields))
            }
        }
        deserializer.deserialize_map(JsonObjectVisitor)
    }
}

/// A string read as bytes: `serde_json` then accepts half surrogates instead of refusing the string.
struct LossyText(String);

impl<'de> Deserialize<'de> for LossyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LossyTextVisitor;
        impl Visitor<'_> for LossyTextVisitor {
            type Value = LossyText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Self::Value, E> {
                let text = String::from_utf8_lossy(v);
                Ok(LossyText(if text.contains('\0') {
                    text.replace('\0', "\u{fffd}")
                } else {
                    text.into_owned()
                }))
            }
        }
        deserializer.deserialize_bytes(LossyTextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_field_costs_only_itself() {
        let o = JsonObject::parse(
            r#"{"a":1.5,"b":"x","c":"\ud800y","d":[1,{"n":7},"z"],"n":null,"big":9223372036854775808}"#,
        )
        .expect("an object");
        assert_eq!(o.integer("a"), None);
        assert_eq!(o.integer("b"), None);
        assert_eq!(o.integer("big"), None);
        assert_eq!(o.text("b").as_deref(), Some("x"));
        let c = o.text("c").expect("kept");
        assert!(c.ends_with('y') && c.starts_with('\u{fffd}'), "{c:?}");
        assert_eq!(o.objects("d").len(), 1);
        assert!(!o.has("n"));
        assert!(o.object("b").is_none());
        assert_eq!(o.text("a"), None);
    }

    #[test]
    fn the_last_of_a_repeated_key_counts_and_keys_may_be_escaped() {
        let o = JsonObject::parse(r#"{"id":1,"\u0069d":2}"#).expect("an object");
        assert_eq!(o.integer("id"), Some(2));
    }

    #[test]
    fn nul_is_replaced_since_postgresql_cannot_hold_it() {
        let o = JsonObject::parse(r#"{"t":"a\u0000b"}"#).expect("an object");
        assert_eq!(o.text("t").as_deref(), Some("a\u{fffd}b"));
    }

    #[test]
    fn what_is_no_object_is_none() {
        for json in ["", "[]", "1", "{", "{}x", "null"] {
            assert!(JsonObject::parse(json).is_none(), "{json}");
        }
    }
}
