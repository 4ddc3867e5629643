//! The kinds that are served: the built-in ones, and those that an installed CRD adds.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::builtin_schemas;
use super::object::{str_at, value_at};
use super::table::Column;
use crate::schema::StructuralSchema;
use crate::schema::cel_rules::CelRules;

/// What a kind does beyond storing objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Defined by a CRD: generation, pruning, CEL; no strategic merge.
    CustomResource,
    Namespace,
    Secret,
    ConfigMap,
    /// The core view of events, which is also how they are stored.
    CoreEvent,
    /// The `events.k8s.io` view of the same events.
    EventsV1Event,
    Lease,
    /// Pods and what makes them, services, and the objects of RBAC: kept and shown. Nobody runs them, and none of their
    /// defaults is filled in.
    Kept,
    CustomResourceDefinition,
    /// Where the requests of an API group go.
    ApiService,
}

/// One served kind in one version.
#[derive(Debug)]
pub(super) struct Kind {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Whether `/status` is a resource of its own.
    pub status: bool,
    pub strategy: Strategy,
    /// Where the objects lie: two views of one storage have the same.
    pub storage: Arc<str>,
    pub schema: StructuralSchema,
    pub rules: Option<CelRules>,
    pub columns: Vec<Column>,
    /// Named `OpenAPI` components, and the one that is this kind.
    pub components: (String, Map<String, Value>),
}

impl Kind {
    /// `secrets`, `telegramconnectors.connectors.pupau.ai`: how messages name the resource.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `v1`, `connectors.pupau.ai/v1alpha1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `SecretList`.
    pub(super) fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Whether the kind is defined by a CRD.
    pub(super) fn is_custom(&self) -> bool {
        self.strategy == Strategy::CustomResource
    }

    /// The verbs that discovery names.
    pub(super) fn verbs(&self) -> &'static [&'static str] {
        if self.strategy == Strategy::Namespace {
            &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ]
        } else {
            &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ]
        }
    }

    /// The kinds of an installed CRD: one per served version.
    pub(super) fn from_crd(definition: &Value) -> Vec<Self> {
        let group = str_at(definition, &["spec", "group"]);
        let names = value_at(definition, &["spec", "names"]);
        let words = |key: &str| -> Vec<String> {
            let list = names.get(key).and_then(Value::as_array);
            list.map(|all| {
                all.iter()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default()
        };
        let plural = str_at(names, &["plural"]);
        let storage: Arc<str> = format!("{plural}.{group}").into();
        let metadata = builtin_schemas::inlined_schema::<
            k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        >();
        let mut kinds = Vec::new();
        for version in value_at(definition, &["spec", "versions"])
            .as_array()
            .into_iter()
            .flatten()
        {
            if !value_at(version, &["served"]).as_bool().unwrap_or(false) {
                continue;
            }
            let document = value_at(version, &["schema", "openAPIV3Schema"]);
            let mut schema = StructuralSchema::parse(document);
            schema
                .properties
                .insert("metadata".into(), StructuralSchema::parse(&metadata));
            for word in ["apiVersion", "kind"] {
                let string = serde_json::json!({"type": "string"});
                schema
                    .properties
                    .insert(word.into(), StructuralSchema::parse(&string));
            }
            kinds.push(Self {
                group: group.into(),
                version: str_at(version, &["name"]).into(),
                kind: str_at(names, &["kind"]).into(),
                plural: plural.into(),
                singular: str_at(names, &["singular"]).into(),
                short_names: words("shortNames"),
                categories: words("categories"),
                namespaced: str_at(definition, &["spec", "scope"]) == "Namespaced",
                status: value_at(version, &["subresources", "status"]).is_object(),
                strategy: Strategy::CustomResource,
                storage: Arc::clone(&storage),
                rules: Some(CelRules::compile(document)),
                schema,
                columns: Column::from_crd_version(version),
                components: super::openapi::custom_components(definition, version),
            });
        }
        kinds
    }
}

/// Every served kind, found by where it is in the API.
#[derive(Debug, Default, Clone)]
pub(super) struct KindRegistry {
    by_resource: BTreeMap<(String, String, String), Arc<Kind>>,
}

impl KindRegistry {
    /// The built-in kinds. Their schemas are read once in a process: that of a Pod is large.
    pub(super) fn new() -> Self {
        static BUILT_IN: LazyLock<KindRegistry> = LazyLock::new(|| {
            let mut kinds = KindRegistry::default();
            Kind::all_built_in()
                .into_iter()
                .for_each(|kind| kinds.add(kind));
            kinds
        });
        BUILT_IN.clone()
    }

    pub(super) fn add(&mut self, kind: Kind) {
        self.by_resource.insert(
            (
                kind.group.clone(),
                kind.version.clone(),
                kind.plural.clone(),
            ),
            Arc::new(kind),
        );
    }

    /// Stops serving everything that lies in `storage`.
    pub(super) fn remove_storage(&mut self, storage: &str) {
        self.by_resource.retain(|_, kind| &*kind.storage != storage);
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_resource
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    pub(super) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.by_resource
            .values()
            .find(|known| known.kind == kind && known.api_version() == api_version)
    }

    /// A kind that reads `storage` as it is stored.
    pub(super) fn by_storage(&self, storage: &str) -> Option<&Arc<Kind>> {
        self.by_resource
            .values()
            .find(|kind| &*kind.storage == storage && kind.strategy != Strategy::EventsV1Event)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_resource.values()
    }
}
