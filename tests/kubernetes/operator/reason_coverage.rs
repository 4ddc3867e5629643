//! Every word that the operator may write into a condition is asked for by a test that waits until a real operator writes it.

use telegram_connector_operator::api::conditions::reasons;

use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Embedded], every_reason_has_a_test);
}

/// The tests that produce reasons by their causes, and clear them.
const TESTS: &[&str] = &[
    include_str!("reasons.rs"),
    include_str!("webhook.rs"),
    include_str!("installation.rs"),
];

async fn every_reason_has_a_test(_: Cluster) {
    let waited_for = regex::Regex::new(
        r#"(?s)\.(?:wait_for_condition|wait_until_not_ready)\(\s*[^,]+,\s*"\w+",\s*"\w+",\s*"(\w+)",?\s*\)"#,
    )
    .expect("a good pattern");
    let mut tried: Vec<&str> = TESTS
        .iter()
        .flat_map(|text| waited_for.captures_iter(text))
        .map(|found| found.extract::<1>().1[0])
        .collect();
    // `ready` waits for it, and so does each case of a table.
    tried.push(reasons::MESSAGES_FLOW);
    tried.extend(
        [
            reasons::ASSISTANT_FAILING,
            reasons::ASSISTANT_UNAUTHORIZED,
            reasons::ASSISTANT_UNREACHABLE,
        ]
        .into_iter()
        .filter(|reason| TESTS[0].contains(&format!("\"{reason}\",\n        )"))),
    );
    let untried: Vec<&&str> = reasons::ALL.iter().filter(|r| !tried.contains(r)).collect();
    assert!(untried.is_empty(), "no test waits for {untried:?}");
}
