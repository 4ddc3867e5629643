//! What of an agent's updates people see, and when the answer is over. Pure.
//!
//! Artifacts are a task's result. What an agent says while it works is progress: ADK and kagent repeat it as an artifact at the
//! end, so it is shown only where no artifact came. An artifact that comes again whole replaces what it was. Files are handed on when the answer
//! is over: until then pieces of them may follow, and what stands before them may grow.

use super::confirmation;
use super::json_rpc::ConversationState;
use super::parts::{Content, Shown};
use super::update::{AgentUpdate, Artifact, Ids, Notes, Status, TaskState};
use crate::assistant::{
    AnswerPart, ApprovalRequest, AssistantError, Choice, FailureKind, Progress, TokenUsage,
    Truncation,
};

/// One answer as far as it was told.
#[derive(Debug)]
pub(super) struct AnswerBuilder {
    /// What the session already stores.
    stored: ConversationState,
    context: ConversationState,
    /// Somebody is shown what the agent does.
    wants_progress: bool,
    task: Option<String>,
    artifacts: Vec<Artifact>,
    last_progress: Content,
    /// It is not told yet.
    has_news: bool,
    /// What stands behind the artifacts.
    final_content: Content,
    /// The whole text that was handed on.
    given_text: String,
    usage: Option<TokenUsage>,
    truncation: Option<Truncation>,
    choice: Option<Choice>,
    approval: Option<ApprovalRequest>,
    complete: bool,
}

impl AnswerBuilder {
    /// `stored` is what the session has.
    pub(super) fn new(stored: ConversationState) -> Self {
        Self {
            context: ConversationState {
                task_id: None,
                pending: Vec::new(),
                ..stored.clone()
            },
            stored,
            wants_progress: false,
            task: None,
            artifacts: Vec::new(),
            last_progress: Content::default(),
            has_news: false,
            final_content: Content::default(),
            given_text: String::new(),
            usage: None,
            truncation: None,
            choice: None,
            approval: None,
            complete: false,
        }
    }

    /// Tells what the agent says of its work, too, until its answer begins.
    pub(super) fn with_progress(mut self, wants_progress: bool) -> Self {
        self.wants_progress = wants_progress;
        self
    }

    /// Whether the answer is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The task to look after, if the agent made one.
    pub(super) fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// What the answer cost as far as the agent says: the last count that it names.
    pub(super) fn usage(&self) -> Option<TokenUsage> {
        self.usage
    }

    /// Why the model ended the answer before it was whole, if it did.
    pub(super) fn truncation(&self) -> Option<Truncation> {
        self.truncation
    }

    /// The buttons that it offers, once.
    pub(super) fn take_choice(&mut self) -> Option<Choice> {
        self.choice.take()
    }

    /// What it wants to have approved, once.
    pub(super) fn take_approval(&mut self) -> Option<ApprovalRequest> {
        self.approval.take()
    }

    /// What the session should store, if that has changed. A task counts only once the answer is over.
    pub(super) fn changed_context(&mut self) -> Option<ConversationState> {
        let changed = self.context != self.stored
            && (self.complete || self.context.context_id != self.stored.context_id);
        changed.then(|| {
            self.stored = self.context.clone();
            self.stored.clone()
        })
    }

    /// Takes an update; gives the text that it adds to the answer, or the whole text where it changes what was told; the files once it is over.
    pub(super) fn apply(&mut self, update: AgentUpdate) -> Result<Vec<AnswerPart>, AssistantError> {
        match update {
            AgentUpdate::Message(message) => {
                self.set_ids(&message.ids);
                self.note(message.notes);
                // A message is the whole answer: no task was made.
                self.complete = true;
                self.final_content = message.content;
            }
            AgentUpdate::Artifact {
                artifact,
                append,
                is_last,
                ids,
                notes,
            } => {
                self.set_ids(&ids);
                self.note(notes);
                if append && let Some(text) = self.append_to_last(&artifact) {
                    self.given_text.push_str(&text);
                    return Ok(text_part(text));
                }
                self.set_artifact(artifact, append, is_last);
            }
            AgentUpdate::Status(status) => self.set_status(status, &Content::default())?,
            AgentUpdate::Task(task) => {
                for artifact in task.artifacts {
                    self.set_artifact(artifact, false, true);
                }
                self.set_status(task.status, &task.last_message)?;
            }
        }
        let mut parts = self.tell();
        if self.complete {
            parts.extend(self.tell_files());
        } else if parts.is_empty() {
            parts.extend(self.tell_progress());
        }
        Ok(parts)
    }

