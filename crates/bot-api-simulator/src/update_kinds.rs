//! Update kinds, and the set that a bot's `allowed_updates` selects.

/// All kinds, in the order of the Bot API server.
pub(super) const UPDATE_KINDS: &[&str] = &[
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "message_reaction",
    "message_reaction_count",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "purchased_paid_media",
    "managed_bot",
    "guest_message",
];

/// Kinds that are delivered only if `allowed_updates` names them.
const OPT_IN_KINDS: &[&str] = &["chat_member", "message_reaction", "message_reaction_count"];

/// The update kinds that a bot receives; kept from call to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AllowedUpdates(u32);

impl Default for AllowedUpdates {
    fn default() -> Self {
        let mut mask = 0;
        for (bit, kind) in UPDATE_KINDS.iter().enumerate() {
            if !OPT_IN_KINDS.contains(kind) {
                mask |= 1 << bit;
            }
        }
        Self(mask)
    }
}

impl AllowedUpdates {
    /// The parameter `allowed_updates`: `None` when it is absent or not a list of strings, and then the previous set
    /// stays. An empty list, or one of unknown names only, is the default.
    pub(super) fn parse(parameter: &str) -> Option<Self> {
        if parameter.is_empty() {
            return None;
        }
        let names: Vec<String> = serde_json::from_str(parameter).ok()?;
        let mut mask = 0;
        for name in names {
            let name = name.to_ascii_lowercase();
            if let Some(bit) = UPDATE_KINDS.iter().position(|kind| *kind == name) {
                mask |= 1 << bit;
            }
        }
        Some(if mask == 0 {
            Self::default()
        } else {
            Self(mask)
        })
    }

    /// Whether updates of this kind are queued. A kind that the simulator does not know (pushed raw by a test) is queued.
    pub(super) fn contains(self, kind: &str) -> bool {
        UPDATE_KINDS
            .iter()
            .position(|known| *known == kind)
            .is_none_or(|bit| self.0 & (1 << bit) != 0)
    }

    /// The names; `None` for the default, which `getWebhookInfo` omits.
    pub(super) fn names(self) -> Option<Vec<&'static str>> {
        (self != Self::default()).then(|| {
            UPDATE_KINDS
                .iter()
                .enumerate()
                .filter(|(bit, _)| self.0 & (1 << bit) != 0)
                .map(|(_, kind)| *kind)
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_or_invalid_list_keeps_the_previous_set() {
        assert_eq!(AllowedUpdates::parse(""), None);
        assert_eq!(AllowedUpdates::parse("message"), None);
        assert_eq!(AllowedUpdates::parse("{}"), None);
    }

    #[test]
    fn default_kinds_exclude_the_opt_in_kinds() {
        let default = AllowedUpdates::parse("[]").expect("a list");
        assert!(default.contains("message") && !default.contains("chat_member"));
        assert_eq!(default.names(), None);
        assert_eq!(AllowedUpdates::parse("[\"nonsense\"]"), Some(default));
    }

    #[test]
    fn only_the_named_kinds_are_allowed() {
        let some = AllowedUpdates::parse("[\"Message\",\"chat_member\"]").expect("a list");
        assert!(some.contains("message") && some.contains("chat_member"));
        assert!(!some.contains("channel_post"));
        assert_eq!(some.names(), Some(vec!["message", "chat_member"]));
    }
}
