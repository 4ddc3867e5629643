//! `kubectl` on the embedded control plane and on the real ones.

use crate::suite::Suite;

pub fn register(_suite: &mut Suite) {}
