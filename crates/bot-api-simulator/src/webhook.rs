//! `setWebhook`, `deleteWebhook`, `getWebhookInfo`: the same order of checks, and the same side effects, as the Bot API
//! server: a refused new webhook still removes the old one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::delivery::{self, WebhookTarget};
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::params::Params;
use super::telegram_state::{Bot, BotState, TelegramState, unix_now};
use super::update_kinds::AllowedUpdates;

const PORTS: &[u16] = &[443, 80, 88, 8443];
const DEFAULT_CONNECTIONS: i64 = 40;
const MAX_SECRET: usize = 256;
const MAX_CERTIFICATE: usize = 3 << 20;

/// A bot's webhook and its last error.
#[derive(Debug, Default)]
pub(super) struct WebhookState {
    active: Option<Webhook>,
    next_allowed: Option<Instant>,
    /// Unix seconds and description of the last failed delivery.
    pub last_error: Option<(i64, String)>,
}

#[derive(Debug)]
struct Webhook {
    url: String,
    secret_token: String,
    max_connections: i64,
    ip_address: String,
    fix_ip_address: bool,
    certificate: Option<String>,
    stop: CancellationToken,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl WebhookState {
    pub(super) fn is_set(&self) -> bool {
        self.active.is_some()
    }

    /// Removes the webhook, as 410 for 23 hours does.
    pub(super) fn remove(&mut self) {
        self.active = None;
        self.last_error = None;
    }
}

struct SetWebhookRequest {
    url: String,
    secret_token: String,
    max_connections: i64,
    ip_address: String,
    certificate: Option<String>,
}

impl SetWebhookRequest {
    fn is_same_as(&self, active: &Webhook) -> bool {
        active.url == self.url
            && active.certificate.is_none()
            && self.certificate.is_none()
            && active.max_connections == self.max_connections
            && active.fix_ip_address != self.ip_address.is_empty()
            && active.secret_token == self.secret_token
            && (self.ip_address.is_empty() || active.ip_address == self.ip_address)
    }
}

/// `setWebhook`.
pub(super) async fn set(
    telegram: &Arc<TelegramState>,
    bot: &Arc<Bot>,
    params: &Params,
) -> MethodResult {
    if params.get("url").is_empty() {
        return delete(bot, params);
    }
    let options = telegram.options.load();
    let most = if options.local_mode { 100_000 } else { 100 };
    let certificate = params
        .file("certificate")
        .map(|file| String::from_utf8_lossy(&file.bytes).into_owned());
    let request = SetWebhookRequest {
        url: params.get("url").to_owned(),
        secret_token: params.get("secret_token").to_owned(),
        max_connections: params.integer("max_connections", DEFAULT_CONNECTIONS, 1, most),
        ip_address: params.get("ip_address").to_owned(),
        certificate,
    };
    let drop_pending = params.flag("drop_pending_updates");
    {
        let mut state = bot.state.lock();
        let now = Instant::now();
        if state.webhook.next_allowed.is_some_and(|next| now < next) {
            return Err(MethodError::too_many_requests(1));
        }
        state.webhook.next_allowed = Some(now + Duration::from_secs(1));
        let same = state
            .webhook
            .active
            .as_ref()
            .is_some_and(|active| request.is_same_as(active));
        if same && !drop_pending {
            update_allowed(&mut state, params);
            return MethodSuccess::described("Webhook is already set");
        }
        state.poll.end_for_webhook();
        state.webhook.remove();
        if drop_pending {
            state.queue.clear();
        }
    }
    let (url, ip) = check(telegram, &request).await?;
    let mut state = bot.state.lock();
    update_allowed(&mut state, params);
    let stop = CancellationToken::new();
    let target = WebhookTarget {
        url,
        secret_token: request.secret_token.clone(),
        max_connections: usize::try_from(request.max_connections).unwrap_or(1),
        certificate: request.certificate.clone(),
        address: ip,
    };
    let client = target
        .client(&options)
        .map_err(|why| MethodError::bad_request(&format!("bad webhook: {why}")))?;
    tokio::spawn(delivery::run(
        telegram.clone(),
        bot.clone(),
        target,
        client,
        stop.clone(),
    ));
    state.webhook.active = Some(Webhook {
        url: request.url,
        secret_token: request.secret_token,
        max_connections: request.max_connections,
        fix_ip_address: !request.ip_address.is_empty(),
        ip_address: ip.to_string(),
        certificate: request.certificate,
        stop,
    });
    MethodSuccess::described("Webhook was set")
}

async fn check(
    telegram: &TelegramState,
    request: &SetWebhookRequest,
) -> Result<(Url, IpAddr), MethodError> {
    let bad = |why: &str| MethodError::new(400, format!("Bad Request: bad webhook: {why}"));
    let options = telegram.options.load();
    let with_scheme = if request.url.contains("://") {
        request.url.clone()
    } else {
        format!("https://{}", request.url)
    };
    let url = Url::parse(&with_scheme)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .ok_or_else(|| MethodError::bad_request("invalid webhook URL specified"))?;
    if request.secret_token.len() > MAX_SECRET {
        return Err(MethodError::bad_request("secret token is too long"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !request.secret_token.bytes().all(allowed) {
        return Err(MethodError::bad_request(
            "secret token contains unallowed characters",
        ));
    }
    if let Some(certificate) = &request.certificate
        && certificate.len() > MAX_CERTIFICATE
    {
        return Err(MethodError::bad_request(&format!(
            "certificate size is too big ({} bytes)",
            certificate.len()
        )));
    }
    let port = url.port_or_known_default().unwrap_or(443);
    if !options.local_mode {
        if url.scheme() != "https" {
            return Err(bad("An HTTPS URL must be provided for webhook"));
        }
        if !PORTS.contains(&port) {
            return Err(bad(
                "Webhook can be set up only on ports 80, 88, 443 or 8443",
            ));
        }
    }
    let ip = if request.ip_address.is_empty() {
        resolve(&url, port)
            .await
            .ok_or_else(|| bad("Failed to resolve host: Name or service not known"))?
    } else {
        request
            .ip_address
            .parse()
            .map_err(|_| bad("Invalid IP address specified"))?
    };
    if !options.local_mode && options.refuse_reserved_addresses && is_reserved(ip) {
        return Err(bad(&format!("IP address {ip} is reserved")));
    }
    Ok((url, ip))
}

async fn resolve(url: &Url, port: u16) -> Option<IpAddr> {
    let host = url.host_str()?.trim_matches(['[', ']']);
    if let Ok(ip) = host.parse() {
        return Some(ip);
    }
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.ok()?.collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).map(std::net::SocketAddr::ip)
}

fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
        }
        IpAddr::V6(_) => true,
    }
}

