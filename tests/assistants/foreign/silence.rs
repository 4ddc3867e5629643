//! Tools that take longer than a minute: the answer comes late, and the question is asked once.

use std::time::Duration;

use rstest::rstest;
use telegram_connector_operator::api::connector::AssistantProtocol::{Pupau, Webhook};

use super::chat::{Chat, Server};

fn webhook() -> Server {
    Server {
        protocol: Webhook,
        url: "WEBHOOK",
        model: None,
        key: Some("WEBHOOK_KEY"),
        counter: None,
    }
}

fn pupau() -> Server {
    Server {
        protocol: Pupau,
        url: "PUPAU",
        model: None,
        key: None,
        counter: None,
    }
}

#[rstest]
#[case::openai(Server::litellm())]
#[case::a2a_streaming(Server::a2a("A2A_1_STREAMING"))]
#[case::a2a_waiting(Server::a2a("A2A_1_WAITING"))]
#[case::webhook(webhook())]
#[case::pupau(pupau())]
#[tokio::test]
async fn question_with_65_seconds_of_silence_is_asked_once(
    #[case] server: Server,
    // A tool that runs amid the answer, and one that runs before it.
    #[values(
        ("book", "Booking your flight. Booked."),
        ("think", "I have thought.")
    )]
    (question, answer): (&str, &str),
) {
    let chat = Chat::with(&server).await;
    let shown = chat.ask_within(question, Duration::from_secs(120)).await;
    assert_eq!(shown, answer);
    assert_eq!(server.counts().await.asked(question), 1);
}
