//! The table of the kinds that are always served.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event as EventsV1Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use k8s_openapi::schemars::JsonSchema;

use super::builtin_schemas;
use super::kinds::{Kind, Strategy};
use super::table::Column;
use super::table::built_in as columns;
use crate::schema::StructuralSchema;

impl Kind {
    #[allow(clippy::too_many_arguments)] // a table of plain facts, read as a table below
    fn built_in<T: JsonSchema>(
        group: &str,
        kind: &str,
        plural: &str,
        short_names: &[&str],
        namespaced: bool,
        status: bool,
        strategy: Strategy,
        columns: Vec<Column>,
    ) -> Self {
        let storage = if strategy == Strategy::EventsV1Event {
            "events".to_owned()
        } else if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let mut schema = StructuralSchema::parse(&builtin_schemas::inlined_schema::<T>());
        if strategy == Strategy::CustomResourceDefinition {
            preserve_json_schemas(&mut schema);
        }
        Self {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: short_names.iter().map(ToString::to_string).collect(),
            categories: if is_extension(strategy) {
                vec!["api-extensions".into()]
            } else {
                Vec::new()
            },
            namespaced,
            status,
            strategy,
            storage: storage.into(),
            schema,
            rules: None,
            columns,
            components: builtin_schemas::components::<T>(),
        }
    }

    /// The kinds that are always served.
    pub(super) fn all_built_in() -> Vec<Self> {
        vec![
            Self::built_in::<Namespace>(
                "",
                "Namespace",
                "namespaces",
                &["ns"],
                false,
                true,
                Strategy::Namespace,
                columns::namespace(),
            ),
            Self::built_in::<Secret>(
                "",
                "Secret",
                "secrets",
                &[],
                true,
                false,
                Strategy::Secret,
                columns::secret(),
            ),
            Self::built_in::<ConfigMap>(
                "",
                "ConfigMap",
                "configmaps",
                &["cm"],
                true,
                false,
                Strategy::ConfigMap,
                columns::config_map(),
            ),
            Self::built_in::<Event>(
                "",
                "Event",
                "events",
                &["ev"],
                true,
                false,
                Strategy::CoreEvent,
                columns::event(),
            ),
            Self::built_in::<EventsV1Event>(
                "events.k8s.io",
                "Event",
                "events",
                &["ev"],
                true,
                false,
                Strategy::EventsV1Event,
                columns::event(),
            ),
            Self::built_in::<Lease>(
                "coordination.k8s.io",
                "Lease",
                "leases",
                &[],
                true,
                false,
                Strategy::Lease,
                columns::lease(),
            ),
            Self::built_in::<Pod>(
                "",
                "Pod",
                "pods",
                &["po"],
                true,
                true,
                Strategy::Kept,
                columns::pod(),
            ),
            Self::built_in::<Deployment>(
                "apps",
                "Deployment",
                "deployments",
                &["deploy"],
                true,
                true,
                Strategy::Kept,
                columns::deployment(),
            ),
            Self::built_in::<CustomResourceDefinition>(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "customresourcedefinitions",
                &["crd", "crds"],
                false,
                true,
                Strategy::CustomResourceDefinition,
                columns::custom_resource_definition(),
            ),
            Self::built_in::<Service>(
                "",
                "Service",
                "services",
                &["svc"],
                true,
                true,
                Strategy::Kept,
                columns::service(),
            ),
            Self::built_in::<Role>(
                "rbac.authorization.k8s.io",
                "Role",
                "roles",
                &[],
                true,
                false,
                Strategy::Kept,
                columns::role(),
            ),
            Self::built_in::<ClusterRole>(
                "rbac.authorization.k8s.io",
                "ClusterRole",
                "clusterroles",
                &[],
                false,
                false,
                Strategy::Kept,
                columns::role(),
            ),
            Self::built_in::<RoleBinding>(
                "rbac.authorization.k8s.io",
                "RoleBinding",
                "rolebindings",
                &[],
                true,
                false,
                Strategy::Kept,
                columns::role_binding(),
            ),
            Self::built_in::<ClusterRoleBinding>(
                "rbac.authorization.k8s.io",
                "ClusterRoleBinding",
                "clusterrolebindings",
                &[],
                false,
                false,
                Strategy::Kept,
                columns::role_binding(),
            ),
            Self::built_in::<APIService>(
                "apiregistration.k8s.io",
                "APIService",
                "apiservices",
                &[],
                false,
                true,
                Strategy::ApiService,
                columns::api_service(),
            ),
        ]
    }
}

/// Whether the kind extends the API itself.
fn is_extension(strategy: Strategy) -> bool {
    matches!(
        strategy,
        Strategy::CustomResourceDefinition | Strategy::ApiService
    )
}

/// A CRD holds JSON Schemas, which are recursive: below `openAPIV3Schema` anything is kept as it is.
fn preserve_json_schemas(schema: &mut StructuralSchema) {
    if let Some(versions) = schema
        .properties
        .get_mut("spec")
        .and_then(|spec| spec.properties.get_mut("versions"))
        && let Some(version) = versions.items.as_deref_mut()
        && let Some(holder) = version.properties.get_mut("schema")
    {
        let open = StructuralSchema {
            preserve_unknown: true,
            ..StructuralSchema::default()
        };
        holder.properties.insert("openAPIV3Schema".into(), open);
    }
}
