//! Why an answer ended, in the words that servers have for it: `finish_reason` of Chat Completions, and what gateways pass through it
//! from the models behind them.

use crate::assistant::Truncation;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndReason {
    /// The model has said all.
    Stop,
    /// The model wants a tool to be called.
    Tools,
    /// It was cut off.
    Truncated(Truncation),
    /// It broke off.
    Broken,
    /// For a reason that we do not know, or that is no word.
    Other,
}

/// Words that some servers write as long as there is no reason.
const NO_REASON: &[&str] = &[
    "",
    "null",
    "none",
    "undefined",
    "in_progress",
    "not_finished",
];

/// Parts of the words of each kind. The first kind that fits counts.
const KINDS: &[(EndReason, &[&str])] = &[
    (
        EndReason::Broken,
        &[
            "abort",
            "cancel",
            "error",
            "malformed",
            "network",
            "timeout",
            "timed_out",
            "fail",
            "interrupt",
            "disconnect",
            "exception",
            "overload",
            "insufficient_system_resource",
            "preempt",
            "unavailable",
            "unexpected",
            "too_many_tool",
            "pause",
            "incomplete",
        ],
    ),
    (
        EndReason::Truncated(Truncation::Length),
        &[
            "length",
            "max_",
            "maxtoken",
            "token_limit",
            "context_window",
            "limit_reached",
            "model_limit",
        ],
    ),
    (
        EndReason::Truncated(Truncation::Filter),
        &[
            "filter",
            "safety",
            "recitation",
            "blocklist",
            "prohibited",
            "spii",
            "sensitive",
            "moderation",
            "blocked",
            "refus",
            "guardrail",
            "policy",
            "censor",
        ],
    ),
    (EndReason::Tools, &["tool", "function"]),
    (
        EndReason::Stop,
        &["stop", "eos", "end_turn", "complete", "finish", "done"],
    ),
];

impl EndReason {
    /// What a word means; `None` if it says that there is no end yet.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase().replace([' ', '-'], "_");
        if NO_REASON.contains(&word.as_str()) || word.ends_with("unspecified") {
            return None;
        }
        // Beside "stop" the sequence that ended it can stand.
        if matches!(word.as_str(), "stop" | "stop_sequence") {
            return Some(Self::Stop);
        }
        let kind = KINDS
            .iter()
            .find(|(_, parts)| parts.iter().any(|part| word.contains(part)));
        let Some((reason, _)) = kind else {
            tracing::debug!("an assistant ended its answer for a reason that is not known");
            return Some(Self::Other);
        };
        Some(*reason)
    }

    /// Whether the assistant itself says with it that nothing follows.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Stop | Self::Truncated(_))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "FinishReason.STOP"], Some(EndReason::Stop))]
    #[case(&["length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length", "model_context_window_exceeded"], Some(EndReason::Truncated(Truncation::Length)))]
    #[case(&["content_filter", "SAFETY", "recitation", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "sensitive", "refusal", "guardrail_intervened", "content-filter"], Some(EndReason::Truncated(Truncation::Filter)))]
    #[case(&["abort", "aborted", "cancelled", "canceled", "network_error", "error", "internal_error", "engine_error", "MALFORMED_FUNCTION_CALL", "insufficient_system_resource", "timeout"], Some(EndReason::Broken))]
    #[case(&["tool_calls", "function_call", "tool_use"], Some(EndReason::Tools))]
    #[case(&["because"], Some(EndReason::Other))]
    #[case(&["", "null", "None", "FINISH_REASON_UNSPECIFIED"], None)]
    fn words_of_servers_in_use_are_understood(
        #[case] words: &[&str],
        #[case] reason: Option<EndReason>,
    ) {
        for word in words {
            assert_eq!(EndReason::from_word(word), reason, "{word}");
        }
    }
}
