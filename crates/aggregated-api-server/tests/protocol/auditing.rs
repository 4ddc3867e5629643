//! The audit lines: who did what to which object, and never what is in it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use crate::fixture::Fixture;

/// The lines of the log.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl LogBuffer {
    /// Takes the log of this thread until the guard is dropped.
    fn collect(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// What was written since the last look.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).expect("text")
    }
}

#[tokio::test]
async fn what_changes_or_reads_words_leaves_an_audit_line() {
    let lines = LogBuffer::default();
    let _guard = lines.collect();
    let fixture = Fixture::new();
    fixture.notes.add("acme", "n", "ann");

    fixture.get("notes").await;
    fixture.get("namespaces/acme/notes/n").await;
    assert_eq!(lines.take(), "", "a plain read leaves none");

    let note = json!({"metadata": {"name": "m"}, "spec": {"text": "a secret"}});
    fixture.post("namespaces/acme/notes", &note).await;
    fixture.get("namespaces/acme/notes/n/words").await;
    fixture
        .post("namespaces/acme/notes/n/stamp", &json!({"ink": "a secret"}))
        .await;
    let options = r#"{"dryRun":["All"]}"#;
    fixture
        .call("admin", "DELETE", "namespaces/acme/notes/n", &[], options)
        .await;
    fixture.delete("namespaces/acme/notes/n").await;
    fixture.delete("namespaces/acme/notes").await;
    fixture
        .call("nobody", "GET", "namespaces/acme/notes", &[], "")
        .await;
    let text = lines.take();
    assert!(
        !text.contains("secret") && !text.contains("hello"),
        "{text}"
    );
    let lines_written: Vec<&str> = text.lines().collect();
    let expected = [
        [
            "verb=\"create\"",
            "subresource=\"\"",
            "dry_run=false",
            "code=201",
        ],
        [
            "verb=\"get\"",
            "subresource=\"words\"",
            "name=\"n\"",
            "code=200",
        ],
        [
            "verb=\"create\"",
            "subresource=\"stamp\"",
            "name=\"n\"",
            "code=201",
        ],
        ["verb=\"delete\"", "name=\"n\"", "dry_run=true", "code=200"],
        ["verb=\"delete\"", "name=\"n\"", "dry_run=false", "code=200"],
        [
            "verb=\"deletecollection\"",
            "namespace=\"acme\"",
            "dry_run=false",
            "code=200",
        ],
        [
            "user=\"nobody\"",
            "verb=\"list\"",
            "namespace=\"acme\"",
            "code=403",
        ],
    ];
    assert_eq!(lines_written.len(), expected.len(), "{text}");
    for (line, parts) in lines_written.iter().zip(expected) {
        assert!(line.contains("audit"), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_leaves_its_audit_line() {
    let lines = LogBuffer::default();
    let _guard = lines.collect();
    let fixture = Fixture::new();
    fixture.notes.hangs.store(true, Ordering::Relaxed);
    let deleting = fixture.delete("namespaces/acme/notes/n");
    let waited = tokio::time::timeout(Duration::from_millis(10), deleting).await;
    assert!(waited.is_err(), "it hangs");
    let text = lines.take();
    assert!(
        text.contains("verb=\"delete\"") && text.contains("code=499"),
        "{text}"
    );
}
