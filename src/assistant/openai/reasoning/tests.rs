use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn visible<'a>(pieces: impl IntoIterator<Item = &'a str>, is_complete: bool) -> String {
    let mut filter = ReasoningFilter::default();
    let mut all: Vec<_> = pieces.into_iter().flat_map(|p| filter.read(p)).collect();
    all.extend(filter.finish(is_complete));
    let mut text = String::new();
    for part in all {
        match part {
            Visible::Text(more) => text.push_str(&more),
            Visible::TakeBack => text.clear(),
        }
    }
    text
}

/// Whole, byte by byte, and in pieces of three.
fn assert_visible(text: &str, expected: &str) {
    assert_eq!(visible([text], true), expected, "whole: {text}");
    for size in [1, 3] {
        let chars: Vec<char> = text.chars().collect();
        let pieces: Vec<String> = chars.chunks(size).map(|c| c.iter().collect()).collect();
        let read = visible(pieces.iter().map(String::as_str), true);
        assert_eq!(read, expected, "in pieces of {size}: {text}");
    }
}

#[rstest]
#[case::tags("<think>hm</think>\n\nThe answer", "The answer")]
#[case::line_before("\n<think>\nhm\n</think>\nThe answer", "The answer")]
#[case::no_opening_tag("thought…</think>The answer", "The answer")]
#[case::no_opening_tag_over_lines("Let me see.\n\nYes.\n</think>\n\nThe answer", "The answer")]
#[case::thinking("<thinking>hm</thinking>The answer", "The answer")]
#[case::thought("<thought>hm</thought> The answer", "The answer")]
#[case::reasoning("<reasoning>hm</reasoning>The answer", "The answer")]
#[case::upper_case("<THINK>hm</Think>The answer", "The answer")]
#[case::attributes("<think effort=\"high\">hm</think>The answer", "The answer")]
#[case::name_space("<seed:think>hm</seed:think>The answer", "The answer")]
#[case::a_second_one("<think>a</think>The <think>b</think>answer", "The answer")]
#[case::a_second_one_between_lines("The\n<think>b</think>\nanswer", "The\nanswer")]
#[case::a_second_one_without_opening("The <think>b</think>answer c</think>Well", "Well")]
#[case::with_spaces("The <think> b </think> answer", "The answer")]
#[case::nested("<think>a<think>b</think>c</think>The answer", "The answer")]
#[case::unclosed("<think>hm and nothing else", "")]
#[case::unclosed_behind_text("The answer\n<think>hm and", "The answer\n")]
#[case::unclosed_in_a_line("The answer<think>hm", "The answer")]
#[case::empty("<think>\n\n</think>\n\nThe answer", "The answer")]
#[case::code_within_reasoning("<think>`x` ```a\n</think>The answer", "The answer")]
#[case::magistral("[THINK]hm[/THINK]The answer", "The answer")]
#[case::kimi("◁think▷hm◁/think▷The answer", "The answer")]
#[case::open_thinker(
    "<|begin_of_thought|>hm<|end_of_thought|>\n<|begin_of_solution|>The answer<|end_of_solution|>",
    "The answer"
)]
#[case::cohere(
    "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>The answer<|END_RESPONSE|>",
    "The answer"
)]
#[case::gemma("<|channel>thought\nhm<channel|>The answer", "The answer")]
#[case::gpt_oss(
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>The answer<|return|>",
    "The answer"
)]
#[case::gpt_oss_cut("<|channel|>analysis<|message|>hm<|end|>The answer", "The answer")]
#[case::gpt_oss_first_tokens_eaten(
    "hm<|end|><|start|>assistant<|channel|>final<|message|>The answer",
    "The answer"
)]
#[case::gpt_oss_tool_call(
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}<|call|><|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|><|start|>assistant<|channel|>final<|message|>The answer",
    "The answer"
)]
#[case::gpt_oss_two_messages(
    "<|channel|>final<|message|>The <|end|><|start|>assistant<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>answer",
    "The answer"
)]
#[case::gpt_oss_only_thought("<|channel|>analysis<|message|>hm", "")]
#[case::gpt_oss_without_tokens("analysisWe need to say hi.assistantfinalThe answer", "The answer")]
fn reasoning_is_in_no_answer(#[case] text: &str, #[case] answer: &str) {
    assert_visible(text, answer);
}

#[rstest]
#[case::code_span("The tag `<think>` opens reasoning, `</think>` closes it.")]
#[case::long_code_span("Write ``<think>`x`</think>`` here.")]
#[case::fence("Like this:\n```xml\n<think>hm</think>\n```\nIs it clear?")]
#[case::tilde_fence("~~~\n<think>\n~~~\nDone")]
#[case::fence_in_a_quote("> ```\n> <think>hm</think>\n> ```")]
#[case::tokens_in_code("`<|channel|>analysis<|message|>` begins it.")]
#[case::mention("The <think> tag opens reasoning.")]
#[case::mention_in_quotes("It writes \"<think>\" first.")]
#[case::mention_at_the_end("It begins with <think>")]
#[case::token_that_is_mentioned(
    "The token <|start|> comes first, then a role, and so on and on: it is what the template of the model writes before each of the messages that it has, be they long or short, and that is all."
)]
#[case::token_at_the_end("The token <|start|>")]
#[case::other_tags("<b>bold</b> <thinker> < 3 a<b")]
#[case::word_analysis("analysis of the numbers: a as in an assistant")]
#[case::white_space("  \n indented")]
#[case::only_white_space(" \n ")]
#[case::brackets("[THINK about it](https://example.org) [x]")]
fn text_that_talks_about_tags_is_text(#[case] text: &str) {
    assert_visible(text, text);
}

#[test]
fn tag_that_is_mentioned_is_hidden_if_the_answer_broke_off() {
    assert_eq!(visible(["The answer <think> so"], false), "The answer ");
    assert_eq!(visible(["The answer <think>"], false), "The answer ");
}

#[test]
fn first_words_are_shown_before_the_rest_comes() {
    let mut filter = ReasoningFilter::default();
    assert_eq!(filter.read("Hel"), [Visible::Text("Hel".into())]);
    assert_eq!(filter.read("lo <"), [Visible::Text("lo ".into())]);
}

#[test]
fn long_text_costs_linear_time() {
    let begun = std::time::Instant::now();
    let mut filter = ReasoningFilter::default();
    for _ in 0..200_000 {
        filter.read("<think <a [b ` \n");
        filter.read("<|start|");
    }
    filter.finish(true);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn reasoning_is_left_out_wherever_the_text_is_cut(
        thought in "[a-z</ ]{0,12}",
        answer in "[a-z<>à][a-z<>/à ]{0,20}",
        cuts in proptest::collection::vec(1usize..5, 0..40),
    ) {
        prop_assume!(!thought.contains("</think>") && !answer.contains("think>"));
        prop_assume!(!answer.contains("thought>") && !answer.contains("reasoning>"));
        for text in [format!("\n<think>{thought}</think>\n\n{answer}"), format!("{answer} x</think>{answer}"), answer.clone()] {
            let chars: Vec<char> = text.chars().collect();
            let mut rest = chars.as_slice();
            let mut pieces = Vec::new();
            for cut in &cuts {
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece.iter().collect::<String>());
                rest = left;
            }
            pieces.push(rest.iter().collect());
            prop_assert_eq!(visible(pieces.iter().map(String::as_str), true), answer.as_str());
        }
    }
}
