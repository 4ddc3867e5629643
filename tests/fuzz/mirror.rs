//! The modules under test under their paths in the crate, without the rest of it: a fuzz build with a sanitizer takes a minute instead of
//! half an hour. `checks.rs` is compiled against this file and, in `cargo test`, against the crate.

#![allow(dead_code, unused_imports, reason = "only a part of what is here is under test")]

#[path = "../../src/telegram"]
pub mod telegram {
    pub(crate) mod json;
    pub mod markdown;
    pub mod split;
    pub(crate) mod update;
    pub(crate) mod update_route;

    pub use update::RawUpdate;
    pub use update_route::{UpdateKind, UpdateRoute};
}

#[path = "../../src/pipeline/message"]
pub mod pipeline {
    pub mod incoming_update;
}

#[path = "../../crates/bot-api-simulator/src"]
pub mod bot_api_simulator {
    mod entity;
    pub mod html;
    mod links;
}
