//! HTML. Every text goes through maud, which escapes it; formatting of messages is in [`entities`].

mod chat;
mod connectors;
mod entities;
mod message;
mod rich;
mod stored;
mod switches;
mod time;

use std::collections::HashMap;

use bot_api_simulator::{Conversation, GroupSummary, User};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::Sources;
use crate::faults::Switch;
use crate::selection::{Selection, SelectionQuery};
use crate::source::{Connector, ReadError, StoredRows};
use bot_api_simulator::sample_assistant::RecordedRequest;
pub(crate) use message::{picture_type, sound_type};

/// How many messages of a chat are shown.
const SHOWN_MESSAGES: usize = 200;
/// How many requests of the assistant are shown.
const SHOWN_REQUESTS: usize = 20;
/// htmx: `open` of a `<details>` belongs to the reader, not to the server; going back in the history loads the page anew.
const HTMX_CONFIG: &str =
    r#"{"history":false,"includeIndicatorCSS":false,"morphIgnore":["data-htmx-powered","open"]}"#;

/// A user to write as.
pub(crate) struct Person {
    pub user: User,
    /// Whether the selected bot answers; `None` while no connector serves it.
    pub may_write: Option<bool>,
}

/// Everything that a page shows, read at one time.
pub(crate) struct Snapshot {
    pub selection: Selection,
    pub connectors: Result<Vec<Connector>, ReadError>,
    pub people: Vec<Person>,
    pub groups: Vec<GroupSummary>,
    pub conversation: Conversation,
    /// What the bot told the selected user about their last tap on a button of each message, where it said anything.
    pub notices: HashMap<i64, String>,
    pub stored: Result<StoredRows, ReadError>,
    /// Newest first.
    pub requests: Vec<RecordedRequest>,
    pub request_count: u64,
    /// Each switch, and whether it is on.
    pub switches: Vec<(Switch, bool)>,
}

impl Snapshot {
    pub(crate) async fn read(sources: &Sources, query: SelectionQuery) -> Self {
        let connectors = sources.cluster.connectors().await;
        let users = read_users(sources).await;
        let bots = served_first(sources, &connectors);
        let all_groups = sources.simulator.groups();
        let selection = Selection::resolve(query, &bots, &users, &all_groups);
        let bot = selection.query.bot;
        let in_group = |group: &GroupSummary| bot.is_some_and(|bot| group.bots.contains(&bot));
        let mut snapshot = Self {
            people: people(sources, users, bot).await,
            groups: all_groups.into_iter().filter(in_group).collect(),
            conversation: Conversation::default(),
            notices: HashMap::new(),
            stored: read_stored(sources, &connectors, bot).await,
            requests: newest_requests(sources),
            request_count: sources.assistant.request_count(),
            switches: Switch::ALL
                .into_iter()
                .map(|switch| (switch, bot.is_some_and(|bot| switch.is_on(sources, bot))))
                .collect(),
            connectors,
            selection,
        };
        snapshot.read_chat(sources);
        snapshot
    }

    /// Reads the chat anew.
    pub(crate) fn read_chat(&mut self, sources: &Sources) {
        if let Some(bot) = &self.selection.bot {
            let chat = self.selection.chat_id();
            let thread = self.selection.query.thread;
            self.conversation =
                sources
                    .simulator
                    .conversation(bot.id, chat, thread, SHOWN_MESSAGES);
            let user = self.selection.user.id;
            let taps = sources.simulator.callback_queries(bot.id).into_iter();
            let taps = taps.filter(|tap| tap.chat_id == chat && tap.from == user);
            self.notices = taps
                .filter_map(|tap| Some((tap.message_id, tap.answer?.text)))
                .collect();
            self.notices.retain(|_, notice| !notice.is_empty());
        }
    }

    /// The connector of the selected bot.
    pub(crate) fn connector(&self) -> Option<&Connector> {
        let bot = self.selection.query.bot?;
        let connectors = self.connectors.as_ref().ok()?;
        connectors.iter().find(|known| known.bot == Some(bot))
    }
}

/// The bots, those of connectors first and in their order.
fn served_first(
    sources: &Sources,
    connectors: &Result<Vec<Connector>, ReadError>,
) -> Vec<bot_api_simulator::BotSummary> {
    let mut bots = sources.simulator.bots();
    let served: Vec<i64> = connectors.iter().flatten().filter_map(|c| c.bot).collect();
    let rank = |id: i64| served.iter().position(|known| *known == id);
    bots.sort_by_key(|bot| rank(bot.id).unwrap_or(usize::MAX));
    bots
}

/// The users of the manifests in their order, then the simulator's others. Telegram is told of users that a manifest has named since.
async fn read_users(sources: &Sources) -> Vec<User> {
    let listed = sources.cluster.listed_users().await.unwrap_or_default();
    let known = sources.simulator.users();
    for user in &listed {
        if !known.iter().any(|known| known.id == user.id) {
            sources.simulator.add_user(user.clone());
        }
    }
    let mut users = listed;
    for user in known {
        if !user.is_bot && !users.iter().any(|listed| listed.id == user.id) {
            users.push(user);
        }
    }
    users
}

