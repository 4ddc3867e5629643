//! Messages that somebody sends, in a store that replicas share.

use crate::postgres_server::Postgres;
use crate::replicas::{on_postgres, replicas};
use crate::store::outgoing;

on_postgres! {
    outgoing:
    postgres_outgoing_message_is_sent_when_its_last_part_is => check_message_is_sent_when_its_last_part_is;
    postgres_outgoing_messages_are_refused => check_messages_are_refused_for_what_is_known;
    postgres_outgoing_messages_take_their_turn => check_messages_take_their_turn_among_answers;
    postgres_failed_outgoing_message_is_retried => check_failed_message_waits_again_when_retried;
    postgres_outgoing_part_in_doubt_is_told => check_part_whose_try_did_not_end_is_told;
    postgres_outgoing_messages_end_with_their_bot => check_messages_end_with_their_bot_and_connector;
}

#[tokio::test]
async fn postgres_key_makes_one_message_over_replicas() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    outgoing::check_one_key_makes_one_message(&replicas(&postgres).await).await;
}

#[tokio::test]
async fn postgres_rate_is_counted_over_replicas() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    outgoing::check_rate_is_counted_together(&replicas(&postgres).await).await;
}
