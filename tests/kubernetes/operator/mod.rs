//! Tests of the operator against a Kubernetes API server. Each module adds its tests to the suite in its own `register`.

mod admin_events;
mod assistant_headers;
mod cluster_lists;
mod data_api;
mod data_api_certificate;
mod day_limits;
mod installation;
mod leader_election;
mod lifecycle;
mod load_generator;
mod metrics;
mod operator_account;
mod operator_options;
mod operator_process;
mod orphan_gc;
mod permissions;
mod reason_coverage;
mod reasons;
mod rotation;
mod secrecy;
mod secret_label;
mod shared_polling;
mod sign_in;
mod status_repair;
mod tcp_proxy;
mod test_env;
mod view_of_the_cluster;
mod webhook;
mod webhook_requests;

pub use self::operator_account::{OperatorAccount, Scope, chart_permissions};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    reasons::register(suite);
    cluster_lists::register(suite);
    permissions::register(suite);
    lifecycle::register(suite);
    orphan_gc::register(suite);
    metrics::register(suite);
    admin_events::register(suite);
    webhook::register(suite);
    webhook_requests::register(suite);
    view_of_the_cluster::register(suite);
    leader_election::register(suite);
    shared_polling::register(suite);
    installation::register(suite);
    rotation::register(suite);
    secrecy::register(suite);
    secret_label::register(suite);
    sign_in::register(suite);
    assistant_headers::register(suite);
    status_repair::register(suite);
    data_api_certificate::register(suite);
    data_api::register(suite);
    day_limits::register(suite);
    reason_coverage::register(suite);
}
