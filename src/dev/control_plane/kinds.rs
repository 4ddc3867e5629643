//! The kinds that are served: the built-in ones, and those that an installed CRD adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Secret};
use k8s_openapi::api::events::v1::Event as NewEvent;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::schemars::JsonSchema;
use serde_json::{Map, Value};

use super::object::{at, text};
use super::schema::rules::Rules;
use super::schema::{Schema, builtin};
use super::table::Column;

/// What a kind does beyond storing objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Defined by a CRD: generation, pruning, CEL; no strategic merge.
    Custom,
    Namespace,
    Secret,
    ConfigMap,
    /// The core view of events, which is also how they are stored.
    Event,
    /// The `events.k8s.io` view of the same events.
    NewEvent,
    Lease,
    Definition,
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
    pub nature: Nature,
    /// Where the objects lie: two views of one storage have the same.
    pub storage: Arc<str>,
    pub schema: Schema,
    pub rules: Option<Rules>,
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
        self.nature == Nature::Custom
    }

    /// The verbs that discovery names.
    pub(super) fn verbs(&self) -> &'static [&'static str] {
        if self.nature == Nature::Namespace {
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

    #[allow(clippy::too_many_arguments)] // a table of plain facts, read as a table below
    fn built_in<T: JsonSchema>(
        group: &str,
        kind: &str,
        plural: &str,
        short_names: &[&str],
        namespaced: bool,
        status: bool,
        nature: Nature,
        columns: Vec<Column>,
    ) -> Self {
        let storage = if nature == Nature::NewEvent {
            "events".to_owned()
        } else if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let mut schema = Schema::parse(&builtin::whole::<T>());
        if nature == Nature::Definition {
            open_json_schemas(&mut schema);
        }
        Self {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: short_names.iter().map(ToString::to_string).collect(),
            categories: if nature == Nature::Definition {
                vec!["api-extensions".into()]
            } else {
                Vec::new()
            },
            namespaced,
            status,
            nature,
            storage: storage.into(),
            schema,
            rules: None,
            columns,
            components: builtin::components::<T>(),
        }
    }

    /// The kinds that are always served.
    pub(super) fn all_built_in() -> Vec<Self> {
        use super::table::built_in as columns;
        vec![
            Self::built_in::<Namespace>(
                "",
                "Namespace",
                "namespaces",
                &["ns"],
                false,
                true,
                Nature::Namespace,
                columns::namespace(),
            ),
            Self::built_in::<Secret>(
                "",
                "Secret",
                "secrets",
                &[],
                true,
                false,
                Nature::Secret,
                columns::secret(),
            ),
            Self::built_in::<ConfigMap>(
                "",
                "ConfigMap",
                "configmaps",
                &["cm"],
                true,
                false,
                Nature::ConfigMap,
                columns::config_map(),
            ),
            Self::built_in::<Event>(
                "",
                "Event",
                "events",
                &["ev"],
                true,
                false,
                Nature::Event,
                columns::event(),
            ),
            Self::built_in::<NewEvent>(
                "events.k8s.io",
                "Event",
                "events",
                &["ev"],
                true,
                false,
                Nature::NewEvent,
                columns::event(),
            ),
            Self::built_in::<Lease>(
                "coordination.k8s.io",
                "Lease",
                "leases",
                &[],
                true,
                false,
                Nature::Lease,
                columns::lease(),
            ),
            Self::built_in::<CustomResourceDefinition>(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "customresourcedefinitions",
                &["crd", "crds"],
                false,
                true,
                Nature::Definition,
                columns::definition(),
            ),
        ]
    }

    /// The kinds of an installed CRD: one per served version.
    pub(super) fn of_definition(definition: &Value) -> Vec<Self> {
        let group = text(definition, &["spec", "group"]);
        let names = at(definition, &["spec", "names"]);
        let words = |key: &str| -> Vec<String> {
            let list = names.get(key).and_then(Value::as_array);
            list.map(|all| {
                all.iter()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default()
        };
        let plural = text(names, &["plural"]);
        let storage: Arc<str> = format!("{plural}.{group}").into();
        let metadata =
            builtin::whole::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>();
        let mut kinds = Vec::new();
        for version in at(definition, &["spec", "versions"])
            .as_array()
            .into_iter()
            .flatten()
        {
            if !at(version, &["served"]).as_bool().unwrap_or(false) {
                continue;
            }
            let document = at(version, &["schema", "openAPIV3Schema"]);
            let mut schema = Schema::parse(document);
            schema
                .properties
                .insert("metadata".into(), Schema::parse(&metadata));
            for word in ["apiVersion", "kind"] {
                let string = serde_json::json!({"type": "string"});
                schema
                    .properties
                    .insert(word.into(), Schema::parse(&string));
            }
            kinds.push(Self {
                group: group.into(),
                version: text(version, &["name"]).into(),
                kind: text(names, &["kind"]).into(),
                plural: plural.into(),
                singular: text(names, &["singular"]).into(),
                short_names: words("shortNames"),
                categories: words("categories"),
                namespaced: text(definition, &["spec", "scope"]) == "Namespaced",
                status: at(version, &["subresources", "status"]).is_object(),
                nature: Nature::Custom,
                storage: Arc::clone(&storage),
                rules: Some(Rules::compile(document)),
                schema,
                columns: Column::of_version(version),
                components: super::openapi::custom_components(definition, version),
            });
        }
        kinds
    }
}

/// A CRD holds JSON Schemas, which are recursive: below `openAPIV3Schema` anything is kept as it is.
fn open_json_schemas(schema: &mut Schema) {
    if let Some(versions) = schema
        .properties
        .get_mut("spec")
        .and_then(|spec| spec.properties.get_mut("versions"))
        && let Some(version) = versions.items.as_deref_mut()
        && let Some(holder) = version.properties.get_mut("schema")
    {
        let open = Schema {
            preserve_unknown: true,
            ..Schema::default()
        };
        holder.properties.insert("openAPIV3Schema".into(), open);
    }
}

/// Every served kind, found by where it is in the API.
#[derive(Debug, Default, Clone)]
pub(super) struct Kinds {
    by_place: BTreeMap<(String, String, String), Arc<Kind>>,
}

impl Kinds {
    /// The built-in kinds.
    pub(super) fn new() -> Self {
        let mut kinds = Self::default();
        Kind::all_built_in()
            .into_iter()
            .for_each(|kind| kinds.add(kind));
        kinds
    }

    pub(super) fn add(&mut self, kind: Kind) {
        self.by_place.insert(
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
        self.by_place.retain(|_, kind| &*kind.storage != storage);
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_place
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    pub(super) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.by_place
            .values()
            .find(|known| known.kind == kind && known.api_version() == api_version)
    }

    /// A kind that reads `storage` as it is stored.
    pub(super) fn by_storage(&self, storage: &str) -> Option<&Arc<Kind>> {
        self.by_place
            .values()
            .find(|kind| &*kind.storage == storage && kind.nature != Nature::NewEvent)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_place.values()
    }
}
