//! The kind of an update, which both the envelope and its content need.

/// What an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateKind {
    /// `message`.
    Message,
    /// `edited_message`.
    EditedMessage,
    /// `channel_post`.
    ChannelPost,
    /// `my_chat_member`: what the bot may do in a chat has changed.
    MyChatMember,
    /// Any other kind that has a chat: nothing is answered.
    Other,
}
