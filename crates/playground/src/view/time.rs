//! Times of the machine's own zone, as a chat shows them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

/// Hours and minutes.
pub(super) fn minutes(at: Timestamp) -> Markup {
    shown(at, "%H:%M")
}

/// Hours, minutes and seconds.
pub(super) fn seconds(at: Timestamp) -> Markup {
    shown(at, "%H:%M:%S")
}

fn shown(at: Timestamp, format: &str) -> Markup {
    let local = at.to_zoned(TimeZone::system());
    html! { time datetime=(at) { (local.strftime(format)) } }
}
