//! The operator on a Kubernetes API. Each module here has a `register`, called from the one below.

mod house;
mod leadership;
mod lifecycle;
mod reasons;
mod webhook;

use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    reasons::register(suite);
    lifecycle::register(suite);
    webhook::register(suite);
    leadership::register(suite);
}
