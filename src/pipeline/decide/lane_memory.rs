//! What is remembered of a lane from claim to claim beside its session: which messages were handled, its topic's name, and how often other bots were
//! answered since a person spoke. One text in the lane's
//! row; an operator that does not know one of its entries passes over it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::pipeline::decide::handled_messages::HandledMessages;
use crate::pipeline::message::incoming_update::{IncomingUpdate, TopicName};

/// Before the topic's name, in Base64.
const TOPIC_PREFIX: &str = "topic=";

/// Before the number of answers to bots.
const BOTS_PREFIX: &str = "bots=";
/// Two bots that answer each other end after so many answers, until a person speaks.
const MAX_ANSWERS_TO_BOTS: u32 = 4;

/// What is remembered of a lane.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LaneMemory {
    /// The messages that were handled.
    pub(crate) handled: HandledMessages,
    topic_name: Option<String>,
    /// Answers to bots since a person spoke.
    answers_to_bots: u32,
}

impl LaneMemory {
    /// Reads what [`LaneMemory::to_text`] wrote; what cannot be read is not remembered.
    pub(crate) fn parse(stored: &str) -> Self {
        let entry = |prefix| stored.split(' ').find_map(|e| e.strip_prefix(prefix));
        let topic_name = entry(TOPIC_PREFIX)
            .and_then(|coded| URL_SAFE_NO_PAD.decode(coded).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        Self {
            handled: HandledMessages::parse(stored),
            topic_name,
            answers_to_bots: entry(BOTS_PREFIX)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
        }
    }

    /// As it is stored with the lane.
    pub(crate) fn to_text(&self) -> String {
        let mut text = self.handled.to_text();
        if let Some(name) = &self.topic_name {
            let gap = if text.is_empty() { "" } else { " " };
            text.extend([gap, TOPIC_PREFIX, &URL_SAFE_NO_PAD.encode(name)]);
        }
        if self.answers_to_bots > 0 {
            let gap = if text.is_empty() { "" } else { " " };
            text.extend([gap, BOTS_PREFIX, &self.answers_to_bots.to_string()]);
        }
        text
    }

    /// Notes that a person spoke, be it to the bot or not. Returns whether that is news.
    pub(crate) fn record_person(&mut self, incoming: &IncomingUpdate) -> bool {
        let is_person = incoming.is_user_message()
            && incoming
                .sender
                .as_ref()
                .is_some_and(|sender| !sender.is_bot);
        is_person && std::mem::take(&mut self.answers_to_bots) > 0
    }

    /// Counts an answer to a bot; false if there were too many since a person spoke, so that it is not answered.
    pub(crate) fn count_answer_to_bot(&mut self) -> bool {
        let has_room = self.answers_to_bots < MAX_ANSWERS_TO_BOTS;
        self.answers_to_bots += u32::from(has_room);
        has_room
    }

    /// Notes the name that the topic has from now on, if the update gives it one. Returns whether that is news.
    pub(crate) fn record_topic_name(&mut self, incoming: &IncomingUpdate) -> bool {
        match &incoming.topic_name {
            Some(TopicName::Changed(name)) if self.topic_name.as_ref() != Some(name) => {
                self.topic_name = Some(name.clone());
                true
            }
            _ => false,
        }
    }

    /// The name of the topic in which a message was sent, as far as it is known.
    pub(crate) fn topic_name(&self, incoming: &IncomingUpdate) -> Option<String> {
        let event_name = match &incoming.topic_name {
            Some(TopicName::Changed(name) | TopicName::Original(name)) => Some(name),
            None => None,
        };
        self.topic_name.as_ref().or(event_name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::decide::test_values::{ANN, in_group};

    fn message(fields: &str) -> IncomingUpdate {
        IncomingUpdate::parse(&in_group(ANN, fields)).expect("readable")
    }

    #[test]
    fn renamed_topic_keeps_its_new_name_over_the_one_it_began_with() {
        let hello = message(
            r#""text":"hello","reply_to_message":{"message_id":2,"forum_topic_created":{"name":"Old"}}"#,
        );
        let mut memory = LaneMemory::default();
        assert_eq!(memory.topic_name(&hello).as_deref(), Some("Old"));
        assert!(!memory.record_topic_name(&hello));
        assert!(
            memory.record_topic_name(&message(r#""forum_topic_edited":{"name":"Neu: ä.b c"}"#))
        );
        assert!(!memory.record_topic_name(&message(r#""forum_topic_edited":{}"#)));
        memory.handled.record(&hello);
        let stored = LaneMemory::parse(&memory.to_text());
        assert_eq!(stored, memory);
        assert_eq!(stored.topic_name(&hello).as_deref(), Some("Neu: ä.b c"));
    }

    #[test]
    fn bots_are_answered_four_times_until_a_person_speaks() {
        let mut memory = LaneMemory::default();
        let answered = |memory: &mut LaneMemory| {
            let stored = LaneMemory::parse(&memory.to_text());
            assert_eq!(stored, *memory);
            memory.count_answer_to_bot()
        };
        for _ in 0..MAX_ANSWERS_TO_BOTS {
            assert!(answered(&mut memory));
        }
        assert!(!answered(&mut memory));
        assert!(!memory.record_person(&message(r#""new_chat_members":[]"#)));
        assert!(!answered(&mut memory), "nobody spoke");
        assert!(memory.record_person(&message(r#""text":"hello""#)));
        assert!(answered(&mut memory));
    }

    #[test]
    fn memory_of_an_older_operator_is_read() {
        let mut handled = HandledMessages::default();
        handled.record(&message(r#""text":"hello""#));
        let memory = LaneMemory::parse(&handled.to_text());
        assert_eq!((memory.handled, memory.topic_name), (handled, None));
    }
}
