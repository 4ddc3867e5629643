//! What a Kubernetes API does, each behaviour once: on the embedded control plane and on the real servers.

mod access_reviews;
mod admission;
mod aggregation;
mod apply;
mod basics;
mod controllers;
mod core_kinds;
mod deleting;
mod embedded;
mod patching;
mod rbac;
mod reading;
mod watching;

use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    access_reviews::register(suite);
    admission::register(suite);
    aggregation::register(suite);
    apply::register(suite);
    basics::register(suite);
    controllers::register(suite);
    core_kinds::register(suite);
    deleting::register(suite);
    embedded::register(suite);
    patching::register(suite);
    rbac::register(suite);
    reading::register(suite);
    watching::register(suite);
}
