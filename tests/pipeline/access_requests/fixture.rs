//! A connector whose denied users may ask an admins' group for access, and what tests do there.

use bot_api_simulator::{SentMessage, Tap};
use telegram_connector_operator::assistant::Question;
use telegram_connector_operator::identity::ConnectorRef;
use telegram_connector_operator::registry::{ApprovalChat, RequestPolicy, ResolvedConnector};
use telegram_connector_operator::store::{
    AccessRequest, Grant, GrantSource, NewGrant, ObjectContent, ObjectKey, ObjectKind, ObjectQuery,
};

use crate::scripted_assistant::{ScriptedAssistant, text};
use crate::test_env::{Connector, EVE, TIMEOUT, TestEnv, specific_users, wait_until};

/// Decides, and may not write.
pub(crate) const BEN: i64 = 1002;

/// A connector that Ann may write to, with an admins' group in which Ben decides.
pub(crate) struct Fixture {
    pub(crate) env: TestEnv,
    pub(crate) support: Connector,
    pub(crate) assistant: ScriptedAssistant,
    pub(crate) admins: i64,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(TestEnv::new().await, |_| {}).await
    }

    pub(crate) async fn with(mut env: TestEnv, edit: impl FnOnce(&mut ResolvedConnector)) -> Self {
        let assistant = ScriptedAssistant::new(|_| text("ok"));
        let support = env.connector_with("support", |c| c.assistant = Some(assistant.shared()));
        let admins = env
            .telegram
            .add_group("supergroup", "Admins", &[support.id.0]);
        env.update_connector(&support, |connector| {
            connector.access.takes_grants = true;
            connector.requests = Some(RequestPolicy {
                notify: ApprovalChat {
                    id: admins,
                    topic: 0,
                },
                approvers: specific_users(&[BEN]),
                grant_days: None,
                per_user_per_day: 1,
            });
            edit(connector);
        });
        env.register(&support).await;
        Self {
            env,
            support,
            assistant,
            admins,
        }
    }

    pub(crate) fn say(&self, words: &str) {
        let telegram = &self.env.telegram;
        telegram.send_private_message(self.support.id, EVE, words);
    }

    /// What the bot has sent to a chat, once it is more than this.
    pub(crate) async fn sent(&self, chat: i64, already: usize) -> Vec<SentMessage> {
        let telegram = &self.env.telegram;
        telegram
            .wait_for_sent_messages(self.support.id, chat, already, TIMEOUT)
            .await
    }

    /// Eve writes and is denied; the message with the button, if it has one.
    pub(crate) async fn denied(&self) -> SentMessage {
        self.say("let me in");
        self.sent(EVE, 0).await[0].clone()
    }

    /// Eve asks for access; the notice.
    pub(crate) async fn asked(&self) -> SentMessage {
        let denied = self.denied().await;
        self.tap(&denied, EVE, "ask");
        let notice = self.sent(self.admins, 0).await[0].clone();
        self.env.wait_until_drained().await;
        notice
    }

    pub(crate) fn tap(&self, message: &SentMessage, by: i64, data: &str) {
        let tap = Tap {
            bot: Some(self.support.id.0),
            from: by,
            chat: Some(message.chat_id),
            message_id: message.message_id,
            data: Some(data.to_owned()),
            ..Tap::default()
        };
        self.env.telegram.tap(&tap).unwrap();
    }

    /// What was shown to who tapped, tap by tap, once all are answered.
    pub(crate) async fn notices(&self, taps: usize) -> Vec<String> {
        let answered = || {
            let queries = self.env.telegram.callback_queries(self.support.id);
            let answered = queries.into_iter().filter_map(|q| Some(q.answer?.text));
            answered.collect::<Vec<_>>()
        };
        wait_until("the taps are answered", async || answered().len() == taps).await;
        answered()
    }

    pub(crate) fn shown(&self, message: &SentMessage) -> SentMessage {
        let telegram = &self.env.telegram;
        let sent = telegram.sent_messages(self.support.id, message.chat_id);
        let mut sent = sent.into_iter();
        sent.find(|m| m.message_id == message.message_id).unwrap()
    }

    pub(crate) async fn objects(&self, kind: ObjectKind) -> Vec<(ObjectKey, ObjectContent)> {
        let query = ObjectQuery::all(kind);
        let page = self
            .env
            .store
            .list_objects(&query, None, 100)
            .await
            .unwrap();
        let objects = page.objects.into_iter();
        objects.map(|o| (o.key, o.content)).collect()
    }

    pub(crate) async fn requests(&self) -> Vec<AccessRequest> {
        let objects = self.objects(ObjectKind::AccessRequest).await.into_iter();
        objects
            .filter_map(|(_, content)| match content {
                ObjectContent::AccessRequest(request) => Some(*request),
                _ => None,
            })
            .collect()
    }

    pub(crate) async fn grants(&self) -> Vec<Grant> {
        let objects = self.objects(ObjectKind::AccessGrant).await.into_iter();
        objects
            .filter_map(|(_, content)| match content {
                ObjectContent::AccessGrant(grant) => Some(*grant),
                _ => None,
            })
            .collect()
    }

    /// Gives Eve a grant for so many seconds, or takes it for so many that it is over.
    pub(crate) async fn grant(&self, seconds: i64) {
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let new = NewGrant {
            connector: connector_ref(),
            user: EVE,
            name: "Eve".into(),
            username: None,
            source: GrantSource::Admin,
            by: "kubernetes-admin".into(),
            until: Some(until),
        };
        self.env.store.grant(new).await.unwrap();
    }

    /// What the assistant was asked, once nothing waits.
    pub(crate) async fn questions(&self) -> Vec<Question> {
        self.env.wait_until_handled(&self.support).await;
        self.assistant.take_questions()
    }

    /// The buttons of the notice or of a denial, row by row.
    pub(crate) fn buttons(message: &SentMessage) -> Vec<(String, String)> {
        let keyboard = message.reply_markup.clone().unwrap_or_default();
        let rows = keyboard["inline_keyboard"].as_array().cloned();
        let buttons = rows.into_iter().flatten();
        let buttons = buttons.flat_map(|row| row.as_array().cloned().unwrap_or_default());
        let text = |button: &serde_json::Value, key: &str| button[key].as_str().unwrap().to_owned();
        buttons
            .map(|button| (text(&button, "text"), text(&button, "callback_data")))
            .collect()
    }

    /// The data of the button of the notice that has this text.
    pub(crate) fn button(message: &SentMessage, text: &str) -> String {
        let buttons = Self::buttons(message);
        let found = buttons.into_iter().find(|(shown, _)| shown == text);
        found.unwrap_or_else(|| panic!("{text}: {message:?}")).1
    }

    /// The notice with the line that says what was decided.
    pub(crate) async fn decided(&self, notice: &SentMessage) -> SentMessage {
        wait_until("the notice shows it", async || {
            self.shown(notice).reply_markup.is_none()
        })
        .await;
        self.shown(notice)
    }
}

pub(crate) fn connector_ref() -> ConnectorRef {
    ConnectorRef {
        namespace: "acme".into(),
        name: "support".into(),
        uid: "uid-support".into(),
    }
}
