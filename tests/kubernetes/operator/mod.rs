//! The operator on a Kubernetes API. Each module here has a `register`, called from the one below.

use crate::suite::Suite;

pub fn register(_suite: &mut Suite) {}
