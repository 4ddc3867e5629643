//! An assistant that answers as a test says, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use telegram_connector_operator::assistant::{
    AnswerPart, AnswerStream, Assistant, AssistantError, FailureKind, FileLink, LinkError,
    Question, QuestionProgress,
};

/// What comes of one question: parts and the error that ends them, or an error at once.
pub(crate) type Script = Result<Vec<Result<AnswerPart, AssistantError>>, AssistantError>;

type Respond = dyn Fn(&Question) -> Script + Send + Sync;

#[derive(Clone)]
pub(crate) struct ScriptedAssistant {
    respond: Arc<Respond>,
    keeps_history: bool,
    files: Arc<HashMap<&'static str, &'static [u8]>>,
    questions: Arc<Mutex<Vec<Question>>>,
}

impl ScriptedAssistant {
    /// One that is given the history with each question.
    pub(crate) fn new(respond: impl Fn(&Question) -> Script + Send + Sync + 'static) -> Self {
        Self {
            respond: Arc::new(respond),
            keeps_history: false,
            files: Arc::default(),
            questions: Arc::default(),
        }
    }

    /// The same, but it keeps the history itself.
    pub(crate) fn keeping_history(self) -> Self {
        Self {
            keeps_history: true,
            ..self
        }
    }

    /// The same, with files that can be fetched at these addresses.
    pub(crate) fn with_files(self, files: &[(&'static str, &'static [u8])]) -> Self {
        Self {
            files: Arc::new(files.iter().copied().collect()),
            ..self
        }
    }

    pub(crate) fn shared(&self) -> Arc<dyn Assistant> {
        Arc::new(self.clone())
    }

    /// What it was asked since the last call.
    pub(crate) fn take_questions(&self) -> Vec<Question> {
        std::mem::take(&mut *self.questions.lock().unwrap())
    }

    /// With how many exchanges of history it was asked since the last call.
    pub(crate) fn take_exchanges(&self) -> Vec<usize> {
        let asked = self.take_questions();
        asked.iter().map(|q| q.history.len() / 2).collect()
    }
}

impl std::fmt::Debug for ScriptedAssistant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedAssistant").finish_non_exhaustive()
    }
}

#[async_trait]
impl Assistant for ScriptedAssistant {
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let script = (self.respond)(&question);
        self.questions.lock().unwrap().push(question);
        Ok(Box::pin(stream::iter(script?)))
    }

    async fn fetch_file(&self, link: FileLink<'_>) -> Result<Bytes, LinkError> {
        match self.files.get(link.address) {
            Some(file) if file.len() <= link.max_bytes => Ok(Bytes::from_static(file)),
            Some(_) => Err(LinkError::Size),
            None => Err(LinkError::Status(404)),
        }
    }

    fn needs_history(&self) -> bool {
        !self.keeps_history
    }

    fn protocol(&self) -> &'static str {
        "OpenAI"
    }
}

/// A whole answer.
#[allow(clippy::unnecessary_wraps, reason = "one of the scripts")]
pub(crate) fn text(words: impl Into<String>) -> Script {
    Ok(vec![Ok(AnswerPart::Text(words.into()))])
}

/// A failure at once.
pub(crate) fn failure(kind: FailureKind, progress: QuestionProgress) -> AssistantError {
    AssistantError {
        kind,
        progress,
        retry_after: None,
        detail: format!("scripted: {}", kind.label()),
    }
}

/// A refusal.
pub(crate) fn refusal(kind: FailureKind) -> Script {
    Err(failure(kind, QuestionProgress::NotTaken))
}
