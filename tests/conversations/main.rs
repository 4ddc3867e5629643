//! End-to-end conversations, one YAML file per feature in `scripts/`, run through the whole pipeline with the Bot API simulator: what
//! users write, which messages Telegram then shows, and which requests the assistant gets.
//!
//! ```text
//! cargo test --test conversations                 # all
//! cargo test --test conversations albums          # those of one file
//! ```
//!
//! # Writing one
//! A file is a map from a sentence (the test's name) to its steps; a step is `who does: what`. `runner/mod.rs` lists all steps:
//!
//! ```yaml
//! A text is answered:
//!   - ann says: where is my order?
//!   - assistant saw: where is my order?
//!   - bot shows: |-
//!       You said: where is my order?
//!
//!       This is the first message of our conversation.
//! ```
//!
//! A script must name everything that happens: a message of the bot or a request to the assistant that no step expects is a failure.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../pipeline/test_env.rs"]
#[allow(dead_code, reason = "shared with the tests of the pipeline")]
mod test_env;

mod runner;
mod script;
mod users;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations/scripts");
    let mut trials = Vec::new();
    for (feature, title, steps) in script::read_all(&folder) {
        trials.push(Trial::test(format!("{feature}: {title}"), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            runtime
                .block_on(runner::run_script(steps))
                .map_err(Into::into)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
