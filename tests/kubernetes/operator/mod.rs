//! The operator on a Kubernetes API. Each module here has a `register`, called from the one below.

mod account;
mod checklist;
mod daily;
mod house;
mod installation;
mod leadership;
mod lifecycle;
mod load;
mod metrics;
mod process;
mod reasons;
mod rights;
mod rotation;
mod secrecy;
mod webhook;
mod wire;

use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    reasons::register(suite);
    rights::register(suite);
    lifecycle::register(suite);
    metrics::register(suite);
    daily::register(suite);
    webhook::register(suite);
    leadership::register(suite);
    installation::register(suite);
    rotation::register(suite);
    secrecy::register(suite);
    checklist::register(suite);
}
