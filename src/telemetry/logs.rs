//! The log: one line per happening, as text for people or as JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// `json` in a container, else `text`. A pod is known by the variable that the kubelet sets in every container.
    pub fn detect() -> Self {
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// The `--log-level` value cannot be used, or the log was set up before.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a level and not a filter.
    #[error(
        "--log-level {value:?}: {reason}; use error, warn, info, debug or trace, or a filter such as info,telegram_connector_operator=debug"
    )]
    Level {
        /// As given.
        value: String,
        /// Why it is none.
        reason: String,
    },
    /// Called twice in one process.
    #[error("the log was set up before: {0}")]
    Twice(String),
}

/// Sends the process's log to standard error. `level` is a level or a filter in `RUST_LOG`'s language.
///
/// # Errors
/// [`LogError`].
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(format, level, colours, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|e| LogError::Twice(e.to_string()))
}

/// The subscriber behind [`init`], writing wherever it is told: tests read a whole run's log with it.
///
/// # Errors
/// [`LogError::Level`].
pub fn subscriber<W>(
    format: LogFormat,
    level: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level).map_err(|e| LogError::Level {
        value: level.to_owned(),
        reason: e.to_string(),
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours);
    Ok(match format {
        LogFormat::Text => Box::new(lines.finish()),
        LogFormat::Json => Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);
    impl Write for Captured {
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
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber =
            subscriber(LogFormat::Json, "info", false, move || writer.clone()).unwrap();
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
    fn a_bad_level_is_named_with_what_to_write_instead() {
        let error = subscriber(LogFormat::Text, "loud=very", false, std::io::sink)
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(
            text.contains("--log-level") && text.contains("debug"),
            "{text}"
        );
    }
}
