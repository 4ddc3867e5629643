//! The rights that the operator needs in a cluster, in the words of RBAC. The chart grants exactly these, which a test checks.

/// Verbs on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// API group; "" is the core group.
    pub group: &'static str,
    /// Plural of the resource.
    pub resource: &'static str,
    /// `status`, or "" for the object itself.
    pub subresource: &'static str,
    /// The one object that may be touched, where the right is for one; "" stands for all. The operator's own Secret of the data API has a name that
    /// a flag says: [`DATA_API_SECRET`].
    pub name: &'static str,
    /// What is done with it.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: RightScope,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightScope {
    /// In the namespaces of `--watch-namespace`, or in all.
    Watched,
    /// Cluster-wide. With `--watch-namespace` the operator does without, and says so where a connector refers to a list of the cluster.
    ClusterUserLists,
    /// In the namespace of the leader's Lease, where one is elected.
    Lease,
    /// In `kube-system`, where the data API is served.
    DataApiAuthentication,
    /// Cluster-wide, where the data API is served.
    DataApi,
    /// In the operator's own namespace, where it makes the data API's certificates.
    DataApiSecret,
    /// Cluster-wide, where it makes them.
    DataApiService,
}

/// The name in [`RIGHTS`] of the Secret that `--data-api-certificate-secret` names.
pub const DATA_API_SECRET: &str = "--data-api-certificate-secret";

/// All of them.
pub const RIGHTS: &[Right] = &[
    Right {
        group: crate::api::GROUP,
        resource: "telegramconnectors",
        subresource: "",
        name: "",
        verbs: &["list", "watch", "patch"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "telegramuserlists",
        subresource: "",
        name: "",
        verbs: &["list", "watch"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "telegramconnectors",
        subresource: "status",
        name: "",
        verbs: &["patch"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "telegramuserlists",
        subresource: "status",
        name: "",
        verbs: &["patch"],
        scope: RightScope::Watched,
    },
    Right {
        group: "",
        resource: "secrets",
        subresource: "",
        name: "",
        verbs: &["get", "list", "watch"],
        scope: RightScope::Watched,
    },
    Right {
        group: "events.k8s.io",
        resource: "events",
        subresource: "",
        name: "",
        verbs: &["create"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "clustertelegramuserlists",
        subresource: "",
        name: "",
        verbs: &["list", "watch"],
        scope: RightScope::ClusterUserLists,
    },
    Right {
        group: crate::api::GROUP,
        resource: "clustertelegramuserlists",
        subresource: "status",
        name: "",
        verbs: &["patch"],
        scope: RightScope::ClusterUserLists,
    },
    // Their labels, read only while a list selects namespaces by them.
    Right {
        group: "",
        resource: "namespaces",
        subresource: "",
        name: "",
        verbs: &["list", "watch"],
        scope: RightScope::ClusterUserLists,
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        subresource: "",
        name: "",
        verbs: &["get", "create", "update"],
        scope: RightScope::Lease,
    },
    // The API servers' authority and names, by which they prove that a request comes from them.
    Right {
        group: "",
        resource: "configmaps",
        subresource: "",
        name: "extension-apiserver-authentication",
        verbs: &["get", "list", "watch"],
        scope: RightScope::DataApiAuthentication,
    },
    Right {
        group: "authorization.k8s.io",
        resource: "subjectaccessreviews",
        subresource: "",
        name: "",
        verbs: &["create"],
        scope: RightScope::DataApi,
    },
    Right {
        group: "",
        resource: "secrets",
        subresource: "",
        name: DATA_API_SECRET,
        verbs: &["get", "update"],
        scope: RightScope::DataApiSecret,
    },
    Right {
        group: "apiregistration.k8s.io",
        resource: "apiservices",
        subresource: "",
        name: crate::data_api::certificate::API_SERVICE,
        verbs: &["get", "patch"],
        scope: RightScope::DataApiService,
    },
];
