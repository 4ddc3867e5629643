//! What the assistant is told of a turn besides who asks: the chat with its topic, the bot, and what the turn begins or answers.

use super::BatchHandler;
use crate::assistant::{BotNames, ChatContext, QuestionContext, RepliedMessage, TopicContext};
use crate::pipeline::decide::decision;
use crate::pipeline::decide::groups;

impl BatchHandler<'_> {
    /// The context of the turn's question.
    pub(super) fn question_context(&self) -> QuestionContext {
        let incoming = self.lead();
        let bot = decision::bot_identity(self.connector);
        let topic = incoming.thread_id.filter(|id| *id > 0);
        let payloads = self.batch.members.iter();
        let mut payloads =
            payloads.filter_map(|m| decision::start_payload(self.connector, &m.update.incoming));
        QuestionContext {
            chat: ChatContext {
                id: incoming.chat.id,
                kind: incoming.chat.kind.as_str(),
                title: incoming.chat.title.clone(),
                topic: topic.map(|id| TopicContext {
                    id,
                    name: self.lane.memory.topic_name(incoming),
                }),
            },
            bot: BotNames {
                name: self.connector.bot_name.clone(),
                username: self.connector.bot_username.clone(),
            },
            display_name: self.connector.display_name.clone(),
            start: payloads.next(),
            reply_to: incoming.reply_to.as_ref().map(|reply| RepliedMessage {
                author: reply.author.clone(),
                by_this_bot: groups::replies_to_bot(incoming, bot),
            }),
            read_along: Vec::new(),
        }
    }
}
