//! What a write request says: the object in its body, whether it fits the place it was sent to, and who sent it.

use http::header;
use serde_json::Value;

use super::WriteRequest;
use crate::server::apply::{self, FieldManager};
use crate::server::kinds::Kind;
use crate::server::object::{metadata_str, str_at, value_at};
use crate::server::status_error::StatusError;
use crate::server::{duplicate_keys, protobuf, strategy};

impl WriteRequest<'_> {
    pub(super) fn parse_object(&self) -> Result<(Value, Vec<String>), StatusError> {
        let media = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let parsed: Result<Value, String> = if media.contains("yaml") {
            serde_yaml::from_slice(self.body).map_err(|error| error.to_string())
        } else if media.contains("protobuf") {
            protobuf::decode(self.kind, self.body).map_err(|error| error.to_string())
        } else if media.contains("cbor") {
            return Err(StatusError::unsupported_media_type(&[
                "application/json",
                "application/yaml",
            ]));
        } else {
            serde_json::from_slice(self.body).map_err(|error| error.to_string())
        };
        let unrecognized = |why: &str| {
            let text = String::from_utf8_lossy(self.body);
            let head: String = text.chars().take(30).collect();
            let more = if head.len() < text.len() { " ..." } else { "" };
            let wanted = &self.kind.kind;
            StatusError::bad_request(format!(
                "the object provided is unrecognized (must be of type {wanted}): {why} ({head}{more})"
            ))
        };
        let object = parsed.map_err(|error| {
            unrecognized(&format!(
                "couldn't get version/kind; json parse error: {error}"
            ))
        })?;
        if !object.is_object() {
            return Err(unrecognized(
                "couldn't get version/kind; json parse error: an object is wanted",
            ));
        }
        if self.kind.is_custom() && str_at(&object, &["kind"]).is_empty() {
            let text = String::from_utf8_lossy(self.body);
            return Err(unrecognized(&format!(
                "Object 'Kind' is missing in '{text}'"
            )));
        }
        let mut warnings = self.duplicate_keys(media)?;
        let (object, more) = self.decode(object)?;
        warnings.extend(more);
        Ok((object, warnings))
    }

    /// Keys that are written twice: JSON keeps the last one, a strict reader refuses.
    fn duplicate_keys(&self, media: &str) -> Result<Vec<String>, StatusError> {
        if media.contains("yaml")
            || media.contains("protobuf")
            || self.query.field_validation == "Ignore"
        {
            return Ok(Vec::new());
        }
        let found = duplicate_keys::find(self.body);
        let texts: Vec<String> = found
            .iter()
            .map(|path| format!("duplicate field \"{path}\""))
            .collect();
        self.apply_field_validation(texts)
    }

    pub(super) fn decode(&self, object: Value) -> Result<(Value, Vec<String>), StatusError> {
        let (object, unknown) = strategy::decode(self.kind, object)?;
        let texts = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        Ok((object, self.apply_field_validation(texts)?))
    }

    /// What `fieldValidation` makes of lax input: nothing, warnings, or a refusal.
    fn apply_field_validation(&self, texts: Vec<String>) -> Result<Vec<String>, StatusError> {
        match self.query.field_validation.as_str() {
            "Ignore" => Ok(Vec::new()),
            "Strict" if !texts.is_empty() => {
                let Kind { kind, version, .. } = self.kind;
                Err(StatusError::bad_request(format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                    texts.join(", ")
                )))
            }
            _ => Ok(texts),
        }
    }

    pub(super) fn check_name(&self, object: &Value) -> Result<(), StatusError> {
        let name = metadata_str(object, "name");
        if name != self.info.name {
            if name.is_empty() {
                return Err(StatusError::bad_request(
                    "the name of the object must be set",
                ));
            }
            let why = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.info.name
            );
            return Err(StatusError::bad_request(why));
        }
        self.check_namespace(object)
    }

    pub(super) fn check_namespace(&self, object: &Value) -> Result<(), StatusError> {
        let namespace = metadata_str(object, "namespace");
        if !namespace.is_empty() && namespace != self.info.namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(StatusError::bad_request(why));
        }
        Ok(())
    }

    pub(super) fn check_apply(&self, config: &Value) -> Result<(), StatusError> {
        let (api_version, kind) = (str_at(config, &["apiVersion"]), str_at(config, &["kind"]));
        if api_version.is_empty() || kind.is_empty() {
            return Err(StatusError::bad_request(format!(
                "invalid object type: {api_version}/, Kind={kind}"
            )));
        }
        if !value_at(config, &["metadata", "managedFields"]).is_null() {
            return Err(StatusError::bad_request(
                "metadata.managedFields must be nil",
            ));
        }
        if !self.info.subresource.is_empty() {
            self.existing_object()?;
        }
        if let Some(why) = apply::duplicate_item_error(self.kind, config) {
            return Err(StatusError::internal(why));
        }
        if metadata_str(config, "name").is_empty() {
            Ok(())
        } else {
            self.check_name(config)
        }
    }

    pub(super) fn manager(&self, operation: &'static str) -> FieldManager {
        let agent = self
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("unknown");
        let name = if self.query.field_manager.is_empty() {
            agent
                .split('/')
                .next()
                .unwrap_or(agent)
                .chars()
                .take(128)
                .collect()
        } else {
            self.query.field_manager.clone()
        };
        FieldManager {
            name,
            operation,
            api_version: self.kind.api_version(),
            subresource: self.info.subresource.clone(),
        }
    }
}
