//! What a Kubernetes API does, each behaviour once: on the embedded control plane and on the real servers.

mod basics;

use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    basics::register(suite);
}
