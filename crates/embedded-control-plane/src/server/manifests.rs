//! Objects from YAML and JSON files: applied at the start, and again when a file changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::object::{metadata_str, str_at};
use super::request::{Query, Representation, RequestInfo};
use super::status_error::StatusError;
use super::write::WriteRequest;
use super::{ControlPlane, ServerState, duplicate_keys};

/// How often watched files are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The field manager of what comes from files.
const FIELD_MANAGER: &str = "manifest-files";

/// Why a file could not be applied.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file or folder cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is neither YAML nor JSON, or a mapping in it has a key twice.
    #[error("{path}: does not parse: {reason}", path = path.display())]
    Unparsable {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// An object in the file was refused.
    #[error("{path}: {object}: {message}", path = path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Kind and name.
        object: String,
        /// The API server's message.
        message: String,
    },
}

/// An object and the file it came from.
struct Manifest {
    path: PathBuf,
    object: Value,
}

impl ControlPlane {
    /// Applies every object in these files, and in the `.yaml`, `.yml` and `.json` files of these folders (not below them).
    /// Namespaces and CRDs go first. Returns how many objects there were.
    ///
    /// # Errors
    /// The first file that cannot be read or parsed, or object that is refused; what came before it stays applied.
    pub fn apply_manifests<P: AsRef<Path>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<usize, ManifestError> {
        let mut manifests = Vec::new();
        for file in manifest_files(paths)? {
            manifests.extend(read_manifests(&file)?);
        }
        self.apply_all(manifests)
    }

    fn apply_all(&self, mut manifests: Vec<Manifest>) -> Result<usize, ManifestError> {
        manifests.sort_by_key(|manifest| match str_at(&manifest.object, &["kind"]) {
            "Namespace" => 0,
            "CustomResourceDefinition" => 1,
            _ => 2,
        });
        for Manifest { path, object } in &manifests {
            self.apply(object).map_err(|error| ManifestError::Refused {
                path: path.clone(),
                object: format!(
                    "{} {:?}",
                    str_at(object, &["kind"]),
                    metadata_str(object, "name")
                ),
                message: error.message,
            })?;
        }
        Ok(manifests.len())
    }

    /// Applies these files and folders as [`ControlPlane::apply_manifests`] does, and again each file that changes or appears, until
    /// the guard is dropped. `report` hears of every file that was applied again (how many objects) or could not be.
    ///
    /// # Errors
    /// As [`ControlPlane::apply_manifests`], for the first time only. Needs a tokio runtime.
    pub fn watch_manifests<P: AsRef<Path>>(
        &self,
        paths: impl IntoIterator<Item = P>,
        report: impl Fn(&Path, Result<usize, ManifestError>) + Send + 'static,
    ) -> Result<DropGuard, ManifestError> {
        let roots: Vec<PathBuf> = paths
            .into_iter()
            .map(|path| path.as_ref().to_owned())
            .collect();
        let mut known = modification_times(&roots)?;
        self.apply_manifests(&roots)?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let plane = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                // A folder that is unreadable for a moment (an editor that renames) is looked at again.
                let Ok(now) = modification_times(&roots) else {
                    continue;
                };
                for (file, stamp) in &now {
                    if known.get(file) != Some(stamp) {
                        report(
                            file,
                            read_manifests(file).and_then(|manifests| plane.apply_all(manifests)),
                        );
                    }
                }
                known = now;
            }
        });
        Ok(guard)
    }

    /// Applies one of our own objects, which cannot fail.
    pub(super) fn apply_internal(&self, object: &Value) {
        self.apply(object)
            .unwrap_or_else(|error| panic!("{object} is refused: {}", error.message));
    }

    fn apply(&self, object: &Value) -> Result<(), StatusError> {
        apply_object(&self.server, object)
    }
}

/// Applies an object by server-side apply, overriding whoever owns its fields.
pub(super) fn apply_object(server: &ServerState, object: &Value) -> Result<(), StatusError> {
    let (api_version, word) = (str_at(object, &["apiVersion"]), str_at(object, &["kind"]));
    let kind = server
        .kinds()
        .by_kind(api_version, word)
        .cloned()
        .ok_or_else(|| {
            StatusError::bad_request(format!(
                "no matches for kind {word:?} in version {api_version:?}: install its CRD first"
            ))
        })?;
    let namespace = match (kind.namespaced, metadata_str(object, "namespace")) {
        (false, _) => "",
        (true, "") => "default",
        (true, given) => given,
    };
    let info = RequestInfo {
        group: kind.group.clone(),
        version: kind.version.clone(),
        namespace: namespace.into(),
        plural: kind.plural.clone(),
        name: metadata_str(object, "name").into(),
        subresource: String::new(),
    };
    let query = Query {
        field_manager: FIELD_MANAGER.into(),
        field_validation: "Strict".into(),
        force: Some(true),
        ..Query::default()
    };
    let mut headers = HeaderMap::new();
    let media = http::HeaderValue::from_static("application/apply-patch+yaml");
    headers.insert(http::header::CONTENT_TYPE, media);
    let body = object.to_string();
    let write_request = WriteRequest {
        server,
        kind: &kind,
        info: &info,
        query: &query,
        representation: Representation::Full,
        headers: &headers,
        body: body.as_bytes(),
    };
    write_request.patch().map(|_| ())
}

fn manifest_files<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
) -> Result<Vec<PathBuf>, ManifestError> {
    let mut all = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let unreadable = |source| ManifestError::Unreadable {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
                .map_err(unreadable)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|file| {
                    file.is_file()
                        && file
                            .extension()
                            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
                })
                .collect();
            inside.sort();
            all.extend(inside);
        } else {
            all.push(path.to_owned());
        }
    }
    Ok(all)
}

fn modification_times(
    roots: &[PathBuf],
) -> Result<BTreeMap<PathBuf, (SystemTime, u64)>, ManifestError> {
    let files = manifest_files(roots)?;
    Ok(files
        .into_iter()
        .filter_map(|file| {
            let facts = std::fs::metadata(&file).ok()?;
            Some((file, (facts.modified().ok()?, facts.len())))
        })
        .collect())
}

fn read_manifests(file: &Path) -> Result<Vec<Manifest>, ManifestError> {
    let text = std::fs::read_to_string(file).map_err(|source| ManifestError::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    let mut all = Vec::new();
    let unparsable = |reason: String| ManifestError::Unparsable {
        path: file.to_owned(),
        reason,
    };
    let documents = || serde_yaml::Deserializer::from_str(&text);
    for (document, again) in documents().zip(documents()) {
        let object = Value::deserialize(document).map_err(|error| unparsable(error.to_string()))?;
        if let Some(key) = duplicate_keys::find_in(again).first() {
            let name = metadata_str(&object, "name");
            return Err(unparsable(format!(
                "{} {name:?} has {key} twice in the same mapping: keep one of them",
                str_at(&object, &["kind"]),
            )));
        }
        let objects = match object {
            Value::Null => continue,
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                }
            }
            object => vec![object],
        };
        all.extend(objects.into_iter().map(|object| Manifest {
            path: file.to_owned(),
            object,
        }));
    }
    Ok(all)
}
