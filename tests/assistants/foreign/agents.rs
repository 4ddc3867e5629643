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
async fn tool_that_asks_for_approval_obeys_the_decision(
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
