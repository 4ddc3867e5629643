//! Whether `kubectl auth can-i` says what happens: for everything that the group serves, as everybody, where they have rights and where not.

use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};

use super::people::{NOBODY, PEOPLE};
use super::world::{ANN, MALLORY, World};
use crate::kubectl_client::Kubectl;

const ADMIN: &str = "admin";
const READ: [&str; 3] = ["get", "list", "watch"];
const DELETE: [&str; 2] = ["delete", "deletecollection"];

/// A verb on a resource, with the subresource after a slash.
type Right = (&'static str, &'static str);

/// Everything that the group serves.
fn rights() -> Vec<Right> {
    let deletable = [
        "deniedmessages",
        "conversations",
        "deadletters",
        "accessgrants",
    ];
    let read = deletable
        .into_iter()
        .chain(["outgoingmessages", "accessrequests"]);
    let of = |resource, verbs: &[&'static str]| {
        let rights = verbs.iter().map(|verb| (*verb, resource));
        rights.collect::<Vec<Right>>()
    };
    let mut all: Vec<Right> = read.flat_map(|resource| of(resource, &READ)).collect();
    all.extend(
        deletable
            .into_iter()
            .flat_map(|resource| of(resource, &DELETE)),
    );
    all.extend([
        ("get", "conversations/transcript"),
        ("create", "deadletters/retry"),
        ("create", "outgoingmessages"),
        ("create", "accessgrants"),
        ("delete", "accessrequests"),
        ("create", "accessrequests/approve"),
        ("create", "accessrequests/refuse"),
    ]);
    all
}

/// What `docs/data-api.md` says that somebody may do in acme.
fn documented(person: &str, (verb, resource): Right) -> bool {
    let reads = READ.contains(&verb);
    match person {
        ADMIN => true,
        "reader" => reads,
        "keeper" => reads || DELETE.contains(&verb) || resource == "deadletters/retry",
        "approver" => resource.starts_with("access") && verb != "deletecollection",
        "sender" => (verb, resource) == ("create", "outgoingmessages"),
        "editor" => reads && ["conversations", "deadletters"].contains(&resource),
        _ => false,
    }
}

pub async fn can_i_agrees_with_what_happens(world: &World, kubectl: &Kubectl) {
    let (acme, other) = (world.acme(), world.other());
    let mut asked = Vec::new();
    let people = PEOPLE.map(|(person, _)| person);
    for person in [ADMIN, NOBODY].into_iter().chain(people) {
        asked.extend(rights().into_iter().map(|right| (person, right, &acme)));
    }
    for person in ["keeper", "editor"] {
        asked.extend(rights().into_iter().map(|right| (person, right, &other)));
    }
    let count = asked.len();
    let wrong = futures::stream::iter(asked).map(async |(person, right, namespace)| {
        let says = can_i(kubectl, person, right, namespace).await;
        let does = happens(world, person, right, namespace).await;
        let documented = person == ADMIN || *namespace == acme && documented(person, right);
        (says != does || does != documented)
            .then(|| format!("{person} {right:?} in {namespace}: can-i {says}, happens {does}, documented {documented}"))
    });
    let wrong: Vec<String> = wrong
        .buffer_unordered(4)
        .filter_map(async |one| one)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(count, 9 * 33);
}

fn acting_as(person: &str) -> String {
    if person == ADMIN {
        String::new()
    } else {
        format!(" --as {person}")
    }
}

async fn can_i(kubectl: &Kubectl, person: &str, (verb, resource): Right, namespace: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let part = match subresource {
        "" => String::new(),
        name => format!(" --subresource={name}"),
    };
    let line = format!(
        "auth can-i {verb} {resource}.data.connectors.pupau.ai -n {namespace}{part}{}",
        acting_as(person)
    );
    let output = kubectl.try_run(&line, "").await;
    match output.text.trim() {
        "yes" => true,
        "no" => false,
        _ => panic!("{line}: {output:?}"),
    }
}

/// An object to create.
fn creation(plural: &str) -> Value {
    let (kind, metadata, spec) = match plural {
        "outgoingmessages" => (
            "OutgoingMessage",
            json!({"name": "maybe"}),
            json!({"connector": "support", "to": {"user": ANN}, "text": "x"}),
        ),
        _ => (
            "AccessGrant",
            json!({}),
            json!({"connector": "support", "user": {"id": MALLORY}, "until": "2999-01-31"}),
        ),
    };
    json!({"apiVersion": "data.connectors.pupau.ai/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Whether the API server lets somebody do it. Where there would be an effect it is a dry run.
async fn happens(world: &World, person: &str, (verb, resource): Right, namespace: &str) -> bool {
    let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    // Only what is there can be read; RBAC comes first.
    let names = world.names(namespace, plural).await;
    let name = names.first().map_or("none", String::as_str);
    let one = format!("{plural}/{name}");
    let (method, path) = match verb {
        "get" => ("GET", format!("{one}/{subresource}")),
        "list" => ("GET", plural.to_owned()),
        "watch" => ("GET", format!("{plural}?watch=true&timeoutSeconds=1")),
        "delete" => ("DELETE", format!("{one}?dryRun=All")),
        "deletecollection" => ("DELETE", format!("{plural}?dryRun=All")),
        _ if subresource.is_empty() => ("POST", format!("{plural}?dryRun=All")),
        _ => ("POST", format!("{one}/{subresource}?dryRun=All")),
    };
    let body = match (method, subresource) {
        ("POST", "") => creation(plural),
        ("POST", _) => json!({}),
        _ => Value::Null,
    };
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let path = World::path(namespace, path.trim_end_matches('/'));
    let mut request = Request::builder()
        .method(method)
        .uri(&path)
        .header("content-type", "application/json");
    if person != ADMIN {
        request = request.header("impersonate-user", person);
    }
    let request = request
        .body(kube::client::Body::from(bytes))
        .expect("a request");
    // A watch has no end that is worth waiting for: its head says enough.
    let answer = world
        .cluster()
        .client
        .send(request)
        .await
        .expect("an answer");
    match answer.status().as_u16() {
        403 => false,
        // Of what nothing is there, or was decided: it is looked for after it is known that one may.
        404 | 409 if plural.starts_with("access") => true,
        200..=299 => true,
        status => panic!("{person} {verb} {path}: {status}"),
    }
}
