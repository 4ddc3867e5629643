//! Logs and traces, of every command that stays.

use clap::Args;
use url::Url;

use crate::telemetry::TraceExporter;
use crate::telemetry::logs::LogFormat;
use crate::telemetry::traces::TraceExporterError;

/// How logs look, how much of them, and where traces go.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look [default: json in a container, else text]
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// error, warn, info, debug, trace, or a tracing filter such as `info,telegram_connector_operator::connection=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Send traces to a collector: its OTLP/HTTP address, such as `http://otel-collector.monitoring:4318`
    #[arg(long, env = "OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Url>,
}

impl LogArgs {
    /// The exporter to the collector of `--otlp-endpoint`. `instance` names this process.
    ///
    /// # Errors
    /// [`TraceExporterError`].
    pub fn trace_exporter(
        &self,
        instance: &str,
    ) -> Result<Option<TraceExporter>, TraceExporterError> {
        self.otlp_endpoint
            .as_ref()
            .map(|endpoint| TraceExporter::new(endpoint, instance))
            .transpose()
    }

    /// The format in effect: as asked, else JSON in a Kubernetes Pod and text anywhere else.
    pub fn format(&self) -> LogFormat {
        self.log_format
            .unwrap_or(if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
                LogFormat::Json
            } else {
                LogFormat::Text
            })
    }
}
