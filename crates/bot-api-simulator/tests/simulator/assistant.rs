//! The sample assistant.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{
    Behaviour, BehaviourRule, InjectedFailure, SampleAssistant,
};
use serde_json::{Value, json};

fn question(text: &str, stream: bool) -> Value {
    json!({"model": "sample", "stream": stream, "messages": [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": text}]})
}

async fn ask(
    assistant: &SampleAssistant,
    text: &str,
    stream: bool,
) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/chat/completions", assistant.url());
    let client = reqwest::Client::builder().no_proxy().build()?;
    client
        .post(url)
        .header("idempotency-key", "k1")
        .json(&question(text, stream))
        .send()
        .await
}

/// The words of a streamed answer.
fn streamed(body: &str) -> String {
    let mut text = String::new();
    for line in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if line == "[DONE]" {
            return text;
        }
        let event: Value = serde_json::from_str(line).expect("JSON");
        text.push_str(
            event["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap_or_default(),
        );
    }
    panic!("no [DONE] in {body}");
}

const ANSWER: &str = "You said: hi there\n\nI remember 2 earlier messages.";

#[tokio::test]
async fn sample_assistant_answers_streams_and_records_requests() {
    let assistant = SampleAssistant::start().await.expect("a free port");
    let whole: Value = ask(&assistant, "hi there", false)
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(whole["choices"][0]["message"]["content"], ANSWER);
    let stream = ask(&assistant, "hi there", true)
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    assert_eq!(streamed(&stream), ANSWER);
    assert_eq!(
        assistant.requests()[0].header("idempotency-key"),
        Some("k1")
    );
    assert_eq!(assistant.request_count(), 2);
}

#[tokio::test]
async fn stream_says_what_it_cost_where_that_is_asked_for() {
    let assistant = SampleAssistant::start().await.expect("a free port");
    let mut asked = question("hi there", true);
    asked["stream_options"] = json!({"include_usage": true});
    let url = format!("{}/chat/completions", assistant.url());
    let stream = reqwest::Client::new().post(url).json(&asked).send().await;
    let stream = stream.expect("an answer").text().await.expect("text");
    assert!(stream.contains("\"prompt_tokens\":1"), "{stream}");
    assert_eq!(streamed(&stream), ANSWER);
}

#[tokio::test]
async fn behaviour_controls_delays_failures_and_text() {
    let assistant = SampleAssistant::start().await.expect("a free port");
    let set_behaviour = |behaviour: Behaviour| assistant.set_behaviour(behaviour);
    set_behaviour(Behaviour {
        fail: Some(InjectedFailure {
            status: 503,
            times: Some(1),
            retry_after: Some(7),
        }),
        ..Behaviour::default()
    });
    let failed = ask(&assistant, "x", true).await.expect("an answer");
    assert_eq!(
        (failed.status().as_u16(), &failed.headers()["retry-after"]),
        (503, &"7".parse().expect("a value"))
    );
    assert_eq!(
        ask(&assistant, "x", true)
            .await
            .expect("an answer")
            .status(),
        200
    );

    set_behaviour(Behaviour {
        api_key: Some("secret".into()),
        ..Behaviour::default()
    });
    assert_eq!(
        ask(&assistant, "x", true)
            .await
            .expect("an answer")
            .status(),
        401
    );

    set_behaviour(Behaviour {
        drop_after_words: Some(1),
        ..Behaviour::default()
    });
    let broken = ask(&assistant, "x y z", true).await.expect("a beginning");
    assert!(broken.text().await.is_err(), "the connection breaks midway");

    set_behaviour(Behaviour {
        empty: true,
        ..Behaviour::default()
    });
    let empty = ask(&assistant, "x", true)
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    assert_eq!(streamed(&empty), "");

    let slow = Behaviour {
        hang: true,
        ..Behaviour::default()
    };
    set_behaviour(Behaviour {
        rules: vec![BehaviourRule {
            when: "slow".into(),
            then: slow,
        }],
        ..Behaviour::default()
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(200), ask(&assistant, "slow", false))
            .await
            .is_err()
    );
    assert_eq!(
        ask(&assistant, "quick", false)
            .await
            .expect("an answer")
            .status(),
        200
    );
}

async fn post(url: String, body: &Value) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    client.post(url).json(body).send().await.expect("an answer")
}

#[tokio::test]
async fn webhook_replies_with_the_fields_that_a_test_adds() {
    let assistant = SampleAssistant::start().await.expect("a free port");
    let approval = json!({"id": "a1", "title": "delete_pod"});
    assistant.set_behaviour(Behaviour {
        fields: [("approval".to_owned(), approval.clone())]
            .into_iter()
            .collect(),
        rules: vec![BehaviourRule {
            when: "Approve".into(),
            then: Behaviour {
                answer: Some("It is gone.".into()),
                ..Behaviour::default()
            },
        }],
        ..Behaviour::default()
    });
    let mut replies = Vec::new();
    for text in ["remove web-1", "Approve"] {
        let url = assistant.webhook_url().to_string();
        let reply = post(url, &json!({"version": 1, "text": text})).await;
        replies.push(reply.json::<Value>().await.expect("JSON"));
    }
    let expected = [
        json!({"text": "You said: remove web-1", "approval": approval}),
        json!({"text": "It is gone."}),
    ];
    assert_eq!(replies, expected);
    assert_eq!(assistant.requests()[1].body["text"], "Approve");
    let refused = post(assistant.webhook_url().to_string(), &json!({})).await;
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn added_fields_are_part_of_a_completion() {
    let assistant = SampleAssistant::start().await.expect("a free port");
    assistant.set_behaviour(Behaviour {
        fields: [("images".to_owned(), json!(["x"]))].into_iter().collect(),
        ..Behaviour::default()
    });
    let whole = ask(&assistant, "hi there", false).await.expect("an answer");
    let whole: Value = whole.json().await.expect("JSON");
    let message = &whole["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["images"]),
        (&json!(ANSWER), &json!(["x"]))
    );
    let stream = ask(&assistant, "hi there", true).await.expect("an answer");
    let stream = stream.text().await.expect("text");
    assert!(stream.contains(r#""delta":{"images":["x"]}"#), "{stream}");
    assert_eq!(streamed(&stream), ANSWER);
}

#[tokio::test]
async fn speech_holds_its_words_and_fails_on_demand() {
    let assistant = SampleAssistant::start().await.expect("a free port");
    assistant.set_behaviour(Behaviour {
        fail_speech: Some(InjectedFailure {
            status: 500,
            times: Some(1),
            retry_after: None,
        }),
        ..Behaviour::default()
    });
    let url = || format!("{}/audio/speech", assistant.url());
    let asked =
        json!({"model": "tts-1", "voice": "alloy", "input": "Hello.", "response_format": "opus"});
    assert_eq!(post(url(), &asked).await.status(), 500);
    let speech = post(url(), &asked).await.bytes().await.expect("bytes");
    assert!(speech.starts_with(b"OggS") && speech.ends_with(b"Hello."));
    let recorded = assistant.speeches();
    assert_eq!(recorded.len(), 2);
    assert_eq!(
        (recorded[1].input.as_str(), recorded[1].voice.as_str()),
        ("Hello.", "alloy")
    );
    assert_eq!(post(url(), &json!([])).await.status(), 400);
}
