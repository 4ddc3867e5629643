//! Tools that take longer than a minute: the answer comes late, and the question is asked once.

use std::time::Duration;

use rstest::rstest;
use telegram_connector_operator::api::connector::AssistantProtocol::{Pupau, Webhook};

use super::chat::{Chat, Server};

/// When the tool runs, by the question that makes it run (`peers/fake_model.py`).
#[derive(Debug, Clone, Copy)]
enum Silence {
    BeforeTheAnswer,
    AmidTheAnswer,
}

impl Silence {
    fn question(self) -> &'static str {
        match self {
            Self::BeforeTheAnswer => "think",
            Self::AmidTheAnswer => "book",
        }
    }

    fn answer(self) -> &'static str {
        match self {
            Self::BeforeTheAnswer => "I have thought.",
            Self::AmidTheAnswer => "Booking your flight. Booked.",
        }
    }
}

fn webhook() -> Server {
    Server {
        protocol: Webhook,
        url: "WEBHOOK",
        model: None,
        api: None,
        key: Some("WEBHOOK_KEY"),
        counter: None,
    }
}

fn pupau() -> Server {
    Server {
        protocol: Pupau,
        url: "PUPAU",
        model: None,
        api: None,
        key: None,
        counter: None,
    }
}

#[rstest]
#[case::openai(Server::litellm())]
#[case::openai_responses(Server::litellm_responses())]
#[case::a2a_streaming(Server::a2a("A2A_1_STREAMING"))]
#[case::a2a_waiting(Server::a2a("A2A_1_WAITING"))]
#[case::webhook(webhook())]
#[case::pupau(pupau())]
#[tokio::test]
async fn question_with_65_seconds_of_silence_is_asked_once(
    #[case] server: Server,
    #[values(Silence::BeforeTheAnswer, Silence::AmidTheAnswer)] silence: Silence,
) {
    let chat = Chat::with(&server).await;
    let question = silence.question();
    let shown = chat.ask_within(question, Duration::from_mins(2)).await;
    assert_eq!(shown, silence.answer());
    assert_eq!(server.counts().await.asked(question), 1);
}
