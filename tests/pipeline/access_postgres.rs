//! Grants, and requests for them, in a store that replicas share.

use crate::postgres_server::Postgres;
use crate::replicas::{on_postgres, replicas};
use crate::store::access;

on_postgres! {
    access:
    postgres_grant_lets_in_until_it_ends => check_grant_lets_in_until_it_ends;
    postgres_access_request_is_decided_once => check_request_is_decided_once;
    postgres_user_asks_for_access_once_and_so_often => check_user_asks_once_and_so_often;
    postgres_access_request_expires_once => check_request_expires_once;
    postgres_administrator_decides_an_access_request => check_administrator_decides_a_request;
    postgres_access_goes_with_its_time_and_its_connector => check_access_goes_with_its_time_and_its_connector;
    postgres_outcome_finds_a_lane_that_had_gone => check_outcome_finds_a_lane_that_had_gone;
    postgres_deleted_access_request_is_told_nobody => check_deleted_request_is_told_nobody;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_decide_an_access_request_once() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    access::check_replicas_decide_once(replicas(&postgres).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_let_a_user_ask_for_access_once() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    access::check_replicas_ask_once(replicas(&postgres).await).await;
}
