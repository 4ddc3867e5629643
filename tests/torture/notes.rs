//! Messages that somebody sends through the bots while the operator is killed, as another replica accepts them: in the store that both have.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_api_simulator::Simulator;
use telegram_connector_operator::identity::{BotId, ConnectorRef};
use telegram_connector_operator::store::{
    self, CreateOutcome, NewOutgoing, OutgoingMessage, OutgoingPhase, ReplyPart, Store,
};

use crate::test_env::{TestEnv, connector_name};

/// A client waits so long for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The messages, with the store in which they are.
pub(crate) struct Notes {
    store: Arc<dyn Store>,
    bots: Vec<BotId>,
    notes: Vec<Note>,
}

/// A message of which the client knows, or does not yet know, that it is accepted. Its number is its place.
struct Note {
    bot: usize,
    chat: i64,
    connector: ConnectorRef,
    is_accepted: bool,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct NoteTally {
    pub(crate) accepted: usize,
    /// The parts that never arrived.
    pub(crate) lost: Vec<String>,
    /// The parts that arrived more often than once, and are not listed as ambiguous.
    pub(crate) doubled: Vec<String>,
    /// How many messages are listed as ambiguous.
    pub(crate) ambiguous: usize,
    pub(crate) failed: Vec<String>,
}

impl Notes {
    pub(crate) async fn new(env: &TestEnv) -> Self {
        Self {
            store: store::open(&env.store).await.unwrap(),
            bots: env.bots.clone(),
            notes: Vec::new(),
        }
    }

    /// Sends one, if the connector is known by now. The answer may not come.
    pub(crate) async fn send(&mut self, bot: usize, chat: i64) {
        let connectors = self.store.connectors().await.unwrap_or_default();
        let name = connector_name(bot);
        let Some(connector) = connectors.into_iter().find(|c| *c.name == *name) else {
            return;
        };
        self.notes.push(Note {
            bot,
            chat,
            connector,
            is_accepted: false,
        });
        if !self.try_to_send(self.notes.len() - 1).await {
            self.notes.pop();
        }
    }

    /// False if the bot has not met the chat: then there is no message.
    async fn try_to_send(&mut self, n: usize) -> bool {
        let note = &self.notes[n];
        let text = |part: &str| ReplyPart::text(None, format!("note {n} {part}."), None);
        let mut parts = vec![text("begins")];
        if n.is_multiple_of(4) {
            parts.push(text("ends"));
        }
        let new = NewOutgoing {
            connector: note.connector.clone(),
            bot: self.bots[note.bot],
            chat: note.chat,
            topic: 0,
            user: Some(note.chat),
            name: format!("note-{n}"),
            idempotency_key: Some(format!("key-{n}")),
            text: format!("note {n}"),
            silent: false,
            parts,
            per_minute: 100_000,
            dry_run: false,
        };
        let created = tokio::time::timeout(CLIENT_TIMEOUT, self.store.create_outgoing(new)).await;
        match created {
            Ok(Ok(CreateOutcome::Created(_) | CreateOutcome::SameKey(_))) => {
                self.notes[n].is_accepted = true;
                true
            }
            Ok(Ok(CreateOutcome::NeverMet)) => false,
            Ok(Ok(CreateOutcome::BacklogFull) | Err(_)) | Err(_) => true,
            Ok(Ok(refused)) => panic!("note {n}: {refused:?}"),
        }
    }

    /// Has every message accepted of which that is not known, and waits until all have ended.
    pub(crate) async fn wait_until_ended(&mut self, stall_timeout: Duration) {
        let deadline = Instant::now() + stall_timeout;
        loop {
            for n in 0..self.notes.len() {
                if !self.notes[n].is_accepted {
                    self.try_to_send(n).await;
                }
            }
            let mut waiting = self.notes.iter().filter(|note| !note.is_accepted).count();
            for n in 0..self.notes.len() {
                let message = self.find(n).await;
                waiting += usize::from(message.is_none_or(|m| m.phase == OutgoingPhase::Pending));
            }
            if waiting == 0 || Instant::now() > deadline {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn find(&self, n: usize) -> Option<OutgoingMessage> {
        let name = format!("note-{n}");
        let found = self.store.outgoing_message("acme", &name).await;
        found.unwrap_or_default()
    }

    /// Counts what has arrived.
    pub(crate) async fn tally(&self, telegram: &Simulator) -> NoteTally {
        let mut tally = NoteTally::default();
        let mut arrived: HashMap<(usize, i64, String), usize> = HashMap::new();
        for (bot, id) in self.bots.iter().enumerate() {
            for chat in telegram.chats(*id) {
                for sent in telegram.sent_messages(*id, chat) {
                    *arrived.entry((bot, chat, sent.text)).or_default() += 1;
                }
            }
        }
        for (n, note) in self.notes.iter().enumerate() {
            let Some(message) = self.find(n).await else {
                tally.lost.push(format!("note {n}"));
                continue;
            };
            tally.accepted += 1;
            tally.ambiguous += usize::from(message.ambiguous);
            if message.phase == OutgoingPhase::Failed {
                tally.failed.push(format!("{n}: {:?}", message.reason));
            }
            let parts = ["begins", "ends"];
            for part in &parts[..if n.is_multiple_of(4) { 2 } else { 1 }] {
                let text = format!("note {n} {part}.");
                match arrived.get(&(note.bot, note.chat, text.clone())) {
                    None => tally.lost.push(text),
                    Some(1) => {}
                    Some(_) if message.ambiguous => {}
                    Some(_) => tally.doubled.push(text),
                }
            }
        }
        tally
    }
}
