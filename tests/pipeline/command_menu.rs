//! The menu of commands at Telegram: in every language, written only where it differs, and never in the way.

use std::sync::Arc;

use bot_api_simulator::{Fault, FaultKind, Simulator, SimulatorOptions};
use telegram_connector_operator::connection::ConnectionSettings;
use telegram_connector_operator::connection::{BotConnections, ConnectionGoal};
use telegram_connector_operator::controller;
use telegram_connector_operator::identity::{ConnectorRef, ConnectorUid};
use telegram_connector_operator::observation::Observations;
use telegram_connector_operator::telegram::{Bot, BotToken, TelegramApi};
use telegram_connector_operator::telemetry::metrics::Metrics;
use telegram_connector_operator::texts::languages;

use crate::test_env::{open, wait_until};

struct Menu {
    _folder: tempfile::TempDir,
    telegram: Simulator,
    bot: Bot,
    connector: ConnectorRef,
    connections: BotConnections,
}

impl Menu {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let telegram = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let token = "8400000001:AAFakeTokenFakeTokenFakeTokenFakeTok";
        telegram.add_bot(token, "support_bot", "Support");
        let api = Arc::new(TelegramApi::new(telegram.url()).unwrap());
        let store = open(&format!("sqlite:{}/c.db", folder.path().display())).await;
        let connections = BotConnections::new(
            store,
            Arc::new(Observations::new().0),
            Arc::new(Metrics::new()),
            ConnectionSettings::Polling,
            controller::DEFAULT_RECHECK_INTERVAL,
        );
        connections.open();
        Self {
            _folder: folder,
            telegram,
            bot: Bot::new(api, BotToken::parse(token).unwrap()),
            connector: ConnectorRef {
                namespace: "acme".into(),
                name: "support".into(),
                uid: ConnectorUid::from("uid-support"),
            },
            connections,
        }
    }

    async fn connect(&self) {
        let (connector, bot) = (&self.connector, &self.bot);
        self.connections
            .ensure(connector, bot, None, ConnectionGoal::Connect)
            .await;
    }

    fn calls(&self, method: &str) -> u64 {
        let methods = self.telegram.counters(self.bot.id()).methods;
        methods.get(method).copied().unwrap_or(0)
    }
}

#[tokio::test]
async fn menu_is_written_in_every_language_where_it_differs() {
    let menu = Menu::new().await;
    // Somebody has given the bot another menu in German.
    let other = [("order", "Etwas bestellen")];
    menu.bot.set_my_commands(Some("de"), &other).await.unwrap();
    menu.connect().await;
    wait_until("all menus are written", async || {
        menu.calls("setmycommands") == 8
    })
    .await;
    for (code, texts) in languages() {
        let language = (code != "en").then_some(code);
        let shown = menu.bot.get_my_commands(language).await.unwrap();
        let shown: Vec<_> = shown
            .iter()
            .map(|(c, d)| (c.as_str(), d.as_str()))
            .collect();
        assert_eq!(shown, texts.commands(), "{code}");
    }
    let looked = menu.calls("getmycommands");
    menu.connections.stop(&menu.connector.uid).await;
    menu.connect().await;
    wait_until("all menus are looked at", async || {
        menu.calls("getmycommands") == looked + 7
    })
    .await;
    menu.connections.stop(&menu.connector.uid).await;
    assert_eq!(menu.calls("setmycommands"), 8, "written again");
}

#[tokio::test]
async fn failed_menu_write_does_not_prevent_the_connection() {
    let menu = Menu::new().await;
    menu.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 500,
            description: "Internal Server Error".into(),
        })
        .method("setMyCommands"),
    );
    menu.connect().await;
    wait_until("polls go on", async || {
        let info = menu.bot.get_webhook_info().await.unwrap();
        menu.telegram
            .send_private_message(menu.bot.id(), 1001, "hello");
        info.pending_update_count == 0 && menu.calls("getupdates") >= 4
    })
    .await;
    assert!(menu.calls("setmycommands") <= 1);
}