async fn people(sources: &Sources, users: Vec<User>, bot: Option<i64>) -> Vec<Person> {
    let mut people = Vec::new();
    for user in users {
        let may_write = match bot {
            Some(bot) => sources.cluster.may_write(bot, &user).await,
            None => None,
        };
        people.push(Person { user, may_write });
    }
    people
}

async fn read_stored(
    sources: &Sources,
    connectors: &Result<Vec<Connector>, ReadError>,
    bot: Option<i64>,
) -> Result<StoredRows, ReadError> {
    let mut connectors = connectors.iter().flatten();
    match connectors.find(|connector| connector.bot.is_some() && connector.bot == bot) {
        Some(connector) => {
            let (namespace, name) = (&connector.namespace, &connector.name);
            sources.stored.rows(namespace, name).await
        }
        None => Ok(StoredRows::default()),
    }
}

fn newest_requests(sources: &Sources) -> Vec<RecordedRequest> {
    let requests = sources.assistant.requests();
    requests.into_iter().rev().take(SHOWN_REQUESTS).collect()
}

/// A part of the page that is replaced while the page is open.
pub(crate) struct Part {
    /// The `id` of the element that holds it.
    pub id: &'static str,
    pub html: Markup,
}

/// What the chat says: all that a message changes. The page holds each part in an element with its id.
pub(crate) fn chat_parts(snapshot: &Snapshot) -> Vec<Part> {
    let part = |id, html| Part { id, html };
    vec![
        part("messages", chat::messages(snapshot)),
        part("preview", chat::preview(snapshot)),
        part("presence", chat::presence(snapshot)),
    ]
}

/// Everything around the chat.
pub(crate) fn other_parts(snapshot: &Snapshot) -> Vec<Part> {
    let part = |id, html| Part { id, html };
    vec![
        part("people", chat::people(snapshot)),
        part("chats", chat::chats(snapshot)),
        part("connector-list", connectors::list(snapshot)),
        part("switches", switches::list(snapshot)),
        part("stored-rows", stored::rows(snapshot)),
    ]
}

/// What htmx puts into the element of this id, where nodes that did not change stay as they are.
pub(crate) fn replacement(id: &str, html: &str) -> String {
    let target = format!("#{id}");
    html! { hx-partial hx-target=(target) hx-swap="innerMorph" { (PreEscaped(html)) } }
        .into_string()
}

/// The whole page.
pub(crate) fn page(snapshot: &Snapshot, addresses: &[(String, String)]) -> Markup {
    let live = format!("/live{}", snapshot.selection.query.to_url_query());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { "Playground · Telegram Connector Operator" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/playground.css";
            }
            body {
                a .skip href="#text" { "Skip to the message box" }
                (header(addresses))
                nav .tabs aria-label="Parts of the page" {
                    a href="#cluster" { "Connectors" }
                    a href="#chat" { "Chat" }
                    a href="#store" { "Stored" }
                }
                main {
                    section #cluster aria-labelledby="cluster-title" {
                        h2 #cluster-title { "Connectors" }
                        div #connector-list { (connectors::list(snapshot)) }
                        h2 { "Faults" }
                        div #switches { (switches::list(snapshot)) }
                    }
                    (chat::section(snapshot))
                    section #store aria-labelledby="store-title" {
                        h2 #store-title { "Stored" }
                        div #stored-rows { (stored::rows(snapshot)) }
                    }
                }
                p #connection role="status" hidden { "No connection to " code { "dev" } ". Has it ended? Start it again and reload this page." }
                div hx-sse:connect=(live) hx-swap="none" hx-config="sse.pauseOnBackground:false" hidden {}
                // Not deferred: htmx begins when the page has been parsed, and by then its extension must be there.
                script src="/assets/htmx.min.js" {}
                script src="/assets/hx-sse.min.js" {}
                script src="/assets/playground.js" {}
            }
        }
    }
}

fn header(addresses: &[(String, String)]) -> Markup {
    html! {
        header {
            div .brand {
                img src="/assets/icon.svg" alt="" width="32" height="32";
                div {
                    h1 { "Playground" }
                    p { "Telegram Connector Operator on this machine: nothing leaves it" }
                }
            }
            dl .addresses {
                @for (label, address) in addresses {
                    div { dt { (label) } dd { code { (address) } } }
                }
            }
        }
    }
}

/// A form of one button that leads to another page: for a new user, group or topic.
fn button_form(action: &str, id: &str, label: &str, field: Option<(&str, &str)>) -> Markup {
    html! {
        form method="post" action=(action) {
            @if let Some((name, value)) = field { input type="hidden" name=(name) value=(value); }
            button #(id) .quiet type="submit" { "+ " (label) }
        }
    }
}

/// A sentence in the place of what could not be read.
fn unreadable(error: &ReadError) -> Markup {
    html! { p .error role="alert" { (error) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacement_names_its_target_and_keeps_the_html() {
        assert_eq!(
            replacement("people", "<b>x</b>"),
            r##"<hx-partial hx-target="#people" hx-swap="innerMorph"><b>x</b></hx-partial>"##
        );
    }
}
