//! The Bot API simulator: strict where Telegram is strict, with a control interface to speak as a user and to break things.
