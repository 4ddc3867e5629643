//! The webhook from outside in, as Telegram comes: name, port, certificate, and whether it is our server that answers.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::{Client, StatusCode};
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use url::{Host, Url};

use super::certificate::{RecordedCertificate, RecordingVerifier, judge};
use super::context::Context;
use super::finding::Finding;
use super::probe::{root_cause, within};
use super::telegram::from_here;
use crate::cli::{ConnectionModeArg, RunArgs};
use crate::connection::webhook::webhook_url;
use crate::identity::ConnectorUid;

const PUBLIC_URL: &str = "public-url";
const WEBHOOK_SERVER: &str = "webhook-server";
/// Where Telegram delivers to (Bot API, `setWebhook`).
const TELEGRAM_PORTS: [u16; 4] = [443, 80, 88, 8443];
/// Telegram's own Bot API; a self-hosted server takes any port and any address.
const OFFICIAL_HOST: &str = "api.telegram.org";
/// What no public server has (RFC 1918, 6598, 3927, 4193, 4291).
const PRIVATE: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Whether an address is reached in its own network only.
pub(super) fn is_private(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let mut ranges = PRIVATE
        .iter()
        .filter_map(|range| range.parse::<IpNet>().ok());
    address.is_loopback() || ranges.any(|range| range.contains(&address))
}

/// Nothing in polling mode. `connector`: one that is connected, to knock at its door.
pub(super) async fn check(ctx: &Context, connector: Option<&ConnectorUid>) -> Vec<Finding> {
    let Some(flags) = ctx.flags() else {
        return Vec::new();
    };
    let run = &flags.run;
    let (ConnectionModeArg::Webhook, Some(url)) = (run.connection_mode, &run.public_url) else {
        return Vec::new();
    };
    if ctx.offline {
        return vec![Finding::skipped(PUBLIC_URL, url.as_str(), "--offline")];
    }
    let address = check_address(ctx, run, url).await;
    let resolves = !matches!(address.level, super::finding::Level::Failure);
    let mut findings = vec![address];
    if resolves {
        findings.extend(check_server(ctx, run, url, connector).await);
    }
    findings
}

async fn check_address(ctx: &Context, run: &RunArgs, url: &Url) -> Finding {
    let port = url.port_or_known_default().unwrap_or(443);
    let is_official = run.telegram_api_url.host_str() == Some(OFFICIAL_HOST);
    let addresses = match url.host() {
        Some(Host::Ipv4(ip)) => Ok(vec![IpAddr::from(ip)]),
        Some(Host::Ipv6(ip)) => Ok(vec![IpAddr::from(ip)]),
        Some(Host::Domain(name)) => {
            let found = within(ctx.timeout, tokio::net::lookup_host((name, port))).await;
            found.map(|found| found.map(|address| address.ip()).collect())
        }
        None => Err("it has no host".to_owned()),
    };
    judge_address(url, port, is_official, addresses.as_deref())
}

fn judge_address(
    url: &Url,
    port: u16,
    is_official: bool,
    addresses: Result<&[IpAddr], &String>,
) -> Finding {
    let object = url.as_str();
    if is_official && !TELEGRAM_PORTS.contains(&port) {
        let message = format!("Telegram delivers to the ports 443, 80, 88 and 8443, not to {port}");
        return Finding::failure(PUBLIC_URL, object, message)
            .with_fix("use one of these in --public-url (chart: connection.publicUrl)");
    }
    let addresses = match addresses {
        Ok(addresses) if !addresses.is_empty() => addresses,
        found => {
            let why = found.err().map_or("no address", String::as_str);
            return Finding::failure(
                PUBLIC_URL,
                object,
                format!("its name is not resolved: {why}"),
            )
            .with_fix("make a DNS record that leads to the Ingress, or mend --public-url");
        }
    };
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let shown = crate::bounded_text::bounded_list(&shown, ", ");
    if is_official && addresses.iter().all(|address| is_private(*address)) {
        let message = format!("it leads to {shown}, which Telegram cannot reach");
        let finding = match url.host() {
            Some(Host::Domain(_)) => Finding::warning(
                PUBLIC_URL,
                object,
                format!("{message}, unless DNS says something else outside"),
            ),
            _ => Finding::failure(PUBLIC_URL, object, message),
        };
        return finding.with_fix("give it a public address, or use --connection-mode polling");
    }
    Finding::ok(PUBLIC_URL, object, format!("leads to {shown}"))
}