    /// What the agent says of its work, where that is news and nothing of the answer is there.
    fn tell_progress(&mut self) -> Option<AnswerPart> {
        if !std::mem::take(&mut self.has_news) || !self.wants_progress || self.complete {
            return None;
        }
        let text = self.last_progress.to_markdown();
        let is_shown = self.given_text.is_empty() && !text.trim().is_empty();
        is_shown.then_some(AnswerPart::Progress(Progress::Step(text)))
    }

    fn set_ids(&mut self, ids: &Ids) {
        if ids.context.is_some() {
            self.context.context_id.clone_from(&ids.context);
        }
        if ids.task.is_some() {
            self.task.clone_from(&ids.task);
        }
    }

    fn note(&mut self, notes: Notes) {
        self.usage = notes.usage.or(self.usage);
        self.truncation = notes.truncation.or(self.truncation);
        self.choice = notes.choice.or(self.choice.take());
    }

    /// The way of nearly all pieces of a stream: text behind the text of the last artifact, which costs no more than itself.
    fn append_to_last(&mut self, piece: &Artifact) -> Option<String> {
        let text = piece.content.only_text()?.to_owned();
        let last = self.artifacts.last_mut()?;
        let follows = last.id == piece.id && last.content.ends_in_text() && last.content.has_text();
        if !follows || !self.final_content.is_empty() {
            return None;
        }
        last.content.append(piece.content.clone());
        Some(text)
    }

    fn set_artifact(&mut self, mut artifact: Artifact, append: bool, is_last: bool) {
        if is_last {
            artifact.content.end_file();
        }
        match self.artifacts.iter_mut().find(|a| a.id == artifact.id) {
            Some(known) if append => known.content.append(artifact.content),
            Some(known) => known.content = artifact.content,
            None => self.artifacts.push(artifact),
        }
    }

    fn set_status(&mut self, status: Status, last_message: &Content) -> Result<(), AssistantError> {
        self.set_ids(&status.ids);
        self.note(status.notes.clone());
        let content = &status.content;
        match status.state {
            TaskState::Running => {
                if !content.is_empty() {
                    self.has_news = self.last_progress != status.content;
                    self.last_progress = status.content;
                }
                return Ok(());
            }
            TaskState::Completed => {
                let progress = std::mem::take(&mut self.last_progress);
                if !self.has_result() {
                    self.final_content = first_shown(&[content, &progress, last_message]);
                } else if !self.artifacts.iter().any(|a| a.content.has_text()) {
                    // Files alone: with what the agent says of them.
                    self.final_content = content.clone();
                }
            }
            TaskState::InputRequired | TaskState::AuthRequired => {
                self.context.task_id.clone_from(&self.task);
                self.ask_user(&status, last_message)?;
            }
            // What the agent says of it is an answer.
            TaskState::Rejected | TaskState::Failed | TaskState::Canceled
                if !content.is_empty() =>
            {
                self.final_content = content.clone();
            }
            TaskState::Rejected => return Err(task_failed("was rejected by the agent")),
            TaskState::Failed => return Err(task_failed("failed")),
            TaskState::Canceled => return Err(task_failed("was canceled")),
        }
        self.complete = true;
        Ok(())
    }

