//! Bodies of the Responses API, as `openai_cases` has them for Chat Completions.

use crate::openai_cases::sse;

/// A piece of text.
pub(crate) fn piece(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(
        r#"{{"type":"response.output_text.delta","output_index":0,"item_id":"m","delta":{text}}}"#
    )
}

/// The event that ends a response, with further fields of the response.
pub(crate) fn last(kind: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"response.{kind}","response":{{"object":"response","status":"{kind}"{fields}}}}}"#
    )
}

/// Pieces of text and the end of a whole response.
pub(crate) fn pieces(all: &[&str]) -> Vec<u8> {
    let mut events: Vec<String> = all.iter().map(|text| piece(text)).collect();
    events.push(last("completed", ""));
    sse(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

/// "Half of" and what follows it.
pub(crate) fn half_response(rest: &[&str]) -> Vec<u8> {
    let half = piece("Half of");
    let mut all = vec![half.as_str()];
    all.extend(rest);
    sse(&all)
}

/// A test for each case, which calls `check(body, text, end)`.
macro_rules! responses_cases {
    ($check:path) => {
        tests_of_cases! { $check;
            all_events: sse(&[r#"{"type":"response.created","response":{"status":"in_progress"}}"#, r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","content":[]}}"#, &piece("H"), &piece("i"), r#"{"type":"response.output_text.done","text":"Hi"}"#, &last("completed", r#","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":1,"output_tokens":2}"#)]) => "Hi", End::Complete;
            done_behind_the_end: [pieces(&["Hi"]), sse(&["[DONE]"])].concat() => "Hi", End::Complete;
            names_of_events_alone: raw("event: response.output_text.delta\ndata: {\"delta\":\"Hi\"}\n\nevent: response.completed\ndata: {\"response\":{}}\n\n") => "Hi", End::Complete;
            no_end: sse(&[&piece("You owe nothing"), &piece(" unless you")]) => "You owe nothing unless you", End::Broken;
            done_without_completed: sse(&[&piece("Hi"), "[DONE]"]) => "Hi", End::Complete;
            length: half_response(&[&last("incomplete", r#","incomplete_details":{"reason":"max_output_tokens"}"#)]) => "Half of", End::Length;
            filter: half_response(&[&last("incomplete", r#","incomplete_details":{"reason":"content_filter"}"#)]) => "Half of", End::Filter;
            incomplete_for_no_reason: half_response(&[&last("incomplete", "")]) => "Half of", End::Broken;
            length_without_text: sse(&[&last("incomplete", r#","incomplete_details":{"reason":"max_output_tokens"}"#)]) => "", End::Failed(false);
            failed: half_response(&[&last("failed", r#","error":{"code":"server_error","message":"x"}"#)]) => "Half of", End::Broken;
            failed_without_text: sse(&[&last("failed", r#","error":{"code":"server_error","message":"x"}"#)]) => "", End::Failed(true);
            cancelled: half_response(&[&last("cancelled", "")]) => "Half of", End::Broken;
            error_event: half_response(&[r#"{"type":"error","code":"server_error","message":"x"}"#]) => "Half of", End::Broken;
            error_event_with_an_object: sse(&[r#"{"type":"error","error":{"code":"invalid_api_key","message":"x"}}"#]) => "", End::Failed(false);
            broken_json: sse(&[&piece("Pay 10"), r#"{"type":"response.output_text.delta","delta":" if"#, &piece(" today."), &last("completed", "")]) => "Pay 10", End::Broken;
            odd_fields: sse(&[r#"{"type":"response.output_text.delta","logprobs":[NaN,1e999],"sequence_number":"x","delta":"Hi","error":{}}"#, &last("completed", r#","error":null,"usage":7"#)]) => "Hi", End::Complete;
            emoji_in_two_halves: sse(&[r#"{"type":"response.output_text.delta","delta":"\ud83d"}"#, r#"{"type":"response.output_text.delta","delta":"\ude00"}"#, &last("completed", "")]) => "\u{1F600}", End::Complete;
            delta_number: sse(&[r#"{"type":"response.output_text.delta","delta":42}"#, &last("completed", "")]) => "42", End::Complete;
            refusal: sse(&[r#"{"type":"response.refusal.delta","delta":"No."}"#, &last("completed", "")]) => "No.", End::Complete;
            reasoning_events: sse(&[r#"{"type":"response.reasoning_text.delta","delta":"hm"}"#, r#"{"type":"response.reasoning_summary_text.delta","delta":"hm"}"#, &piece("Hi"), &last("completed", "")]) => "Hi", End::Complete;
            reasoning_in_the_text: pieces(&["hm</thi", "nk>The answer"]) => "The answer", End::Complete;
            text_that_was_not_streamed: sse(&[&last("completed", r#","output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]"#)]) => "Hi", End::Complete;
            text_of_which_a_piece_was_lost: sse(&[&piece("Pay"), &last("completed", r#","output":[{"type":"message","content":[{"type":"output_text","text":"Pay nothing"}]}]"#)]) => "Pay nothing", End::Complete;
            two_messages: sse(&[&piece("One"), &piece("Two").replace("\"output_index\":0", "\"output_index\":1"), &last("completed", "")]) => "One\n\nTwo", End::Complete;
            notes_on_the_way: sse(&[r#"{"type":"response.output_item.added","item":{"type":"message","phase":"commentary"}}"#, &piece("I look"), r#"{"type":"response.output_item.added","item":{"type":"message","phase":"final_answer"}}"#, &piece("Hi"), &last("completed", "")]) => "Hi", End::Complete;
            tool_call: sse(&[r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"f"}}"#, &last("completed", "")]) => "", End::Failed(false);
            picture: sse(&[&piece("Here:"), r#"{"type":"response.output_item.done","item":{"type":"image_generation_call","result":"AAAA","output_format":"png"}}"#, &last("completed", "")]) => "Here:\n\n(picture: image.png)", End::Complete;
            empty: pieces(&[]) => "", End::Complete;
            only_begun: sse(&[r#"{"type":"response.created","response":{"status":"in_progress"}}"#]) => "", End::Failed(true);
            whole_response: raw(r#"{"object":"response","status":"completed","output":[{"type":"reasoning","summary":[]},{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}"#) => "Hi", End::Complete;
            whole_response_that_was_cut: raw(r#"{"object":"response","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message","content":[{"type":"output_text","text":"Half of"}]}]}"#) => "Half of", End::Length;
            whole_response_that_failed: raw(r#"{"object":"response","status":"failed","error":{"code":"server_error","message":"x"},"output":[]}"#) => "", End::Failed(true);
            whole_error: raw(r#"{"error":{"message":"x","code":503}}"#) => "", End::Failed(true);
            one_line_end_between_events: raw(&String::from_utf8_lossy(&pieces(&["H", "i"])).replace("\n\n", "\n")) => "Hi", End::Complete;
        }
    };
}
