//! The connectors with their conditions, in the words and the order of kubectl.

use maud::{Markup, html};

use super::{Snapshot, time, unreadable};
use crate::source::{Condition, Connector};

pub(super) fn list(snapshot: &Snapshot) -> Markup {
    match &snapshot.connectors {
        Err(error) => unreadable(error),
        Ok(connectors) if connectors.is_empty() => html! {
            p .empty { "No TelegramConnector yet. Apply a manifest with kubectl, or name one on the command line of " code { "dev" } "." }
        },
        Ok(connectors) => html! {
            @for connector in connectors { (card(snapshot, connector)) }
        },
    }
}

fn card(snapshot: &Snapshot, connector: &Connector) -> Markup {
    let id = format!("connector-{}-{}", connector.namespace, connector.name);
    let selected = connector.bot.is_some() && connector.bot == snapshot.selection.query.bot;
    html! {
        article .card #(id) aria-label={ (connector.namespace) "/" (connector.name) } {
            h3 { span .namespace { (connector.namespace) "/" } (connector.name) }
            @if let Some(bot) = connector.bot.filter(|_| !selected) {
                a .open href=(snapshot.selection.query.with_bot(bot).page_url()) { "Open its chat" }
            }
            dl .columns {
                @for (name, value) in &connector.columns {
                    div { dt { (name) } dd { (value) } }
                }
            }
            @if connector.conditions.is_empty() {
                p .empty { "No conditions yet: the operator has not looked at it." }
            } @else {
                ul .conditions {
                    @for condition in &connector.conditions { (condition_row(condition)) }
                }
            }
        }
    }
}

/// One condition. `Reconciling` and `Stalled` are good while absent, all others while true.
fn condition_row(condition: &Condition) -> Markup {
    let good = match (condition.kind.as_str(), condition.status.as_str()) {
        ("Stalled", "True") | (_, "False") => "bad",
        ("Reconciling", "True") | (_, "Unknown") => "waiting",
        _ => "good",
    };
    html! {
        li .condition .(good) data-condition=(condition.kind) {
            p .verdict {
                span .kind { (condition.kind) } " "
                span .status { (condition.status) } " "
                span .reason { (condition.reason) } " "
                span .since { span .hidden { "since " } (time::seconds(condition.since)) }
            }
            p .text { (condition.message) }
        }
    }
}
