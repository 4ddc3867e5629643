//! Watches. One task per resource asks the storage for changes, and only while somebody watches ([`hub`]); each watch picks what is its
//! own ([`watcher`]).

mod hub;
mod ring;
mod watcher;

pub(crate) use self::hub::{HubSettings, WatchHub};
pub(crate) use self::watcher::{WatchTimes, respond};
