//! A process that is killed at each call of the store and of the Bot API, one call after the other: what people say, tap and are sent comes to the same
//! end as without. A tap or an approval counts once, no part is lost, at most one is doubled by a kill, and the order stays.

mod conversations;
mod database;
mod world;

use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use conversations::{
    ACCESS, APPROVAL, APPROVAL_ELSEWHERE, CHOICE, Conversation, EXPIRED_APPROVAL, FILES, LIMITED,
    READ_ALONG, REFUSED_RICH, RICH, SPEECH, WORDS,
};
use database::Server;
use world::World;

use crate::postgres::Postgres;
use crate::test_env::TIMEOUT;

/// Conversations that are held side by side.
const SIDE_BY_SIDE: usize = 8;
/// Kills that are tried of each conversation, at calls that a seed chooses; all where [`EVERY_KILL`] is set.
const SAMPLED_KILLS: usize = 24;
const SAMPLED_KILLS_ON_POSTGRES: usize = 2;
const EVERY_KILL: &str = "EVERY_KILL";
/// When the process is killed, and the one after it, if that is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kill {
    at: Point,
    /// The counted call of the store at which the next one is killed, with what it asked for done.
    again: Option<usize>,
}

/// A call, and whether what it asks for is done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Point {
    /// Of the store: at this one of those that count, from 0.
    Store { call: usize, done: bool },
    /// Of the Bot API: at this one of a method, from 0.
    Telegram {
        method: String,
        call: u64,
        done: bool,
    },
}

/// How often the store and each method of the Bot API were called.
struct Calls {
    store: usize,
    telegram: Vec<(String, u64)>,
}

impl Calls {
    fn points(self) -> Vec<Point> {
        let both = |point: &dyn Fn(bool) -> Point| [point(false), point(true)];
        let mut points: Vec<Point> = (0..self.store)
            .flat_map(|call| both(&|done| Point::Store { call, done }))
            .collect();
        for (method, calls) in self.telegram {
            points.extend((0..calls).flat_map(|call| {
                both(&|done| Point::Telegram {
                    method: method.clone(),
                    call,
                    done,
                })
            }));
        }
        points
    }
}

/// Holds the conversation with this kill in it.
async fn hold(server: &Server, conversation: &Conversation, kill: Option<Kill>) -> Calls {
    let mut world = World::new(server, conversation, kill).await;
    world.hold(conversation).await;
    world.check(conversation).await;
    world.env.stop_polling();
    if let Some(pipeline) = world.pipeline.take() {
        pipeline.shutdown(TIMEOUT).await;
    }
    let telegram = world.env.telegram.counters(world.support().id).methods;
    let telegram = telegram
        .into_iter()
        .filter(|(method, _)| !method.starts_with("get"));
    Calls {
        store: world.calls.load(Ordering::SeqCst),
        telegram: telegram.collect(),
    }
}

/// Holds it without a kill, and then with one at the calls that this made; in every third a second process is killed too.
async fn kill_everywhere(server: &Server, conversation: &Conversation) {
    let mut points = hold(server, conversation, None).await.points();
    let seed = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    points.shuffle(&mut random);
    let calls = points.len();
    println!("{calls} calls, seed {seed}");
    if std::env::var_os(EVERY_KILL).is_none() {
        points.truncate(match server {
            Server::Sqlite => SAMPLED_KILLS,
            Server::Postgres(_) => SAMPLED_KILLS_ON_POSTGRES,
        });
    }
    let kills = points.into_iter().map(|at| Kill {
        at,
        again: (random.random_range(0..3) == 0).then(|| random.random_range(0..calls / 2)),
    });
    let kills: Vec<Kill> = kills.collect();
    let held = kills
        .into_iter()
        .map(|kill| hold(server, conversation, Some(kill)));
    let held = futures::stream::iter(held).buffer_unordered(SIDE_BY_SIDE);
    held.for_each(async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choice_counts_once_wherever_the_process_is_killed() {
    kill_everywhere(&Server::Sqlite, &CHOICE).await;
    kill_everywhere(&Server::Sqlite, &WORDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approval_counts_once_wherever_the_process_is_killed() {
    kill_everywhere(&Server::Sqlite, &APPROVAL).await;
    kill_everywhere(&Server::Sqlite, &APPROVAL_ELSEWHERE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approval_expires_once_wherever_the_process_is_killed() {
    kill_everywhere(&Server::Sqlite, &EXPIRED_APPROVAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asker_is_let_in_once_wherever_the_process_is_killed() {
    kill_everywhere(&Server::Sqlite, &ACCESS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_is_lost_wherever_the_process_is_killed() {
    kill_everywhere(&Server::Sqlite, &FILES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rich_message_keeps_its_place_wherever_it_is_killed() {
    kill_everywhere(&Server::Sqlite, &RICH).await;
    kill_everywhere(&Server::Sqlite, &REFUSED_RICH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spoken_answer_is_whole_wherever_the_process_is_killed() {
    kill_everywhere(&Server::Sqlite, &SPEECH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_is_read_along_once_wherever_it_is_killed() {
    kill_everywhere(&Server::Sqlite, &READ_ALONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn question_of_the_day_counts_once_wherever_it_is_killed() {
    kill_everywhere(&Server::Sqlite, &LIMITED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_it_all_wherever_the_process_is_killed() {
    let Some(postgres) = Postgres::start_empty().await else {
        return;
    };
    let server = Server::Postgres(postgres);
    for conversation in [
        &CHOICE,
        &WORDS,
        &APPROVAL,
        &APPROVAL_ELSEWHERE,
        &ACCESS,
        &EXPIRED_APPROVAL,
        &FILES,
        &RICH,
        &REFUSED_RICH,
        &SPEECH,
        &READ_ALONG,
        &LIMITED,
    ] {
        kill_everywhere(&server, conversation).await;
    }
}
