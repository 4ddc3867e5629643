//! Measures whether rendering takes time in proportion to the text, whatever is in it: known bombs and combinations of their pieces.
//!
//! ```text
//! cargo bench --bench markdown             # the bombs and 300 combinations
//! cargo bench --bench markdown -- 3000     # more combinations
//! ```
//!
//! Each text is rendered with 10,000 and with 80,000 bytes, and the best time of several counts: eight times the text takes about eight times
//! as long, and 64 times if the time is quadratic. The exit code is 1 if a text takes more than 24 times as long, or more than 400 ms (without
//! optimizations, with `--profile dev`, only the ratio counts).

#![allow(missing_docs)]

#[path = "../tests/markdown/bombs.rs"]
mod bombs;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use telegram_connector_operator::telegram::markdown::render;

const SHORT: usize = 10_000;
const LONG: usize = 80_000;
/// The most times longer that eight times the text may take.
const MAX_RATIO: f64 = 24.0;
/// The longest time for a long text.
const MAX_TIME: Duration = if cfg!(debug_assertions) {
    Duration::MAX
} else {
    Duration::from_millis(400)
};
/// Times below this say nothing.
const NOISE: Duration = Duration::from_micros(300);

struct Measurement {
    name: String,
    short: Duration,
    long: Duration,
}

impl Measurement {
    fn ratio(&self) -> f64 {
        self.long.as_secs_f64() / self.short.max(NOISE).as_secs_f64()
    }
}

/// The best time of several.
fn measure(text: &str) -> Duration {
    let began = Instant::now();
    let mut best = Duration::MAX;
    for round in 0..20 {
        let start = Instant::now();
        black_box(render(black_box(text)));
        best = best.min(start.elapsed());
        if round >= 2 && began.elapsed() > Duration::from_millis(60) {
            break;
        }
    }
    best
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
        .map(|(name, short, long)| Measurement {
            name,
            short: measure(&short),
            long: measure(&long),
        })
        .collect();
    measured.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    let slowest = measured.iter().map(|m| m.long).max().unwrap_or_default();
    println!(
        "markdown: {} texts of {SHORT} and {LONG} bytes; those that grow most:",
        measured.len()
    );
    for m in measured.iter().take(12) {
        println!(
            "  {:5.1} times as long ({:.1?} and {:.1?}): {}",
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
            format!("eight times the text takes at most {MAX_RATIO} times as long"),
        ),
        (
            slowest <= MAX_TIME,
            format!("{LONG} bytes take at most {MAX_TIME:?}"),
        ),
    ] {
        println!("  {}: {what}", if passed { "PASS" } else { "MISS" });
    }
    ExitCode::from(u8::from(!linear || slowest > MAX_TIME))
}

fn head(text: &str) -> String {
    text.chars().take(40).collect()
}
