//! Patches: merge (RFC 7386), JSON (RFC 6902) and strategic merge; server-side apply has a folder of its own.

mod strategic;

use http::{HeaderMap, header};
use serde_json::Value;

use super::kinds::Kind;
use super::status_error::StatusError;

/// A patch as it came.
#[derive(Debug, Clone)]
pub(super) enum Patch {
    Merge(Value),
    Json(json_patch::Patch),
    Strategic(Value),
    /// Server-side apply: the whole intention of one manager.
    Apply(Value),
}

impl Patch {
    /// Reads the body by its media type. Custom resources take no strategic merge patch.
    pub(super) fn parse(
        kind: &Kind,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, StatusError> {
        let media = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        let json = || {
            serde_json::from_slice::<Value>(body)
                .map_err(|error| StatusError::bad_request(format!("error decoding patch: {error}")))
        };
        match media {
            "application/merge-patch+json" => Ok(Self::Merge(json()?)),
            "application/json-patch+json" => {
                serde_json::from_slice(body)
                    .map(Self::Json)
                    .map_err(|error| {
                        StatusError::bad_request(format!("error decoding patch: {error}"))
                    })
            }
            "application/strategic-merge-patch+json" if !kind.is_custom() => {
                Ok(Self::Strategic(json()?))
            }
            "application/apply-patch+yaml" => serde_yaml::from_slice(body)
                .map(Self::Apply)
                .map_err(|error| StatusError::bad_request(format!("error decoding YAML: {error}"))),
            _ => Err(StatusError::unsupported_media_type(accepted_media_types(
                kind,
            ))),
        }
    }

    /// The object after the patch. Not for [`Patch::Apply`], which needs to know who owns what.
    pub(super) fn apply(&self, kind: &Kind, object: &mut Value) -> Result<(), StatusError> {
        match self {
            Self::Merge(patch) => {
                if !patch.is_object() {
                    return Err(StatusError::bad_request(
                        "error decoding patch: a merge patch is an object",
                    ));
                }
                json_patch::merge(object, patch);
                Ok(())
            }
            Self::Json(patch) => {
                json_patch::patch(object, patch).map_err(|_| StatusError::invalid_patch())
            }
            Self::Strategic(patch) => {
                strategic::merge(object, patch, &kind.schema).map_err(StatusError::bad_request)
            }
            Self::Apply(_) => Ok(()),
        }
    }
}

fn accepted_media_types(kind: &Kind) -> &'static [&'static str] {
    if kind.is_custom() {
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ]
    } else {
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ]
    }
}
