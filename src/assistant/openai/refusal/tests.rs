//! Error bodies of servers in use, and what each of them refuses.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const USER: &[RefusedField] = &[RefusedField::Field(OmittableField::User)];
const STREAM: &[RefusedField] = &[RefusedField::Field(OmittableField::Stream)];
const STREAM_OPTIONS: &[RefusedField] = &[RefusedField::Field(OmittableField::StreamOptions)];
const STORE: &[RefusedField] = &[RefusedField::Field(OmittableField::Store)];
const SYSTEM_ROLE: &[RefusedField] = &[RefusedField::SystemRole];

/// As `OpenAI` wraps a message.
fn error(message: &str) -> Value {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}})
}

fn fields(body: &Value) -> Vec<RefusedField> {
    Refusal::from_error_body(body).fields.into_iter().collect()
}

#[rstest]
// Mistral, LiteLLM before it, and a gateway that passes the provider's body on as text.
#[case(json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted", "input": "telegram:1"}]}), USER)]
#[case(json!({"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted"}]}, "type": "invalid_request_error"}), USER)]
#[case(json!({"message": r#"{"detail":[{"type":"extra_forbidden","loc":["body","user"],"msg":"Extra inputs are not permitted"}]}"#}), USER)]
#[case(error(r#"litellm.UnprocessableEntityError: MistralException - {"detail":[{"type":"extra_forbidden","loc":["body","user"],"msg":"Extra inputs are not permitted","input":"telegram:1"}]}. Received Model Group=mistral"#), USER)]
#[case(json!({"object": "Error", "detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted"}], "message": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted"}], "code": 3001}), USER)]
#[case(json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted", "input": false}, {"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted"}]}), &[USER[0], STORE[0]])]
// OpenRouter.
#[case(json!({"error": {"message": "Provider returned error", "code": 422, "metadata": {"raw": r#"{"detail":[{"loc":["body","user"],"msg":"extra fields not permitted","type":"value_error.extra"}]}"#, "provider_name": "Mistral"}}}), USER)]
// OpenAI, Azure.
#[case(error("Unrecognized request argument supplied: user"), USER)]
#[case(error("Unrecognized request arguments supplied: metadata, user"), USER)]
#[case(json!({"error": {"message": "Unknown parameter: 'user'.", "type": "invalid_request_error", "param": "user", "code": "unknown_parameter"}}), USER)]
#[case(
    error("Unsupported parameter: 'user' is not supported with this model."),
    USER
)]
// Anthropic, Groq, Fireworks, Cohere, Bedrock.
#[case(json!({"type": "error", "error": {"type": "invalid_request_error", "message": "user: Extra inputs are not permitted"}}), USER)]
#[case(error("property 'user' is unsupported"), USER)]
#[case(error("Additional properties are not allowed ('store', 'user' were unexpected)"), &[USER[0], STORE[0]])]
#[case(json!({"error": {"object": "error", "message": "Extra inputs are not permitted, field: 'user', value: 'telegram:1'"}}), USER)]
#[case(json!({"message": "unknown field: parameter 'user' is not a valid field"}), USER)]
#[case(json!({"message": "Malformed input request: #: extraneous key [user] is not permitted, please reformat your input and try again."}), USER)]
// Gemini: an array, and a violation that names the field.
#[case(json!([{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"user\": Cannot find field.", "status": "INVALID_ARGUMENT"}}]), USER)]
#[case(json!([{"error": {"code": 400, "message": "Bad request", "details": [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"description": "Invalid JSON payload received. Unknown name \"user\": Cannot find field."}]}]}}]), USER)]
// vLLM, pydantic's texts, Go, Rust, Python.
#[case(json!({"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'user'), 'msg': 'Extra inputs are not permitted', 'input': 'telegram:1'}]", "type": "BadRequestError", "code": 400}), USER)]
#[case(json!({"detail": "1 validation error for ChatCompletionRequest\nuser\n  Extra inputs are not permitted [type=extra_forbidden, input_value='telegram:1', input_type=str]"}), USER)]
#[case(json!({"error": "json: unknown field \"user\""}), USER)]
#[case(json!({"error": "Failed to deserialize the JSON body into the target type: unknown field `user`, expected one of `model`, `stream` at line 1 column 9"}), USER)]
#[case(error("create() got an unexpected keyword argument 'user'"), USER)]
#[case(
    error(
        "litellm.UnsupportedParamsError: bedrock does not support parameters: ['user'], for model=x. To drop these, set `litellm.drop_params=True`"
    ),
    USER
)]
#[case(json!({"error": {"issues": [{"code": "unrecognized_keys", "keys": ["user"], "path": [], "message": "Unrecognized key(s) in object: 'user'"}]}}), USER)]
#[case(json!({"errors": [{"instancePath": "", "keyword": "additionalProperties", "params": {"additionalProperty": "user"}, "message": "must NOT have additional properties"}]}), USER)]
#[case(error("The parameter `user` is not supported."), USER)]
#[case(error("The user field is not allowed"), USER)]
// Marshmallow, Joi, NestJS, Jackson, voluptuous.
#[case(json!({"errors": {"json": {"user": ["Unknown field."]}}}), USER)]
#[case(error("\"user\" is not allowed"), USER)]
#[case(json!({"message": ["property user should not exist"], "error": "Bad Request", "statusCode": 400}), USER)]
#[case(
    error("Unrecognized field \"user\" (class com.acme.Request), not marked as ignorable"),
    USER
)]
#[case(error("extra keys not allowed @ data['user']"), USER)]
#[case(error("Got unexpected field names ['user']"), USER)]
#[case(error("Unsupported parameter(s): user"), USER)]
#[case(error("Parameters ['user'] are not supported"), USER)]
#[case(error("The following parameters are not supported: store, user"), &[USER[0], STORE[0]])]
#[case(error("user is not a valid parameter"), USER)]
#[case(error("'user' is an invalid keyword argument"), USER)]
#[case(error("Validation error: user is not supported"), USER)]
#[case(error("This model doesn't support the `user` parameter"), USER)]
#[case(json!(["At body -> user: Extra inputs are not permitted"]), USER)]
fn user_is_refused_by_name(#[case] body: Value, #[case] refused: &[RefusedField]) {
    assert_eq!(fields(&body), refused);
}

