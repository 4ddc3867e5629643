//! Whom people let in with kubectl.

use std::time::Duration;

use bot_api_simulator::Tap;
use serde_json::{Value, json};

use super::world::{MALLORY, TRUDY, World};
use crate::kubectl_client::{Kubectl, columns};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A grant as a file says it, of which the operator makes the name.
fn grant(spec: &Value) -> String {
    json!({"apiVersion": "data.connectors.pupau.ai/v1alpha1", "kind": "AccessGrant", "metadata": {"generateName": "grant-"}, "spec": spec}).to_string()
}

pub async fn grants_are_given_found_and_ended(world: &World, kubectl: &Kubectl) {
    let (acme, other) = (world.acme(), world.other());
    let create = format!("create -n {acme} -f - --as approver");
    let of = |user: i64| json!({"connector": "support", "user": {"id": user, "username": "mal"}, "until": "2999-01-31"});
    for user in [MALLORY, TRUDY] {
        let made = kubectl.try_run(&create, &grant(&of(user))).await;
        assert!(made.ok && made.text.contains("created"), "{made:?}");
    }
    let mut endless = of(MALLORY);
    endless["until"] = Value::Null;
    let refused = kubectl.try_run(&create, &grant(&endless)).await;
    assert!(
        !refused.ok && refused.error.contains("spec.until: Required value"),
        "{refused:?}"
    );
    let elsewhere = create.replace(&acme, &other);
    let refused = kubectl.try_run(&elsewhere, &grant(&of(MALLORY))).await;
    assert!(refused.error.contains("(Forbidden)"), "{refused:?}");

    let table = kubectl
        .run(&format!("get tgag -n {acme} -o wide --as approver"))
        .await;
    let lines: Vec<Vec<&str>> = table.lines().map(columns).collect();
    assert_eq!(
        lines[0],
        [
            "NAME",
            "CONNECTOR",
            "USER",
            "USERNAME",
            "SOURCE",
            "UNTIL",
            "NAME",
            "BY",
            "AGE"
        ]
    );
    assert_eq!(
        lines[1][1..6],
        ["support", "5001", "mal", "Admin", "2999-02-01T00:00:00Z"]
    );
    assert!(
        lines.len() == 3 && lines[1].contains(&"approver"),
        "{table}"
    );
    let selected =
        format!("tgag -n {acme} --field-selector spec.user.id={MALLORY},spec.connector=support");
    let names = kubectl.run(&format!("get {selected} -o name")).await;
    assert_eq!(names.lines().count(), 1, "{names}");
    kubectl.run(&format!("delete {selected} --as keeper")).await;
    kubectl
        .run(&format!("delete tgag --all -n {acme} --as keeper"))
        .await;
    assert!(world.names(&acme, "accessgrants").await.is_empty());

    for (field, part) in [
        ("tgag.spec.until", "When it ends"),
        ("tgar.status.phase", "may not ask again"),
    ] {
        let text = kubectl.run(&format!("explain {field}")).await;
        assert!(columns(&text).join(" ").contains(part), "{field}: {text}");
    }
}

/// Somebody whom nobody knows yet writes, is denied, and taps the button under that; the name of the request that waits then.
async fn ask_for_access(world: &World, user: i64) -> String {
    let telegram = &world.env.telegram;
    let denied = telegram
        .send_and_wait(world.acme_bot, user, "hello?", TIMEOUT)
        .await;
    let tap = Tap {
        bot: Some(world.acme_bot.0),
        from: user,
        message_id: denied.message_id,
        data: Some("ask".into()),
        ..Tap::default()
    };
    telegram.tap(&tap).expect("a button");
    let selected =
        format!("accessrequests?fieldSelector=spec.user.id%3D{user},status.phase%3DWaiting");
    world.wait_for(&world.acme(), &selected, 1).await.remove(0)
}

pub async fn requests_are_decided_by_a_right_of_their_own(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let telegram = &world.env.telegram;
    // Each kubectl has people of its own.
    let user = 7000 + i64::from(kubectl.minor());
    let name = ask_for_access(world, user).await;
    let table = kubectl
        .run(&format!("get tgar {name} -n {acme} --as approver"))
        .await;
    let lines: Vec<Vec<&str>> = table.lines().map(columns).collect();
    let level_and_phase = &lines[1][lines[1].len() - 3..lines[1].len() - 1];
    assert_eq!(level_and_phase, ["Company", "Waiting"], "{table}");
    let body = kubectl.folder.path().join("verdict.json");
    let line = |name: &str, verdict: &str, who: &str| {
        let path = World::path(&acme, &format!("accessrequests/{name}/{verdict}"));
        format!("create --raw {path} -f {} --as {who}", body.display())
    };
    std::fs::write(&body, r#"{"days": 30}"#).expect("writable");
    let refused = kubectl.fail(&line(&name, "approve", "keeper")).await;
    assert!(
        refused.contains("cannot create resource \"accessrequests/approve\""),
        "{refused}"
    );
    let before = telegram.sent_messages(world.acme_bot, user).len();
    let decided = kubectl.run(&line(&name, "approve", "approver")).await;
    assert!(
        decided.contains("\"phase\":\"Allowed\"") && decided.contains("\"decidedBy\":\"approver\""),
        "{decided}"
    );
    let again = kubectl.fail(&line(&name, "approve", "approver")).await;
    assert!(again.contains("it is Allowed by approver"), "{again}");
    // The person is told, and is answered from now on.
    telegram
        .wait_for_sent_messages(world.acme_bot, user, before, TIMEOUT)
        .await;
    let answer = telegram
        .send_and_wait(world.acme_bot, user, "and now?", TIMEOUT)
        .await;
    assert!(answer.text.contains("and now?"), "{}", answer.text);
    // Until their grant is deleted.
    let of_them = format!("tgag -n {acme} --field-selector spec.user.id={user}");
    let by = kubectl
        .run(&format!("get {of_them} -o jsonpath={{.items[0].spec.by}}"))
        .await;
    assert_eq!(by, "approver");
    kubectl
        .run(&format!("delete {of_them} --as approver"))
        .await;
    let sent_before = telegram.sent_messages(world.acme_bot, user).len();
    world.write_denied(user, "still there?");
    let denied = format!("deniedmessages?fieldSelector=spec.user.id%3D{user}");
    world.wait_for(&acme, &denied, 2).await;
    // They were told why a moment ago, and are not told again.
    assert_eq!(
        telegram.sent_messages(world.acme_bot, user).len(),
        sent_before
    );

    let name = ask_for_access(world, user + 100).await;
    std::fs::write(&body, r#"{"mute": true}"#).expect("writable");
    let decided = kubectl.run(&line(&name, "refuse", "approver")).await;
    assert!(decided.contains("\"phase\":\"Muted\""), "{decided}");
    kubectl
        .run(&format!("delete tgar {name} -n {acme} --as approver"))
        .await;
}
