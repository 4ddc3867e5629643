//! Processes that end at a moment of their way: before or after a call of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use telegram_connector_operator::store::Store;
use telegram_connector_operator::telegram::{Bot, BotToken, TelegramApi};

use crate::intercepted_store::{Fate, InterceptedStore};
use crate::test_env::{Connector, TestEnv};

/// A store whose process ends at this moment: each call on the way has one before it is carried out, and one after. Calls that come by the clock, or
/// of the test itself, are `not_on_the_way`.
pub(crate) fn ending_at(
    store: Arc<dyn Store>,
    moment: usize,
    not_on_the_way: &'static [&'static str],
) -> Arc<InterceptedStore> {
    let calls = AtomicUsize::new(0);
    InterceptedStore::new(store, move |method| {
        if not_on_the_way.contains(&method) {
            return Fate::Answered;
        }
        let before = 2 * calls.fetch_add(1, Ordering::SeqCst) + 1;
        match moment.checked_sub(before) {
            Some(0) => Fate::Ends { done: false },
            Some(1) => Fate::Ends { done: true },
            _ => Fate::Answered,
        }
    })
}

/// The connector as a new process has it: connections to Telegram are the process's own.
pub(crate) fn resolve_anew(env: &TestEnv, connector: &Connector) {
    let token = format!("{}:AAFakeTokenFakeTokenFakeTokenFakeTok", connector.id.0);
    let api = Arc::new(TelegramApi::new(env.telegram.url()).unwrap());
    let bot = Bot::new(api, BotToken::parse(&token).unwrap());
    env.update_connector(connector, |c| c.bot = bot);
}
