//! The Bot API simulator and the sample assistant, each rule over real HTTP, and by clients that are not ours.

mod assistant;
mod basics;
mod bot_api_data;
mod client;
mod control;
mod conversation;
mod faults;
mod groups;
mod keyboards;
mod media;
mod polling;
mod reactions;
mod rich_messages;
mod sending;
mod taps;
mod teloxide_client;
mod webhook;
mod webhook_receiver;
