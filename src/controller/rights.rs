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
    /// In the namespace of the leader's Lease, where one is elected.
    Lease,
}

/// All of them.
pub const RIGHTS: &[Right] = &[
    Right {
        group: crate::api::GROUP,
        resource: "telegramconnectors",
        subresource: "",
        verbs: &["list", "watch", "patch"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "telegramuserlists",
        subresource: "",
        verbs: &["list", "watch"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "telegramconnectors",
        subresource: "status",
        verbs: &["patch"],
        scope: RightScope::Watched,
    },
    Right {
        group: crate::api::GROUP,
        resource: "telegramuserlists",
        subresource: "status",
        verbs: &["patch"],
        scope: RightScope::Watched,
    },
    Right {
        group: "",
        resource: "secrets",
        subresource: "",
        verbs: &["get", "list", "watch"],
        scope: RightScope::Watched,
    },
    Right {
        group: "events.k8s.io",
        resource: "events",
        subresource: "",
        verbs: &["create"],
        scope: RightScope::Watched,
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        subresource: "",
        verbs: &["get", "create", "update"],
        scope: RightScope::Lease,
    },
];
