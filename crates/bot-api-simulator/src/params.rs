//! Parameters of a call, from every source that the Bot API accepts: query string, form, multipart form, JSON body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::method_result::MethodError;

/// A file in a multipart form.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub field: String,
    /// As the client named it; may be empty.
    pub name: String,
    pub bytes: Bytes,
}

/// Parameters by name; the first occurrence of a name counts.
#[derive(Debug, Default)]
pub(super) struct Params {
    fields: Vec<(String, String)>,
    pub files: Vec<Upload>,
}

impl Params {
    /// Reads the query string and the body.
    ///
    /// # Errors
    /// The body does not match its content type.
    pub(super) fn read(
        query: Option<&str>,
        content_type: &str,
        body: &Bytes,
    ) -> Result<Self, MethodError> {
        let mut params = Self::default();
        if let Some(query) = query {
            params.read_form(query.as_bytes());
        }
        let media_type = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match media_type.as_str() {
            _ if body.is_empty() => {}
            "application/json" => params.read_json(body)?,
            "multipart/form-data" => params.read_multipart(content_type, body)?,
            _ => params.read_form(body),
        }
        Ok(params)
    }

    fn read_form(&mut self, form: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(form) {
            self.fields.push((name.into_owned(), value.into_owned()));
        }
    }

    fn read_json(&mut self, body: &Bytes) -> Result<(), MethodError> {
        let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body)
            .map_err(|_| MethodError::bad_request("can't parse JSON object in the request body"))?;
        for (name, value) in fields {
            let raw = value.get();
            let value = match raw.as_bytes().first() {
                Some(b'"') => serde_json::from_str(raw).unwrap_or_default(),
                Some(b'n') => continue,
                _ => raw.to_owned(),
            };
            self.fields.push((name.into_owned(), value));
        }
        Ok(())
    }

    fn read_multipart(&mut self, content_type: &str, body: &Bytes) -> Result<(), MethodError> {
        let broken = || MethodError::bad_request("can't parse multipart/form-data body");
        let boundary = content_type
            .split(';')
            .find_map(|part| part.trim().strip_prefix("boundary="))
            .ok_or_else(broken)?
            .trim_matches('"');
        let delimiter = format!("--{boundary}");
        let mut at = find(body, delimiter.as_bytes(), 0).ok_or_else(broken)?;
        loop {
            at += delimiter.len();
            if body[at..].starts_with(b"--") {
                return Ok(());
            }
            let head_end = find(body, b"\r\n\r\n", at).ok_or_else(broken)?;
            let head = String::from_utf8_lossy(&body[at..head_end]).into_owned();
            let next = find(body, format!("\r\n{delimiter}").as_bytes(), head_end + 2)
                .ok_or_else(broken)?;
            let content = body.slice((head_end + 4).min(next)..next);
            self.add_part(&head, content);
            at = next + 2;
        }
    }

    fn add_part(&mut self, head: &str, content: Bytes) {
        let Some(disposition) = head.lines().find(|line| {
            line.to_ascii_lowercase()
                .starts_with("content-disposition:")
        }) else {
            return;
        };
        let field = quoted(disposition, " name=").unwrap_or_default();
        if disposition.contains("filename=") {
            self.files.push(Upload {
                field,
                name: quoted(disposition, " filename=").unwrap_or_default(),
                bytes: content,
            });
        } else {
            let value = String::from_utf8_lossy(&content).into_owned();
            self.fields.push((field, value));
        }
    }

    /// A parameter that must be there and is JSON; `what` is the server's name of it in the error.
    ///
    /// # Errors
    /// It is missing, or no JSON.
    pub(super) fn required_json(&self, name: &str, what: &str) -> Result<Value, MethodError> {
        let given = self.get(name);
        if given.is_empty() {
            let text = format!("Parameter \"{name}\" is required");
            return Err(MethodError::bad_request(&text));
        }
        let broken = |_| MethodError::bad_request(&format!("Can't parse {what} JSON object"));
        serde_json::from_str(given).map_err(broken)
    }

    /// A parameter; empty if absent: the Bot API does not distinguish the two.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value)
    }

    /// An integer parameter, parsed as leniently as by the Bot API server, and clamped.
    pub(super) fn integer(&self, name: &str, default: i64, min: i64, max: i64) -> i64 {
        let value = self.get(name);
        let number = if value.is_empty() {
            default
        } else {
            lenient_integer(value)
        };
        number.clamp(min, max)
    }

    /// A boolean parameter.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(
            self.get(name).to_ascii_lowercase().as_str(),
            "true" | "yes" | "1"
        )
    }

    /// A file, uploaded under the parameter's name or under the name in `attach://name`.
    pub(super) fn file(&self, name: &str) -> Option<&Upload> {
        let named = |field: &str| self.files.iter().find(|file| file.field == field);
        named(name).or_else(|| named(self.get(name).strip_prefix("attach://")?))
    }

    /// The names of all parameters; files aside, whose names are the client's.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// All parameters, for the record of calls; of files the name and size.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::Value::String(value.clone())));
        let files = self.files.iter().map(|file| {
            let text = format!("file {:?} of {} bytes", file.name, file.bytes.len());
            (file.field.clone(), serde_json::Value::String(text))
        });
        // A parameter may name its file: the parameter counts.
        serde_json::Value::Object(files.chain(fields).collect())
    }
}

