//! What of an agent's updates people see, and when the answer is over. Pure.
//!
//! Artifacts are a task's result. What an agent says while it works is progress: ADK and kagent repeat it as an artifact at the
//! end, so it is shown only where no artifact came. An artifact that comes again whole replaces what it was.

use super::confirmation;
use super::json_rpc::ConversationState;
use super::parts::Content;
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
    final_text: String,
    /// The whole text that was handed on.
    told: String,
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
            final_text: String::new(),
            told: String::new(),
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

    /// Takes an update; gives the text that it adds to the answer, or the whole text where it changes what was told.
    pub(super) fn apply(
        &mut self,
        update: AgentUpdate,
    ) -> Result<Option<AnswerPart>, AssistantError> {
        match update {
            AgentUpdate::Message(message) => {
                self.set_ids(&message.ids);
                self.note(message.notes);
                // A message is the whole answer: no task was made.
                self.complete = true;
                self.final_text = message.content.to_markdown();
            }
            AgentUpdate::Artifact {
                artifact,
                append,
                ids,
                notes,
            } => {
                self.set_ids(&ids);
                self.note(notes);
                if append && let Some(text) = self.append_to_last(&artifact) {
                    self.told.push_str(&text);
                    return Ok((!text.is_empty()).then_some(AnswerPart::Text(text)));
                }
                self.set_artifact(artifact, append);
            }
            AgentUpdate::Status(status) => self.set_status(status, &Content::default())?,
            AgentUpdate::Task(task) => {
                for artifact in task.artifacts {
                    self.set_artifact(artifact, false);
                }
                self.set_status(task.status, &task.last_message)?;
            }
        }
        let told = self.tell();
        Ok(told.or_else(|| self.tell_progress()))
    }

    /// What the agent says of its work, where that is news and nothing of the answer is there.
    fn tell_progress(&mut self) -> Option<AnswerPart> {
        if !std::mem::take(&mut self.has_news) || !self.wants_progress || self.complete {
            return None;
        }
        let text = self.last_progress.to_markdown();
        let is_shown = self.told.is_empty() && !text.trim().is_empty();
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
        if !follows || !self.final_text.is_empty() {
            return None;
        }
        last.content.append(piece.content.clone());
        Some(text)
    }

    fn set_artifact(&mut self, artifact: Artifact, append: bool) {
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
                    self.final_text = first_shown(&[content, &progress, last_message]);
                } else if !self.artifacts.iter().any(|a| a.content.has_text()) {
                    // Files alone: with what the agent says of them.
                    self.final_text = first_shown(&[content]);
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
                self.final_text = content.to_markdown();
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
        let mut texts = vec![first_shown(&[&status.content])];
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
                texts.push(confirmation::to_markdown(confirmations));
            }
        } else if texts[0].is_empty() {
            texts[0] = first_shown(&[last_message]);
        }
        texts.retain(|text| !text.is_empty());
        self.final_text = texts.join("\n\n");
        Ok(())
    }

    fn has_result(&self) -> bool {
        self.artifacts.iter().any(|a| !a.content.is_empty())
    }

    /// The whole text as it stands.
    fn text(&self) -> String {
        let with_data = !self.artifacts.iter().any(|a| a.content.has_text());
        let artifacts = self.artifacts.iter();
        let mut texts: Vec<String> = artifacts.map(|a| a.content.render(with_data)).collect();
        texts.push(self.final_text.clone());
        texts.retain(|text| !text.is_empty());
        texts.join("\n\n")
    }

    /// What is new of the text.
    fn tell(&mut self) -> Option<AnswerPart> {
        let text = self.text();
        if text == self.told {
            return None;
        }
        let part = match text.strip_prefix(self.told.as_str()) {
            Some(more) => AnswerPart::Text(more.to_owned()),
            None => AnswerPart::Rewrite(text.clone()),
        };
        self.told = text;
        Some(part)
    }
}

fn first_shown(contents: &[&Content]) -> String {
    let shown = contents.iter().find(|content| !content.is_empty());
    shown
        .map(|content| content.to_markdown())
        .unwrap_or_default()
}

