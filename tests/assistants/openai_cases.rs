//! Bodies of Chat Completions as servers in use send them, and what the user must see: one table, which the unit tests of the reader hold to
//! every cut of the bytes, and the tests of this folder send over HTTP under any label.

/// How an answer must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Length,
    Filter,
    /// An error behind the text.
    Broken,
    /// An error without text; whether the question may be asked again.
    Failed(bool),
}

/// Adds what stands for a file, `picture` or `file` of this name; of one with a link that.
pub(crate) fn add_file(text: &mut String, word: &str, name: &str, link: Option<&str>) {
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    let shown = match link {
        Some(link) => format!("[({word}: {name})]({link})\n\n"),
        None => format!("({word}: {name})\n\n"),
    };
    text.push_str(&shown);
}

/// Events of this data.
pub(crate) fn sse(data: &[&str]) -> Vec<u8> {
    let events = data.iter().map(|data| ["data: ", data, "\n\n"].concat());
    events.collect::<String>().into_bytes()
}

/// A chunk with this `delta`.
pub(crate) fn delta(delta: &str) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#
    )
}

/// A chunk with this text.
pub(crate) fn text(text: &str) -> String {
    delta(&format!(
        r#"{{"content":{}}}"#,
        serde_json::Value::from(text)
    ))
}

/// A chunk with this `finish_reason`, as JSON.
pub(crate) fn reason(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":{reason}}}]}}"#)
}

/// These chunks and a proper end.
pub(crate) fn ended(chunks: &[&str]) -> Vec<u8> {
    let stop = reason("\"stop\"");
    let mut all = chunks.to_vec();
    all.extend([stop.as_str(), "[DONE]"]);
    sse(&all)
}

/// An answer whose `delta`s are these.
pub(crate) fn deltas(all: &[&str]) -> Vec<u8> {
    let chunks: Vec<String> = all.iter().map(|d| delta(d)).collect();
    ended(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
}

/// An answer of these pieces of text.
pub(crate) fn texts(pieces: &[&str]) -> Vec<u8> {
    let chunks: Vec<String> = pieces.iter().map(|piece| text(piece)).collect();
    ended(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
}

/// "Half of" and what follows it.
pub(crate) fn half(rest: &[&str]) -> Vec<u8> {
    let half = text("Half of");
    let mut all = vec![half.as_str()];
    all.extend(rest);
    sse(&all)
}

/// A whole answer with this message and these further fields of the choice.
pub(crate) fn whole(message: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"object":"chat.completion","choices":[{{"index":0,"message":{message}{more}}}]}}"#)
        .into_bytes()
}

/// Text as bytes, for what none of the above writes.
pub(crate) fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

macro_rules! tests_of_cases {
    ($check:path; $($name:ident: $body:expr => $text:expr, $end:expr;)*) => {
        $(
            #[test]
            fn $name() {
                $check($body, $text, $end);
            }
        )*
    };
}

