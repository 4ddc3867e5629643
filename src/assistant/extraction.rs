//! Extracts the words of documents: the HTTP interface of Apache Tika (`PUT {url}/tika` with `Accept: text/plain`). Under the same guard and limits as
//! assistants.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use super::build::{join_path, parse_url, secret_header_value, trim_key};
use super::http_client::AssistantServer;
use super::service_retry::retry_within;
use super::{AssistantError, AssistantHttpClient, BuildError};
use crate::api::connector::ExtractSpec;

/// What is read of a document at most, in characters: some 15,000 words.
const MAX_CHARS: usize = 64_000;
/// More bytes than so many characters can have.
const MAX_BYTES: usize = MAX_CHARS * 4;

/// The words of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtractedText {
    /// The words; empty where there are none, as in a scan.
    pub text: String,
    /// There are more.
    pub is_cut: bool,
}

/// A server that extracts text.
pub struct Extractor {
    server: AssistantServer,
    url: Url,
    key: Option<HeaderValue>,
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Extractor").field(&self.server).finish()
    }
}

/// Builds the extractor of a connector. Sends nothing.
///
/// # Errors
/// A sentence that says what to change in the connector; no key in it.
pub fn build_extractor(
    spec: &ExtractSpec,
    api_key: Option<SecretString>,
    client: &AssistantHttpClient,
) -> Result<Arc<Extractor>, String> {
    let wrong = |e: BuildError| {
        match e {
        BuildError::InvalidUrl(why) => {
            format!("spec.files.extract.url is not an http(s) URL without user info: {why}")
        }
        BuildError::InvalidKey => "the API key holds characters that no HTTP header can carry; check the Secret of spec.files.extract.apiKeySecretRef".to_owned(),
        other => format!("spec.files.extract: {other}"),
    }
    };
    let root = parse_url(&spec.url).map_err(wrong)?;
    client
        .address_policy
        .check_url(&root)
        .map_err(|e| format!("spec.files.extract.url: {e}"))?;
    let key = api_key
        .map(|key| secret_header_value("Bearer ", &trim_key(key)))
        .transpose()
        .map_err(wrong)?;
    let is_complete = root.path().trim_end_matches('/').ends_with("/tika");
    Ok(Arc::new(Extractor {
        server: AssistantServer::new(client, &root, spec.timeout()),
        url: if is_complete {
            root
        } else {
            join_path(&root, &["tika"])
        },
        key,
    }))
}

impl Extractor {
    /// The words of a document; `None` where the server cannot read it: it is encrypted, broken, a bomb, or of a kind that it does not know.
    ///
    /// # Errors
    /// [`AssistantError`], after what may pass was tried again within the time limit.
    pub async fn extract(&self, document: &Bytes) -> Result<Option<ExtractedText>, AssistantError> {
        let deadline = self.server.deadline();
        retry_within(deadline, || self.attempt(document, deadline)).await
    }

    async fn attempt(
        &self,
        document: &Bytes,
        deadline: Instant,
    ) -> Result<Option<ExtractedText>, AssistantError> {
        let mut request = Request::new(Method::PUT, self.url.clone());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain"));
        // What the document is, its bytes say; a type that somebody's app has named would be believed.
        let unknown = HeaderValue::from_static("application/octet-stream");
        headers.insert(CONTENT_TYPE, unknown);
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        // The connector bounds documents itself; the limit on requests is for those that are built.
        let content = Full::new(document.clone());
        *request.body_mut() = Some(reqwest::Body::wrap(content));
        let mut body = self.server.send_any_status(request, deadline).await?;
        match body.status() {
            StatusCode::NO_CONTENT
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => return Ok(None),
            status if !status.is_success() => return Err(body.into_error().await),
            _ => {}
        }
        if !body.content_type().starts_with("text/plain") {
            return Err(body.unexpected_content());
        }
        let mut bytes = Vec::new();
        let mut is_cut = false;
        while let Some(piece) = body.chunk().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_BYTES {
                // The rest is not waited for, however much a bomb makes of it.
                is_cut = true;
                break;
            }
        }
        Ok(Some(tidy(&String::from_utf8_lossy(&bytes), is_cut)))
    }
}

/// Without the empty lines and the marks of pages that documents are full of.
fn tidy(extracted: &str, is_cut: bool) -> ExtractedText {
    let mut text = String::new();
    let mut empty_lines = 0;
    let mut chars = 0;
    for line in extracted.lines() {
        let line: String = line
            .chars()
            .filter(|c| *c == '\t' || !c.is_control())
            .collect();
        let line = line.trim_end();
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str(if empty_lines > 0 { "\n\n" } else { "\n" });
        }
        empty_lines = 0;
        chars += line.chars().count() + 2;
        if chars > MAX_CHARS {
            let over = chars - MAX_CHARS;
            let kept = line.chars().count().saturating_sub(over);
            text.extend(line.chars().take(kept));
            return ExtractedText { text, is_cut: true };
        }
        text.push_str(line);
    }
    ExtractedText { text, is_cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_words_leave_no_empty_lines() {
        let extracted = "\n\n\nInvoice 7 \r\n \n\n\n\u{c}Total:\t12 €\nThanks\u{0}\n\n";
        let tidied = tidy(extracted, false);
        assert_eq!(tidied.text, "Invoice 7\n\nTotal:\t12 €\nThanks");
        assert!(!tidied.is_cut);
        assert_eq!(tidy("\n \n", false).text, "");
    }

    #[test]
    fn long_document_is_cut_between_characters() {
        let extracted = format!("a{}", "é".repeat(MAX_CHARS));
        let tidied = tidy(&extracted, false);
        assert!(tidied.is_cut);
        assert!(tidied.text.chars().count() <= MAX_CHARS);
        assert!(tidied.text.ends_with('é'));
        assert!(tidy("short", true).is_cut, "the server said more");
    }
}
