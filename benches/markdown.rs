//! Measures whether rendering takes time in proportion to the text, whatever is in it: known bombs and combinations of their pieces.
//!
//! ```text
//! cargo bench --bench markdown             # the bombs and 300 combinations
//! cargo bench --bench markdown -- 3000     # more combinations
//! ```
//!
//! Each text is rendered, into text messages and with a table before it into rich ones, eight times with 10,000 bytes and once with 80,000, in turn, and the best time of each counts: about the same if the time
//! is in proportion to the text, and eight times as long for the long text if it is quadratic. (Up to three times it takes for memory that is not
//! in the cache.) What looks slow is measured again, since other programs make noise. The exit code is 1 if the long text takes more than four
//! times as long, or more than 400 ms (10 s without optimizations, with `--profile dev`).

#![allow(missing_docs)]

#[path = "../tests/markdown/bombs.rs"]
mod bombs;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use telegram_connector_operator::telegram::markdown::{PartLimit, render, render_rich_within};

const SHORT: usize = 10_000;
/// What makes a text need rich messages.
const TABLE: &str = "|a|b|\n|-|-|\n|c|d|\n\n";
/// How many short texts are as long as the long one.
const TIMES: usize = 8;
const LONG: usize = TIMES * SHORT;
/// The most times longer that the long text may take than as much of short ones.
const MAX_RATIO: f64 = 4.0;
/// The longest time for a long text.
const MAX_TIME: Duration = if cfg!(debug_assertions) {
    Duration::from_secs(10)
} else {
    Duration::from_millis(400)
};
/// Times below this say nothing.
const NOISE: Duration = Duration::from_micros(300);
/// How often each text is measured, unless that takes longer than [`LONG_ENOUGH`], and how often again if it looks slow.
const ROUNDS: usize = 5;
const LONG_ENOUGH: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 4;

struct Measurement {
    name: String,
    /// All short texts.
    short: Duration,
    long: Duration,
}

impl Measurement {
    fn ratio(&self) -> f64 {
        self.long.as_secs_f64() / self.short.max(NOISE).as_secs_f64()
    }

    fn of(name: String, short: &str, long: &str) -> Self {
        let mut best = Self {
            name,
            short: Duration::MAX,
            long: Duration::MAX,
        };
        for _ in 0..ATTEMPTS {
            let began = Instant::now();
            for _ in 0..ROUNDS {
                best.short = best.short.min(time_of(TIMES, short));
                best.long = best.long.min(time_of(1, long));
                if began.elapsed() > LONG_ENOUGH {
                    break;
                }
            }
            if best.ratio() <= MAX_RATIO && best.long <= MAX_TIME {
                break;
            }
        }
        best
    }
}

fn time_of(times: usize, text: &str) -> Duration {
    let with_table = format!("{TABLE}{text}");
    let limit = PartLimit {
        parts: usize::MAX,
        mark: "",
    };
    let began = Instant::now();
    for _ in 0..times {
        black_box(render(black_box(text)));
        black_box(render_rich_within(black_box(&with_table), limit));
    }
    began.elapsed()
}

/// A text of pieces, the same for the same number: each stretch repeats one to three of them.
fn combination(number: u64, length: usize) -> String {
    let mut random = StdRng::seed_from_u64(number);
    let stretches = random.random_range(1..=3);
    let mut text = String::new();
    for stretch in 1..=stretches {
        let pieces = random.random_range(1..=3);
        let pieces = bombs::PIECES.choose_multiple(&mut random, pieces);
        let piece: String = pieces.copied().collect();
        while text.len() < length * stretch / stretches {
            text.push_str(&piece);
        }
        if random.random_bool(0.5) {
            text.push_str("x\n");
        }
    }
    text
}

fn main() -> ExitCode {
    let combinations = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(300);
    let known = bombs::bombs(SHORT).into_iter().zip(bombs::bombs(LONG));
    let known = known.map(|((name, short), (_, long))| (name, short, long));
    let generated = (0..combinations).map(|number| {
        let name = format!(
            "combination {number}: {:?}",
            &head(&combination(number, 40))
        );
        (name, combination(number, SHORT), combination(number, LONG))
    });
    let mut measured: Vec<Measurement> = known
        .chain(generated)
        .map(|(name, short, long)| Measurement::of(name, &short, &long))
        .collect();
    measured.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    let slowest = measured.iter().map(|m| m.long).max().unwrap_or_default();
    println!(
        "markdown: {} texts of {SHORT} and {LONG} bytes; those that grow most:",
        measured.len()
    );
    for m in measured.iter().take(12) {
        println!(
            "  {:4.1} times as long as short texts ({:.1?} and {:.1?}): {}",
            m.ratio(),
            m.short,
            m.long,
            m.name
        );
    }
    println!("markdown: the slowest takes {slowest:.1?}:");
    measured.sort_by_key(|m| std::cmp::Reverse(m.long));
    for m in measured.iter().take(5) {
        println!("  {:.1?}: {}", m.long, m.name);
    }
    let linear = measured.iter().all(|m| m.ratio() <= MAX_RATIO);
    for (passed, what) in [
        (
            linear,
            format!("a long text takes at most {MAX_RATIO} times as long as short ones"),
        ),
        (
            slowest <= MAX_TIME,
            format!("{LONG} bytes take at most {MAX_TIME:?}"),
        ),
    ] {
        println!("  {}: {what}", if passed { "PASS" } else { "FAIL" });
    }
    ExitCode::from(u8::from(!linear || slowest > MAX_TIME))
}

fn head(text: &str) -> String {
    text.chars().take(40).collect()
}
