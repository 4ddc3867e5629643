//! The switches: faults, and how fast the assistant writes.

use maud::{Markup, html};

use super::Snapshot;
use crate::faults::Switch;

pub(super) fn list(snapshot: &Snapshot) -> Markup {
    html! {
        ul .switches {
            @for (switch, on) in &snapshot.switches { (row(snapshot, *switch, *on)) }
        }
    }
}

fn row(snapshot: &Snapshot, switch: Switch, on: bool) -> Markup {
    let name = switch.name();
    let action = format!("/switches{}", snapshot.selection.query.to_url_query());
    let explanation = format!("{name}-explanation");
    html! {
        li {
            form method="post" action=(action) hx-post=(action) hx-swap="none" {
                input type="hidden" name="name" value=(name);
                input type="hidden" name="on" value=(if on { "false" } else { "true" });
                button #(name) .switch .fault[switch.is_fault()] type="submit" role="switch" aria-checked=(on)
                    aria-describedby=(explanation) {
                    span .track aria-hidden="true" {}
                    (switch.label())
                }
            }
            p #(explanation) .hint { (switch.explanation()) }
        }
    }
}
