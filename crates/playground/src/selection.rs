//! Which bot, user and chat a page is about. It stands in the URL, so that pages can be open side by side and be bookmarked.

use bot_api_simulator::{BotSummary, GroupSummary, User};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

/// The query of the page's URL; everything may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct SelectionQuery {
    /// The bot's id.
    pub bot: Option<i64>,
    /// The id of the user to write as.
    pub user: Option<i64>,
    /// The group's id; absent: the private chat.
    pub chat: Option<i64>,
    /// The topic's `message_thread_id`.
    pub thread: Option<i64>,
    /// The `message_id` to reply to.
    pub reply: Option<i64>,
}

impl SelectionQuery {
    /// The query as part of a URL, with the question mark.
    pub(crate) fn to_url_query(self) -> String {
        let mut pairs = Serializer::new(String::new());
        let fields = [
            ("bot", self.bot),
            ("user", self.user),
            ("chat", self.chat),
            ("thread", self.thread),
            ("reply", self.reply),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                pairs.append_pair(name, &value.to_string());
            }
        }
        format!("?{}", pairs.finish())
    }

    /// The URL of the page, scrolled to the chat.
    pub(crate) fn page_url(self) -> String {
        format!("/{}#chat", self.to_url_query())
    }

    /// The same for another user: in a private chat, that user's own.
    pub(crate) fn with_user(self, user: i64) -> Self {
        Self {
            user: Some(user),
            reply: None,
            ..self
        }
    }

    /// The same in a group, or in the private chat.
    pub(crate) fn with_chat(self, chat: Option<i64>, thread: Option<i64>) -> Self {
        Self {
            chat,
            thread,
            reply: None,
            ..self
        }
    }

    /// The same with another bot, in private.
    pub(crate) fn with_bot(self, bot: i64) -> Self {
        Self {
            bot: Some(bot),
            ..self
        }
        .with_chat(None, None)
    }

    /// The same as a reply to a message, or as none.
    pub(crate) fn with_reply(self, reply: Option<i64>) -> Self {
        Self { reply, ..self }
    }
}

/// A query with what its ids name.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The ids of the fields below.
    pub query: SelectionQuery,
    /// The bot; `None` while the simulator has none.
    pub bot: Option<BotSummary>,
    /// The user to write as.
    pub user: User,
    /// The group; `None`: the private chat.
    pub group: Option<GroupSummary>,
}

impl Selection {
    /// What the ids name. An id that names nothing counts as absent; absent are the first of `bots` and `users`, and the private chat.
    pub(crate) fn resolve(
        query: SelectionQuery,
        bots: &[BotSummary],
        users: &[User],
        groups: &[GroupSummary],
    ) -> Self {
        let named_bot = bots.iter().find(|bot| Some(bot.id) == query.bot);
        let bot = named_bot.or(bots.first()).cloned();
        let named_user = users.iter().find(|user| Some(user.id) == query.user);
        let user = named_user.or(users.first()).cloned();
        let user = user.unwrap_or_else(|| User::new(1, "User"));
        let group = groups
            .iter()
            .find(|group| Some(group.id) == query.chat)
            .cloned();
        let thread = query.thread.filter(|thread| {
            let topics = group.as_ref().map(|group| &group.topics);
            topics.is_some_and(|topics| topics.contains_key(thread))
        });
        Self {
            query: SelectionQuery {
                bot: bot.as_ref().map(|bot| bot.id),
                user: Some(user.id),
                chat: group.as_ref().map(|group| group.id),
                thread,
                reply: query.reply,
            },
            bot,
            user,
            group,
        }
    }

    /// The id of the chat.
    pub(crate) fn chat_id(&self) -> i64 {
        self.query.chat.unwrap_or(self.user.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_name_nothing_count_as_absent() {
        let users = [User::new(7, "Ann"), User::new(8, "Bob")];
        let query = SelectionQuery {
            bot: Some(1),
            user: Some(8),
            chat: Some(-5),
            thread: Some(3),
            reply: None,
        };
        let selection = Selection::resolve(query, &[], &users, &[]);
        assert_eq!(selection.query.page_url(), "/?user=8#chat");
        assert_eq!(selection.chat_id(), 8);
    }
}
