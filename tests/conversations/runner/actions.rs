//! Steps that act: change the connector, create groups, send messages.

use bot_api_simulator::UserAction;
use std::time::Duration;
use telegram_connector_operator::api::connector::{AssistantProtocol, RichMessages};

use telegram_connector_operator::registry::{
    ApprovalChat, ApprovalPolicy, DayLimits, DeniedReply, GroupPolicy, RequestPolicy,
    ResolvedConnector, SessionDuration,
};

use telegram_connector_operator::store::DayLimit;

use super::ScriptRunner;
use super::steps::{ApprovalSetup, ConnectorSetup, NewGroup, RequestSetup, UserMessage};
use crate::test_env::{noon_zone, specific_users};
use crate::users;

/// Unix seconds that the `at` of a message counts from.
const CONVERSATION_START: i64 = 1_790_000_000;

impl ScriptRunner {
    pub(super) fn set_up_connector(&mut self, setup: ConnectorSetup) -> Result<(), String> {
        let mut groups = None;
        if let Some(group_setup) = setup.groups {
            let chats = group_setup
                .chats
                .map(|names| names.iter().map(|name| self.group(name)).collect())
                .transpose()?;
            groups = Some(GroupPolicy {
                read_along: group_setup.read_along,
                respond_to: group_setup.respond_to,
                chats,
            });
        }
        let transcription = setup.transcription.then(|| self.env.transcription());
        let speech = setup.speech.map(|occasion| self.env.speech(occasion));
        let approvals = setup
            .approvals
            .map(|a| self.approval_policy(a))
            .transpose()?;
        let requests = setup
            .requests
            .map(|requests| self.request_policy(&requests))
            .transpose()?;
        let assistant = match setup.protocol {
            Some(AssistantProtocol::Webhook) => Some(self.env.webhook()),
            None | Some(AssistantProtocol::OpenAI) => setup
                .chat_context
                .then(|| self.env.openai_with_chat_context()),
            Some(other) => return Err(format!("the sample assistant does not speak {other:?}")),
        };
        self.env
            .update_connector(&self.connector, |c: &mut ResolvedConnector| {
                c.groups = groups;
                c.transcription = transcription.unwrap_or_default();
                c.speech = speech.unwrap_or_default();
                c.approvals = approvals;
                c.access.takes_grants = requests.is_some();
                c.requests = requests;
                c.answers.max_file_bytes = setup.files.map(|megabytes| megabytes * 1_000_000);
                c.display_name = setup.display_name.map(Into::into);
                if assistant.is_some() {
                    c.assistant = assistant;
                }
                c.answers.buttons = setup.buttons;
                c.answers.rich = setup.rich.unwrap_or(RichMessages::Never);
                c.answers.receipt = setup.receipt.map(Into::into);
                c.greeting = setup.greeting.map(Into::into);
                if let Some(level) = setup.access_level {
                    c.access.level = level;
                }
                c.denied_reply = match setup.denied_reply.as_deref() {
                    None => DeniedReply::Default,
                    Some("") => DeniedReply::Silent,
                    Some(text) => DeniedReply::Text(text.into()),
                };
                c.session.duration = match setup.duration_hours {
                    None => c.session.duration,
                    Some(-1) => SessionDuration::None,
                    Some(0) => SessionDuration::Infinite,
                    Some(hours) => SessionDuration::Hours(u32::try_from(hours).expect("hours")),
                };
                c.session.max_messages = setup.max_messages.unwrap_or(c.session.max_messages);
                c.messages_per_minute = setup.messages_per_minute.unwrap_or(c.messages_per_minute);
                c.day_limits = setup.messages_per_day.map(|messages| DayLimits {
                    user: DayLimit {
                        messages: Some(messages),
                        tokens: None,
                    },
                    connector: DayLimit::default(),
                    zone: noon_zone(),
                });
            });
        Ok(())
    }

    fn approval_policy(&self, setup: ApprovalSetup) -> Result<ApprovalPolicy, String> {
        let default = ApprovalPolicy::default();
        let ids = setup.approvers.map(|names| {
            let ids = names.iter().map(|name| users::id(name));
            ids.collect::<Result<Vec<_>, _>>()
        });
        let chat = setup.chat.map(|name| self.group(&name)).transpose()?;
        Ok(ApprovalPolicy {
            approvers: ids.transpose()?.map(|ids| specific_users(&ids)),
            chat: chat.map(|id| ApprovalChat { id, topic: 0 }),
            timeout: setup
                .timeout_seconds
                .map_or(default.timeout, Duration::from_secs),
        })
    }

    fn request_policy(&self, setup: &RequestSetup) -> Result<RequestPolicy, String> {
        let ids = setup.approvers.iter().map(|name| users::id(name));
        Ok(RequestPolicy {
            notify: ApprovalChat {
                id: self.group(&setup.notify)?,
                topic: 0,
            },
            approvers: specific_users(&ids.collect::<Result<Vec<_>, _>>()?),
            grant_days: setup.grant_days,
            per_user_per_day: setup.per_user_per_day.unwrap_or(1),
        })
    }

    pub(super) fn create_group(&mut self, group: NewGroup) -> Result<(), String> {
        let telegram = &self.env.telegram;
        telegram.set_privacy(self.connector.id, group.privacy_mode);
        let chat = telegram.add_group(&group.kind, &group.name, &[self.connector.id.0]);
        for topic in group.topics {
            let id = telegram.add_topic(chat, &topic);
            self.topics.insert(topic, id);
        }
        if self.groups.insert(group.name, chat).is_some() {
            return Err("there is such a group already".into());
        }
        Ok(())
    }

    pub(super) fn send_message(
        &mut self,
        from: i64,
        chat: Option<i64>,
        message: UserMessage,
    ) -> Result<(), String> {
        self.last_chat = chat.unwrap_or(from);
        let repeated = |text: String| text.repeat(message.times.unwrap_or(1));
        let message_id = |name: &Option<String>| {
            let id = name
                .as_deref()
                .map(|name| self.message(name, self.last_chat));
            id.transpose()
        };
        let action = UserAction {
            bot: chat.is_none().then_some(self.connector.id.0),
            from: Some(from),
            chat,
            thread: self.topic(message.topic.as_deref())?,
            text: message.text.map(repeated),
            caption: message.caption,
            entities: None,
            content: message.content,
            reply_to: message_id(&message.reply_to)?,
            quote: message.quote,
            edit: message_id(&message.edits)?,
            forward_from: message.forward_from.as_deref().map(users::id).transpose()?,
            media_group_id: message.media_group_id,
            sender_chat: chat.filter(|_| message.anonymous),
            date: message.at.map(|at| CONVERSATION_START + at),
        };
        let outcome = self.env.telegram.perform(&action)?;
        if let Some(name) = message.called {
            self.messages.insert(name, outcome.message_id);
        }
        Ok(())
    }
}
