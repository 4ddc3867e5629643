//! The way of a message: the store's promises and the pipeline's, through their real seams.

#![allow(clippy::unwrap_used, missing_docs)]

mod attached;
mod backlog;
mod bad_input;
mod disk;
mod menu;
#[path = "../support/not_tried.rs"]
mod not_tried;
mod postgres;
mod preview;
mod sharing;
mod stopping;
mod store;
mod trouble;
mod way;
mod world;
