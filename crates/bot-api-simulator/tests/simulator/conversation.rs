//! What a chat shows: messages in their last version, the draft and the chat action until a message ends them.

use bot_api_simulator::{Simulator, SimulatorOptions, UserAction};

const TOKEN: &str = "84:test_token";

async fn call(simulator: &Simulator, method: &str, form: &[(&str, &str)]) {
    let url = format!("{}bot{TOKEN}/{method}", simulator.url());
    let client = reqwest::Client::new();
    let response = client.post(url).form(form).send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{method}");
}

#[tokio::test]
async fn draft_and_chat_action_are_shown_until_a_message() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let bot = simulator.add_bot(TOKEN, "acme_bot", "Acme");
    simulator.send_private_message(bot, 42, "hello");
    let change = simulator.next_message_change(bot);
    call(
        &simulator,
        "sendChatAction",
        &[("chat_id", "42"), ("action", "typing")],
    )
    .await;
    change.await;
    let draft = [("chat_id", "42"), ("draft_id", "7"), ("text", "Hel")];
    call(&simulator, "sendMessageDraft", &draft).await;
    let shown = simulator.conversation(bot, 42, None, 10);
    assert_eq!(shown.chat_action.as_deref(), Some("typing"));
    assert_eq!(shown.draft.map(|draft| draft.text).as_deref(), Some("Hel"));

    call(
        &simulator,
        "sendMessage",
        &[("chat_id", "42"), ("text", "Hello!")],
    )
    .await;
    let shown = simulator.conversation(bot, 42, None, 10);
    assert!(shown.draft.is_none() && shown.chat_action.is_none());
    let texts: Vec<_> = shown
        .messages
        .iter()
        .map(|m| (m.by_bot, &*m.text))
        .collect();
    assert_eq!(texts, [(false, "hello"), (true, "Hello!")]);
}

#[tokio::test]
async fn message_edited_by_its_user_is_shown_once() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let bot = simulator.add_bot(TOKEN, "acme_bot", "Acme");
    let mut action = UserAction {
        bot: Some(bot),
        from: Some(42),
        text: Some("helo".to_owned()),
        ..UserAction::default()
    };
    action.edit = Some(simulator.perform(&action).unwrap().message_id);
    action.text = Some("hello".to_owned());
    simulator.perform(&action).unwrap();
    let shown = simulator.conversation(bot, 42, None, 10).messages;
    assert_eq!(shown.len(), 1);
    assert!(shown[0].text == "hello" && shown[0].edited);
}