fn update_allowed(state: &mut BotState, params: &Params) {
    if let Some(allowed) = AllowedUpdates::parse(params.get("allowed_updates")) {
        state.allowed = allowed;
    }
}

/// `deleteWebhook`, and `setWebhook` with an empty URL.
pub(super) fn delete(bot: &Bot, params: &Params) -> MethodResult {
    let mut state = bot.state.lock();
    let was_set = state.webhook.is_set();
    if params.flag("drop_pending_updates") {
        state.queue.clear();
    }
    state.webhook.remove();
    MethodSuccess::described(if was_set {
        "Webhook was deleted"
    } else {
        "Webhook is already deleted"
    })
}

/// `getWebhookInfo`.
pub(super) fn info(bot: &Bot) -> MethodResult {
    MethodSuccess::json(&describe(bot))
}

/// The `WebhookInfo` object.
pub(super) fn describe(bot: &Bot) -> Value {
    let mut state = bot.state.lock();
    state.queue.expire(unix_now());
    let active = state.webhook.active.as_ref();
    let mut info = json!({
        "url": active.map_or("", |webhook| &webhook.url),
        "has_custom_certificate": active.is_some_and(|webhook| webhook.certificate.is_some()),
        "pending_update_count": state.queue.len(),
    });
    if let Some((date, message)) = &state.webhook.last_error {
        info["last_error_date"] = json!(date);
        info["last_error_message"] = json!(message);
    }
    if let Some(webhook) = active {
        info["max_connections"] = json!(webhook.max_connections);
        info["ip_address"] = json!(webhook.ip_address);
    }
    if let Some(names) = state.allowed.names() {
        info["allowed_updates"] = json!(names);
    }
    info
}
