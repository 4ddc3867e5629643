//! Telegram: whether its Bot API can be reached, and what it says of each bot and of its webhook.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::clock::ClockReading;
use super::cluster::date_header;
use super::connectors::object_name;
use super::context::Context;
use super::environment::Vantage;
use super::finding::Finding;
use super::probe::{root_cause, within};
use crate::api::TelegramConnector;
use crate::cli::{ConnectionModeArg, RunArgs};
use crate::connection::foreign_webhook;
use crate::connection::webhook::webhook_url;
use crate::identity::{BotId, ConnectorUid};
use crate::telegram::bot::WebhookInfo;
use crate::telegram::{Bot, BotToken, TelegramApi};

const TELEGRAM: &str = "telegram";
const BOT: &str = "bot";
const BOT_WEBHOOK: &str = "bot-webhook";
const DUPLICATE_BOT: &str = "duplicate-bot";
/// Waiting updates beyond which the operator does not keep up.
const MANY_PENDING: i64 = 100;

/// The Bot API, if it can be reached.
pub(super) struct Telegram {
    /// Its client, or why it is not asked.
    pub(super) api: Result<Arc<TelegramApi>, String>,
    pub(super) finding: Finding,
    pub(super) clock: Option<ClockReading>,
}

/// Reaches for the Bot API's root.
pub(super) async fn reach(ctx: &Context) -> Telegram {
    let not_asked = |why: String| Telegram {
        finding: Finding::skipped(TELEGRAM, "", &why),
        api: Err(why),
        clock: None,
    };
    let Some(flags) = ctx.flags() else {
        return not_asked(ctx.flags_unknown());
    };
    if ctx.offline {
        return not_asked("--offline".to_owned());
    }
    let root = &flags.run.telegram_api_url;
    let api = match TelegramApi::new(root.clone()) {
        Ok(api) => Arc::new(api),
        Err(error) => {
            return Telegram {
                finding: Finding::failure(TELEGRAM, "", error.to_string())
                    .with_fix("mend --telegram-api-url (chart: telegram.apiUrl)"),
                api: Err("the Bot API's root cannot be used".to_owned()),
                clock: None,
            };
        }
    };
    let from = from_here(ctx);
    match get(ctx, root).await {
        Ok((status, date)) => Telegram {
            finding: Finding::ok(TELEGRAM, "", format!("{root} answers {status}{from}")),
            api: Ok(api),
            clock: date.map(|date| ClockReading::new("Telegram", date, Timestamp::now())),
        },
        Err(why) => Telegram {
            finding: Finding::failure(
                TELEGRAM,
                "",
                format!("{root} cannot be reached: {why}{from}"),
            )
            .with_fix(fix_egress(ctx)),
            api: Err("Telegram cannot be reached".to_owned()),
            clock: None,
        },
    }
}

fn fix_egress(ctx: &Context) -> String {
    let allow = "allow egress to it (NetworkPolicy, firewall, HTTPS_PROXY)";
    match ctx.environment.vantage {
        Vantage::Elsewhere => format!("{}; there it counts: {allow}", ctx.environment.exec_line()),
        Vantage::Pod | Vantage::Machine => allow.to_owned(),
    }
}

/// Says where a probe went out, where that is not where the operator is.
pub(super) fn from_here(ctx: &Context) -> &'static str {
    match ctx.environment.vantage {
        Vantage::Elsewhere => " (from here, not from the Pod)",
        Vantage::Pod | Vantage::Machine => "",
    }
}

async fn get(ctx: &Context, root: &url::Url) -> Result<(u16, Option<Timestamp>), String> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ctx.timeout);
    if root.host_str().is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|e| root_cause(&e))?;
    let answer = client.get(root.clone()).send().await;
    let answer = answer.map_err(|e| root_cause(&e))?;
    Ok((answer.status().as_u16(), date_header(answer.headers())))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What Telegram says of a connector's bot. `is_served`: the operator connects it, so that its webhook can be right or wrong.
pub(super) async fn check_bot(
    ctx: &Context,
    telegram: &Telegram,
    connector: &TelegramConnector,
    token: BotToken,
    is_served: bool,
) -> Vec<Finding> {
    let object = object_name(connector);
    let api = match &telegram.api {
        Ok(api) => api.clone(),
        Err(why) => return vec![Finding::skipped(BOT, object, why)],
    };
    let bot = Bot::new(api, token);
    let profile = match within(ctx.timeout, bot.get_me()).await {
        Ok(profile) => profile,
        Err(why) => {
            let fix = format!(
                "take its token anew from @BotFather and write it into Secret {} of {}",
                connector.spec.bot_token_secret_ref.name,
                connector.namespace().unwrap_or_default(),
            );
            return vec![Finding::failure(BOT, object, format!("getMe: {why}")).with_fix(fix)];
        }
    };
    let found = format!("@{} ({})", profile.username, profile.id);
    let mut findings = vec![Finding::ok(BOT, &*object, found)];
    let Some(flags) = ctx.flags().filter(|_| is_served) else {
        return findings;
    };
    findings.push(match within(ctx.timeout, bot.get_webhook_info()).await {
        Ok(info) => {
            let uid = ConnectorUid::from(connector.uid().unwrap_or_default().as_str());
            judge_webhook(&info, &flags.run, &uid, object)
        }
        Err(why) => Finding::failure(BOT_WEBHOOK, object, format!("getWebhookInfo: {why}")),
    });
    findings
}

