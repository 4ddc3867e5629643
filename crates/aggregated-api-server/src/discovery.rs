//! How clients find out what is served: the old documents, and aggregated discovery (KEP-3352) for those that ask for it.

use serde_json::{Value, json};

use crate::description::{ResourceDescription, ResourceVerb, SubresourceVerb};

/// The group and its version.
pub(crate) fn group(group: &str, version: &str) -> Value {
    let one = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [one], "preferredVersion": one})
}

/// All groups: the one.
pub(crate) fn groups(group_name: &str, version: &str) -> Value {
    let mut one = group(group_name, version);
    if let Some(fields) = one.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [one]})
}

/// The resources of the version.
pub(crate) fn resources(group: &str, version: &str, all: &[&ResourceDescription]) -> Value {
    let mut resources = Vec::new();
    for one in all {
        let mut resource = json!({"name": one.plural, "singularName": one.singular, "namespaced": true, "kind": one.kind,
            "verbs": verbs(one)});
        add_names(&mut resource, one);
        resources.push(resource);
        for part in &one.subresources {
            resources.push(json!({"name": format!("{}/{}", one.plural, part.name), "singularName": "", "namespaced": true,
                "kind": part.kind, "verbs": part.verbs.iter().map(|verb| SubresourceVerb::as_str(*verb)).collect::<Vec<_>>()}));
        }
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/{version}"), "resources": resources})
}

/// The version of aggregated discovery that a client asks for, if it does.
pub(crate) fn aggregated_version(accept: &str) -> Option<&'static str> {
    accept.split(',').find_map(|clause| {
        let asks = |part: &str| clause.split(';').any(|one| one.trim() == part);
        let wanted = asks("application/json")
            && asks("as=APIGroupDiscoveryList")
            && asks("g=apidiscovery.k8s.io");
        if !wanted {
            return None;
        }
        ["v2", "v2beta1"]
            .into_iter()
            .find(|version| asks(&format!("v={version}")))
    })
}

/// Everything in one document of `apidiscovery.k8s.io`.
pub(crate) fn aggregated(
    form: &str,
    group: &str,
    version: &str,
    all: &[&ResourceDescription],
) -> Value {
    let kind = |kind: &str| json!({"group": group, "version": version, "kind": kind});
    let resource = |one: &&ResourceDescription| {
        let mut resource = json!({"resource": one.plural, "responseKind": kind(&one.kind), "scope": "Namespaced",
            "singularResource": one.singular, "verbs": verbs(one)});
        add_names(&mut resource, one);
        if !one.subresources.is_empty() {
            let part = |part: &crate::description::SubresourceDescription| {
                let verbs: Vec<_> = part.verbs.iter().map(|verb| verb.as_str()).collect();
                json!({"subresource": part.name, "responseKind": kind(&part.kind), "verbs": verbs})
            };
            resource["subresources"] = one.subresources.iter().map(part).collect();
        }
        resource
    };
    let resources: Vec<Value> = all.iter().map(resource).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"), "metadata": {},
        "items": [{"metadata": {"name": group, "creationTimestamp": null},
            "versions": [{"version": version, "freshness": "Current", "resources": resources}]}]})
}

fn verbs(one: &ResourceDescription) -> Vec<&'static str> {
    let mut verbs: Vec<_> = one
        .verbs
        .iter()
        .map(|verb| ResourceVerb::as_str(*verb))
        .collect();
    verbs.sort_unstable();
    verbs
}

fn add_names(resource: &mut Value, one: &ResourceDescription) {
    if !one.short_names.is_empty() {
        resource["shortNames"] = json!(one.short_names);
    }
    if !one.categories.is_empty() {
        resource["categories"] = json!(one.categories);
    }
}
