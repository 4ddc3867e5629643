//! A model whose context is far smaller than the conversation.

use rstest::rstest;

use super::chat::{Chat, Server};

/// `LiteLLM` tells of the full context in words of its own.
#[rstest]
#[case::llama_cpp(Server::llama_cpp("LLAMA_CPP"))]
#[case::llama_cpp_behind_litellm(Server {
    model: Some("tiny"),
    ..Server::litellm()
})]
#[case::llama_cpp_by_responses(Server::llama_cpp("LLAMA_CPP").by_responses())]
#[tokio::test]
async fn no_turn_of_200_is_an_apology_with_512_tokens(#[case] server: Server) {
    let chat = Chat::with_history(&server, 400).await;
    for turn in 1..=200 {
        let answer = chat.ask(&format!("turn {turn}")).await;
        // The context may be full amid an answer, and the answer is then cut; an apology has none of the model's words.
        assert!(
            super::words_of_the_tiny_model(&answer) > 0,
            "turn {turn}: {answer}"
        );
    }
}
