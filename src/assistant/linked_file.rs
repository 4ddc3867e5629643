//! Fetches a file that an answer names by its URL: from its assistant's own origin, or from a host that the administrator allows
//! (`--allow-file-host`), and from nowhere else, because what an answer says may be anybody's words.
//!
//! No key and no header of the connector goes with the request. A redirect is a URL like any other.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::LOCATION;
use reqwest::{Method, Request};
use tokio::time::Instant;
use url::{Host, Url};

use super::address_policy::AllowedHost;
use super::build::parse_url;
use super::http_client::AssistantServer;
use super::{AddressRefused, AssistantError, AssistantHttpClient, FailureKind};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// A file to fetch.
#[derive(Debug, Clone, Copy)]
pub struct FileLink<'a> {
    /// Its address as the answer has it.
    pub address: &'a str,
    /// The most bytes that it may have.
    pub max_bytes: usize,
    /// When it must be there.
    pub deadline: Instant,
}

/// Why a file is not fetched. Names hosts, never a URL, which may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is not to be fetched there.
    #[error(
        "\"{0}\" is neither the assistant's own origin nor on the administrator's list of hosts for files (--allow-file-host)"
    )]
    NotAllowed(String),
    /// No http(s) URL without user info, or a redirect to none.
    #[error("its address is no http(s) URL without user info")]
    NoUrl,
    /// Its address is refused, whoever allows the host.
    #[error(transparent)]
    AddressRefused(#[from] AddressRefused),
    /// It was sent on and on, or from https to http.
    #[error("it is redirected too often, or from https to http")]
    Redirected,
    /// The server's answer is no success.
    #[error("the server answers {0}")]
    Status(u16),
    /// It has more bytes than are sent, or none.
    #[error("it is empty, or bigger than what is sent")]
    Size,
    /// No whole answer.
    #[error("{0}")]
    NoAnswer(String),
    /// The assistant names files in another way.
    #[error("files of this protocol have no addresses")]
    Unsupported,
}

/// The hosts that files may be fetched from beside the assistants' own, and the way there.
#[derive(Debug)]
pub(super) struct FileHosts {
    hosts: Vec<AllowedHost>,
    client: AssistantHttpClient,
}

impl FileHosts {
    pub(super) fn new(hosts: Vec<AllowedHost>, client: AssistantHttpClient) -> Self {
        Self { hosts, client }
    }

    fn has(&self, url: &Url) -> bool {
        let mut hosts = self.hosts.iter();
        match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                hosts.any(|host| host.matches_name(&name))
            }
            Some(Host::Ipv4(ip)) => hosts.any(|host| host.contains(ip.into())),
            Some(Host::Ipv6(ip)) => hosts.any(|host| host.contains(ip.to_canonical())),
            None => false,
        }
    }
}

impl AssistantServer {
    /// Fetches a file of an answer of this server's assistant.
    pub(super) async fn fetch_file(&self, link: FileLink<'_>) -> Result<Bytes, LinkError> {
        let mut url = parse_url(link.address).map_err(|_| LinkError::NoUrl)?;
        for _ in 0..=MAX_REDIRECTS {
            let client = self.client_of(&url)?;
            client.address_policy.check_url(&url)?;
            match fetch_once(client, &url, link).await? {
                Fetched::File(bytes) => return Ok(bytes),
                Fetched::Redirect(to) => {
                    let next = url.join(&to).map_err(|_| LinkError::NoUrl)?;
                    if url.scheme() == "https" && next.scheme() != "https" {
                        return Err(LinkError::Redirected);
                    }
                    url = parse_url(next.as_str()).map_err(|_| LinkError::NoUrl)?;
                }
            }
        }
        Err(LinkError::Redirected)
    }

    fn client_of(&self, url: &Url) -> Result<&AssistantHttpClient, LinkError> {
        if url.origin() == self.origin {
            return Ok(&self.client);
        }
        let hosts = self.client.file_hosts.as_deref();
        match hosts.filter(|hosts| hosts.has(url)) {
            Some(hosts) => Ok(&hosts.client),
            None => Err(LinkError::NotAllowed(
                url.host_str().unwrap_or_default().to_owned(),
            )),
        }
    }
}

enum Fetched {
    File(Bytes),
    /// Its `Location`.
    Redirect(String),
}

async fn fetch_once(
    client: &AssistantHttpClient,
    url: &Url,
    link: FileLink<'_>,
) -> Result<Fetched, LinkError> {
    let mut client = client.clone();
    client.limits.response_bytes = link.max_bytes;
    let time = link.deadline.saturating_duration_since(Instant::now());
    let server = AssistantServer::new(&client, url, time);
    let request = Request::new(Method::GET, url.clone());
    let mut body = server.send_any_status(request, link.deadline).await?;
    let status = body.status();
    if status.is_redirection() {
        let to = body.header(&LOCATION).ok_or(LinkError::Redirected)?;
        return Ok(Fetched::Redirect(to.to_owned()));
    }
    if !status.is_success() {
        return Err(LinkError::Status(status.as_u16()));
    }
    let bytes = body.read_all().await?;
    if bytes.is_empty() {
        return Err(LinkError::Size);
    }
    Ok(Fetched::File(bytes))
}

impl From<AssistantError> for LinkError {
    fn from(error: AssistantError) -> Self {
        match error.kind {
            FailureKind::TooLarge => Self::Size,
            _ => Self::NoAnswer(error.detail),
        }
    }
}

/// The list, shared by all assistants; `None`: no host beside their own.
pub(super) type SharedFileHosts = Option<Arc<FileHosts>>;
