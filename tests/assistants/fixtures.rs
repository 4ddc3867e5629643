//! Questions, and assistants to ask them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use telegram_connector_operator::api::connector::{AssistantProtocol, AssistantSpec};
use telegram_connector_operator::assistant::{
    Action, AddressPolicy, AnswerPart, AnswerStream, ApprovalOutcome, ApprovalRequest, Assistant,
    AssistantError, AssistantHttpClient, BotNames, ChatContext, Choice, Citation, HttpLimits,
    OfferedFile, Progress, Question, QuestionContext, RepliedMessage, Sender, TokenUsage,
    TopicContext, Truncation, build_assistant,
};

/// Appears in no error.
pub(crate) const KEY: &str = "sk-the-secret-key";
/// Appears in no error.
pub(crate) const TEXT: &str = "my private words";

pub(crate) fn question() -> Question {
    Question {
        sender: Sender {
            id: 424_242,
            name: "Ann Bär".into(),
            username: Some("ann_example".into()),
            language_code: Some("de".into()),
        },
        connector: "acme/support".into(),
        session_id: "session-1".into(),
        session_state: None,
        history: vec![],
        text: TEXT.into(),
        pictures: vec![],
        files: vec![],
        wants_progress: false,
        context: private_chat(),
        action: None,
        offers_buttons: false,
        idempotency_key: "8400000001-77".into(),
    }
}

/// The private chat of the user who asks, which has nothing that need not be there.
pub(crate) fn private_chat() -> QuestionContext {
    QuestionContext {
        chat: ChatContext {
            id: 424_242,
            kind: "private",
            ..ChatContext::default()
        },
        bot: BotNames {
            name: "Acme Support".into(),
            username: "acme_support_bot".into(),
        },
        ..QuestionContext::default()
    }
}

/// A topic of a group, with all that there can be.
pub(crate) fn group_topic() -> QuestionContext {
    QuestionContext {
        chat: ChatContext {
            id: -1_001_234,
            kind: "supergroup",
            title: Some("Größe".into()),
            topic: Some(TopicContext {
                id: 7,
                name: Some("Returns".into()),
            }),
        },
        display_name: Some("Support desk".into()),
        start: Some("ref_7".into()),
        reply_to: Some(RepliedMessage {
            author: Some("Acme Support".into()),
            by_this_bot: true,
        }),
        ..private_chat()
    }
}

pub(crate) fn spec(protocol: AssistantProtocol, url: &str) -> AssistantSpec {
    AssistantSpec {
        protocol,
        url: url.into(),
        model: matches!(protocol, AssistantProtocol::OpenAI).then(|| "support-agent".into()),
        system_prompt: None,
        assistant_id: matches!(protocol, AssistantProtocol::Pupau).then(|| "bot-1".into()),
        api_key_secret_ref: None,
        api_key_header: None,
        headers: None,
        open_ai: None,
        timeout_seconds: Some(5),
    }
}

pub(crate) fn http_client() -> AssistantHttpClient {
    with_limits(HttpLimits::default())
}

pub(crate) fn with_limits(limits: HttpLimits) -> AssistantHttpClient {
    AssistantHttpClient::new(limits, AddressPolicy::allowing_loopback()).expect("a client")
}

pub(crate) fn assistant(protocol: AssistantProtocol, url: &str) -> Arc<dyn Assistant> {
    build_assistant(&spec(protocol, url), Some(KEY.into()), &http_client()).expect("an assistant")
}

/// One that gives up after a second.
pub(crate) fn assistant_with_short_timeouts(
    protocol: AssistantProtocol,
    url: &str,
) -> Arc<dyn Assistant> {
    let spec = AssistantSpec {
        timeout_seconds: Some(1),
        ..spec(protocol, url)
    };
    build_assistant(&spec, Some(KEY.into()), &http_client()).expect("an assistant")
}

/// An answer that did not break off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// The last state, if any.
    pub(crate) state: Option<String>,
    pub(crate) truncation: Option<Truncation>,
    pub(crate) citations: Vec<Citation>,
    /// The last one.
    pub(crate) usage: Option<TokenUsage>,
    pub(crate) progress: Vec<Progress>,
    /// The files that stand behind the text, or among it.
    pub(crate) files: Vec<OfferedFile>,
    pub(crate) choice: Option<Choice>,
    pub(crate) approval: Option<ApprovalRequest>,
}

impl Answer {
    /// The decision about what it wants to have approved, as the next question has it.
    pub(crate) fn decided(&self, is_approved: bool) -> Option<Action> {
        let request = self.approval.clone()?;
        Some(Action {
            value: if is_approved { "approve" } else { "refuse" }.into(),
            of: request.id.unwrap_or_default(),
            approval: Some(ApprovalOutcome {
                is_approved,
                is_expired: false,
                decided_by: None,
                token: request.token,
            }),
        })
    }
}

pub(crate) async fn collect(mut parts: AnswerStream) -> Result<Answer, AssistantError> {
    let mut answer = Answer::default();
    while let Some(part) = parts.next().await {
        match part? {
            AnswerPart::Text(text) => answer.text.push_str(&text),
            AnswerPart::Rewrite(text) => {
                answer.text = text;
                answer.files.clear();
            }
            AnswerPart::File(file) => answer.files.push(file),
            AnswerPart::SessionState(state) => answer.state = Some(state),
            AnswerPart::Truncated(truncation) => answer.truncation = Some(truncation),
            AnswerPart::Citation(citation) => answer.citations.push(citation),
            AnswerPart::Usage(usage) => answer.usage = Some(usage),
            AnswerPart::Progress(progress) => answer.progress.push(progress),
            AnswerPart::Choice(choice) => answer.choice = Some(choice),
            AnswerPart::Approval(request) => answer.approval = Some(request),
        }
    }
    Ok(answer)
}

pub(crate) async fn ask(
    assistant: &Arc<dyn Assistant>,
    question: Question,
) -> Result<Answer, AssistantError> {
    let answered = async { collect(assistant.ask(question).await?).await };
    tokio::time::timeout(Duration::from_secs(20), answered)
        .await
        .expect("every answer ends")
}

/// Asks, expects an error, and checks what holds for every error.
pub(crate) async fn ask_expecting_error(assistant: &Arc<dyn Assistant>) -> AssistantError {
    let error = ask(assistant, question()).await.expect_err("an error");
    let shown = format!("{error} {error:?} {assistant:?}");
    for secret in [KEY, "the-secret", TEXT, "private"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!error.detail.is_empty());
    error
}

/// An event of Chat Completions with a piece of text.
pub(crate) fn piece(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}
