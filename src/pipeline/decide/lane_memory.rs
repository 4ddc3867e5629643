//! What is remembered of a lane from claim to claim beside its session: which messages were handled, and its topic's name. One text in the lane's
//! row; an operator that does not know one of its entries passes over it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::pipeline::decide::handled_messages::HandledMessages;
use crate::pipeline::message::incoming_update::{IncomingUpdate, TopicName};

/// Before the topic's name, in Base64.
const TOPIC_PREFIX: &str = "topic=";

/// What is remembered of a lane.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LaneMemory {
    /// The messages that were handled.
    pub(crate) handled: HandledMessages,
    topic_name: Option<String>,
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
        }
    }

    /// As it is stored with the lane.
    pub(crate) fn to_text(&self) -> String {
        let mut text = self.handled.to_text();
        if let Some(name) = &self.topic_name {
            let gap = if text.is_empty() { "" } else { " " };
            text.extend([gap, TOPIC_PREFIX, &URL_SAFE_NO_PAD.encode(name)]);
        }
        text
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
        let told = match &incoming.topic_name {
            Some(TopicName::Changed(name) | TopicName::Original(name)) => Some(name),
            None => None,
        };
        self.topic_name.as_ref().or(told).cloned()
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
    fn memory_of_an_older_operator_is_read() {
        let mut handled = HandledMessages::default();
        handled.record(&message(r#""text":"hello""#));
        let memory = LaneMemory::parse(&handled.to_text());
        assert_eq!((memory.handled, memory.topic_name), (handled, None));
    }
}
