//! Traces: the way of one message, as OTLP spans to a collector (`--otlp-endpoint`). Without that flag no such span is created.
//!
//! A trace is one message: the span `message` (namespace, connector, bot id, update id) with the exchange with the assistant and each Bot API
//! call below it. Spans hold what logs hold: never a text, a name or a token. They are exported in batches in the background; while the
//! collector is unreachable, spans are lost, not messages.
//! that is away costs spans, not messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tokio::runtime::Handle;
use tracing::{Level, Metadata};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// The OTLP/HTTP path for traces below `--otlp-endpoint`.
const TRACES_PATH: &str = "v1/traces";
/// Timeout of exporting one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last batch.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// The `--otlp-endpoint` value cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "--otlp-endpoint {endpoint}: {reason}; give the collector's OTLP/HTTP address, such as http://otel-collector.monitoring:4318"
)]
pub struct TraceExporterError {
    endpoint: String,
    reason: String,
}

/// Exports spans to a collector.
#[derive(Debug, Clone)]
pub struct TraceExporter {
    provider: SdkTracerProvider,
}

impl TraceExporter {
    /// Exports spans as OTLP over HTTP (protobuf) to `<endpoint>/v1/traces`. `instance` names this process among the replicas. Headers, such as
    /// those for authentication, and the sampler come from the standard variables `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_TRACES_SAMPLER`.
    /// Must be called within the runtime that exports.
    ///
    /// # Errors
    /// [`TraceExporterError`].
    pub fn new(endpoint: &Url, instance: &str) -> Result<Self, TraceExporterError> {
        let fail = |reason: String| TraceExporterError {
            endpoint: endpoint.to_string(),
            reason,
        };
        if !matches!(endpoint.scheme(), "http" | "https") {
            return Err(fail("it is neither http nor https".into()));
        }
        let mut url = endpoint.clone();
        if !url.path().ends_with(TRACES_PATH) {
            let path = format!("{}/{TRACES_PATH}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        let http = reqwest::Client::builder()
            .timeout(EXPORT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| fail(e.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(SpanHttpClient {
                http,
                runtime: Handle::current(),
                failing: AtomicBool::new(false),
            })
            .with_endpoint(url)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|e| fail(e.to_string()))?;
        let resource = Resource::builder()
            .with_service_name(env!("CARGO_PKG_NAME"))
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// The layer that exports our spans. Log lines at `info` and above become their events.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer: OpenTelemetryLayer<S, Tracer> = tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        layer.with_filter(FilterFn::new(is_ours))
    }

    /// Exports the remaining spans, for a few seconds at most.
    pub async fn shutdown(self) {
        let last = tokio::task::spawn_blocking(move || {
            self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        });
        if let Ok(Err(error)) = last.await {
            tracing::warn!(%error, "failed to export the last spans; they are lost");
        }
    }
}

/// Accepts spans and events of this crate only: those of libraries could hold URLs, and Bot API URLs hold tokens.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let most = if metadata.is_span() {
        Level::DEBUG
    } else {
        Level::INFO
    };
    metadata.target().starts_with(env!("CARGO_CRATE_NAME")) && *metadata.level() <= most
}

/// Runs the exporter's requests in our runtime, since the exporter's thread has none.
#[derive(Debug)]
struct SpanHttpClient {
    http: reqwest::Client,
    runtime: Handle,
    failing: AtomicBool,
}

impl SpanHttpClient {
    /// Logs one line when exporting begins to fail, and one when it works again.
    fn log_transition(&self, failure: Option<&str>) {
        match (
            self.failing.swap(failure.is_some(), Ordering::Relaxed),
            failure,
        ) {
            (false, Some(error)) => {
                tracing::warn!(
                    error,
                    "failed to export spans; they are dropped until the collector accepts them"
                );
            }
            (true, None) => tracing::info!("exporting spans works again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for SpanHttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let answer = http.execute(request.try_into()?).await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let sent = sent.await.map_err(HttpError::from).and_then(|sent| {
            // The URL is the administrator's and may hold credentials.
            sent.map_err(|e| HttpError::from(e.without_url()))
        });
        match &sent {
            Ok((status, _)) if status.is_success() => self.log_transition(None),
            Ok((status, _)) => {
                self.log_transition(Some(&format!("the collector answers {status}")));
            }
            Err(error) => self.log_transition(Some(&error.to_string())),
        }
        let (status, body) = sent?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn invalid_endpoint_is_refused_with_an_example() {
        let error =
            TraceExporter::new(&"grpc://collector:4317".parse().unwrap(), "test").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("--otlp-endpoint grpc://collector:4317") && text.contains(":4318"),
            "{text}"
        );
    }
}
