//! The operator on a Kubernetes API. Each module here has a `register`, called from the one below.

mod checklist;
mod account;
mod house;
mod installation;
mod leadership;
mod lifecycle;
mod load;
mod process;
mod reasons;
mod rotation;
mod secrecy;
mod rights;
mod webhook;
mod wire;

use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    reasons::register(suite);
    rights::register(suite);
    lifecycle::register(suite);
    webhook::register(suite);
    leadership::register(suite);
    installation::register(suite);
    rotation::register(suite);
    secrecy::register(suite);
    checklist::register(suite);
}
