//! What can be made to fail, or to take its time. The state is that of the simulator and the assistant themselves: a fault that `curl`
//! switched on is shown as on.

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind};

use crate::{Sources, WORD_DELAY_MS};

/// Seconds that the simulated 429 asks to wait.
const RETRY_AFTER_SECONDS: u64 = 2;

/// A switch of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Telegram answers each call of the bot with 429.
    TelegramBusy,
    /// The assistant closes each connection without an answer.
    AssistantDown,
    /// Telegram answers 401 to the bot's token.
    TokenRevoked,
    /// The assistant writes as a language model does, so that previews grow.
    WordByWord,
}

impl Switch {
    pub(crate) const ALL: [Self; 4] = [
        Self::TelegramBusy,
        Self::AssistantDown,
        Self::TokenRevoked,
        Self::WordByWord,
    ];

    /// Its name in URLs and forms.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TelegramBusy => "telegram-429",
            Self::AssistantDown => "assistant-down",
            Self::TokenRevoked => "token-revoked",
            Self::WordByWord => "word-by-word",
        }
    }

    /// The switch of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|switch| switch.name() == name)
    }

    /// Its label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TelegramBusy => "Telegram 429",
            Self::AssistantDown => "Assistant down",
            Self::TokenRevoked => "Token revoked",
            Self::WordByWord => "Word by word",
        }
    }

    /// What it does, and what to look at, in a sentence.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::TelegramBusy => {
                "Telegram answers 429 to every call of the bot: retry after 2 s. Connected says RateLimited; messages wait and are answered once it is off."
            }
            Self::AssistantDown => {
                "The assistant hangs up on every request. The user is told at once; after three in a row AssistantReady says it, too."
            }
            Self::TokenRevoked => {
                "Telegram answers 401 to the bot's token. Write something, and TokenValid says what is wrong; the answer waits until it is off."
            }
            Self::WordByWord => {
                "The sample assistant writes 25 words a second, so that previews grow."
            }
        }
    }

    /// Whether something fails by it.
    pub(crate) fn is_fault(self) -> bool {
        self != Self::WordByWord
    }

    /// Whether it is on for a bot.
    pub(crate) fn is_on(self, sources: &Sources, bot: i64) -> bool {
        match self {
            Self::TelegramBusy => !busy_faults(sources, bot).is_empty(),
            Self::AssistantDown => sources.assistant.behaviour().drop_after_words == Some(0),
            Self::TokenRevoked => {
                let bots = sources.simulator.bots();
                bots.iter().any(|known| known.id == bot && known.revoked)
            }
            Self::WordByWord => sources.assistant.behaviour().word_delay_ms > 0,
        }
    }

    /// Switches it on or off for a bot.
    pub(crate) async fn set(self, sources: &Sources, bot: i64, on: bool) {
        match self {
            Self::TelegramBusy => {
                for id in busy_faults(sources, bot) {
                    sources.simulator.remove_fault(id);
                }
                if on {
                    sources.simulator.add_fault(busy_fault(bot));
                }
            }
            Self::AssistantDown => change_behaviour(sources, |behaviour| {
                behaviour.drop_after_words = on.then_some(0);
            }),
            Self::TokenRevoked => {
                if on {
                    sources.simulator.revoke(bot);
                } else {
                    sources.simulator.restore_token(bot);
                    // A real bot's owner would write a new token into the Secret. Should it fail, the page goes on saying what the status says.
                    let _ = sources.cluster.rewrite_token(bot).await;
                }
            }
            Self::WordByWord => change_behaviour(sources, |behaviour| {
                behaviour.word_delay_ms = if on { WORD_DELAY_MS } else { 0 };
            }),
        }
    }
}

fn busy_fault(bot: i64) -> Fault {
    let refused = FaultKind::TooManyRequests {
        retry_after: RETRY_AFTER_SECONDS,
    };
    Fault::new(refused).bot(bot)
}

/// The ids of the faults by which this bot gets 429.
fn busy_faults(sources: &Sources, bot: i64) -> Vec<u64> {
    let faults = sources.simulator.faults().into_iter();
    faults
        .filter(|(_, fault, _)| {
            matches!(fault.fault, FaultKind::TooManyRequests { .. })
                && fault.bot.is_none_or(|only| only == bot)
        })
        .map(|(id, ..)| id)
        .collect()
}

fn change_behaviour(sources: &Sources, change: impl FnOnce(&mut Behaviour)) {
    let mut behaviour = Behaviour::clone(&sources.assistant.behaviour());
    change(&mut behaviour);
    sources.assistant.set_behaviour(behaviour);
}
