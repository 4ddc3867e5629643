//! `spec.assistant.openAI`: which dialect of OpenAI's API is spoken, and what requests hold beyond what the operator writes.

use std::collections::BTreeSet;

use kube::KubeSchema;
use kube::core::{Reason, Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How many fields `parameters` may hold.
pub const MAX_PARAMETERS: usize = 64;

/// Which API the server offers. ChatCompletions: POST {url}/chat/completions. Responses: POST {url}/responses. Default ChatCompletions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OpenAiApi {
    /// POST {url}/chat/completions.
    #[default]
    ChatCompletions,
    /// POST {url}/responses.
    Responses,
}

/// A field of the request's body that can be left out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(inline)]
#[serde(rename_all = "snake_case")]
pub enum OmittableField {
    /// Who asks.
    User,
    /// Whether the answer is streamed.
    Stream,
    /// What a streamed answer holds beside its text.
    StreamOptions,
    /// Whether the server keeps the answer.
    Store,
}

impl OmittableField {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Stream, Self::StreamOptions, Self::Store];

    /// The field's name in the request's body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::Store => "store",
        }
    }
}

/// What requests to an OpenAI assistant hold. Only for protocol OpenAI.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAiSpec {
    /// The API; the schema has the description of [`OpenAiApi`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<OpenAiApi>,
    /// Further fields of the request's body, such as temperature, max_tokens or reasoning_effort, at most 64. Refused are those that the
    /// operator writes itself (model, messages, input, instructions, stream, stream_options, user) and those that would give all users one conversation
    /// (conversation, previous_response_id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parameters_schema")]
    pub parameters: Option<Map<String, Value>>,
    /// Fields of the request's body to leave out: user, stream, stream_options, store. One that a server refuses by name is left out without being named
    /// here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub omit: Option<Vec<OmittableField>>,
    /// False asks for the answer in one piece. Default true: it is streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// True tells the model at the end of the system prompt where it speaks: the bot's name and username, the connector's displayName, and the chat's id, type,
    /// title and topic. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_context: Option<bool>,
}

impl OpenAiSpec {
    /// The API.
    pub fn api(&self) -> OpenAiApi {
        self.api.unwrap_or_default()
    }

    /// The fields to leave out.
    pub fn omitted(&self) -> BTreeSet<OmittableField> {
        self.omit.iter().flatten().copied().collect()
    }

    /// Whether answers are asked for as a stream.
    pub fn streams(&self) -> bool {
        self.stream.unwrap_or(true)
    }

    /// Whether the model is told where it speaks.
    pub fn tells_chat_context(&self) -> bool {
        self.chat_context.unwrap_or(false)
    }
}

/// A field that `parameters` must not hold.
struct ReservedParameter {
    name: &'static str,
    /// Its type, so that CEL knows the field.
    json_type: &'static str,
    /// What to do instead.
    fix: &'static str,
}

const RESERVED_PARAMETERS: [ReservedParameter; 9] = [
    ReservedParameter {
        name: "model",
        json_type: "string",
        fix: "set spec.assistant.model",
    },
    ReservedParameter {
        name: "messages",
        json_type: "array",
        fix: "the operator writes the conversation; set spec.assistant.systemPrompt",
    },
    ReservedParameter {
        name: "input",
        json_type: "string",
        fix: "the operator writes the conversation; set spec.assistant.systemPrompt",
    },
    ReservedParameter {
        name: "instructions",
        json_type: "string",
        fix: "set spec.assistant.systemPrompt",
    },
    ReservedParameter {
        name: "stream",
        json_type: "boolean",
        fix: "set spec.assistant.openAI.stream",
    },
    ReservedParameter {
        name: "stream_options",
        json_type: "object",
        fix: "the operator writes it; spec.assistant.openAI.omit leaves it out",
    },
    ReservedParameter {
        name: "user",
        json_type: "string",
        fix: "the operator says who asks; spec.assistant.openAI.omit leaves it out",
    },
    ReservedParameter {
        name: "conversation",
        json_type: "string",
        fix: "all users would share one conversation",
    },
    ReservedParameter {
        name: "previous_response_id",
        json_type: "string",
        fix: "all users would share one conversation",
    },
];

impl ReservedParameter {
    fn message(&self) -> String {
        format!(
            "parameters must not hold {}: remove it; {}",
            self.name, self.fix
        )
    }
}

/// What is wrong with a field of `parameters`, in the words of admission.
pub fn parameter_problem(name: &str) -> Option<String> {
    RESERVED_PARAMETERS
        .iter()
        .find(|reserved| reserved.name == name)
        .map(ReservedParameter::message)
}

/// An object of any fields. CEL sees only fields that a schema declares, so the refused ones are declared for the rules' sake.
fn parameters_schema(_: &mut SchemaGenerator) -> Schema {
    let mut properties = Map::new();
    let mut rules = Vec::new();
    for reserved in &RESERVED_PARAMETERS {
        let mut declared = json!({
            "type": reserved.json_type,
            "description": "Refused.",
        });
        match reserved.json_type {
            "array" => {
                declared["items"] =
                    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            }
            "object" => declared["x-kubernetes-preserve-unknown-fields"] = json!(true),
            _ => {}
        }
        properties.insert(reserved.name.to_owned(), declared);
        let rule = Rule::new(format!("!has(self.{})", reserved.name))
            .message(reserved.message().as_str())
            .reason(Reason::FieldValueForbidden)
            .field_path(format!(".{}", reserved.name));
        rules.push(serde_json::to_value(rule).expect("a rule is text"));
    }
    json_schema!({
        "type": "object",
        "maxProperties": MAX_PARAMETERS,
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": rules,
    })
}
