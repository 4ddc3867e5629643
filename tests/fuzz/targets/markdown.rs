//! Any bytes through `checks::markdown`.
#![no_main]

#[allow(unused_imports, reason = "the checks take it from here")]
use telegram_connector_operator::bot_api_simulator::html;

#[allow(dead_code, reason = "each target uses one check")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::markdown(data));
