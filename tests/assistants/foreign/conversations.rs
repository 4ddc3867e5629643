//! A conversation with each server: three turns, a restart of the operator after the first, and an answer that is stopped midway.

use rstest::rstest;

use super::chat::{Chat, Server};
use crate::test_env::wait_until;

/// What an agent's framework makes of a request to cancel a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancellation {
    /// It ends the model's work.
    EndsTheWork,
    /// It hears of it and works on to the end.
    IsHeard,
    /// There is none: the task has no name before the agent has answered.
    IsNotSent,
}

/// How many of the user's messages the server has seen in this conversation, as it says after its answer.
fn message_number(answer: &str) -> u32 {
    let number = answer
        .rsplit_once("(message ")
        .and_then(|(_, number)| number.strip_suffix(')'));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number in {answer:?}"))
}

#[rstest]
#[case::a2a_02_streaming("A2A_02_STREAMING", Cancellation::EndsTheWork)]
#[case::a2a_02_waiting("A2A_02_WAITING", Cancellation::IsNotSent)]
#[case::a2a_03_streaming("A2A_03_STREAMING", Cancellation::EndsTheWork)]
#[case::a2a_03_waiting("A2A_03_WAITING", Cancellation::IsNotSent)]
#[case::a2a_1_streaming("A2A_1_STREAMING", Cancellation::EndsTheWork)]
#[case::a2a_1_waiting("A2A_1_WAITING", Cancellation::IsNotSent)]
#[case::adk("ADK", Cancellation::EndsTheWork)]
#[case::kagent("KAGENT", Cancellation::IsHeard)]
#[case::fasta2a_06("FASTA2A_06", Cancellation::IsHeard)]
#[case::fasta2a_2("FASTA2A_2", Cancellation::IsHeard)]
#[case::strands_legacy("STRANDS_LEGACY", Cancellation::EndsTheWork)]
#[case::strands_compliant("STRANDS_COMPLIANT", Cancellation::EndsTheWork)]
#[tokio::test]
async fn a2a_conversation_survives_restart_and_stop(
    #[case] url: &'static str,
    #[case] cancellation: Cancellation,
) {
    let server = Server::a2a(url);
    let mut chat = Chat::with(&server).await;
    assert_eq!(chat.ask("one").await, "You said: one (message 1)");
    chat.restart_operator().await;
    assert_eq!(chat.ask("two").await, "You said: two (message 2)");

    let before = server.counts().await;
    let begun = async |_: &Chat| server.counts().await.asked("count") == 1;
    chat.stop("count", begun).await;
    wait_until("the agent hears that the task is cancelled", async || {
        let now = server.counts().await;
        let heard = now.cancels() > before.cancels();
        let ended = now.stopped() > before.stopped();
        match cancellation {
            Cancellation::EndsTheWork => heard && ended,
            Cancellation::IsHeard => heard,
            Cancellation::IsNotSent => true,
        }
    })
    .await;

    let third = chat.ask("three").await;
    assert!(third.starts_with("You said: three"), "{third}");
    assert!(message_number(&third) >= 3, "{third}");
    assert_eq!(server.counts().await.asked("count"), 1);
}

#[rstest]
#[case::chat_completions(Server::litellm())]
#[case::responses(Server::litellm_responses())]
#[tokio::test]
async fn litellm_conversation_survives_restart_and_stop(#[case] server: Server) {
    let mut chat = Chat::with(&server).await;
    assert_eq!(chat.ask("one").await, "You said: one (message 1)");
    chat.restart_operator().await;
    assert_eq!(chat.ask("two").await, "You said: two (message 2)");

    let before = server.counts().await;
    let shown = chat.stop("count", async |chat| chat.shows_a_draft()).await;
    assert!(shown.starts_with('1'), "{shown}");
    wait_until("the connection to the model is closed", async || {
        server.counts().await.stopped() > before.stopped()
    })
    .await;

    assert_eq!(chat.ask("three").await, "You said: three (message 4)");
    assert_eq!(server.counts().await.asked("count"), 1);
}

/// The model repeats nothing, so its server tells how long the prompts are: it keeps no session, and the history is sent.
#[rstest]
#[case::chat_completions(Server::llama_cpp("LLAMA_CPP_ALONE"))]
#[case::responses(Server::llama_cpp("LLAMA_CPP_RESPONSES").by_responses())]
#[tokio::test]
async fn llama_cpp_conversation_survives_a_restart(#[case] server: Server) {
    let mut chat = Chat::with(&server).await;
    let mut tokens = 0;
    for text in ["one", "two", "six"] {
        let answer = chat.ask(text).await;
        assert_eq!(super::words_of_the_tiny_model(&answer), 16, "{answer}");
        let slot = super::llama_cpp_slot(server.url).await;
        let now = slot["n_prompt_tokens"].as_u64().expect("a number");
        assert!(now > tokens + 16, "{tokens} tokens, then {now}");
        tokens = now;
        chat.restart_operator().await;
    }
}

#[rstest]
#[case::chat_completions(Server::llama_cpp("LLAMA_CPP_ENDLESS"))]
#[case::responses(Server::llama_cpp("LLAMA_CPP_ENDLESS_RESPONSES").by_responses())]
#[tokio::test]
async fn llama_cpp_writes_no_more_once_stopped(#[case] server: Server) {
    let chat = Chat::with(&server).await;
    let shown = chat.stop("go on", async |chat| chat.shows_a_draft()).await;
    assert!(super::words_of_the_tiny_model(&shown) > 0, "{shown}");
    wait_until("the model is idle", async || {
        super::llama_cpp_slot(server.url).await["is_processing"] == false
    })
    .await;
}
