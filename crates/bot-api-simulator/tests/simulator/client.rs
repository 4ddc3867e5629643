//! A plain HTTP client of one bot, as a stranger would write it.

use bot_api_simulator::{Simulator, SimulatorOptions};
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "8400000001:AAH-simulated-token_for_the_tests";

/// One bot and the simulator it lives in.
pub(crate) struct Client {
    pub(crate) sim: Simulator,
    pub(crate) bot: i64,
    pub(crate) http: reqwest::Client,
}

impl Client {
    pub(crate) async fn start(options: SimulatorOptions) -> Self {
        let sim = Simulator::start(options).await.expect("a free port");
        let bot = sim.add_bot(TOKEN, "acme_support_bot", "Acme Support");
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Self { sim, bot, http }
    }

    pub(crate) fn url(&self, method: &str) -> String {
        format!("http://{}/bot{TOKEN}/{method}", self.sim.addr)
    }

    /// A call with a JSON body: the status and the whole answer.
    pub(crate) async fn call(&self, method: &str, params: Value) -> (u16, Value) {
        let response = self
            .http
            .post(self.url(method))
            .json(&params)
            .send()
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    /// A call that must succeed: its result.
    pub(crate) async fn ok(&self, method: &str, params: Value) -> Value {
        let (status, mut answer) = self.call(method, params).await;
        assert_eq!(status, 200, "{method}: {answer}");
        assert_eq!(answer["ok"], true);
        answer["result"].take()
    }

    /// A call that must fail: its status and description.
    pub(crate) async fn refused(&self, method: &str, params: Value) -> (u16, String) {
        let (status, answer) = self.call(method, params).await;
        assert_eq!(answer["ok"], false, "{method}: {answer}");
        assert_eq!(answer["error_code"], status);
        (
            status,
            answer["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }

    /// Updates from an offset, without waiting.
    pub(crate) async fn updates(&self, offset: i64) -> Vec<Value> {
        let updates = self.ok("getUpdates", json!({"offset": offset})).await;
        updates.as_array().expect("a list").clone()
    }
}

/// The ids of updates.
pub(crate) fn ids(updates: &[Value]) -> Vec<i64> {
    updates
        .iter()
        .map(|update| update["update_id"].as_i64().expect("an id"))
        .collect()
}
