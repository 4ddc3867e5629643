//! Steps that do something: the connector is changed, groups come to be, people speak.

use bot_api_simulator::UserAction;
use telegram_connector_operator::registry::{
    DeniedReply, GroupPolicy, ResolvedConnector, SessionDuration,
};

use super::ScriptRunner;
use super::steps::{ConnectorSetup, NewGroup, UserMessage};
use crate::users;

/// The first second of conversations that name times.
const CONVERSATION_START: i64 = 1_790_000_000;

impl ScriptRunner {
    pub(super) fn given(&mut self, given: ConnectorSetup) -> Result<(), String> {
        let mut groups = None;
        if let Some(asked) = given.groups {
            let chats = asked
                .chats
                .map(|names| names.iter().map(|name| self.group(name)).collect())
                .transpose()?;
            groups = Some(GroupPolicy {
                respond_to: asked.respond_to,
                chats,
            });
        }
        let transcription = given.transcription.then(|| self.env.transcription());
        self.env
            .update_connector(&self.connector, |c: &mut ResolvedConnector| {
                c.groups = groups;
                c.transcription = transcription.unwrap_or_default();
                c.greeting = given.greeting.map(Into::into);
                if let Some(level) = given.access_level {
                    c.access.level = level;
                }
                c.denied_reply = match given.denied_reply.as_deref() {
                    None => DeniedReply::Default,
                    Some("") => DeniedReply::Silent,
                    Some(text) => DeniedReply::Text(text.into()),
                };
                c.session.duration = match given.duration_hours {
                    None => c.session.duration,
                    Some(-1) => SessionDuration::None,
                    Some(0) => SessionDuration::Infinite,
                    Some(hours) => SessionDuration::Hours(u32::try_from(hours).expect("hours")),
                };
                c.session.max_messages = given.max_messages.unwrap_or(c.session.max_messages);
                c.messages_per_minute = given.messages_per_minute.unwrap_or(c.messages_per_minute);
            });
        Ok(())
    }

    pub(super) fn new_group(&mut self, new: NewGroup) -> Result<(), String> {
        let telegram = &self.env.telegram;
        telegram.set_privacy(self.connector.id, new.privacy_mode);
        let chat = telegram.add_group(&new.kind, &new.name, &[self.connector.id.0]);
        for topic in new.topics {
            let id = telegram.add_topic(chat, &topic);
            self.topics.insert(topic, id);
        }
        if self.groups.insert(new.name, chat).is_some() {
            return Err("there is such a group already".into());
        }
        Ok(())
    }

    pub(super) fn says(
        &mut self,
        who: i64,
        chat: Option<i64>,
        message: UserMessage,
    ) -> Result<(), String> {
        self.here = chat.unwrap_or(who);
        let repeated = |text: String| text.repeat(message.times.unwrap_or(1));
        let named = |name: &Option<String>| {
            let found = name.as_deref().map(|name| self.message(name, self.here));
            found.transpose()
        };
        let say = UserAction {
            bot: chat.is_none().then_some(self.connector.id.0),
            from: Some(who),
            chat,
            thread: self.topic(message.topic.as_deref())?,
            text: message.text.map(repeated),
            caption: message.caption,
            entities: None,
            content: message.content,
            reply_to: named(&message.reply_to)?,
            quote: message.quote,
            edit: named(&message.edits)?,
            forward_from: message.forward_from.as_deref().map(users::id).transpose()?,
            media_group_id: message.media_group_id,
            sender_chat: chat.filter(|_| message.anonymous),
            date: message.at.map(|at| CONVERSATION_START + at),
        };
        let came = self.env.telegram.perform(&say)?;
        if let Some(name) = message.called {
            self.messages.insert(name, came.message_id);
        }
        Ok(())
    }
}