#[rstest]
#[case(json!({"error": {"message": "Your organization must be verified to stream this model. Please go to: https://platform.openai.com/settings", "type": "invalid_request_error", "param": "stream", "code": "unsupported_value"}}))]
#[case(error(
    "litellm.BadRequestError: OpenAIException - Your organization must be verified to stream this model."
))]
#[case(json!({"error": {"message": "Unsupported value: 'stream' does not support true with this model. Only the default (false) value is supported.", "param": "stream"}}))]
#[case(error("Streaming is not supported for this model"))]
#[case(error("This model does not support streaming."))]
#[case(error("stream: must be false"))]
#[case(error("stream=true is not supported"))]
#[case(error("Streaming is disabled for your organization"))]
#[case(error("`stream` must be set to `false`"))]
#[case(error("Only stream=false is supported"))]
#[case(error("Responses of this model cannot be streamed"))]
#[case(error("Stream mode is not allowed"))]
#[case(error("The stream option is not supported"))]
#[case(error("stream: Input should be False"))]
#[case(json!({"detail": [{"type": "literal_error", "loc": ["body", "stream"], "msg": "Input should be False"}]}))]
#[case(json!([{"error": {"message": "Please set stream to false", "status": "INVALID_ARGUMENT"}}]))]
fn streaming_is_refused_by_name(#[case] body: Value) {
    assert_eq!(fields(&body), STREAM);
}

#[rstest]
#[case(error("System role not supported"))]
#[case(json!({"error": {"code": 500, "message": "Jinja Exception: System role not supported", "type": "server_error"}}))]
#[case(json!({"object": "error", "message": "Conversation roles must alternate user/assistant/user/assistant/...", "type": "BadRequestError", "code": 400}))]
#[case(json!({"type": "error", "error": {"type": "invalid_request_error", "message": "messages: roles must alternate between \"user\" and \"assistant\", but found multiple \"user\" roles in a row"}}))]
#[case(json!({"error": {"message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.", "param": "messages[0].role", "code": "unsupported_value"}}))]
#[case(error(
    "Unsupported value: 'messages[0].role' does not support 'developer' with this model."
))]
#[case(error("role must be one of user, assistant"))]
#[case(error(
    "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \"system\" as an input message role."
))]
#[case(json!([{"error": {"code": 400, "message": "Developer instruction is not enabled for models/gemma-3-27b-it", "status": "INVALID_ARGUMENT"}}]))]
#[case(json!([{"error": {"code": 400, "message": "Please use a valid role: user, model.", "status": "INVALID_ARGUMENT"}}]))]
#[case(json!({"detail": [{"type": "literal_error", "loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user' or 'assistant'", "input": "system"}]}))]
#[case(error("'system' is not one of ['user', 'assistant'] - 'messages.0.role'"))]
#[case(error("System messages are not supported by this model"))]
#[case(error("Only user and assistant roles are supported!"))]
#[case(error("A conversation must start with a user message."))]
#[case(error("This model does not support system messages"))]
#[case(error("System prompts are not allowed for this model"))]
#[case(error("role 'system' is not supported"))]
#[case(error("unknown variant `system`, expected `user` or `assistant`"))]
#[case(error("Invalid 'messages[0].role': must be one of ['user', 'assistant'], got 'system'"))]
#[case(error("The first message must have role 'user'"))]
#[case(error("This model only supports user and assistant roles"))]
#[case(error("system_instruction is not supported"))]
#[case(error(
    "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
))]
fn system_role_is_refused_by_name(#[case] body: Value) {
    assert_eq!(fields(&body), SYSTEM_ROLE);
}

