//! The Bot API simulator and the sample assistant, each rule over real HTTP, and by clients that are not ours.

mod assistant;
mod basics;
mod client;
mod control;
mod faults;
mod groups;
mod hook;
mod polling;
mod sending;
mod strangers;
mod webhook;
