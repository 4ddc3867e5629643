//! Who is who: people with the chart's roles in one namespace, one whom the cluster's own role makes an editor there, and nobody.

use serde_json::{Value, json};

use super::world::World;
use crate::kubectl_client::Kubectl;

/// A user, and the `ClusterRole` that a `RoleBinding` in acme gives them; nobody has none.
pub const PEOPLE: [(&str, &str); 5] = [
    ("reader", "data-reader"),
    ("keeper", "data-admin"),
    ("approver", "access-approver"),
    ("sender", "sender"),
    ("editor", "edit"),
];
pub const NOBODY: &str = "nobody";

/// Binds the people's roles, and waits until they hold.
pub async fn bind(world: &World) {
    let acme = world.acme();
    let group = "rbac.authorization.k8s.io";
    let path = format!("/apis/{group}/v1/namespaces/{acme}/rolebindings");
    for (person, role) in PEOPLE {
        // The cluster's own, which aggregates what the chart says of it.
        let role = if role == "edit" {
            role.into()
        } else {
            World::role(role)
        };
        let binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": person},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": person}],
        });
        world
            .cluster()
            .call("POST", &path, &binding)
            .await
            .expect_status(201);
        let right = match person {
            "sender" => ("create", "outgoingmessages"),
            "approver" => ("create", "accessgrants"),
            _ => ("list", "conversations"),
        };
        let holds = || async { may(world, person, right).await.then_some(()) };
        world.cluster().eventually("the role holds", holds).await;
    }
}

/// Whether a user may do something in acme, as Kubernetes says.
async fn may(world: &World, user: &str, (verb, resource): (&str, &str)) -> bool {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "groups": ["system:authenticated"],
        "resourceAttributes": {"group": "data.connectors.pupau.ai", "resource": resource, "verb": verb, "namespace": world.acme()}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = world.cluster().call("POST", path, &review).await;
    answer.expect_status(201).at("/status/allowed") == &Value::Bool(true)
}

pub async fn members_stay_in_their_namespace(world: &World, kubectl: &Kubectl) {
    let (acme, other) = (world.acme(), world.other());
    let names = kubectl
        .run(&format!("get tgdm -n {acme} -o name --as reader"))
        .await;
    assert_eq!(names.lines().count(), 3, "{names}");
    let refused = kubectl
        .fail(&format!("get tgdm -n {other} --as reader"))
        .await;
    assert_eq!(
        refused,
        format!(
            "Error from server (Forbidden): deniedmessages.data.connectors.pupau.ai is forbidden: User \"reader\" cannot list resource \"deniedmessages\" in API group \"data.connectors.pupau.ai\" in the namespace \"{other}\"\n"
        )
    );
    let refused = kubectl.fail("get tgdm -A --as keeper").await;
    assert!(refused.contains("at the cluster scope"), "{refused}");
    let there = &world.names(&other, "deniedmessages").await[0];
    for line in [
        format!("get tgdm {there} -n {other} --as keeper"),
        format!("delete tgdm {there} -n {other} --as keeper"),
        format!("delete tgdm --all -n {other} --as keeper"),
        format!("delete tgdm --all -n {acme} --as reader"),
        format!("get tgdm -n {acme} --as editor"),
        format!("get tgout -n {acme} --as sender"),
        format!("get tgconv -n {acme} --as {NOBODY}"),
        format!("delete tgconv --all -n {acme} --as {NOBODY}"),
    ] {
        let refused = kubectl.fail(&line).await;
        assert!(refused.contains("(Forbidden)"), "{line}: {refused}");
    }
    // By no name, either: what is elsewhere is not here.
    let absent = kubectl
        .fail(&format!("get tgdm {there} -n {acme} --as keeper"))
        .await;
    assert!(absent.contains("(NotFound)"), "{absent}");
    assert_eq!(world.names(&other, "deniedmessages").await.len(), 1);
    assert_eq!(world.names(&acme, "deniedmessages").await.len(), 3);
}
