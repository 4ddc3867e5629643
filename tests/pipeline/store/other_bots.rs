//! A connector whose Secret gets another bot's token: what only the bot before could send.

use jiff::Timestamp;
use telegram_connector_operator::identity::BotId;
use telegram_connector_operator::store::{self, Change, ListingQuery, Store};

use super::{BOT, claim, connector, end, part, update};
use crate::postgres_server::Postgres;

/// An answer with two parts waits for the bot `BOT`.
async fn wait_for_first_bot(store: &dyn Store) {
    let uid = connector("a").uid;
    let accepted = store.accept(&uid, BOT, vec![update(1, 7, 100, "one")]);
    accepted.await.unwrap();
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let reply = Change::Reply {
        message,
        parts: vec![part("one"), part("two")],
        notice: None,
    };
    end(store, lane.claim, vec![reply, Change::Finish { message }]).await;
}

async fn check_answers_become_dead_letters(store: &dyn Store) {
    wait_for_first_bot(store).await;
    let (uid, other) = (connector("a").uid, BotId(9));
    let give_up = async |bot, before| {
        let given_up = store.dead_letter_other_bots(&uid, bot, before);
        given_up.await.unwrap()
    };
    let later = Timestamp::from_second(4_000_000_000).unwrap();
    assert_eq!(give_up(other, Timestamp::UNIX_EPOCH).await, 0, "too new");
    assert_eq!(give_up(BOT, later).await, 0, "that bot is here");
    assert_eq!(give_up(other, later).await, 2);
    assert!(claim(store, "a", 1).await.lanes.is_empty());
    let all = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let dead = store.dead_letters(&all).await.unwrap().rows;
    assert_eq!(dead.len(), 2);
    for letter in &dead {
        assert_eq!((&*letter.kind, letter.update_id), ("reply", 1));
        assert!(letter.reason.contains("another bot"), "{}", letter.reason);
    }
    // The bot may come back.
    let ids: Vec<_> = dead.iter().map(|letter| letter.id).collect();
    assert_eq!(store.retry_dead_letters(&ids).await.unwrap(), 2);
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    assert_eq!(lane.parts.len(), 2);
}

#[tokio::test]
async fn answers_of_the_bot_before_become_dead_letters() {
    let env = super::StoreFixture::new();
    check_answers_become_dead_letters(&*env.open().await).await;
}

#[tokio::test]
async fn answers_of_the_bot_before_end_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    check_answers_become_dead_letters(&*store).await;
}
