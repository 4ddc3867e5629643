//! Any bytes through `checks::update`.
#![no_main]

#[allow(dead_code, reason = "each target uses one check")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::update(data));
