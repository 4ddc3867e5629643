//! What of an agent's updates people see, and when the answer is over. Pure.
//!
//! Artifacts are a task's result. What an agent says while it works is progress: ADK and kagent repeat it as an artifact at the
//! end, so it is shown only where no artifact came.

use super::json_rpc::{AgentUpdate, Artifact, ConversationState, Ids, Status, TaskState};
use crate::assistant::{AssistantError, FailureKind};

/// One answer as far as it was told.
#[derive(Debug)]
pub(super) struct AnswerBuilder {
    /// What the session already stores.
    stored: ConversationState,
    context: ConversationState,
    task: Option<String>,
    artifacts: Vec<Artifact>,
    last_progress: String,
    shown: bool,
    complete: bool,
}

impl AnswerBuilder {
    pub(super) fn new(stored: ConversationState) -> Self {
        Self {
            context: ConversationState {
                task_id: None,
                ..stored.clone()
            },
            stored,
            task: None,
            artifacts: Vec::new(),
            last_progress: String::new(),
            shown: false,
            complete: false,
        }
    }

    /// Whether the answer is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The task to look after, if the agent made one.
    pub(super) fn task(&self) -> Option<&str> {
        self.task.as_deref()
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

    /// Takes an update; gives the text that it adds to the answer.
    pub(super) fn apply(&mut self, update: AgentUpdate) -> Result<String, AssistantError> {
        match update {
            AgentUpdate::Message(message) => {
                self.set_ids(&message.ids);
                // A message is the whole answer: no task was made.
                self.complete = true;
                Ok(self.with_separator(message.text))
            }
            AgentUpdate::Artifact {
                artifact,
                append,
                ids,
            } => {
                self.set_ids(&ids);
                Ok(self.artifact(artifact, append))
            }
            AgentUpdate::Status(status) => self.status(status, String::new()),
            AgentUpdate::Task(task) => {
                let mut text = String::new();
                for artifact in task.artifacts {
                    text.push_str(&self.artifact(artifact, false));
                }
                text.push_str(&self.status(task.status, task.last_message)?);
                Ok(text)
            }
        }
    }

    fn set_ids(&mut self, ids: &Ids) {
        if ids.context.is_some() {
            self.context.context_id.clone_from(&ids.context);
        }
        if ids.task.is_some() {
            self.task.clone_from(&ids.task);
        }
    }

    /// An artifact's new text. One that comes again whole adds what it has more than before.
    fn artifact(&mut self, artifact: Artifact, append: bool) -> String {
        let Some(known) = self.artifacts.iter_mut().find(|a| a.id == artifact.id) else {
            let text = self.with_separator(artifact.text.clone());
            self.artifacts.push(artifact);
            return text;
        };
        if append {
            known.text.push_str(&artifact.text);
            self.shown |= !artifact.text.is_empty();
            artifact.text
        } else if let Some(more) = artifact.text.strip_prefix(known.text.as_str()) {
            let more = more.to_owned();
            known.text = artifact.text;
            self.shown |= !more.is_empty();
            more
        } else {
            known.text.clone_from(&artifact.text);
            self.with_separator(artifact.text)
        }
    }

    fn status(&mut self, status: Status, last_message: String) -> Result<String, AssistantError> {
        self.set_ids(&status.ids);
        let failed = |what: &str| {
            Err(AssistantError::new(
                FailureKind::TaskFailed,
                format!("the agent's task {what}"),
            ))
        };
        match status.state {
            TaskState::Running => {
                if !status.text.is_empty() {
                    self.last_progress = status.text;
                }
                Ok(String::new())
            }
            TaskState::Completed => {
                self.complete = true;
                let progress = std::mem::take(&mut self.last_progress);
                let text = [status.text, progress, last_message]
                    .into_iter()
                    .find(|t| !t.is_empty());
                Ok(if self.shown {
                    String::new()
                } else {
                    self.with_separator(text.unwrap_or_default())
                })
            }
            TaskState::InputRequired | TaskState::AuthRequired => {
                self.complete = true;
                self.context.task_id.clone_from(&self.task);
                if status.state == TaskState::AuthRequired && status.text.is_empty() {
                    return failed("needs an authentication that cannot be given in a chat");
                }
                let text = [status.text, last_message]
                    .into_iter()
                    .find(|t| !t.is_empty());
                Ok(self.with_separator(text.unwrap_or_default()))
            }
            // A refusal in the agent's words is an answer.
            TaskState::Rejected if !status.text.is_empty() => {
                self.complete = true;
                Ok(self.with_separator(status.text))
            }
            TaskState::Rejected => failed("was rejected by the agent"),
            TaskState::Failed => failed("failed"),
            TaskState::Canceled => failed("was canceled"),
        }
    }

    /// Sets text off from what was shown before.
    fn with_separator(&mut self, text: String) -> String {
        if text.is_empty() {
            return text;
        }
        if std::mem::replace(&mut self.shown, true) {
            format!("\n\n{text}")
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn status(state: &str, text: &str) -> Value {
        let parts = if text.is_empty() {
            json!([])
        } else {
            json!([{"kind": "text", "text": text}])
        };
        json!({"kind": "status-update", "taskId": "t", "contextId": "c", "status": {"state": state, "message": {"role": "agent", "parts": parts}}})
    }

    fn artifact(id: &str, text: &str, append: bool) -> Value {
        json!({"kind": "artifact-update", "taskId": "t", "contextId": "c", "append": append,
            "artifact": {"artifactId": id, "parts": [{"kind": "text", "text": text}]}})
    }

    fn build(updates: &[Value]) -> (Result<String, AssistantError>, AnswerBuilder) {
        let mut answer_builder = AnswerBuilder::new(ConversationState::default());
        let mut text = String::new();
        for update in updates {
            match answer_builder.apply(AgentUpdate::read(update).expect("an update")) {
                Ok(more) => text.push_str(&more),
                Err(e) => return (Err(e), answer_builder),
            }
        }
        (Ok(text), answer_builder)
    }

    #[rstest]
    #[case::message(vec![json!({"kind": "message", "role": "agent", "parts": [{"kind": "text", "text": "Hi Ann"}]})])]
    #[case::chunks(vec![artifact("a", "Hi", false), artifact("a", " Ann", true), status("completed", "")])]
    #[case::growing_whole(vec![artifact("a", "Hi", false), artifact("a", "Hi Ann", false), status("completed", "")])]
    #[case::adk(vec![status("working", "Hi"), status("working", "Hi Ann"), artifact("a", "Hi Ann", false), status("completed", "")])]
    #[case::status_only(vec![status("submitted", ""), status("completed", "Hi Ann")])]
    #[case::notes_only(vec![status("working", "Hi Ann"), status("completed", "")])]
    #[case::artifact_and_word(vec![artifact("a", "Hi Ann", false), status("completed", "Done.")])]
    #[case::snapshot_after_stream(vec![artifact("a", "Hi", false), json!({"kind": "task", "id": "t", "contextId": "c",
        "status": {"state": "completed"}, "artifacts": [{"artifactId": "a", "parts": [{"kind": "text", "text": "Hi Ann"}]}]})])]
    #[case::history(vec![json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "completed"},
        "history": [{"role": "user", "parts": []}, {"role": "agent", "parts": [{"kind": "text", "text": "Hi Ann"}]}]})])]
    #[case::question(vec![status("working", "thinking"), status("input-required", "Hi Ann")])]
    #[case::refusal(vec![status("rejected", "Hi Ann")])]
    fn an_answer_is_told_once(#[case] updates: Vec<Value>) {
        let (text, answer_builder) = build(&updates);
        assert_eq!(text.expect("an answer"), "Hi Ann");
        assert!(answer_builder.is_complete());
    }

    #[test]
    fn several_artifacts_are_set_apart() {
        let (text, _) = build(&[
            artifact("a", "One", false),
            artifact("b", "Two", false),
            status("completed", ""),
        ]);
        assert_eq!(text.expect("an answer"), "One\n\nTwo");
    }

    #[rstest]
    #[case("failed")]
    #[case("canceled")]
    #[case("rejected")]
    #[case("auth-required")]
    fn a_task_that_fails_is_an_error(#[case] state: &str) {
        assert!(
            !build(&[status(state, "")])
                .0
                .expect_err("an error")
                .is_retryable()
        );
    }

    #[test]
    fn session_keeps_its_task_only_while_it_waits_for_input() {
        let context = |task: Option<&str>| ConversationState {
            context_id: Some("c".into()),
            task_id: task.map(str::to_owned),
        };
        let (_, mut waiting) = build(&[status("working", ""), status("input-required", "Which?")]);
        assert_eq!(waiting.changed_context(), Some(context(Some("t"))));

        let mut next = AnswerBuilder::new(context(Some("t")));
        let update = |v: &Value| AgentUpdate::read(v).expect("an update");
        next.apply(update(&status("working", ""))).expect("fine");
        assert_eq!(next.changed_context(), None);
        next.apply(update(&status("completed", "Done")))
            .expect("fine");
        assert_eq!(next.changed_context(), Some(context(None)));
        assert_eq!(next.changed_context(), None);
    }
}
