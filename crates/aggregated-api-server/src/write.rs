//! Creating, deleting and subresources: everything that is not a plain read.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::crypto::ring::default_provider;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::encoding;
use crate::error::{ApiError, CauseReason};
use crate::list::{PAGE_SIZE, Pages, Scope};
use crate::negotiation::Representation;
use crate::object::Object;
use crate::request::{Parameters, ResourcePath};
use crate::response::{self, ApiResponse};
use crate::served::Served;
use crate::status::StatusError;
use crate::unknown_fields;

/// The letters of generated names, as Kubernetes has them.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// One request that is not a plain read.
pub(crate) struct Operation<'a> {
    pub served: &'a Arc<Served>,
    pub caller: &'a Caller,
    pub path: &'a ResourcePath,
    pub parameters: &'a Parameters,
    pub body: Value,
}

impl Operation<'_> {
    fn error(&self, error: ApiError) -> StatusError {
        self.served.error(error, &self.path.name)
    }

    /// POST to a collection.
    pub(crate) async fn create(
        mut self,
        representation: Representation,
    ) -> Result<ApiResponse, StatusError> {
        let served = self.served;
        let description = served.description();
        let dry_run = self.parameters.dry_run()?;
        if !self.body.is_object() {
            return Err(StatusError::bad_request("the body is not an object"));
        }
        self.check_type(&description.kind)?;
        let warnings = unknown_fields::prune(
            &mut self.body,
            &description.properties,
            &description.kind,
            &served.version,
            self.parameters,
        )?;
        // What an object has become is not a client's to say.
        if let Some(fields) = self.body.as_object_mut() {
            fields.remove("status");
        }
        let name = self.name_new_object(description.requires_name)?;
        let created = served
            .resource
            .create(&self.path.namespace, self.caller, self.body, dry_run)
            .await
            .map_err(|error| served.error(error, &name))?;
        let value = encoding::object(served, &created, representation);
        let mut response = response::json(StatusCode::CREATED, &value);
        response::add_warnings(&mut response, &warnings);
        Ok(response)
    }

    /// Refuses a body that is of another kind than the path.
    fn check_type(&self, kind: &str) -> Result<(), StatusError> {
        let api_version = self.served.api_version();
        for (field, expected) in [("kind", kind), ("apiVersion", &api_version)] {
            match &self.body[field] {
                Value::Null => {}
                Value::String(text) if text == expected => {}
                other => {
                    return Err(StatusError::bad_request(format!(
                        "{field} in data ({other}) does not match expected {field} ({expected})"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Checks the name and the namespace, and makes a name if that is asked for. Returns the name.
    fn name_new_object(&mut self, requires_name: bool) -> Result<String, StatusError> {
        let namespace = &self.path.namespace;
        if self.body["metadata"].is_null() {
            self.body["metadata"] = json!({});
        }
        let metadata = &mut self.body["metadata"];
        let text = |field: &str| match metadata.get(field) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(StatusError::bad_request(format!(
                "metadata.{field} is not a string"
            ))),
        };
        if !metadata.is_object() {
            return Err(StatusError::bad_request("metadata is not an object"));
        }
        let given = text("namespace")?;
        if !given.is_empty() && given != *namespace {
            return Err(StatusError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let prefix = text("generateName")?;
        let mut name = text("name")?;
        if name.is_empty() && !prefix.is_empty() {
            // Room for five letters, as Kubernetes makes it.
            name = format!("{}{}", cut(&prefix, 248), random_letters());
            metadata["name"] = name.as_str().into();
        }
        metadata["namespace"] = namespace.as_str().into();
        let problem = if !name.is_empty() {
            (!is_subdomain(&name)).then(|| {
                let sentence = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                                start and end with an alphanumeric character";
                (CauseReason::Invalid, format!("\"{name}\": {sentence}"))
            })
        } else if requires_name {
            let sentence = "name or generateName is required".to_owned();
            Some((CauseReason::Required, sentence))
        } else {
            None
        };
        match problem {
            None => Ok(name),
            Some((reason, detail)) => {
                let error = ApiError::invalid("metadata.name", reason, detail);
                Err(self.served.error(error, &name))
            }
        }
    }

    /// DELETE of one object.
    pub(crate) async fn delete(self) -> Result<ApiResponse, StatusError> {
        let (served, path) = (self.served, self.path);
        let dry_run = self.is_dry_run()?;
        let object = served.resource.get(&path.namespace, &path.name).await;
        let object = object.map_err(|error| self.error(error))?;
        self.check_preconditions(&object)?;
        if !dry_run {
            let names = std::slice::from_ref(&path.name);
            let deleted = served
                .resource
                .delete(&path.namespace, self.caller, names)
                .await;
            deleted.map_err(|error| self.error(error))?;
        }
        Ok(deletion(
            json!({"name": object.name, "group": served.group, "kind": served.description().plural, "uid": object.uid}),
        ))
    }

    /// DELETE of a collection: all that the selectors match.
    pub(crate) async fn delete_collection(
        self,
        scope: Scope,
        page_timeout: Duration,
    ) -> Result<ApiResponse, StatusError> {
        let served = self.served;
        let dry_run = self.is_dry_run()?;
        let mut pages = Pages::new(served.clone(), scope, None, page_timeout);
        loop {
            let page = pages.next(PAGE_SIZE).await;
            let Some(page) = page.map_err(|error| self.error(error))? else {
                break;
            };
            let names: Vec<String> = page.objects.into_iter().map(|one| one.name).collect();
            if dry_run || names.is_empty() {
                continue;
            }
            let deleted = served
                .resource
                .delete(&self.path.namespace, self.caller, &names)
                .await;
            deleted.map_err(|error| self.error(error))?;
        }
        Ok(deletion(
            json!({"group": served.group, "kind": served.description().plural}),
        ))
    }

    /// By the query or by the `DeleteOptions` in the body.
    fn is_dry_run(&self) -> Result<bool, StatusError> {
        match &self.body["dryRun"] {
            Value::Null => self.parameters.dry_run(),
            Value::Array(values) if values.is_empty() => self.parameters.dry_run(),
            Value::Array(values) if values.iter().all(|value| value == "All") => Ok(true),
            other => Err(StatusError::bad_request(format!(
                "dryRun: Unsupported value: {other}: supported values: \"All\""
            ))),
        }
    }

    fn check_preconditions(&self, object: &Object) -> Result<(), StatusError> {
        let wanted = &self.body["preconditions"];
        let revision = object.revision.to_string();
        for (field, name, actual) in [
            ("uid", "UID", &object.uid),
            ("resourceVersion", "ResourceVersion", &revision),
        ] {
            if let Some(wanted) = wanted[field].as_str()
                && wanted != actual
            {
                let what =
                    format!("{name} in precondition: {wanted}, {name} in object meta: {actual}");
                let subject = self.served.subject(&object.name);
                return Err(StatusError::precondition_failed(subject, &what));
            }
        }
        Ok(())
    }

    /// GET of a subresource.
    pub(crate) async fn get_subresource(self) -> Result<ApiResponse, StatusError> {
        let path = self.path;
        let read = self
            .served
            .resource
            .get_subresource(&path.namespace, self.caller, &path.name, &path.subresource)
            .await;
        let value = read.map_err(|error| self.error(error))?;
        Ok(response::json(StatusCode::OK, &self.completed(value)))
    }

    /// POST to a subresource.
    pub(crate) async fn create_subresource(mut self) -> Result<ApiResponse, StatusError> {
        let (served, path) = (self.served, self.path);
        let dry_run = self.parameters.dry_run()?;
        let mut warnings = Vec::new();
        if let Some(part) = served.description().subresource(&path.subresource)
            && self.body.is_object()
        {
            self.check_type(&part.kind)?;
            warnings = unknown_fields::prune(
                &mut self.body,
                &part.properties,
                &part.kind,
                &served.version,
                self.parameters,
            )?;
        }
        let body = std::mem::take(&mut self.body);
        let made = served
            .resource
            .create_subresource(
                &path.namespace,
                self.caller,
                &path.name,
                &path.subresource,
                body,
                dry_run,
            )
            .await;
        let value = made.map_err(|error| self.error(error))?;
        let mut response = response::json(StatusCode::CREATED, &self.completed(value));
        response::add_warnings(&mut response, &warnings);
        Ok(response)
    }

    /// Adds what every object has.
    fn completed(&self, value: Value) -> Value {
        let path = self.path;
        let part = self.served.description().subresource(&path.subresource);
        let mut all = serde_json::Map::new();
        all.insert("apiVersion".into(), self.served.api_version().into());
        all.insert("kind".into(), part.map(|part| part.kind.as_str()).into());
        all.insert(
            "metadata".into(),
            json!({"name": path.name, "namespace": path.namespace}),
        );
        if let Value::Object(fields) = value {
            all.extend(fields);
        }
        Value::Object(all)
    }
}

fn deletion(details: Value) -> ApiResponse {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    response::json(StatusCode::OK, &status)
}

fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

fn random_letters() -> String {
    let mut bytes = [0; 5];
    // Without an operating system's randomness, TLS would not have come this far.
    let _ = default_provider().secure_random.fill(&mut bytes);
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    bytes.iter().map(letter).collect()
}

/// A DNS subdomain name (RFC 1123), as names of objects are.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !part.is_empty()
                && part.bytes().all(fits)
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}
