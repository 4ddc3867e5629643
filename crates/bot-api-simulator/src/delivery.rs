//! Webhook delivery: sequential per chat, concurrent across chats, retries with exponential backoff.
//!
//! Follows `WebhookActor.cpp`: the first retry is immediate, the next ones follow after 2, 4, 8 … up to a random 60-120 seconds;
//! `Retry-After` is honoured up to an hour; 410 for 23 hours removes the webhook; an update expires after 24 hours.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::params::Params;
use super::stats::WebhookDelivery;
use super::telegram_state::{Bot, SimulatorOptions, TelegramState, unix_now};
use super::tls;

const MAX_RETRY_AFTER: u32 = 3_600;
const MAX_RESEND_DELAY: i64 = 60;
const RESPONSE_TIMEOUT_SECONDS: u32 = 60;
/// After this many seconds without a success, a failing webhook gets one request at a time.
const FAILING_SECONDS: u32 = 10;

/// Destination of a bot's updates.
#[derive(Debug, Clone)]
pub(super) struct WebhookTarget {
    pub url: Url,
    pub secret_token: String,
    pub max_connections: usize,
    /// The uploaded certificate as PEM.
    pub certificate: Option<String>,
    pub address: IpAddr,
}

impl WebhookTarget {
    /// The HTTP client for this webhook.
    pub(super) fn client(&self, options: &SimulatorOptions) -> Result<reqwest::Client, String> {
        let second = Duration::from_micros(options.webhook_second_micros);
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(second * RESPONSE_TIMEOUT_SECONDS)
            .pool_max_idle_per_host(self.max_connections);
        if self.url.scheme() == "https" {
            let config = tls::client_config(self.certificate.as_deref())?;
            builder = builder.use_preconfigured_tls(config);
        }
        if let Some(host) = self.url.host_str()
            && host.parse::<IpAddr>().is_err()
        {
            builder = builder.resolve(host, SocketAddr::new(self.address, 0));
        }
        builder.build().map_err(|error| error.to_string())
    }
}

#[derive(Debug, Default)]
struct Attempts {
    delay: i64,
    failed: u32,
}

struct DeliveryOutcome {
    id: i64,
    lane: i64,
    began: jiff::Timestamp,
    result: Result<Option<Params>, DeliveryError>,
}

struct DeliveryError {
    status: u16,
    text: String,
    retry_after: u32,
    gone: bool,
}

struct Delivery {
    telegram: Arc<TelegramState>,
    bot: Arc<Bot>,
    target: WebhookTarget,
    client: reqwest::Client,
    second: Duration,
    cursor: i64,
    lanes: HashMap<i64, VecDeque<i64>>,
    loaded: usize,
    ready: BinaryHeap<Reverse<(Instant, i64, i64)>>,
    attempts: HashMap<i64, Attempts>,
    last_success: Instant,
    last_failed: bool,
    gone_since: Option<Instant>,
}

/// Delivers updates until `stop` is cancelled or the webhook is removed.
///
/// Boxed, because the future type would be recursive: a response may carry a call, and a call may set a webhook.
pub(super) fn run(
    telegram: Arc<TelegramState>,
    bot: Arc<Bot>,
    target: WebhookTarget,
    client: reqwest::Client,
    stop: CancellationToken,
) -> futures::future::BoxFuture<'static, ()> {
    let second = Duration::from_micros(telegram.options.load().webhook_second_micros);
    let mut delivery = Delivery {
        telegram,
        bot,
        target,
        client,
        second,
        cursor: i64::MIN,
        lanes: HashMap::new(),
        loaded: 0,
        ready: BinaryHeap::new(),
        attempts: HashMap::new(),
        last_success: Instant::now(),
        last_failed: false,
        gone_since: None,
    };
    Box::pin(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = delivery.deliver() => {}
        }
    })
}