/// Whether the bot's webhook is what the environment's mode demands.
fn judge_webhook(info: &WebhookInfo, run: &RunArgs, uid: &ConnectorUid, object: String) -> Finding {
    let found = match info.url.as_str() {
        "" => "none".to_owned(),
        url if foreign_webhook::is_ours(url, uid) => {
            format!("ours at {}", foreign_webhook::host(url))
        }
        url => format!("a foreign one at {}", foreign_webhook::host(url)),
    };
    let is_foreign = !info.url.is_empty() && !foreign_webhook::is_ours(&info.url, uid);
    let fix = if is_foreign {
        "end the other program, or take a new token from @BotFather (/revoke)"
    } else {
        "look into the operator's log: it sets or removes the webhook when it connects"
    };
    let wanted = match (run.connection_mode, &run.public_url) {
        (ConnectionModeArg::Webhook, Some(public)) => webhook_url(public, uid).to_string(),
        _ => String::new(),
    };
    let pending = info.pending_update_count;
    let failure = |message: String| Finding::failure(BOT_WEBHOOK, object.clone(), message);
    if info.url != wanted {
        let wants = if wanted.is_empty() {
            "polling wants none"
        } else {
            "this mode wants that of --public-url"
        };
        return failure(format!("the webhook is {found}, but {wants}")).with_fix(fix);
    }
    if let Some(error) = &info.last_error_message
        && pending > 0
        && !wanted.is_empty()
    {
        return failure(format!(
            "Telegram cannot deliver, {pending} updates wait: {error}"
        ))
        .with_fix("see the lines public-url, certificate and webhook-server");
    }
    if pending > MANY_PENDING {
        let message = format!("{pending} updates wait at Telegram: the operator does not keep up");
        return Finding::warning(BOT_WEBHOOK, object, message).with_fix(fix);
    }
    let message = format!("{found}, as the mode wants; {pending} updates wait");
    Finding::ok(BOT_WEBHOOK, object, message)
}

/// A connector that claims a bot.
#[derive(Debug, Clone)]
pub(super) struct BotClaim {
    pub(super) bot: BotId,
    /// Older ones win: creation time, then uid.
    pub(super) rank: (Option<Timestamp>, String),
    pub(super) object: String,
}

/// The connectors whose bot an older one has, each with its finding.
pub(super) fn find_duplicates(mut claims: Vec<BotClaim>) -> HashMap<String, Finding> {
    claims.sort_by(|a, b| a.rank.cmp(&b.rank));
    let mut owners: HashMap<BotId, String> = HashMap::new();
    let mut duplicates = HashMap::new();
    for claim in claims {
        if let Some(owner) = owners.get(&claim.bot) {
            let message = format!(
                "bot {} is that of {owner} too, which is older and keeps it: this one stays disconnected",
                claim.bot
            );
            let fix = "give it a bot of its own (@BotFather, /newbot), or delete one of the two";
            let finding = Finding::failure(DUPLICATE_BOT, &*claim.object, message).with_fix(fix);
            duplicates.insert(claim.object, finding);
        } else {
            owners.insert(claim.bot, claim.object);
        }
    }
    duplicates
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::commands::doctor::flags::OperatorFlags;

    fn run(webhook: bool) -> RunArgs {
        let key = format!("--webhook-key={}", "k".repeat(32));
        let words = [
            "--connection-mode=webhook",
            "--public-url=https://b.example",
            &key,
        ];
        let words = if webhook { &words[..] } else { &[] };
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        OperatorFlags::from_words(&words, "a test")
            .expect("flags")
            .run
    }

    #[rstest]
    #[case::polling(false, "", None, 0, "ok")]
    #[case::old_mode(false, "https://b.example/telegram/u", None, 0, "FAIL")]
    #[case::foreign(false, "https://n8n.example/hook/secret", None, 0, "FAIL")]
    #[case::webhook(true, "https://b.example/telegram/u", None, 0, "ok")]
    #[case::none(true, "", None, 0, "FAIL")]
    #[case::elsewhere(true, "https://old.example/telegram/u", None, 0, "FAIL")]
    #[case::failing(
        true,
        "https://b.example/telegram/u",
        Some("Connection refused"),
        3,
        "FAIL"
    )]
    #[case::healed(
        true,
        "https://b.example/telegram/u",
        Some("Connection refused"),
        0,
        "ok"
    )]
    #[case::behind(true, "https://b.example/telegram/u", None, 101, "WARN")]
    fn webhook_is_judged_by_the_mode(
        #[case] webhook: bool,
        #[case] url: &str,
        #[case] error: Option<&str>,
        #[case] pending: i64,
        #[case] expected: &str,
    ) {
        let info = WebhookInfo {
            url: url.to_owned(),
            last_error_message: error.map(str::to_owned),
            pending_update_count: pending,
            ..WebhookInfo::default()
        };
        let finding = judge_webhook(&info, &run(webhook), &"u".into(), "acme/support".into());
        assert_eq!(finding.level.word(), expected, "{finding:?}");
        assert!(!finding.message.contains("secret"), "{finding:?}");
    }

    #[test]
    fn younger_connector_of_a_bot_is_the_duplicate() {
        let claim = |object: &str, seconds: i64| BotClaim {
            bot: BotId(42),
            rank: (Timestamp::from_second(seconds).ok(), object.to_owned()),
            object: object.to_owned(),
        };
        let duplicates = find_duplicates(vec![claim("acme/new", 2), claim("acme/old", 1)]);
        assert_eq!(duplicates.len(), 1);
        assert!(duplicates["acme/new"].message.contains("acme/old"));
    }
}