/// The number in the leading digits; 0 without digits.
fn lenient_integer(value: &str) -> i64 {
    let value = value.trim_start();
    let end = value
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || (*at == 0 && *c == '-')))
        .map_or(value.len(), |(at, _)| at);
    value[..end].parse().unwrap_or(0)
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(haystack.get(from..)?, needle).map(|at| at + from)
}

fn quoted(line: &str, name: &str) -> Option<String> {
    let at = line.find(name)? + name.len();
    let rest = line[at..].strip_prefix('"')?;
    Some(rest[..rest.find('"')?].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_gives_strings_as_they_are_and_the_rest_as_json() {
        let body = Bytes::from_static(
            b"{\"chat_id\":-5,\"text\":\"a\\u00e9\",\"x\":null,\"o\":{\"a\":[1]},\"b\":true}",
        );
        let params = Params::read(Some("text=first"), "application/json", &body).expect("reads");
        assert_eq!(params.integer("chat_id", 0, -10, 10), -5);
        assert_eq!(params.get("text"), "first");
        assert_eq!(params.get("o"), "{\"a\":[1]}");
        assert_eq!(params.get("x"), "");
        assert!(params.flag("b"));
    }

    #[test]
    fn a_multipart_form_gives_fields_and_files() {
        let body = Bytes::from_static(
            b"--x1\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\nhttps://a\r\n--x1\r\nContent-Disposition: form-data; name=\"cert\"; filename=\"c.pem\"\r\nContent-Type: text/plain\r\n\r\nPEM\r\n\r\n--x1\r\nContent-Disposition: form-data; name=\"certificate\"\r\n\r\nattach://cert\r\n--x1--\r\n",
        );
        let params = Params::read(None, "multipart/form-data; boundary=x1", &body).expect("reads");
        assert_eq!(params.get("url"), "https://a");
        let file = params.file("certificate").expect("attached");
        assert_eq!(&file.bytes[..], b"PEM\r\n");
    }

    #[test]
    fn numbers_are_read_leniently_and_clamped() {
        let body = Bytes::from_static(b"limit=500&timeout=abc&offset=12x");
        let params = Params::read(None, "application/x-www-form-urlencoded", &body).expect("reads");
        assert_eq!(params.integer("limit", 100, 1, 100), 100);
        assert_eq!(params.integer("timeout", 9, 0, 50), 0);
        assert_eq!(params.integer("offset", 0, i64::MIN, i64::MAX), 12);
        assert_eq!(params.integer("none", 7, 0, 50), 7);
    }
}
