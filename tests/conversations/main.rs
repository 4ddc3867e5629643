//! Conversations as people have them, one script per feature in `scripts/*.yaml`, played on the simulator through the whole
//! pipeline: what people say, what Telegram then shows, and what the assistant was asked.
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
//! Everything that is shown must be in the script: at its end, no message of the bot and no question to the assistant may be left
//! over.

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
    for (feature, title, conversation) in script::read_all(&folder) {
        trials.push(Trial::test(format!("{feature}: {title}"), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            runtime
                .block_on(runner::play(conversation))
                .map_err(Into::into)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
