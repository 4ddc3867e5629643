//! Whether an assistant can be reached and takes its key, without asking it anything: no question, no token, no side effect.
//!
//! | protocol | request |
//! |---|---|
//! | `OpenAI` | `GET {url}/models`, which also says whether the model is there; servers that do not offer it answer 404 |
//! | A2A | the agent card |
//! | Webhook, Pupau | `OPTIONS`; any HTTP answer shows that somebody is there |

use std::time::Duration;

use reqwest::{Method, Request};
use serde::Deserialize;
use url::Url;

use super::a2a::A2a;
use super::build::{RequestHeaders, checked_url, join_path};
use super::configured_headers::KeyHeader;
use super::http_client::AssistantServer;
use super::{AssistantError, AssistantHttpClient, BuildError, Credentials};
use crate::api::connector::{AssistantProtocol, AssistantSpec};

/// What a reachable assistant said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It lists the model of the spec.
    ModelListed,
    /// It lists other models only; these.
    ModelNotListed(Vec<String>),
    /// It answers, but has no list of models.
    NoModelList,
    /// It has an agent card that can be used.
    CardRead,
    /// It answers HTTP, with this status.
    Answered(u16),
}

/// Why it is not known to work. Holds no key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be called as the spec, its Secrets and the address policy have it.
    #[error(transparent)]
    Unusable(#[from] BuildError),
    /// It was called.
    #[error(transparent)]
    Failed(#[from] AssistantError),
}

/// Reaches for the assistant of a connector, for `limit` at most.
///
/// # Errors
/// [`ProbeError`].
pub(crate) async fn probe_assistant(
    spec: &AssistantSpec,
    credentials: Credentials,
    client: &AssistantHttpClient,
    limit: Duration,
) -> Result<ProbeOutcome, ProbeError> {
    let url = checked_url(spec, client)?;
    let headers = RequestHeaders::new(spec, &url, credentials)?;
    let server = AssistantServer::new(client, &url, limit).with_headers(headers.configured);
    match spec.protocol {
        AssistantProtocol::OpenAI => {
            let model = spec.model.as_deref().unwrap_or_default();
            Ok(list_models(&server, &url, headers.key_header, model).await?)
        }
        AssistantProtocol::A2A => {
            let card_chooses_header = spec.api_key_header.is_none();
            let key = headers.key.as_ref().zip(headers.key_header);
            A2a::new(server, &url, key, card_chooses_header)?
                .read_card()
                .await?;
            Ok(ProbeOutcome::CardRead)
        }
        AssistantProtocol::Webhook | AssistantProtocol::Pupau => {
            let request = Request::new(Method::OPTIONS, url);
            let answer = server.send_any_status(request, server.deadline()).await?;
            Ok(ProbeOutcome::Answered(answer.status().as_u16()))
        }
    }
}

/// The answer of `GET /models`, as far as it concerns us.
#[derive(Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

async fn list_models(
    server: &AssistantServer,
    url: &Url,
    key: Option<KeyHeader>,
    model: &str,
) -> Result<ProbeOutcome, AssistantError> {
    let mut request = Request::new(Method::GET, models_url(url));
    if let Some(key) = key {
        request.headers_mut().insert(key.name, key.value);
    }
    let mut answer = server.send_any_status(request, server.deadline()).await?;
    match answer.status().as_u16() {
        404 | 405 | 501 => return Ok(ProbeOutcome::NoModelList),
        200..=299 => {}
        _ => return Err(answer.into_error().await),
    }
    let Ok(list) = answer.json::<ModelList>().await else {
        return Ok(ProbeOutcome::NoModelList);
    };
    // Ollama lists `llama3.2:latest` and takes `llama3.2`.
    let is_wanted = |id: &str| id == model || id.strip_suffix(":latest") == Some(model);
    let models: Vec<String> = list.data.into_iter().map(|model| model.id).collect();
    Ok(if models.iter().any(|id| is_wanted(id)) {
        ProbeOutcome::ModelListed
    } else {
        ProbeOutcome::ModelNotListed(models)
    })
}

/// Beside the place that questions go to, which `url` may name itself.
fn models_url(url: &Url) -> Url {
    let mut root = url.clone();
    let path = root.path().trim_end_matches('/').to_owned();
    for end in ["/chat/completions", "/responses"] {
        if let Some(path) = path.strip_suffix(end) {
            root.set_path(path);
        }
    }
    join_path(&root, &["models"])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::models_url;

    #[rstest]
    #[case("http://a/v1", "http://a/v1/models")]
    #[case("http://a/v1/", "http://a/v1/models")]
    #[case("http://a/v1/chat/completions", "http://a/v1/models")]
    #[case("http://a/responses?api-version=1", "http://a/models?api-version=1")]
    #[case("http://a", "http://a/models")]
    fn models_are_listed_beside_the_completions(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(models_url(&url.parse().expect("a URL")).as_str(), expected);
    }
}
