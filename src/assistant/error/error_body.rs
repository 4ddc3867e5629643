//! What the body of an error answer complains of. Bodies can echo what was asked and parts of the key, so no word of them is passed on: a body
//! chooses one of our sentences, and no more. Pure.

use std::time::Duration;

use serde_json::Value;

use super::FailureKind;

/// How deep a body is looked into; JSON in a string counts as one level.
const MAX_DEPTH: u32 = 8;

/// Fields that servers fill with what they were asked; nothing in them is a complaint.
const ECHOES: [&str; 4] = ["input", "messages", "content", "prompt"];

/// What could be understood of an error body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::assistant) struct ErrorBody {
    /// What it complains of.
    pub(in crate::assistant) complaint: Option<Complaint>,
    /// How long to wait, where the body says so rather than a header (Gemini's `retryDelay`).
    pub(in crate::assistant) retry_after: Option<Duration>,
}

/// What an error body complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::assistant) enum Complaint {
    /// No model of this name.
    Model,
    /// The conversation is longer than the model takes.
    ContextFull,
    /// The model takes no pictures.
    Pictures,
    /// The model takes no files, or none of this type.
    Files,
    /// Credit used up.
    Quota,
    /// Too many requests; the body says when there is room again.
    Overloaded,
    /// A content filter.
    Filtered,
    /// The API key.
    Key,
    /// A parameter that the server does not take.
    Parameter,
}

impl ErrorBody {
    /// Looks for the codes and phrases that servers in use have: `{"error": {"message", "type", "code"}}`, `{"error": "text"}`, `{"detail": ...}`,
    /// `{"message", "code"}`, the same in an array (Gemini), or as JSON text within `message` (gateways).
    pub(in crate::assistant) fn read(body: &Value) -> Self {
        let mut words = String::new();
        collect_words(body, MAX_DEPTH, &mut words);
        words.make_ascii_lowercase();
        let retry_after = find_retry_delay(body, MAX_DEPTH);
        let complaint = match Complaint::find(&words) {
            // Gemini calls a limit per minute a quota, too.
            Some(Complaint::Quota) if retry_after.is_some() => Some(Complaint::Overloaded),
            found => found,
        };
        Self {
            complaint,
            retry_after,
        }
    }

    /// Reads the bytes of a body: JSON, or plain words. A page in HTML is a proxy's, and says nothing.
    pub(in crate::assistant) fn from_bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let body = serde_json::from_slice(bytes).ok().or_else(|| {
            let words = std::str::from_utf8(bytes).ok()?.trim();
            (!words.starts_with('<')).then(|| Value::from(words))
        });
        body.map(|body| Self::read(&body)).unwrap_or_default()
    }
}

