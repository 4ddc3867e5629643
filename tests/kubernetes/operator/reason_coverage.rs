//! Every reason of a condition has a test that waits until a running operator writes it.

use telegram_connector_operator::api::conditions::Reason;

use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Embedded], every_reason_has_a_test);
}

/// The sources of the tests that produce reasons and clear them.
const TESTS: &[&str] = &[
    include_str!("reasons.rs"),
    include_str!("secret_label.rs"),
    include_str!("cluster_lists.rs"),
    include_str!("webhook.rs"),
    include_str!("installation.rs"),
    include_str!("sign_in.rs"),
    include_str!("day_limits.rs"),
];

async fn every_reason_has_a_test(_: Cluster) {
    let wait_call = regex::Regex::new(
        r#"(?s)\.(?:wait_for_condition|wait_until_not_ready)\(\s*[^,]+,\s*"\w+",\s*"\w+",\s*"(\w+)",?\s*\)"#,
    )
    .expect("a good pattern");
    let mut tested: Vec<&str> = TESTS
        .iter()
        .flat_map(|text| wait_call.captures_iter(text))
        .map(|found| found.extract::<1>().1[0])
        .collect();
    // `wait_until_ready` waits for MessagesFlow. The reasons of a failing assistant stand in a table in reasons.rs.
    tested.push(Reason::MessagesFlow.as_str());
    tested.extend(
        [
            Reason::AssistantFailing,
            Reason::AssistantUnauthorized,
            Reason::AssistantUnreachable,
        ]
        .into_iter()
        .map(Reason::as_str)
        .filter(|reason| TESTS[0].contains(&format!("\"{reason}\",\n        )"))),
    );
    let untested: Vec<&Reason> = Reason::ALL
        .iter()
        .filter(|r| !tested.contains(&r.as_str()))
        .collect();
    assert!(untested.is_empty(), "no test waits for {untested:?}");
}
