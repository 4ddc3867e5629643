use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::assistant::lenient_json::Json;
use crate::assistant::{FileContent, OfferedFile};

fn read(update: &Value) -> AgentUpdate {
    let text = update.to_string();
    AgentUpdate::read(Json::split(text.as_bytes()).expect("JSON").0).expect("an update")
}

fn status(state: &str, text: &str) -> Value {
    let parts = if text.is_empty() {
        json!([])
    } else {
        json!([{"kind": "text", "text": text}])
    };
    json!({"kind": "status-update", "taskId": "t", "contextId": "c", "status": {"state": state, "message": {"role": "agent", "parts": parts}}})
}

fn artifact(id: &str, text: &str, append: bool) -> Value {
    json!({"kind": "artifact-update", "taskId": "t", "contextId": "c", "append": append,
        "artifact": {"artifactId": id, "parts": [{"kind": "text", "text": text}]}})
}

fn shown(file: &OfferedFile) -> String {
    match &file.content {
        FileContent::Bytes(bytes) => format!("({}: {bytes:?})", file.name),
        other => format!("({}: {other:?})", file.name),
    }
}

fn build(updates: &[Value]) -> (Result<String, AssistantError>, AnswerBuilder) {
    let mut answer_builder = AnswerBuilder::new(ConversationState::default());
    let mut text = String::new();
    for update in updates {
        let parts = match answer_builder.apply(read(update)) {
            Ok(parts) => parts,
            Err(e) => return (Err(e), answer_builder),
        };
        for part in parts {
            match part {
                AnswerPart::Text(more) => text.push_str(&more),
                AnswerPart::Rewrite(whole) => text = whole,
                AnswerPart::File(file) => text.push_str(&shown(&file)),
                other => panic!("{other:?}"),
            }
        }
    }
    (Ok(text), answer_builder)
}

#[rstest]
#[case::message(vec![json!({"kind": "message", "role": "agent", "parts": [{"kind": "text", "text": "Hi Ann"}]})])]
#[case::chunks(vec![artifact("a", "Hi", false), artifact("a", " Ann", true), status("completed", "")])]
#[case::growing_whole(vec![artifact("a", "Hi", false), artifact("a", "Hi Ann", false), status("completed", "")])]
#[case::adk(vec![status("working", "Hi"), status("working", "Hi Ann"), artifact("a", "Hi Ann", false), status("completed", "")])]
#[case::status_only(vec![status("submitted", ""), status("completed", "Hi Ann")])]
#[case::notes_only(vec![status("working", "Hi Ann"), status("completed", "")])]
#[case::artifact_and_word(vec![artifact("a", "Hi Ann", false), status("completed", "Done.")])]
#[case::snapshot_after_stream(vec![artifact("a", "Hi", false), json!({"kind": "task", "id": "t", "contextId": "c",
    "status": {"state": "completed"}, "artifacts": [{"artifactId": "a", "parts": [{"kind": "text", "text": "Hi Ann"}]}]})])]
#[case::history(vec![json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "completed"},
    "history": [{"role": "user", "parts": []}, {"role": "agent", "parts": [{"kind": "text", "text": "Hi Ann"}]}]})])]
#[case::question(vec![status("working", "thinking"), status("input-required", "Hi Ann")])]
#[case::refusal(vec![status("rejected", "Hi Ann")])]
#[case::failure_in_words(vec![status("failed", "Hi Ann")])]
#[case::cancellation_in_words(vec![status("canceled", "Hi Ann")])]
#[case::written_anew(vec![artifact("a", "A draft", false), artifact("a", "Hi Ann", false), status("completed", "")])]
#[case::written_anew_and_longer(vec![artifact("a", "A draft", false), artifact("a", "Hi", false), artifact("a", " Ann", true), status("completed", "")])]
#[case::drafts_of_two(vec![artifact("a", "Hi", false), artifact("b", "x", false), artifact("b", "", false), artifact("a", " Ann", true), status("completed", "")])]
fn an_answer_is_told_once(#[case] updates: Vec<Value>) {
    let (text, answer_builder) = build(&updates);
    assert_eq!(text.expect("an answer"), "Hi Ann");
    assert!(answer_builder.is_complete());
}

#[test]
fn several_artifacts_are_set_apart() {
    let (text, _) = build(&[
        artifact("a", "One", false),
        artifact("b", "Two", false),
        status("completed", ""),
    ]);
    assert_eq!(text.expect("an answer"), "One\n\nTwo");
}

#[test]
fn users_own_words_are_no_progress() {
    let submitted = json!({"kind": "status-update", "taskId": "t", "status": {"state": "submitted",
        "message": {"role": "user", "parts": [{"kind": "text", "text": "my question"}]}}});
    let (text, _) = build(&[submitted, status("completed", "")]);
    assert_eq!(text.expect("an answer"), "");
}

fn artifact_of(parts: Value) -> Value {
    json!({"kind": "artifact-update", "taskId": "t", "artifact": {"artifactId": "f", "parts": parts}})
}

#[rstest]
#[case::file_and_note(json!([{"kind": "file", "file": {"name": "cat.png", "bytes": "AQI="}}]), "", "(cat.png: b\"\\x01\\x02\")")]
#[case::file_and_words(json!([{"kind": "file", "file": {"uri": "gs://b/cat.png"}}]), "Here is your cat.", "(cat.png: Unreadable)Here is your cat.")]
#[case::data(json!([{"kind": "data", "data": {"total": 7}}]), "", "```json\n{\n  \"total\": 7\n}\n```")]
fn progress_is_no_answer_where_there_is_a_result(
    #[case] parts: Value,
    #[case] last: &str,
    #[case] shown: &str,
) {
    let updates = [
        status("working", "Looking for cats"),
        artifact_of(parts),
        status("completed", last),
    ];
    assert_eq!(build(&updates).0.expect("an answer"), shown);
}

