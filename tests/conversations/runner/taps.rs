//! Steps about buttons and reactions: tapping, the bot's answer to a tap, changes of a message.

use bot_api_simulator::{CallbackQuery, SentMessage, Tap};

use super::ScriptRunner;
use super::steps::{ExpectedAnswer, ExpectedMessage, ExpectedReaction, UserTap};
use crate::test_env::TIMEOUT;

impl ScriptRunner {
    /// Taps a button of a message of the bot.
    pub(super) fn tap(
        &mut self,
        from: i64,
        group: Option<i64>,
        tap: UserTap,
    ) -> Result<(), String> {
        let chat = group.unwrap_or(from);
        self.last_chat = chat;
        let name = tap.message.as_deref().unwrap_or("bot's");
        let action = Tap {
            bot: Some(self.connector.id.0),
            from,
            chat: group,
            message_id: self.message(name, chat)?,
            text: tap.text,
            data: tap.data,
            inaccessible: tap.inaccessible,
            ..Tap::default()
        };
        for _ in 0..tap.times.unwrap_or(1) {
            self.env.telegram.tap(&action)?;
        }
        Ok(())
    }

    /// Waits for the answer to the next tap.
    pub(super) async fn expect_answer(&mut self, expected: ExpectedAnswer) -> Result<(), String> {
        let next = self.matched_taps;
        self.matched_taps += 1;
        let telegram = &self.env.telegram;
        let query = || {
            let queries = telegram.callback_queries(self.connector.id);
            queries.into_iter().nth(next)
        };
        let matches = |query: &CallbackQuery| {
            query.answer.as_ref().is_some_and(|answer| {
                let text = expected.text.as_ref();
                text.is_none_or(|text| *text == answer.text)
                    && expected
                        .alert
                        .is_none_or(|alert| alert == answer.show_alert)
            })
        };
        telegram
            .wait_until(self.connector.id, TIMEOUT, |_| query().filter(matches))
            .await
            .map(drop)
            .ok_or_else(|| format!("not so answered: {expected:?}\nbut: {:#?}", query()))
    }

    /// Waits until the bot's last expected message in a chat is another.
    pub(super) async fn expect_change(
        &self,
        chat: i64,
        expected: ExpectedMessage,
    ) -> Result<(), String> {
        let id = self.message("bot's", chat)?;
        let matches = self.matcher(chat, &expected)?;
        let telegram = &self.env.telegram;
        let message = || -> Option<SentMessage> {
            let sent = telegram.sent_messages(self.connector.id, chat);
            sent.into_iter().find(|m| m.message_id == id)
        };
        telegram
            .wait_until(self.connector.id, TIMEOUT, |_| {
                message().filter(|m| matches(m))
            })
            .await
            .map(drop)
            .ok_or_else(|| format!("not changed to: {expected:?}\nbut: {:#?}", message()))
    }

    /// Waits for the bot's reactions to a message.
    pub(super) async fn expect_reaction(
        &self,
        chat: i64,
        expected: ExpectedReaction,
    ) -> Result<(), String> {
        let id = self.message(&expected.to, chat)?;
        let telegram = &self.env.telegram;
        let emoji = || -> Vec<String> {
            let reactions = telegram.reactions(self.connector.id, chat, id).into_iter();
            let emoji = reactions.filter_map(|r| r["emoji"].as_str().map(ToOwned::to_owned));
            emoji.collect()
        };
        telegram
            .wait_until(self.connector.id, TIMEOUT, |_| {
                (emoji() == expected.with).then_some(())
            })
            .await
            .ok_or_else(|| format!("the bot has reacted with {:?}", emoji()))
    }
}
