//! A model whose context is far smaller than the conversation.

use super::chat::{Chat, Server};

#[tokio::test]
async fn no_turn_of_200_is_an_apology_with_512_tokens() {
    let server = Server::llama_cpp("LLAMA_CPP");
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
