//! Compares figures with their limits: prints one line each and remembers whether all were met.

use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints PASS or FAIL and the requirement.
pub(super) fn judge(passed: bool, requirement: &str) {
    if !passed {
        FAILED.store(true, Ordering::Relaxed);
    }
    println!("  {}: {requirement}", if passed { "PASS" } else { "FAIL" });
}

/// Whether every requirement so far was met.
pub(super) fn all_passed() -> bool {
    !FAILED.load(Ordering::Relaxed)
}
