//! The Bot API simulator and the sample assistant, each rule over real HTTP, and by clients that are not ours.

mod assistant;
mod basics;
mod client;
mod control;
mod faults;
mod groups;
mod keyboards;
mod media;
mod polling;
mod reactions;
mod sending;
mod taps;
mod teloxide_client;
mod webhook;
mod webhook_receiver;