/// A test for each case, which calls `check(body, text, end)`.
macro_rules! openai_cases {
    ($check:path) => {
        tests_of_cases! { $check;
            // An answer that is not whole.
            no_finish_reason_and_no_done: sse(&[&text("You owe nothing"), &text(" unless you")]) => "You owe nothing unless you", End::Broken;
            done_without_finish_reason: sse(&[&text("Hi"), "[DONE]"]) => "Hi", End::Complete;
            finish_reason_without_done: sse(&[&text("Hi"), &reason("\"stop\"")]) => "Hi", End::Complete;
            text_behind_a_finish_reason_wants_another: sse(&[&text("Half"), &reason("\"tool_calls\""), &text(" of")]) => "Half of", End::Broken;
            error_in_the_choice: half(&[r#"{"choices":[{"index":0,"delta":{"content":""},"error":{"code":502,"message":"x"},"finish_reason":"error"}]}"#, "[DONE]"]) => "Half of", End::Broken;
            error_in_the_choice_without_text: sse(&[r#"{"choices":[{"error":{"code":502,"message":"x"},"finish_reason":"error"}]}"#]) => "", End::Failed(true);
            finish_reason_error: half(&[&reason("\"error\""), "[DONE]"]) => "Half of", End::Broken;
            finish_reason_error_without_text: sse(&[&reason("\"error\""), "[DONE]"]) => "", End::Failed(true);
            error_beside_choices: half(&[r#"{"error":{"code":502,"message":"x"},"choices":[{"delta":{"content":" it"},"finish_reason":"error"}]}"#]) => "Half of it", End::Broken;
            error_chunk: half(&[r#"{"error":{"message":"x","code":500}}"#, "[DONE]"]) => "Half of", End::Broken;
            error_chunk_without_text: sse(&[r#"{"error":{"message":"x","code":503}}"#]) => "", End::Failed(true);
            error_chunk_of_vllm: sse(&[r#"{"object":"error","message":"x","code":400}"#]) => "", End::Failed(false);
            error_chunk_in_an_array: half(&[r#"[{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}]"#]) => "Half of", End::Broken;
            error_chunk_with_a_status_beside: sse(&[r#"{"error":"x","status":401}"#]) => "", End::Failed(false);
            error_chunk_with_a_flag: sse(&[r#"{"error":true,"message":"maximum context length is 7"}"#]) => "", End::Failed(false);
            error_of_code_and_message: half(&[r#"{"code":500,"message":"x"}"#]) => "Half of", End::Broken;
            error_field: [sse(&[&text("Half of")]), raw("error: {\"code\":500,\"message\":\"x\"}\n\n")].concat() => "Half of", End::Broken;
            error_field_without_text: raw("error: {\"code\":500,\"message\":\"x\"}\n\n") => "", End::Failed(true);
            error_event: [sse(&[&text("Half of")]), raw("event: error\ndata: {\"message\":\"x\",\"status\":500}\n\n")].concat() => "Half of", End::Broken;
            error_event_without_text: raw("event: error\ndata: {\"message\":\"x\",\"status\":500}\n\n") => "", End::Failed(true);
            error_event_of_words: [sse(&[&text("Half of")]), raw("event: error\ndata: something went wrong\n\n")].concat() => "Half of", End::Broken;
            error_event_that_lasts: raw("event: error\ndata: {\"error\":{\"message\":\"x\",\"code\":\"401\"}}\n\n") => "", End::Failed(false);
            error_event_without_data: [sse(&[&text("Half of")]), raw("event: error\n\n")].concat() => "Half of", End::Broken;
            error_that_is_no_event: [sse(&[&text("Half of")]), raw("{\"error\":{\"code\":500,\"message\":\"x\"}}\n")].concat() => "Half of", End::Broken;
            finish_reason_length: half(&[&reason("\"length\""), "[DONE]"]) => "Half of", End::Length;
            finish_reason_max_tokens: half(&[&reason("\"MAX_TOKENS\"")]) => "Half of", End::Length;
            finish_reason_content_filter: half(&[&reason("\"content_filter\""), "[DONE]"]) => "Half of", End::Filter;
            finish_reason_safety: half(&[&reason("\"SAFETY\"")]) => "Half of", End::Filter;
            finish_reason_abort: half(&[&reason("\"abort\""), "[DONE]"]) => "Half of", End::Broken;
            finish_reason_network_error: half(&[&reason("\"network_error\""), "[DONE]"]) => "Half of", End::Broken;
            finish_reason_content_filter_without_text: sse(&[&reason("\"content_filter\""), "[DONE]"]) => "", End::Failed(false);
            finish_reason_length_without_text: sse(&[&reason("\"length\""), "[DONE]"]) => "", End::Failed(false);
            finish_reason_tool_calls_with_text: sse(&[&text("Hi"), &reason("\"tool_calls\""), "[DONE]"]) => "Hi", End::Complete;
            finish_reason_tool_calls_without_text: sse(&[&reason("\"tool_calls\""), "[DONE]"]) => "", End::Failed(false);
            finish_reason_that_nobody_knows: sse(&[&text("Hi"), &reason("\"because\"")]) => "Hi", End::Complete;
            finish_reason_that_says_null: sse(&[&text("Half of"), &reason("\"null\"")]) => "Half of", End::Broken;
            whole_answer_without_finish_reason: whole(r#"{"content":"Hi"}"#, "") => "Hi", End::Complete;
            whole_answer_that_was_cut: whole(r#"{"content":"Half of"}"#, r#","finish_reason":"length""#) => "Half of", End::Length;
            whole_answer_of_a_refusal: whole(r#"{"content":null,"refusal":"No."}"#, r#","finish_reason":"stop""#) => "No.", End::Complete;
            whole_answer_that_ends_too_early: raw(r#"{"choices":[{"message":{"content":"Half of"#) => "", End::Failed(true);
            empty_answer: sse(&[&reason("\"stop\""), "[DONE]"]) => "", End::Complete;
            nothing_but_done: sse(&["[DONE]"]) => "", End::Complete;
            nothing_but_pings: raw(": ping\n\ndata: {\"type\":\"ping\"}\n\n") => "", End::Failed(true);
            // A chunk that is odd in one place.
            broken_json_between_two_pieces: sse(&[&text("Pay 10"), r#"{"choices":[{"delta":{"content":" if you"#, &text(" today."), "[DONE]"]) => "Pay 10", End::Broken;
            quotes_that_are_not_escaped: sse(&[&text("Pay 10"), r#"{"choices":[{"delta":{"content":"say "no""}}]}"#, &text(" today."), "[DONE]"]) => "Pay 10", End::Broken;
            python_instead_of_json: sse(&[&text("Pay 10"), "{'choices': [{'delta': {'content': ' not'}}]}", "[DONE]"]) => "Pay 10", End::Broken;
            broken_json_at_first: sse(&[r#"{"choices":[{"delta":"#, "[DONE]"]) => "", End::Failed(true);
            choices_of_another_type: sse(&[&text("Pay 10"), r#"{"choices":"no"}"#, &text(" today."), "[DONE]"]) => "Pay 10", End::Broken;
            nan_in_logprobs: ended(&[r#"{"choices":[{"delta":{"content":"Hi"},"logprobs":{"content":[{"logprob":NaN,"x":-Infinity,"y":[Infinity,1e999]}]}}]}"#]) => "Hi", End::Complete;
            finish_reason_zero: sse(&[r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":0}]}"#]) => "Hi", End::Complete;
            finish_reason_object: sse(&[r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":{"type":"length"}}]}"#]) => "Hi", End::Length;
            emoji_in_two_halves: deltas(&[r#"{"content":"Hi \ud83d"}"#, r#"{"content":"\ude00!"}"#]) => "Hi \u{1F600}!", End::Complete;
            emoji_in_two_halves_with_a_chunk_between: deltas(&[r#"{"content":"\ud83d"}"#, r#"{"role":"assistant"}"#, r#"{"content":"\ude00"}"#]) => "\u{1F600}", End::Complete;
            half_an_emoji: deltas(&[r#"{"content":"Hi \ud83d"}"#, r#"{"content":" there"}"#]) => "Hi \u{FFFD} there", End::Complete;
            half_an_emoji_elsewhere: ended(&[r#"{"id":"\ude00","choices":[{"delta":{"content":"Hi"}}],"x":"\ud83d"}"#]) => "Hi", End::Complete;
            bytes_that_are_no_text: [b"data: {\"id\":\"\xff\",\"choices\":[{\"delta\":{\"content\":\"H\xe8i\"}}]}\n\n".to_vec(), ended(&[])].concat() => "H\u{FFFD}i", End::Complete;
            content_number: deltas(&[r#"{"content":42}"#]) => "42", End::Complete;
            content_fraction: deltas(&[r#"{"content":1.50}"#]) => "1.50", End::Complete;
            content_word: deltas(&[r#"{"content":true}"#]) => "true", End::Complete;
            content_list_of_texts: deltas(&[r#"{"content":["a","b"]}"#]) => "ab", End::Complete;
            content_parts: deltas(&[r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"Hello"}]}"#]) => "Hello", End::Complete;
            content_part_with_a_value: deltas(&[r#"{"content":[{"type":"text","text":{"value":"Hello","annotations":[]}}]}"#]) => "Hello", End::Complete;
            content_part_alone: deltas(&[r#"{"content":{"type":"text","text":{"value":"Hello"}}}"#]) => "Hello", End::Complete;
            content_of_content: deltas(&[r#"{"content":{"content":[{"output":1},{"type":"output_text","text":"Hello"}]}}"#]) => "Hello", End::Complete;
            delta_that_is_text: deltas(&[r#""Hello""#]) => "Hello", End::Complete;
            error_that_is_empty: ended(&[r#"{"error":"","choices":[{"delta":{"content":"H"},"error":{}}]}"#, r#"{"error":{},"choices":[{"delta":{"content":"i"}}]}"#, r#"{"error":{"code":null,"message":""},"choices":[{"delta":{"content":"!"}}]}"#, r#"{"error":[],"choices":[]}"#, r#"{"error":false,"choices":[]}"#]) => "Hi!", End::Complete;
            error_that_says_success: ended(&[r#"{"error":{"code":0,"message":"success"},"choices":[{"delta":{"content":"Hi"}}]}"#]) => "Hi", End::Complete;
            keys_that_come_twice: ended(&[r#"{"choices":[],"choices":[{"delta":{"content":"x","content":"Hi"}}]}"#]) => "Hi", End::Complete;
            values_that_are_deep: ended(&[&format!(r#"{{"x":{}{},"choices":[{{"delta":{{"content":"Hi"}}}}]}}"#, "[".repeat(5000), "]".repeat(5000))]) => "Hi", End::Complete;
            fields_of_other_types: ended(&[r#"{"id":7,"object":[],"model":{},"usage":"none","choices":[{"index":"0","delta":{"content":"Hi","role":5,"refusal":null,"tool_calls":null,"function_call":{},"annotations":{"a":1},"images":null,"audio":""},"logprobs":"x"}],"citations":7}"#]) => "Hi", End::Complete;
            several_choices: ended(&[r#"{"choices":[{"index":1,"delta":{"content":"No"},"finish_reason":"stop"},{"index":0,"delta":{"content":"Yes"}}]}"#, r#"{"choices":[{"index":1,"delta":{"content":" no"}}]}"#]) => "Yes", End::Complete;
            several_choices_one_by_one: ended(&[r#"{"choices":[{"index":1,"delta":{"content":"No"}}]}"#, r#"{"choices":[{"index":0,"delta":{"content":"Yes"}}]}"#]) => "Yes", End::Complete;
            a_choice_of_another_index: sse(&[r#"{"choices":[{"index":1,"delta":{"content":"Hi"}}]}"#, r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#]) => "Hi", End::Complete;
            choices_that_are_an_object: ended(&[r#"{"choices":{"delta":{"content":"Hi"}}}"#]) => "Hi", End::Complete;
            chunk_without_its_list: ended(&[r#"{"delta":{"content":"Hi"}}"#]) => "Hi", End::Complete;
            old_completions: sse(&[r#"{"choices":[{"text":"H"}]}"#, r#"{"choices":[{"text":"i","finish_reason":"stop"}]}"#]) => "Hi", End::Complete;
            words_of_gateways: raw(&format!("data: ping\n\ndata: [PING]\n\ndata: {{\"type\":\"ping\"}}\n\ndata: 7\n\nfoo: bar\n\n{}", String::from_utf8_lossy(&texts(&["Hi"])))) => "Hi", End::Complete;
            // A body that is not what its label says.
            plain_json: whole(r#"{"role":"assistant","content":"Hi"}"#, r#","finish_reason":"stop""#) => "Hi", End::Complete;
            plain_json_behind_a_mark_and_lines: [b"\xef\xbb\xbf\n \r\n".to_vec(), whole(r#"{"content":"Hi"}"#, "")].concat() => "Hi", End::Complete;
            plain_json_behind_comments: [b": wait\n\n: wait\n\n".to_vec(), whole(r#"{"content":"Hi"}"#, "")].concat() => "Hi", End::Complete;
            plain_json_over_lines: raw("{\n  \"choices\": [\n    {\n      \"message\": {\n        \"content\": \"data: Hi\"\n      }\n    }\n  ]\n}\n") => "data: Hi", End::Complete;
            plain_json_of_an_error: raw(r#"{"error":{"message":"x","code":503}}"#) => "", End::Failed(true);
            plain_json_of_an_error_that_lasts: raw(r#"{"error":{"message":"x","code":"invalid_api_key"}}"#) => "", End::Failed(false);
            plain_json_of_an_error_in_an_array: raw(r#"[{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}]"#) => "", End::Failed(false);
            mark_before_events: [b"\xef\xbb\xbf".to_vec(), texts(&["Hi"])].concat() => "Hi", End::Complete;
            one_line_end_between_events: raw(&String::from_utf8_lossy(&texts(&["H", "i"])).replace("\n\n", "\n")) => "Hi", End::Complete;
            one_return_between_events: raw(&String::from_utf8_lossy(&texts(&["H", "i"])).replace("\n\n", "\r")) => "Hi", End::Complete;
            returns_and_line_feeds: raw(&String::from_utf8_lossy(&texts(&["H", "i"])).replace('\n', "\r\n")) => "Hi", End::Complete;
            returns: raw(&String::from_utf8_lossy(&texts(&["H", "i"])).replace('\n', "\r")) => "Hi", End::Complete;
            no_line_end_at_the_end: raw(String::from_utf8_lossy(&sse(&[&text("Hi"), &reason("\"stop\"")])).trim_end()) => "Hi", End::Complete;
            no_space_behind_data: raw(&String::from_utf8_lossy(&texts(&["Hi"])).replace("data: ", "data:")) => "Hi", End::Complete;
            data_twice: raw(&String::from_utf8_lossy(&texts(&["Hi"])).replace("data: ", "data: data: ")) => "Hi", End::Complete;
            a_json_line_for_each_chunk: raw(&String::from_utf8_lossy(&sse(&[&text("H"), &text("i"), &reason("\"stop\"")])).replace("data: ", "").replace("\n\n", "\n")) => "Hi", End::Complete;
            json_lines_that_end_too_early: raw(&format!("{}\n{}\n", text("Half"), text(" of"))) => "Half of", End::Broken;
            json_written_twice: ended(&[&serde_json::Value::from(text("Hi")).to_string()]) => "Hi", End::Complete;
            two_chunks_in_one_event: ended(&[&format!("{}{}", text("H"), text("i"))]) => "Hi", End::Complete;
            whole_answer_as_event: sse(&[&String::from_utf8_lossy(&whole(r#"{"content":"Hi"}"#, ""))]) => "Hi", End::Complete;
            page_with_a_script: raw("<html>\n<script>\n{\"choices\":[{\"content\"\nx = {\"error\":{\"code\":500}}\n</script>") => "", End::Failed(false);
            error_that_is_huge: sse(&[&format!(r#"{{"error":{{"code":503,"x":[{}0]}}}}"#, "0,".repeat(200_000))]) => "", End::Failed(true);
            // Reasoning.
            reasoning_fields: deltas(&[r#"{"reasoning_content":"hm","content":null}"#, r#"{"reasoning":"hm","content":""}"#, r#"{"reasoning_details":[{"text":"hm"}]}"#, r#"{"content":"Hi"}"#]) => "Hi", End::Complete;
            reasoning_without_an_opening_tag: texts(&["thought…", "</thi", "nk>The answer"]) => "The answer", End::Complete;
            reasoning_in_other_tags: texts(&["<thinking>hm</thinking>", "The <thought>hm</thought>answer"]) => "The answer", End::Complete;
            reasoning_of_gpt_oss: texts(&["<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|chan", "nel|>final<|message|>The answer"]) => "The answer", End::Complete;
            reasoning_a_second_time: texts(&["<think>a</think>The", "\n<think>b</think>\nanswer"]) => "The\nanswer", End::Complete;
            reasoning_and_nothing_else: texts(&["<think>hm"]) => "", End::Complete;
            reasoning_that_was_cut: sse(&[&text("<think>hm"), &reason("\"length\"")]) => "", End::Failed(false);
            reasoning_that_broke_off: sse(&[&text("<think>hm")]) => "", End::Failed(true);
            tags_within_code: texts(&["The tag `<thi", "nk>` opens, `</think>` closes."]) => "The tag `<think>` opens, `</think>` closes.", End::Complete;
            // What is no text.
            images_of_openrouter: deltas(&[r#"{"content":"","images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}"#]) => "(picture: image.png)", End::Complete;
            images_beside_text: deltas(&[r#"{"content":"Here:"}"#, r#"{"images":[{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,AAAA"},"name":"cat.jpg"}]}"#, r#"{"content":"Nice?"}"#]) => "Here:\n\n(picture: cat.jpg)\n\nNice?", End::Complete;
            images_that_are_links: deltas(&[r#"{"images":[{"image_url":{"url":"https://x.example/a/cat.png?s=1"}}]}"#]) => "[(picture: cat.png)](https://x.example/a/cat.png?s=1)", End::Complete;
            images_as_parts: whole(r#"{"content":[{"type":"text","text":"Here:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"output_image","image_url":"data:image/webp;base64,BBBB"}]}"#, "") => "Here:\n\n(picture: image.png)\n\n(picture: image.webp)", End::Complete;
            large_image: deltas(&[&format!(r#"{{"images":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}"#, "A".repeat(1_200_000))]) => "(picture: image.png)", End::Complete;
            file_part: deltas(&[r#"{"content":[{"type":"file","file":{"filename":"a_b.pdf","file_data":"data:application/pdf;base64,AAAA"}}]}"#]) => "(file: a_b.pdf)", End::Complete;
            audio_with_words: deltas(&[r#"{"audio":{"id":"a","transcript":"Hel"}}"#, r#"{"audio":{"data":"AAAA"}}"#, r#"{"audio":{"transcript":"lo"}}"#]) => "Hello", End::Complete;
            audio_that_can_be_played: deltas(&[r#"{"audio":{"id":"a","transcript":"Hello"}}"#, r#"{"audio":{"data":"SUQzBAAA"}}"#, r#"{"audio":{"data":"AAAAAAAA"}}"#]) => "Hello\n\n(file: audio)", End::Complete;
            whole_audio: whole(r#"{"content":null,"audio":{"id":"a","data":"SUQzBAAAAAAAAA==","transcript":"Hello"}}"#, "") => "Hello\n\n(file: audio)", End::Complete;
            image_without_a_media_type: whole(r#"{"content":"Here:","images":[{"b64_json":"iVBORw0KGgoAAAANSUhEUg=="}]}"#, "") => "Here:\n\n(picture: image)", End::Complete;
            audio_alone: deltas(&[r#"{"audio":{"id":"a","data":"AAAA"}}"#]) => "(file: audio)", End::Complete;
        }
    };
}