fn collect_words(value: &Value, depth: u32, words: &mut String) {
    if depth == 0 {
        return;
    }
    match value {
        Value::String(text) => {
            match nested_json(text) {
                Some(nested) => collect_words(&nested, depth - 1, words),
                None => words.push_str(text),
            }
            words.push('\n');
        }
        Value::Array(items) => {
            for item in items {
                collect_words(item, depth - 1, words);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if !ECHOES.contains(&name.as_str()) {
                    collect_words(field, depth - 1, words);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The JSON that a string is.
fn nested_json(text: &str) -> Option<Value> {
    let text = text.trim();
    text.starts_with(['{', '['])
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// `"retryDelay": "37s"` (google.rpc.RetryInfo), wherever it stands.
fn find_retry_delay(value: &Value, depth: u32) -> Option<Duration> {
    if depth == 0 {
        return None;
    }
    match value {
        Value::Array(items) => items.iter().find_map(|i| find_retry_delay(i, depth - 1)),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            if name != "retryDelay" {
                return find_retry_delay(field, depth - 1);
            }
            let seconds = field.as_str()?.strip_suffix('s')?.parse().ok()?;
            Duration::try_from_secs_f64(seconds).ok()
        }),
        Value::String(text) => find_retry_delay(&nested_json(text)?, depth - 1),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

impl Complaint {
    /// The first complaint that a body's words, in lower case, hold. The order matters: a phrase further down may be part of one further up.
    fn find(words: &str) -> Option<Self> {
        let any = |phrases: &[&str]| phrases.iter().any(|p| words.contains(p));
        if any(QUOTA) {
            Some(Self::Quota)
        } else if any(CONTEXT) || (any(&["input token count"]) && any(&["exceeds"])) {
            Some(Self::ContextFull)
        } else if any(FILTER) {
            Some(Self::Filtered)
        } else if any(FILES) {
            Some(Self::Files)
        } else if any(PICTURES) {
            Some(Self::Pictures)
        } else if any(MODEL) || (words.contains("model") && any(MODEL_MISSING)) {
            Some(Self::Model)
        } else if any(KEY) {
            Some(Self::Key)
        } else if any(PARAMETER) {
            Some(Self::Parameter)
        } else {
            None
        }
    }

    pub(in crate::assistant) fn kind(self) -> FailureKind {
        match self {
            Self::Model | Self::Parameter => FailureKind::Misconfigured,
            Self::ContextFull => FailureKind::ContextFull,
            Self::Pictures => FailureKind::PicturesRefused,
            Self::Files => FailureKind::FilesRefused,
            Self::Quota => FailureKind::QuotaExhausted,
            Self::Overloaded => FailureKind::Overloaded,
            Self::Filtered => FailureKind::Filtered,
            Self::Key => FailureKind::KeyRefused,
        }
    }

    /// What it means, and what to change.
    pub(in crate::assistant) fn meaning(self) -> &'static str {
        match self {
            Self::Model => "it has no model of this name; check model",
            Self::ContextFull => {
                "the conversation is longer than the model takes; lower session.maxMessages, or set session.maxTokens"
            }
            Self::Pictures => {
                "the model takes no pictures; name one that does in model, if pictures matter"
            }
            Self::Files => {
                "the model takes no files, or none of this type; name one that does in model, or use files.extract"
            }
            Self::Quota => {
                "the quota or credit of the API key is used up; renew it, or name another key in apiKeySecretRef"
            }
            Self::Overloaded => {
                "it has too many requests; raise its limit, or lower limits.messagesPerMinute"
            }
            Self::Filtered => {
                "its content filter refused the request; see the filter's policy there, and systemPrompt"
            }
            Self::Key => "it does not accept the API key; check apiKeySecretRef",
            Self::Parameter => "it refuses a parameter of the request; check protocol and url",
        }
    }
}

const QUOTA: &[&str] = &[
    "insufficient_quota",
    "exceeded your current quota",
    "budget has been exceeded",
    "insufficient credits",
    "insufficient balance",
    "credit balance is too low",
    "requires more credits",
    "out of credits",
    "billing_hard_limit_reached",
    "billing_not_active",
    "budget_exceeded",
    "exceededbudget",
    "insufficient_funds",
    "insufficient funds",
    "payment required",
    "arrearage",
];

const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "context window",
    "exceeds the available context",
    "exceed context limit",
    "exceeds the context",
    "model's context length",
    "context length of only",
    "maximum model length",
    "maximum prompt length",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input length exceeds",
    "too many tokens",
    "total tokens limit",
    "tokens in the prompt cannot exceed",
    "reduce the length of the messages",
    "tokens + `max_new_tokens` must be",
    "`inputs` must have less than",
    "request too large for",
    "request body too large for",
    "tokens_limit_reached",
    "too many input tokens",
    "exceeds the maximum number of tokens",
    "exceeded max number of tokens",
    "exceeded model token limit",
    "prompt exceeds max length",
    "range of input length should be",
    "string_above_max_length",
    // vLLM, of the room that is left for the answer.
    "must be at least 1, got -",
];

const FILTER: &[&str] = &[
    "content_filter",
    "content_policy",
    "content management policy",
    "content filtering",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
    "flagged by moderation",
    "flagged for",
    "prohibited_content",
    "safety system",
    "content violates",
    "contentfilter",
    "content exists risk",
    "flagged as",
    "guardrail",
];

const FILES: &[&str] = &[
    "file_data",
    "input_file",
    "part type: file",
    "content type 'file'",
    "support file",
    "support pdf",
    "files are not supported",
    "file inputs are not",
    "unsupported file",
    "unsupported_file",
    "invalid file",
    "unsupported mime type",
    "unsupported mimetype",
];

const PICTURES: &[&str] = &[
    "image_url",
    "input_image",
    "image input",
    "multimodal",
    "multi-modal",
    "support image",
    "support vision",
    "no vision",
    "vision is not",
    "images are not supported",
    "images not supported",
    "image is not supported",
    "image content",
    "at most 0 image",
    "cannot process images",
    "mmproj",
];

const MODEL: &[&str] = &[
    "model_not_found",
    "model_not_exist",
    "invalid_model",
    "invalid model",
    "unknown_model",
    "not a valid model",
    "deploymentnotfound",
    "no such model",
];

const MODEL_MISSING: &[&str] = &[
    "not found",
    "does not exist",
    "not exist",
    "unknown model",
    "not_found_error",
];

const KEY: &[&str] = &[
    "invalid_api_key",
    "api_key_invalid",
    "incorrect api key",
    "invalid api key",
    "invalid x-api-key",
    "api key not valid",
    "api key expired",
    "api_key_expired",
    "no auth credentials",
    "invalid authentication",
    "authentication_error",
];

const PARAMETER: &[&str] = &[
    "extra_forbidden",
    "extra inputs are not permitted",
    "unsupported_parameter",
    "unsupported parameter",
    "unsupported_value",
    "unknown parameter",
    "unknown name",
    "unrecognized request argument",
];

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    // OpenAI, vLLM, Ollama, LiteLLM, in this order.
    #[case(json!({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}), Some(Complaint::Model))]
    #[case(json!({"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"}), Some(Complaint::Model))]
    #[case(json!({"error": "model \"x\" not found, try pulling it first"}), Some(Complaint::Model))]
    #[case(json!({"error": {"message": "Invalid model name passed in model=x", "code": "400"}}), Some(Complaint::Model))]
    #[case(json!([{"error": {"code": 404, "message": "models/x is not found for API version v1main", "status": "NOT_FOUND"}}]), Some(Complaint::Model))]
    #[case(json!({"error": {"type": "insufficient_quota"}}), Some(Complaint::Quota))]
    #[case(json!({"error": {"message": "Provisioned throughput is used"}}), None)]
    #[case(json!({"error": {"message": "something else"}}), None)]
    #[case(json!([1, 2]), None)]
    #[case(json!({"detail": [{"loc": ["body", "x"], "msg": "bad", "input": "maximum context length"}]}), None)]
    fn bodies_of_servers_in_use_are_understood(
        #[case] body: Value,
        #[case] complaint: Option<Complaint>,
    ) {
        assert_eq!(ErrorBody::read(&body).complaint, complaint);
    }

    #[rstest]
    #[case::openai("This model's maximum context length is 4096 tokens")]
    #[case::llama_cpp("the request exceeds the available context size, try increasing it")]
    #[case::anthropic("prompt is too long: 210000 tokens > 200000 maximum")]
    #[case::anthropic_with_output("input length and `max_tokens` exceed context limit: 1 + 2 > 3")]
    #[case::lm_studio("The number of tokens is longer than the model's context length")]
    #[case::lm_studio_older(
        "Trying to keep the first 900 tokens when context the overflows. However, the model is loaded with context length of only 512 tokens"
    )]
    #[case::bedrock("Input is too long for requested model.")]
    #[case::gemini(
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    )]
    #[case::vllm(
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096."
    )]
    #[case::xai(
        "This model's maximum prompt length is 131072 but the request contains 150000 tokens."
    )]
    #[case::tgi("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096")]
    #[case::vllm_without_room_for_an_answer("max_tokens must be at least 1, got -512.")]
    #[case::bedrock_converse(
        "Too many input tokens. Max input tokens: 128000, request input token count: 151000"
    )]
    #[case::github("Request body too large for gpt-4o model. Max size: 8000 tokens.")]
    #[case::moonshot("Invalid request: Your request exceeded model token limit: 8192")]
    #[case::zhipu("Prompt exceeds max length")]
    #[case::dashscope("Range of input length should be [1, 30720]")]
    #[case::llama_cpp_python("Requested tokens (600) exceed context window of 512")]
    fn full_context_is_understood_wherever_it_stands(#[case] words: &str) {
        let object =
            json!({"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}});
        let bodies = [
            object.clone(),
            json!([object]),
            json!({"error": {"message": object.to_string(), "type": "None"}}),
            json!({"message": json!([object]).to_string()}),
            json!({"detail": words}),
        ];
        for body in bodies {
            let complaint = ErrorBody::read(&body).complaint;
            assert_eq!(complaint, Some(Complaint::ContextFull), "{body}");
        }
    }

    #[rstest]
    #[case::json(r#"{"error": "prompt is too long"}"#, Some(Complaint::ContextFull))]
    #[case::json_after_a_mark(
        "\u{feff}{\"error\": \"prompt is too long\"}",
        Some(Complaint::ContextFull)
    )]
    #[case::words("Error: prompt is too long", Some(Complaint::ContextFull))]
    #[case::page("<html>The model: page not found</html>", None)]
    #[case::nothing("", None)]
    fn body_is_read_for_what_it_is(#[case] body: &str, #[case] complaint: Option<Complaint>) {
        assert_eq!(ErrorBody::from_bytes(body.as_bytes()).complaint, complaint);
    }

    #[test]
    fn quota_that_names_a_delay_is_a_rate_limit() {
        let quota = "You exceeded your current quota, please check your plan and billing details.";
        let lasting = json!([{"error": {"code": 429, "message": quota}}]);
        assert_eq!(ErrorBody::read(&lasting).complaint, Some(Complaint::Quota));
        let passing = json!([{"error": {"code": 429, "message": quota, "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}]}}]);
        let expected = ErrorBody {
            complaint: Some(Complaint::Overloaded),
            retry_after: Some(Duration::from_millis(37_500)),
        };
        assert_eq!(ErrorBody::read(&passing), expected);
    }
}
