//! What agents on real frameworks do beside answering: they fail with a reason, change their mind, ask for a confirmation, and have cards
//! that say more than is true.

use rstest::rstest;

use super::chat::{Chat, Server};

#[rstest]
#[case::a2a_02("A2A_02_STREAMING")]
#[case::a2a_03("A2A_03_STREAMING")]
#[case::a2a_03_waiting("A2A_03_WAITING")]
#[case::a2a_1("A2A_1_STREAMING")]
#[case::a2a_1_waiting("A2A_1_WAITING")]
#[tokio::test]
async fn failed_task_with_a_reason_shows_the_reason(#[case] url: &'static str) {
    let chat = Chat::with(&Server::a2a(url)).await;
    assert_eq!(chat.ask("order 17").await, "Order 17 does not exist.");
}

#[rstest]
#[case::a2a_02("A2A_02_STREAMING")]
#[case::a2a_03("A2A_03_STREAMING")]
#[case::a2a_1("A2A_1_STREAMING")]
#[tokio::test]
async fn artifact_that_is_replaced_is_shown_as_it_is_last(#[case] url: &'static str) {
    let chat = Chat::with(&Server::a2a(url)).await;
    assert_eq!(chat.ask("two drafts").await, "Last draft.");
}

/// 1.x answers -32004, 0.3 -32603 with a message; both refuse each stream.
#[rstest]
#[case::a2a_03("A2A_03_WRONG_CARD")]
#[case::a2a_1("A2A_1_WRONG_CARD")]
#[tokio::test]
async fn agent_that_streams_only_on_its_card_answers(#[case] url: &'static str) {
    let chat = Chat::with(&Server::a2a(url)).await;
    assert_eq!(chat.ask("one").await, "You said: one (message 1)");
    assert_eq!(chat.ask("two").await, "You said: two (message 2)");
}

#[rstest]
#[case::approved("yes", "Deleted.")]
#[case::rejected("no", "Nothing was deleted.")]
#[tokio::test]
async fn tool_that_asks_for_approval_obeys_a_word(
    #[values("ADK", "KAGENT")] url: &'static str,
    #[case] decision: &str,
    #[case] outcome: &str,
) {
    let chat = Chat::with(&Server::a2a(url)).await;
    let asked = chat.ask("delete web-1").await;
    for shown in ["delete_pod", "web-1", "approv"] {
        assert!(asked.contains(shown), "no {shown} in {asked:?}");
    }
    assert_eq!(chat.ask(decision).await, outcome);
    assert!(chat.ask("after").await.starts_with("You said: after"));
}

#[rstest]
#[case::approved("Approve", "Deleted.", "✓ Approve")]
#[case::refused("Refuse", "Nothing was deleted.", "✗ Refuse")]
#[tokio::test]
async fn tool_that_asks_for_approval_obeys_a_tap(
    #[values("ADK", "KAGENT")] url: &'static str,
    #[case] button: &str,
    #[case] outcome: &str,
    #[case] mark: &str,
) {
    let chat = Chat::with(&Server::a2a(url)).await;
    chat.ask("delete web-1").await;
    assert_eq!(chat.tap(button).await, outcome);
    let asked = &chat.messages(1).await[0];
    assert!(asked.text.ends_with(mark), "{asked:?}");
    assert!(chat.ask("after").await.starts_with("You said: after"));
}

#[rstest]
#[tokio::test]
async fn tool_runs_not_if_nobody_decides_in_time(#[values("ADK", "KAGENT")] url: &'static str) {
    let chat = Chat::with(&Server::a2a(url))
        .await
        .with_approvals_that_expire();
    chat.ask("delete web-1").await;
    let sent = chat.messages(3).await;
    let texts: Vec<_> = sent[1..].iter().map(|m| m.text.as_str()).collect();
    assert_eq!(
        texts,
        ["Nobody decided in time: refused.", "Nothing was deleted."]
    );
}