#[rstest]
#[case(
    error("Unrecognized request argument supplied: stream_options"),
    STREAM_OPTIONS
)]
#[case(
    error("property 'stream_options' is unsupported, did you mean 'stop'?"),
    STREAM_OPTIONS
)]
#[case(json!({"error": {"message": "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "param": "stream_options"}}), STREAM_OPTIONS)]
#[case(error("Unknown parameter: 'store'."), STORE)]
fn fields_of_similar_names_are_told_apart(#[case] body: Value, #[case] refused: &[RefusedField]) {
    assert_eq!(fields(&body), refused);
}

#[rstest]
#[case(error("This model's maximum context length is 4096 tokens"))]
#[case(error("Invalid user message"))]
#[case(error("This user is not allowed to use the model"))]
#[case(error("The user name is not valid"))]
#[case(error("The system is not reachable"))]
#[case(error("role must be one of system, user, assistant"))]
#[case(error("The stream ended too early"))]
#[case(error("Non-streaming requests are not supported"))]
#[case(error("This model only supports stream mode, please enable the stream parameter"))]
#[case(error("The user is over quota"))]
#[case(error("Invalid API key provided: user"))]
#[case(error("The system is not available right now"))]
#[case(json!({"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "user", "name"], "msg": "Extra inputs are not permitted", "input": ""}]}}))]
#[case(json!({"detail": [{"type": "missing", "loc": ["body", "user"], "msg": "Field required"}]}))]
#[case(json!({"error": {"message": "Missing required parameter: 'user'.", "param": "user", "code": "missing_required_parameter"}}))]
// What a body echoes is no complaint.
#[case(json!({"detail": [{"type": "string_too_long", "loc": ["body", "messages", 0, "content"], "msg": "String too long", "input": "Unknown parameter: 'user'"}]}))]
#[case(json!({"error": {"message": "Bad request", "request": {"user": "x", "detail": "Unknown parameter: 'user'"}}}))]
#[case(json!("unknown"))]
#[case(json!([1, null]))]
fn other_refusals_name_no_part(#[case] body: Value) {
    assert_eq!(fields(&body), []);
}

#[rstest]
#[case(json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "param": "max_tokens"}}), "max_tokens")]
#[case(
    error("Unsupported parameter: 'max_tokens' is not supported with this model."),
    "max_tokens"
)]
#[case(json!({"error": {"message": "Unsupported value: 'temperature' does not support 0.2 with this model.", "param": "temperature"}}), "temperature")]
#[case(json!({"error": {"message": "Invalid value", "param": "reasoning.effort"}}), "reasoning")]
#[case(json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "reasoning_effort"], "msg": "Extra inputs are not permitted"}]}), "reasoning_effort")]
fn other_fields_are_named_too(#[case] body: Value, #[case] name: &str) {
    let refusal = Refusal::from_error_body(&body);
    assert!(refusal.names.contains(name), "{refusal:?}");
    assert!(refusal.fields.is_empty(), "{refusal:?}");
}

#[test]
fn bytes_that_are_no_json_refuse_nothing() {
    for body in [
        &b"<html>Unknown parameter: 'user'</html>"[..],
        b"",
        b"\xff\xfe{",
    ] {
        assert_eq!(Refusal::from_bytes(body), Refusal::default());
    }
    let body = b"\xef\xbb\xbf{\"error\":\"unknown field user\"}";
    let refusal = Refusal::from_bytes(body);
    assert!(refusal.fields.iter().eq(USER), "{refusal:?}");
}

proptest::proptest! {
    #[test]
    fn any_message_is_read_without_a_panic(text in r#"(\PC|[\[{"'user:,}\] ]){0,60}"#) {
        let nested = format!("x {{\"detail\": {text}");
        for message in [text.as_str(), &nested] {
            Refusal::from_error_body(&json!({"error": {"message": message}}));
        }
    }
}
