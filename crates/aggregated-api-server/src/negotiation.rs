//! In which form a client wants its answer. Everything is JSON: a client that takes nothing else than Protobuf is told so.

use http::{HeaderMap, header};

use crate::status::StatusError;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    /// The objects themselves.
    Object,
    /// `PartialObjectMetadata`, for the garbage collector and namespace deletion.
    Metadata(MetaVersion),
    /// `Table`, for kubectl.
    Table(MetaVersion, IncludeObject),
}

/// The version of `meta.k8s.io`; kubectl 1.20 asks for either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

/// How much of its object a row of a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl MetaVersion {
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

impl Representation {
    /// How many there are.
    pub(crate) const COUNT: usize = 9;

    /// A number below [`COUNT`](Self::COUNT), for tables of what is already written.
    pub(crate) fn index(self) -> usize {
        let version = |version: MetaVersion| usize::from(version == MetaVersion::V1Beta1);
        match self {
            Self::Object => 0,
            Self::Metadata(meta) => 1 + version(meta),
            Self::Table(meta, include) => 3 + version(meta) * 3 + include as usize,
        }
    }

    /// Chooses the first form that a client names and that there is.
    pub(crate) fn choose(headers: &HeaderMap, include: Option<&str>) -> Result<Self, StatusError> {
        let include = match include {
            None | Some("" | "Metadata") => IncludeObject::Metadata,
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            Some(other) => {
                return Err(StatusError::bad_request(format!(
                    "unrecognized includeObject value: {other}"
                )));
            }
        };
        let accept = accept(headers);
        if accept.trim().is_empty() {
            return Ok(Self::Object);
        }
        accept
            .split(',')
            .find_map(|clause| Self::of_clause(clause, include))
            .ok_or_else(StatusError::not_acceptable)
    }

    fn of_clause(clause: &str, include: IncludeObject) -> Option<Self> {
        let mut parts = clause.split(';').map(str::trim);
        if !matches!(
            parts.next(),
            Some("application/json" | "application/*" | "*/*")
        ) {
            return None;
        }
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let value = |name: &str| {
            let found = parameters.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value)
        };
        let Some(form) = value("as") else {
            return Some(Self::Object);
        };
        let version = match (value("g"), value("v")) {
            (Some("meta.k8s.io"), Some("v1")) => MetaVersion::V1,
            (Some("meta.k8s.io"), Some("v1beta1")) => MetaVersion::V1Beta1,
            _ => return None,
        };
        match form {
            "Table" => Some(Self::Table(version, include)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Self::Metadata(version)),
            _ => None,
        }
    }
}

/// All `Accept` headers in one.
pub(crate) fn accept(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    values.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &'static str) -> Result<Representation, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header"));
        Representation::choose(&headers, None).map_err(|error| error.code)
    }

    #[test]
    fn the_first_form_that_there_is_is_chosen() {
        let table = |version| Ok(Representation::Table(version, IncludeObject::Metadata));
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(choose(kubectl), table(MetaVersion::V1));
        let collector = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(
            choose(collector),
            Ok(Representation::Metadata(MetaVersion::V1))
        );
        let unknown = "application/json;as=Table;v=v7;g=meta.k8s.io,application/json;q=0.5";
        assert_eq!(choose(unknown), Ok(Representation::Object));
        assert_eq!(choose("*/*"), Ok(Representation::Object));
        assert_eq!(choose("application/vnd.kubernetes.protobuf"), Err(406));
    }

    #[test]
    fn every_form_has_a_number_of_its_own() {
        use IncludeObject as Include;
        let mut all = vec![Representation::Object];
        for version in [MetaVersion::V1, MetaVersion::V1Beta1] {
            all.push(Representation::Metadata(version));
            let rows = [Include::None, Include::Metadata, Include::Object];
            all.extend(rows.map(|include| Representation::Table(version, include)));
        }
        let mut numbers: Vec<usize> = all.into_iter().map(Representation::index).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..Representation::COUNT).collect::<Vec<_>>());
    }
}