fn task_failed(what: &str) -> AssistantError {
    let detail = format!("the agent's task {what}");
    AssistantError::new(FailureKind::TaskFailed, detail)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::assistant::lenient_json::Json;

    fn read(update: &Value) -> AgentUpdate {
        let text = update.to_string();
        AgentUpdate::read(Json::split(text.as_bytes()).expect("JSON").0).expect("an update")
    }

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
            match answer_builder.apply(read(update)) {
                Ok(Some(AnswerPart::Text(more))) => text.push_str(&more),
                Ok(Some(AnswerPart::Rewrite(whole))) => text = whole,
                Ok(other) => assert_eq!(other, None),
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
    #[case::failure_in_words(vec![status("failed", "Hi Ann")])]
    #[case::cancellation_in_words(vec![status("canceled", "Hi Ann")])]
    #[case::written_anew(vec![artifact("a", "A draft", false), artifact("a", "Hi Ann", false), status("completed", "")])]
    #[case::written_anew_and_longer(vec![artifact("a", "A draft", false), artifact("a", "Hi", false), artifact("a", " Ann", true), status("completed", "")])]
    #[case::drafts_of_two(vec![artifact("a", "Hi", false), artifact("b", "x", false), artifact("b", "", false), artifact("a", " Ann", true), status("completed", "")])]
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

    #[test]
    fn users_own_words_are_no_progress() {
        let submitted = json!({"kind": "status-update", "taskId": "t", "status": {"state": "submitted",
            "message": {"role": "user", "parts": [{"kind": "text", "text": "my question"}]}}});
        let (text, _) = build(&[submitted, status("completed", "")]);
        assert_eq!(text.expect("an answer"), "");
    }

    fn artifact_of(parts: Value) -> Value {
        json!({"kind": "artifact-update", "taskId": "t", "artifact": {"artifactId": "f", "parts": parts}})
    }

    #[rstest]
    #[case::file_and_note(json!([{"kind": "file", "file": {"name": "cat.png", "bytes": "AQI="}}]), "", "(file: cat.png)")]
    #[case::file_and_words(json!([{"kind": "file", "file": {"uri": "gs://b/cat.png"}}]), "Here is your cat.", "(file: cat.png)\n\nHere is your cat.")]
    #[case::data(json!([{"kind": "data", "data": {"total": 7}}]), "", "```json\n{\n  \"total\": 7\n}\n```")]
    fn progress_is_no_answer_where_there_is_a_result(
        #[case] parts: Value,
        #[case] last: &str,
        #[case] shown: &str,
    ) {
        let updates = [
            status("working", "Looking for cats"),
            artifact_of(parts),
            status("completed", last),
        ];
        assert_eq!(build(&updates).0.expect("an answer"), shown);
    }

    #[test]
    fn data_gives_way_to_text_that_comes_later() {
        let updates = [
            artifact_of(json!([{"kind": "data", "data": {"total": 7}}])),
            artifact("a", "Seven.", false),
            status("completed", ""),
        ];
        assert_eq!(build(&updates).0.expect("an answer"), "Seven.");
    }

    fn approval() -> Value {
        json!({"kind": "status-update", "taskId": "t", "contextId": "c", "status": {"state": "input-required", "message": {"parts": [
            {"kind": "data", "metadata": {"kagent_type": "function_call", "kagent_is_long_running": true}, "data": {"id": "adk-1", "name": "adk_request_confirmation",
                "args": {"originalFunctionCall": {"id": "f", "name": "delete_pod", "args": {"name": "web-1"}}, "toolConfirmation": {"hint": "Really?", "confirmed": false}}}}]}}})
    }

    #[test]
    fn approval_is_asked_with_its_task_and_is_no_state() {
        let (text, mut builder) = build(&[status("working", "thinking"), approval()]);
        assert_eq!(text.expect("an answer"), "");
        let request = builder.take_approval().expect("a request");
        assert_eq!(request.details, "name: \"web-1\"\n\nReally?");
        let token = request.token.expect("a token");
        let waiting: ConversationState = serde_json::from_str(&token).expect("a state");
        assert_eq!(
            (waiting.task_id.as_deref(), waiting.pending.len()),
            (Some("t"), 1)
        );
        let context = builder.changed_context().expect("a change");
        assert_eq!(context.pending, []);
    }

    #[test]
    fn pieces_cost_no_more_than_themselves() {
        let mut builder = AnswerBuilder::new(ConversationState::default());
        let piece = "and so on ".repeat(10);
        builder
            .apply(read(&artifact("a", "Once ", false)))
            .expect("fine");
        let allocated = |builder: &mut AnswerBuilder, pieces: u32| {
            let updates: Vec<_> = (0..pieces)
                .map(|_| read(&artifact("a", &piece, true)))
                .collect();
            allocation_counter::measure(|| {
                for update in updates {
                    builder.apply(update).expect("fine");
                }
            })
            .bytes_total
        };
        let first = allocated(&mut builder, 1000);
        let later = allocated(&mut builder, 1000);
        assert!(later < 4 * first, "{first} bytes, then {later}");
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
            pending: Vec::new(),
        };
        let (_, mut waiting) = build(&[status("working", ""), status("input-required", "Which?")]);
        assert_eq!(waiting.changed_context(), Some(context(Some("t"))));

        let mut next = AnswerBuilder::new(context(Some("t")));
        let update = |v: &Value| read(v);
        next.apply(update(&status("working", ""))).expect("fine");
        assert_eq!(next.changed_context(), None);
        next.apply(update(&status("completed", "Done")))
            .expect("fine");
        assert_eq!(next.changed_context(), Some(context(None)));
        assert_eq!(next.changed_context(), None);
    }
}
