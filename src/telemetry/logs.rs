//! The log: one line per event, as text for people or as JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::TraceExporter;

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The `--log-level` value cannot be used, or the log is initialized already.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither a level nor a filter.
    #[error(
        "--log-level {value:?}: {reason}; use error, warn, info, debug or trace, or a filter such as info,telegram_connector_operator=debug"
    )]
    InvalidLevel {
        /// The value as given.
        value: String,
        /// The parser's error.
        reason: String,
    },
    /// A second initialization in one process.
    #[error("the log was set up before: {0}")]
    AlreadyInitialized(String),
}

/// Initializes the process's log, on standard error. `level` is a level or a filter in the syntax of `RUST_LOG`.
///
/// # Errors
/// [`LogError`].
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    init_with_traces(format, level, None)
}

/// [`init`], which also exports traces to a collector.
///
/// # Errors
/// [`LogError`].
pub(crate) fn init_with_traces(
    format: LogFormat,
    level: &str,
    traces: Option<&TraceExporter>,
) -> Result<(), LogError> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(format, level, colours, std::io::stderr, traces)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|e| LogError::AlreadyInitialized(e.to_string()))
}

/// The subscriber behind [`init`] with another writer, by which tests capture the log.
///
/// # Errors
/// [`LogError::InvalidLevel`].
pub(crate) fn subscriber<W>(
    format: LogFormat,
    level: &str,
    colours: bool,
    writer: W,
    traces: Option<&TraceExporter>,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level).map_err(|e| LogError::InvalidLevel {
        value: level.to_owned(),
        reason: e.to_string(),
    })?;
    let registry = tracing_subscriber::registry();
    Ok(match traces {
        // Each layer has a filter of its own: traces do not depend on the log level.
        Some(traces) => Box::new(
            registry
                .with(format_layer(format, colours, writer).with_filter(filter))
                .with(traces.layer()),
        ),
        None => Box::new(
            registry
                .with(filter)
                .with(format_layer(format, colours, writer)),
        ),
    })
}

/// The layer that writes the lines.
fn format_layer<S, W>(
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);
    impl Write for CapturedLog {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_carries_the_connector_of_its_span() {
        let captured = CapturedLog::default();
        let writer = captured.clone();
        let subscriber =
            subscriber(LogFormat::Json, "info", false, move || writer.clone(), None).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("poll", namespace = "acme", connector = "support");
            span.in_scope(|| tracing::info!(updates = 2, "polled"));
            tracing::debug!("not at this level");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).expect("exactly one JSON line");
        assert_eq!(line["message"], "polled");
        assert_eq!(line["span"]["connector"], "support");
    }

    #[test]
    fn invalid_level_is_refused_with_examples() {
        let error = subscriber(LogFormat::Text, "loud=very", false, std::io::sink, None)
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(
            text.contains("--log-level") && text.contains("debug"),
            "{text}"
        );
    }
}
