//! Finds keys that a JSON or YAML document writes twice, which parsers let pass silently.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The paths of all keys written more than once, such as `spec.access`.
pub(super) fn find(json: &[u8]) -> Vec<String> {
    find_in(&mut serde_json::Deserializer::from_slice(json))
}

/// The same of any document.
pub(super) fn find_in<'de>(document: impl Deserializer<'de>) -> Vec<String> {
    let mut found = Vec::new();
    // A document that does not parse is refused elsewhere, with the parser's own words.
    let _ = Node {
        path: String::new(),
        found: &mut found,
    }
    .deserialize(document);
    found
}

struct Node<'a> {
    path: String,
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = std::collections::BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            if !seen.insert(key) && !self.found.contains(&path) {
                self.found.push(path.clone());
            }
            map.next_value_seed(Node {
                path,
                found: self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while items
            .next_element_seed(Node {
                path: format!("{}[{index}]", self.path),
                found: self.found,
            })?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_written_twice_are_found_by_path() {
        let json = br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"d": null}, "e": "x"}"#;
        assert_eq!(super::find(json), ["b[0].c", "a"]);
    }

    #[test]
    fn yaml_keys_of_every_type_are_compared() {
        let yaml = "a: 1\nb:\n- {c: ~, 8080: x, c: 2, 8080: y}\na: 2.5\nd: {}\n";
        let found = super::find_in(serde_yaml::Deserializer::from_str(yaml));
        assert_eq!(found, ["b[0].c", "b[0].8080", "a"]);
    }
}