async fn check_server(
    ctx: &Context,
    run: &RunArgs,
    url: &Url,
    connector: Option<&ConnectorUid>,
) -> Vec<Finding> {
    let verifier = match RecordingVerifier::new() {
        Ok(verifier) => Arc::new(verifier),
        Err(why) => return vec![Finding::skipped(WEBHOOK_SERVER, url.as_str(), why)],
    };
    let client = match http_client(ctx, &verifier) {
        Ok(client) => client,
        Err(why) => return vec![Finding::skipped(WEBHOOK_SERVER, url.as_str(), why)],
    };
    // A uid that no connector has: our server tells the two apart, others hardly do.
    let nobody = ConnectorUid::from(uuid::Uuid::new_v4().to_string().as_str());
    let unknown = post(&client, &webhook_url(url, &nobody)).await;
    let known = match connector {
        Some(uid) => Some(post(&client, &webhook_url(url, uid)).await),
        None => None,
    };
    let mut findings = Vec::new();
    if let Some(RecordedCertificate { problem, not_after }) = verifier.recorded() {
        let is_official = run.telegram_api_url.host_str() == Some(OFFICIAL_HOST);
        let uploaded = run.webhook_upload_certificate;
        let now = jiff::Timestamp::now();
        findings.push(judge(url, problem, not_after, (uploaded, is_official), now));
    }
    findings.push(judge_answers(ctx, url, &unknown, known.as_ref()));
    findings
}

fn http_client(ctx: &Context, verifier: &Arc<RecordingVerifier>) -> Result<Client, String> {
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    Client::builder()
        .use_preconfigured_tls(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ctx.timeout)
        .build()
        .map_err(|error| root_cause(&error))
}

/// What Telegram's request is answered without its secret: it has no effect.
async fn post(client: &Client, url: &Url) -> Result<StatusCode, String> {
    let request = client
        .post(url.clone())
        .header("content-type", "application/json")
        .body("{}");
    match request.send().await {
        Ok(answer) => Ok(answer.status()),
        Err(error) => Err(root_cause(&error)),
    }
}

fn judge_answers(
    ctx: &Context,
    url: &Url,
    unknown: &Result<StatusCode, String>,
    known: Option<&Result<StatusCode, String>>,
) -> Finding {
    let object = url.as_str();
    let from = from_here(ctx);
    let failure = |message: String| Finding::failure(WEBHOOK_SERVER, object, message);
    let route = "lead it to the operator's webhook Service, path /telegram/ (docs/webhook.md)";
    let (unknown, known) = match (unknown, known) {
        (Err(why), _) | (_, Some(Err(why))) => {
            return failure(format!("no answer: {why}{from}")).with_fix(route);
        }
        (Ok(unknown), None) => (unknown.as_u16(), None),
        (Ok(unknown), Some(Ok(known))) => (unknown.as_u16(), Some(known.as_u16())),
    };
    match (unknown, known) {
        (404, Some(401)) => Finding::ok(
            WEBHOOK_SERVER,
            object,
            "the operator's server answers, and refuses a request without Telegram's secret",
        ),
        (404, None) => Finding::ok(WEBHOOK_SERVER, object, "a server answers; no connector is there yet to tell whether it is the operator's"),
        (404, Some(404)) => failure(
            "it answers 404 for a connector that exists: another server, a path that leads nowhere, or an operator that does not know the connector".to_owned(),
        )
        .with_fix(route),
        (502..=504, _) => failure(format!("it answers {unknown}: the proxy there finds no operator")).with_fix(route),
        (unknown, known) => {
            let known = known.map_or(String::new(), |status| format!(" and {status}"));
            failure(format!("it answers {unknown}{known}, as the operator's server does not: another server"))
                .with_fix(route)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::public("https://b.example", "93.184.215.14", true, "ok")]
    #[case::split_horizon("https://b.example", "10.0.0.7", true, "WARN")]
    #[case::private("https://10.0.0.7", "10.0.0.7", true, "FAIL")]
    #[case::own_bot_api("https://10.0.0.7", "10.0.0.7", false, "ok")]
    #[case::port("https://b.example:9443", "93.184.215.14", true, "FAIL")]
    #[case::own_bot_api_any_port("https://b.example:9443", "93.184.215.14", false, "ok")]
    fn public_url_must_be_where_telegram_delivers(
        #[case] url: &str,
        #[case] address: &str,
        #[case] is_official: bool,
        #[case] expected: &str,
    ) {
        let url: Url = url.parse().expect("a URL");
        let port = url.port_or_known_default().expect("a port");
        let addresses = [address.parse().expect("an address")];
        let finding = judge_address(&url, port, is_official, Ok(&addresses));
        assert_eq!(finding.level.word(), expected, "{finding:?}");
        let unresolved = judge_address(&url, 443, is_official, Err(&"no such name".to_owned()));
        assert!(unresolved.message.contains("no such name"));
    }
}
