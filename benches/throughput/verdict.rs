//! A figure against its bar: one line each, and whether all were met.

use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints what is required, and PASS or FAIL.
pub(super) fn judge(passed: bool, bar: &str) {
    if !passed {
        FAILED.store(true, Ordering::Relaxed);
    }
    println!("  {}: {bar}", if passed { "PASS" } else { "FAIL" });
}

/// Whether no bar was missed so far.
pub(super) fn all_passed() -> bool {
    !FAILED.load(Ordering::Relaxed)
}
