//! The command `doctor`: examines what is there, where `check` examines what is written.
//!
//! Every check yields [`finding::Finding`]s: what, how bad, and what to type. They are made side by side and printed in a fixed order. What the
//! caller has no right to read is not checked and said so. Nothing is changed, no question is asked, and no secret is printed.
//!
//! | file | what it owns |
//! |---|---|
//! | `finding`, `report` | what a check found; how it is printed |
//! | `context`, `probe` | what all checks stand on; limits in time |
//! | `environment`, `flags` | the operator, and the flags that it runs with |
//! | `cluster` | the API server and the CRDs |
//! | `data_api` | the registration of the data API |
//! | `rights` | what the caller and the operator may do |
//! | `operator` | Deployment, readiness, version, Lease |
//! | `connectors` | status, deletion, user lists and Secrets of a connector |
//! | `telegram` | the Bot API, and what it says of each bot |
//! | `public_url`, `certificate` | the webhook from outside in |
//! | `assistants` | reached, but never asked |
//! | `store`, `clock` | the store and its volume; the clocks |

mod assistants;
mod certificate;
mod clock;
mod cluster;
mod connectors;
mod context;
mod data_api;
mod environment;
mod finding;
mod flags;
mod operator;
mod probe;
mod public_url;
mod report;
mod rights;
mod store;
mod telegram;

use std::collections::HashMap;
use std::io::{self, Stdout};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, future, stream};
use jiff::Timestamp;
use kube::{Client, Resource, ResourceExt};

use self::clock::ClockReading;
use self::connectors::{GuardedConnector, UserLists};
use self::context::Context;
use self::environment::OperatorEnvironment;
use self::finding::Finding;
use self::report::Report;
use self::telegram::{BotClaim, Telegram};
use crate::assistant::AssistantHttpClient;
use crate::cli::DoctorArgs;
use crate::controller::SecretCache;
use crate::identity::ConnectorUid;
use crate::kube_client;

/// Connectors that are examined at once.
const CONCURRENCY: usize = 8;
/// The exit code where nothing could be examined.
const COULD_NOT_RUN: u8 = 2;

/// Examines and prints. 0: nothing is broken; 1: something is; 2: nothing could be examined.
///
/// # Errors
/// The output cannot be written.
pub async fn doctor(args: DoctorArgs) -> Result<ExitCode> {
    let mut report = Report::new(io::stdout(), args.output);
    match Box::pin(examine(&args, &mut report)).await {
        Ok(true) => Ok(report.finish().map(exit_code)?),
        Ok(false) => {
            report.finish()?;
            Ok(COULD_NOT_RUN.into())
        }
        Err(error) => {
            eprintln!("telegram-connector-operator doctor: {error:#}");
            Ok(COULD_NOT_RUN.into())
        }
    }
}

fn exit_code(whole: bool) -> ExitCode {
    u8::from(!whole).into()
}

/// Whether the API server could be asked.
async fn examine(args: &DoctorArgs, report: &mut Report<Stdout>) -> Result<bool> {
    let config = kube_client::infer_config(args.context.as_deref())
        .await
        .context("no cluster: set KUBECONFIG, name a --context of it, or run inside a Pod")?;
    let client = Client::try_from(config)?;
    let (server, reached) = match cluster::reach(&client, args.timeout()).await {
        Ok(reached) => reached,
        Err(finding) => {
            report.print(&finding)?;
            return Ok(false);
        }
    };
    let read_at = Timestamp::now();
    report.print(&reached)?;
    let environment = OperatorEnvironment::discover(args, &client).await?;
    let named = args.connector.as_ref().map(|_| "default".to_owned());
    let ctx = Context {
        client,
        environment,
        timeout: args.timeout(),
        offline: args.offline,
        only_namespace: args.namespace.clone().or(named),
    };
    let (crds, caller, operator_rights, operator, data_api, telegram) = tokio::join!(
        cluster::check_crds(&ctx, &server),
        rights::check_caller(&ctx),
        rights::check_operator(&ctx),
        operator::check(&ctx, server.date.unwrap_or(read_at)),
        data_api::check(&ctx),
        telegram::reach(&ctx),
    );
    print_all(report, crds)?;
    report.print(&caller)?;
    print_all(report, operator_rights)?;
    print_all(report, operator)?;
    print_all(report, data_api)?;
    let now = server.date.unwrap_or(read_at);
    examine_connectors(&ctx, args, &telegram, now, report).await?;
    print_all(report, store::check(&ctx, args.store.as_deref()).await)?;
    let api_server = server.clock(read_at);
    let clocks: Vec<ClockReading> = api_server.into_iter().chain(telegram.clock).collect();
    print_all(report, clock::check(&clocks))?;
    Ok(true)
}

fn print_all(
    report: &mut Report<Stdout>,
    findings: impl IntoIterator<Item = Finding>,
) -> io::Result<()> {
    findings
        .into_iter()
        .try_for_each(|finding| report.print(&finding))
}