/// An update with a piece of a file, `bytes` in Base64.
fn piece(append: bool, last: bool, bytes: &str) -> Value {
    json!({"artifactUpdate": {"taskId": "t", "contextId": "c", "append": append, "lastChunk": last, "artifact": {"artifactId": "f",
        "parts": [{"raw": bytes, "filename": "a.csv", "mediaType": "text/csv"}]}}})
}

#[test]
fn file_that_is_streamed_in_pieces_is_one() {
    let updates = [
        piece(false, false, "YSw="),
        piece(true, false, "Yiw="),
        artifact("w", "A table:", false),
        piece(true, true, "Yw=="),
        artifact("w", " see above", true),
        status("completed", ""),
    ];
    let (text, _) = build(&updates);
    assert_eq!(
        text.expect("an answer"),
        "(a.csv: b\"a,b,c\")A table: see above"
    );
}

#[test]
fn file_behind_a_last_piece_is_another() {
    let updates = [
        piece(false, true, "YQ=="),
        piece(true, true, "Yg=="),
        status("completed", "Done."),
    ];
    let (text, _) = build(&updates);
    let expected = "(a.csv: b\"a\")(a.csv: b\"b\")Done.";
    assert_eq!(text.expect("an answer"), expected);
}

#[test]
fn text_is_told_while_it_comes_and_files_at_the_end() {
    let mut builder = AnswerBuilder::new(ConversationState::default());
    let mut apply = |update: &Value| builder.apply(read(update)).expect("fine");
    let parts = apply(&artifact("a", "A cat:", false));
    assert_eq!(parts, [AnswerPart::Text("A cat:".into())]);
    assert_eq!(apply(&piece(false, true, "YQ==")), []);
    let parts = apply(&artifact("a", " Tom", true));
    assert_eq!(parts, [AnswerPart::Text(" Tom".into())]);
    let parts = apply(&status("completed", ""));
    assert!(matches!(&parts[..], [AnswerPart::File(file)] if file.name == "a.csv"));
}

#[test]
fn data_gives_way_to_text_that_comes_later() {
    let updates = [
        artifact_of(json!([{"kind": "data", "data": {"total": 7}}])),
        artifact("a", "Seven.", false),
        status("completed", ""),
    ];
    assert_eq!(build(&updates).0.expect("an answer"), "Seven.");
}

fn approval() -> Value {
    json!({"kind": "status-update", "taskId": "t", "contextId": "c", "status": {"state": "input-required", "message": {"parts": [
        {"kind": "data", "metadata": {"kagent_type": "function_call", "kagent_is_long_running": true}, "data": {"id": "adk-1", "name": "adk_request_confirmation",
            "args": {"originalFunctionCall": {"id": "f", "name": "delete_pod", "args": {"name": "web-1"}}, "toolConfirmation": {"hint": "Really?", "confirmed": false}}}}]}}})
}

#[test]
fn approval_is_asked_with_its_task_and_is_no_state() {
    let (text, mut builder) = build(&[status("working", "thinking"), approval()]);
    assert_eq!(text.expect("an answer"), "");
    let request = builder.take_approval().expect("a request");
    assert_eq!(request.details, "name: \"web-1\"\n\nReally?");
    let token = request.token.expect("a token");
    let waiting: ConversationState = serde_json::from_str(&token).expect("a state");
    assert_eq!(
        (waiting.task_id.as_deref(), waiting.pending.len()),
        (Some("t"), 1)
    );
    let context = builder.changed_context().expect("a change");
    assert_eq!(context.pending, []);
}

#[test]
fn pieces_cost_no_more_than_themselves() {
    let mut builder = AnswerBuilder::new(ConversationState::default());
    let piece = "and so on ".repeat(10);
    builder
        .apply(read(&artifact("a", "Once ", false)))
        .expect("fine");
    let allocated = |builder: &mut AnswerBuilder, pieces: u32| {
        let updates: Vec<_> = (0..pieces)
            .map(|_| read(&artifact("a", &piece, true)))
            .collect();
        allocation_counter::measure(|| {
            for update in updates {
                builder.apply(update).expect("fine");
            }
        })
        .bytes_total
    };
    let first = allocated(&mut builder, 1000);
    let later = allocated(&mut builder, 1000);
    assert!(later < 4 * first, "{first} bytes, then {later}");
}

#[rstest]
#[case("failed")]
#[case("canceled")]
#[case("rejected")]
#[case("auth-required")]
fn a_task_that_fails_is_an_error(#[case] state: &str) {
    assert!(
        !build(&[status(state, "")])
            .0
            .expect_err("an error")
            .is_retryable()
    );
}

#[test]
fn session_keeps_its_task_only_while_it_waits_for_input() {
    let context = |task: Option<&str>| ConversationState {
        context_id: Some("c".into()),
        task_id: task.map(str::to_owned),
        pending: Vec::new(),
    };
    let (_, mut waiting) = build(&[status("working", ""), status("input-required", "Which?")]);
    assert_eq!(waiting.changed_context(), Some(context(Some("t"))));

    let mut next = AnswerBuilder::new(context(Some("t")));
    let update = |v: &Value| read(v);
    next.apply(update(&status("working", ""))).expect("fine");
    assert_eq!(next.changed_context(), None);
    next.apply(update(&status("completed", "Done")))
        .expect("fine");
    assert_eq!(next.changed_context(), Some(context(None)));
    assert_eq!(next.changed_context(), None);
}