impl Delivery {
    async fn deliver(&mut self) {
        let bot = self.bot.clone();
        let mut in_flight = FuturesUnordered::new();
        loop {
            self.load();
            while in_flight.len() < self.connections() {
                let Some((id, lane)) = self.due() else { break };
                let Some(json) = self.json_of(id) else {
                    self.finished(id, lane);
                    continue;
                };
                in_flight.push(self.request(id, lane, &json));
            }
            let next_at = self.ready.peek().map(|Reverse((at, _, _))| *at);
            let next_due = async {
                match next_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let full = in_flight.len() >= self.connections();
            tokio::select! {
                Some(outcome) = in_flight.next() => {
                    if self.handle_outcome(outcome).await {
                        return;
                    }
                }
                () = bot.webhook_notify.notified() => {}
                () = next_due, if !full => {}
            }
        }
    }

    fn connections(&self) -> usize {
        if self.last_failed && self.last_success.elapsed() > self.second * FAILING_SECONDS {
            return 1;
        }
        self.target.max_connections
    }

    /// Loads updates from the queue, up to twice the number of connections.
    fn load(&mut self) {
        let mut state = self.bot.state.lock();
        state.queue.expire(unix_now());
        while self.loaded < 2 * self.target.max_connections {
            let Some((id, update)) = state.queue.next_from(self.cursor) else {
                return;
            };
            self.cursor = id + 1;
            self.loaded += 1;
            let lane = self.lanes.entry(update.lane).or_default();
            lane.push_back(id);
            if lane.len() == 1 {
                self.ready.push(Reverse((Instant::now(), id, update.lane)));
            }
        }
    }

    fn due(&mut self) -> Option<(i64, i64)> {
        let Reverse((at, _, _)) = self.ready.peek()?;
        if *at > Instant::now() {
            return None;
        }
        if self.ready.len() > 1 && self.telegram.faults.reorders(self.bot.id) {
            // The fault delivers another chat's update first.
            let first = self.ready.pop()?;
            let second = self.ready.pop()?;
            self.ready.push(first);
            let Reverse((_, id, lane)) = second;
            return Some((id, lane));
        }
        let Reverse((_, id, lane)) = self.ready.pop()?;
        Some((id, lane))
    }

    fn json_of(&self, id: i64) -> Option<Arc<str>> {
        self.bot.state.lock().queue.get(id).map(|u| u.json.clone())
    }

    fn request(
        &self,
        id: i64,
        lane: i64,
        json: &str,
    ) -> impl Future<Output = DeliveryOutcome> + Send + use<> {
        let mut request = self
            .client
            .post(self.target.url.clone())
            .header("content-type", "application/json")
            .body(json.as_bytes().to_vec());
        if !self.target.secret_token.is_empty() {
            request = request.header(
                "X-Telegram-Bot-Api-Secret-Token",
                self.target.secret_token.as_str(),
            );
        }
        let began = jiff::Timestamp::now();
        async move {
            let result = exchange(request).await;
            DeliveryOutcome {
                id,
                lane,
                began,
                result,
            }
        }
    }

    /// Confirms or reschedules the update; true when the webhook was removed.
    async fn handle_outcome(&mut self, outcome: DeliveryOutcome) -> bool {
        self.log(&outcome);
        let DeliveryOutcome {
            id, lane, result, ..
        } = outcome;
        let call = {
            let mut state = self.bot.state.lock();
            state.stats.counters.deliveries += 1;
            match result {
                Ok(call) => {
                    self.last_failed = false;
                    self.last_success = Instant::now();
                    self.gone_since = None;
                    if self.telegram.faults.redelivers(self.bot.id, lane) {
                        state.stats.counters.redelivered += 1;
                        drop(state);
                        self.ready.push(Reverse((Instant::now(), id, lane)));
                        return false;
                    }
                    state.queue.remove(id);
                    call
                }
                Err(fail) => {
                    state.stats.counters.failed_deliveries += 1;
                    state.webhook.last_error = Some((unix_now(), fail.text.clone()));
                    drop(state);
                    return self.failed(id, lane, &fail);
                }
            }
        };
        self.finished(id, lane);
        if let Some(call) = call {
            let method = call.get("method").to_ascii_lowercase();
            let _ = super::methods::call(&self.telegram, &self.bot, &method, &call).await;
        }
        false
    }

    fn log(&self, outcome: &DeliveryOutcome) {
        let (status, retry_after, error) = match &outcome.result {
            Ok(_) => (200, 0, String::new()),
            Err(fail) => (fail.status, fail.retry_after, fail.text.clone()),
        };
        let delivered = WebhookDelivery {
            update_id: outcome.id,
            chat: outcome.lane,
            status,
            retry_after,
            error,
            began: outcome.began,
            ended: jiff::Timestamp::now(),
        };
        let keep = self.telegram.options.load().keep_calls;
        self.bot.state.lock().stats.record_delivery(delivered, keep);
    }

    fn failed(&mut self, id: i64, lane: i64, fail: &DeliveryError) -> bool {
        self.last_failed = true;
        let now = Instant::now();
        if fail.gone {
            let since = *self.gone_since.get_or_insert(now);
            let most = self.second * self.telegram.options.load().webhook_gone_seconds;
            if now.duration_since(since) > most {
                self.bot.state.lock().webhook.remove();
                return true;
            }
        } else {
            self.gone_since = None;
        }
        let attempts = self.attempts.entry(id).or_insert(Attempts {
            delay: 1,
            failed: 0,
        });
        let retry_after = fail.retry_after.min(MAX_RETRY_AFTER);
        let mut wait = retry_after;
        if retry_after == 0 && attempts.failed > 0 {
            let most = self
                .telegram
                .faults
                .between(MAX_RESEND_DELAY, 2 * MAX_RESEND_DELAY);
            attempts.delay = most.min(attempts.delay * 2);
            wait = u32::try_from(attempts.delay).unwrap_or(1);
        }
        attempts.failed += 1;
        let outlived = self
            .bot
            .state
            .lock()
            .queue
            .get(id)
            .is_none_or(|update| unix_now() + i64::from(wait) > update.expires);
        if outlived {
            self.bot.state.lock().queue.remove(id);
            self.finished(id, lane);
        } else {
            self.ready
                .push(Reverse((now + self.second * wait, id, lane)));
        }
        false
    }

    /// Ends an update; the next one of its chat becomes due.
    fn finished(&mut self, id: i64, lane: i64) {
        self.attempts.remove(&id);
        self.loaded = self.loaded.saturating_sub(1);
        let Some(queue) = self.lanes.get_mut(&lane) else {
            return;
        };
        queue.pop_front();
        match queue.front() {
            Some(next) => self.ready.push(Reverse((Instant::now(), *next, lane))),
            None => {
                self.lanes.remove(&lane);
            }
        }
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Option<Params>, DeliveryError> {
    let failed = |text: String| DeliveryError {
        status: 0,
        text,
        retry_after: 0,
        gone: false,
    };
    let response = request
        .send()
        .await
        .map_err(|error| failed(describe(&error)))?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .unwrap_or(0);
    let content_type = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = response.bytes().await;
    if !status.is_success() {
        let reason = status.canonical_reason().unwrap_or_default();
        return Err(DeliveryError {
            status: status.as_u16(),
            text: format!(
                "Wrong response from the webhook: {} {reason}",
                status.as_u16()
            ),
            retry_after,
            gone: status.as_u16() == 410,
        });
    }
    let body = body.map_err(|error| failed(describe(&error)))?;
    let call = Params::read(None, &content_type, &body).ok();
    Ok(call.filter(|call| {
        let method = call.get("method").to_ascii_lowercase();
        let never = ["deletewebhook", "setwebhook", "close", "logout"];
        !method.is_empty() && !never.contains(&method.as_str()) && !method.starts_with("get")
    }))
}

fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "Read timeout expired".to_owned();
    }
    if !error.is_connect() {
        return "Webhook connection closed".to_owned();
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    let mut text = String::new();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    if text.contains("certificate") {
        return "SSL error {error:0A000086:SSL routines::certificate verify failed}".to_owned();
    }
    if text.contains("refused") {
        return "Connection refused".to_owned();
    }
    text
}
