//! The modules under test and nothing else, under the paths that they have in the crate: so a fuzz build takes a minute instead of
//! the half an hour that the whole operator takes with a sanitizer. `checks.rs` is compiled against this here and against the crate
//! itself in `cargo test`.

#![allow(dead_code, unused_imports, reason = "only a part of what is here is under test")]

#[path = "../../src/telegram"]
pub mod telegram {
    pub(crate) mod json;
    pub mod markdown;
    pub mod split;
    pub(crate) mod update;

    pub use update::RawUpdate;
}

#[path = "../../src/pipeline"]
pub mod pipeline {
    pub mod message;
}

#[path = "../../src/store"]
pub mod store {
    mod lane;

    pub use lane::place;
}

#[path = "../../crates/bot-api-simulator/src"]
pub mod bot_api_simulator {
    mod entity;
    pub mod html;
}