    /// The task waits for the user's words, or for a decision.
    fn ask_user(&mut self, status: &Status, last_message: &Content) -> Result<(), AssistantError> {
        let confirmations = &status.confirmations;
        if status.state == TaskState::AuthRequired && status.content.is_empty() {
            return Err(task_failed(
                "needs an authentication that cannot be given in a chat",
            ));
        }
        self.final_content = status.content.clone();
        if !confirmations.is_empty() {
            let pending = confirmations.iter().map(|c| c.pending.clone()).collect();
            let waiting = ConversationState {
                pending,
                ..self.context.clone()
            };
            let token = serde_json::to_string(&waiting).expect("text and numbers are JSON");
            self.approval = confirmation::approval_request(confirmations, token);
            if self.approval.is_none() {
                // Words answer them. A decision is no state: only who is asked may give it.
                self.context.pending = waiting.pending;
                let text = confirmation::to_markdown(confirmations);
                self.final_content.append_paragraph(&text);
            }
        } else if self.final_content.is_empty() {
            self.final_content = last_message.clone();
        }
        Ok(())
    }

    fn has_result(&self) -> bool {
        self.artifacts.iter().any(|a| !a.content.is_empty())
    }

    /// What the answer is made of, and whether data is shown.
    fn contents(&self) -> impl Iterator<Item = (&Content, bool)> {
        let with_data = !self.artifacts.iter().any(|a| a.content.has_text());
        let artifacts = self.artifacts.iter();
        let artifacts = artifacts.map(move |artifact| (&artifact.content, with_data));
        let last = &self.final_content;
        artifacts.chain([(last, !last.has_text())])
    }

    /// The whole text as it stands.
    fn text(&self) -> String {
        let texts = self.contents();
        let mut texts: Vec<_> = texts.map(|(c, data)| c.render(data)).collect();
        texts.retain(|text| !text.is_empty());
        texts.join("\n\n")
    }

    /// What is new of the text.
    fn tell(&mut self) -> Vec<AnswerPart> {
        let text = self.text();
        if text == self.given_text {
            return Vec::new();
        }
        let part = match text.strip_prefix(self.given_text.as_str()) {
            Some(more) => AnswerPart::Text(more.to_owned()),
            None => AnswerPart::Rewrite(text.clone()),
        };
        self.given_text = text;
        vec![part]
    }

    /// The files, if there are any, once nothing changes any more. Where text stands behind one, all is told again.
    pub(super) fn tell_files(&self) -> Vec<AnswerPart> {
        if !self.contents().any(|(content, _)| content.has_files()) {
            return Vec::new();
        }
        let mut parts: Vec<AnswerPart> = Vec::new();
        for (content, with_data) in self.contents() {
            let shown = content.shown(with_data);
            if let (Some(AnswerPart::Text(_)), Some(Shown::Text(_))) = (parts.last(), shown.first())
            {
                parts.push(AnswerPart::Text("\n\n".to_owned()));
            }
            parts.extend(shown.into_iter().map(|part| match part {
                Shown::Text(text) => AnswerPart::Text(text),
                Shown::File(file) => AnswerPart::File(file),
            }));
        }
        let is_file = |part: &AnswerPart| matches!(part, AnswerPart::File(_));
        let is_text_behind = parts
            .iter()
            .skip_while(|part| !is_file(part))
            .any(|part| !is_file(part));
        if is_text_behind {
            parts.insert(0, AnswerPart::Rewrite(String::new()));
        } else {
            parts.retain(is_file);
        }
        parts
    }
}

fn text_part(text: String) -> Vec<AnswerPart> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![AnswerPart::Text(text)]
    }
}

fn first_shown(contents: &[&Content]) -> Content {
    let shown = contents.iter().find(|content| !content.is_empty());
    shown.map(|content| (*content).clone()).unwrap_or_default()
}

fn task_failed(what: &str) -> AssistantError {
    let detail = format!("the agent's task {what}");
    AssistantError::new(FailureKind::TaskFailed, detail)
}

#[cfg(test)]
mod tests;