/// What all connectors are examined with.
struct Examination<'a> {
    ctx: &'a Context,
    telegram: &'a Telegram,
    secrets: SecretCache,
    /// By the object that is one.
    duplicates: HashMap<String, Finding>,
    lists: Result<UserLists, String>,
    assistants: Result<AssistantHttpClient, String>,
    /// The API server's time.
    now: Timestamp,
}

/// What came of one connector.
struct Examined {
    findings: Vec<Finding>,
    assistant: Option<Finding>,
    /// Its uid, if the operator serves it.
    served: Option<ConnectorUid>,
}

/// Prints the connectors' findings, then those of the public URL, of Telegram and of the assistants.
async fn examine_connectors(
    ctx: &Context,
    args: &DoctorArgs,
    telegram: &Telegram,
    now: Timestamp,
    report: &mut Report<Stdout>,
) -> Result<()> {
    let connectors = match connectors::list(ctx, args.connector.as_deref()).await {
        Ok(connectors) => connectors,
        Err(finding) => {
            report.print(&finding)?;
            Vec::new()
        }
    };
    let flags = ctx.flags();
    let require_label = flags.is_some_and(|flags| flags.run.require_secret_label);
    let secrets = SecretCache::new(ctx.client.clone(), require_label);
    let claims = read_claims(&secrets, &connectors).await;
    let examination = Examination {
        ctx,
        telegram,
        duplicates: telegram::find_duplicates(claims),
        secrets,
        lists: connectors::list_user_lists(ctx, connectors::use_cluster_lists(&connectors)).await,
        assistants: assistants::client(ctx),
        now,
    };
    let mut examined = stream::iter(&connectors)
        .map(|connector| examination.examine(connector))
        .buffered(CONCURRENCY);
    let (mut assistants, mut served) = (Vec::new(), None);
    while let Some(one) = examined.next().await {
        print_all(report, one.findings)?;
        assistants.extend(one.assistant);
        served = served.or(one.served);
    }
    print_all(report, public_url::check(ctx, served.as_ref()).await)?;
    report.print(&telegram.finding)?;
    print_all(report, assistants)?;
    Ok(())
}

impl Examination<'_> {
    async fn examine(&self, guarded: &GuardedConnector) -> Examined {
        let connector = match &guarded.0 {
            Ok(connector) => connector,
            Err(invalid) => {
                let object = connectors::object_name(guarded);
                return Examined {
                    findings: vec![connectors::unreadable(object, &invalid.error)],
                    assistant: None,
                    served: None,
                };
            }
        };
        let mut findings = connectors::check_status(connector);
        let deletion = connectors::check_deletion(connector, self.now);
        let is_deleted = deletion.is_some();
        findings.extend(deletion);
        findings.extend(connectors::check_user_lists(connector, &self.lists));
        let (token, (credentials, keys)) = future::join(
            connectors::read_token(&self.secrets, connector),
            connectors::read_credentials(&self.secrets, connector),
        )
        .await;
        let duplicate = self.duplicates.get(&connectors::object_name(connector));
        let is_served = duplicate.is_none() && token.is_ok() && !is_deleted;
        let is_served = is_served && !connector.spec.is_suspended();
        match token {
            Ok(token) => {
                findings.push(connectors::token_is_there(connector));
                let bot = telegram::check_bot(self.ctx, self.telegram, connector, token, is_served);
                findings.extend(bot.await);
            }
            Err(finding) => findings.push(finding),
        }
        findings.extend(duplicate.cloned());
        findings.extend(keys);
        let assistant = assistants::check(self.ctx, &self.assistants, connector, credentials).await;
        let uid = connector.uid().filter(|_| is_served);
        Examined {
            findings,
            assistant: Some(assistant),
            served: uid.map(|uid| ConnectorUid::from(uid.as_str())),
        }
    }
}

/// Who claims which bot: the connectors that are neither suspended nor deleted and have a token.
async fn read_claims(secrets: &SecretCache, connectors: &[GuardedConnector]) -> Vec<BotClaim> {
    let active = connectors
        .iter()
        .filter_map(|guarded| guarded.0.as_ref().ok());
    let active = active.filter(|connector| {
        !connector.spec.is_suspended() && connector.metadata.deletion_timestamp.is_none()
    });
    let claims = stream::iter(active).map(|connector| async move {
        let token = connectors::read_token(secrets, connector).await.ok()?;
        Some(BotClaim {
            bot: token.bot_id(),
            rank: (created(connector), connector.uid().unwrap_or_default()),
            object: connectors::object_name(connector),
        })
    });
    claims
        .buffered(CONCURRENCY)
        .filter_map(future::ready)
        .collect()
        .await
}

fn created(connector: &impl Resource) -> Option<Timestamp> {
    let created = connector.meta().creation_timestamp.as_ref();
    created.map(|time| time.0)
}
