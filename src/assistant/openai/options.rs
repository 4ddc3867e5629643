//! What one `OpenAI` assistant is made with, whichever of the two APIs it speaks.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::refusal::RefusedField;
use crate::api::connector::openai_options::{MAX_PARAMETERS, parameter_problem};
use crate::api::connector::{AssistantSpec, OpenAiApi};
use crate::assistant::BuildError;
use crate::assistant::configured_headers::KeyHeader;

/// The largest `parameters`, as JSON.
const MAX_PARAMETERS_BYTES: usize = 64 << 10;

/// The model and what requests to it hold.
pub(in crate::assistant) struct OpenAiOptions {
    /// The API that the server offers.
    pub(in crate::assistant) api: OpenAiApi,
    /// The model to ask for.
    pub(super) model: String,
    /// What the model is told before every conversation; not empty.
    pub(super) system_prompt: Option<String>,
    /// The header with the API key.
    pub(super) key_header: Option<KeyHeader>,
    /// Further fields of the body.
    pub(super) parameters: Map<String, Value>,
    /// Fields that the connector leaves out.
    pub(super) omit: BTreeSet<RefusedField>,
    /// Whether answers are asked for as a stream.
    pub(super) stream: bool,
    /// Whether the model is told where it speaks.
    pub(super) tells_chat_context: bool,
}

impl OpenAiOptions {
    /// The options of a spec.
    ///
    /// # Errors
    /// `parameters` holds what the operator writes itself, or too much.
    pub(in crate::assistant) fn new(
        model: &str,
        spec: &AssistantSpec,
        key_header: Option<KeyHeader>,
    ) -> Result<Self, BuildError> {
        let open_ai = spec.open_ai.clone().unwrap_or_default();
        let (api, stream, omit) = (open_ai.api(), open_ai.streams(), open_ai.omitted());
        let tells_chat_context = open_ai.tells_chat_context();
        let parameters = open_ai.parameters.unwrap_or_default();
        check_parameters(&parameters).map_err(|problem| BuildError::InvalidField {
            field: "openAI.parameters".into(),
            problem,
        })?;
        let prompt = spec.system_prompt.clone().filter(|p| !p.is_empty());
        Ok(Self {
            api,
            model: model.to_owned(),
            system_prompt: prompt,
            key_header,
            parameters,
            omit: omit.into_iter().map(RefusedField::Field).collect(),
            stream,
            tells_chat_context,
        })
    }
}

/// What is wrong with `parameters`, if anything is.
fn check_parameters(parameters: &Map<String, Value>) -> Result<(), String> {
    if let Some(problem) = parameters.keys().find_map(|name| parameter_problem(name)) {
        return Err(problem);
    }
    if parameters.len() > MAX_PARAMETERS {
        return Err(format!("at most {MAX_PARAMETERS} fields are sent"));
    }
    let size = serde_json::to_vec(parameters).map_or(0, |bytes| bytes.len());
    if size > MAX_PARAMETERS_BYTES {
        return Err(format!(
            "the fields have {size} bytes as JSON; at most {MAX_PARAMETERS_BYTES} are sent"
        ));
    }
    Ok(())
}
