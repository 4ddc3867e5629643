//! How many parts of a bot may be on their way to Telegram at once.
//!
//! A part that is on its way when the process is killed may appear twice: nobody knows whether Telegram has taken it. So no more are on their
//! way than Telegram's answers allow for. A window of a few parts holds nothing up while answers come within milliseconds; where they take
//! longer, it grows with them to many times the thirty messages a second that Telegram takes from a bot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::identity::BotId;

/// Parts that may always be on their way.
const MIN_PARTS: usize = 3;
/// The most at which the window stays open: of an endpoint that answers after seconds.
const MAX_PARTS: usize = 256;
/// Parts a second for which there is room, whatever the answers take.
const PARTS_PER_SECOND: f64 = 200.0;
/// How much a new answer counts in the mean.
const WEIGHT: f64 = 0.2;

/// The windows of the bots that send.
#[derive(Debug, Default)]
pub(crate) struct SendWindows(Mutex<HashMap<BotId, Arc<Window>>>);

#[derive(Debug)]
struct Window {
    places: Semaphore,
    state: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    size: usize,
    /// Places that are still to be taken away, as soon as somebody gives one back.
    surplus: usize,
    /// The mean time of an answer, in seconds.
    answer_time: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            places: Semaphore::new(MIN_PARTS),
            state: Mutex::new(WindowState {
                size: MIN_PARTS,
                surplus: 0,
                answer_time: 0.0,
            }),
        }
    }
}

impl SendWindows {
    /// Does something that sends a part of this bot, once there is room for it.
    pub(crate) async fn run<T>(&self, bot: BotId, send: impl Future<Output = T>) -> T {
        // Dropped after the window.
        let _forget = ForgetUnused { windows: self, bot };
        let window = self.0.lock().entry(bot).or_default().clone();
        let sent = window.run(send).await;
        if window.places.available_permits() == 0 {
            // Whoever has the place now goes first, so that no place is idle while others wait for it.
            yield_now().await;
        }
        sent
    }
}

/// Drops a window that nobody uses any more.
struct ForgetUnused<'a> {
    windows: &'a SendWindows,
    bot: BotId,
}

impl Drop for ForgetUnused<'_> {
    fn drop(&mut self) {
        let mut windows = self.windows.0.lock();
        // Only under the lock does anybody get hold of one.
        if windows
            .get(&self.bot)
            .is_some_and(|window| Arc::strong_count(window) == 1)
        {
            windows.remove(&self.bot);
        }
    }
}

impl Window {
    async fn run<T>(&self, send: impl Future<Output = T>) -> T {
        let place = self.places.acquire().await;
        let place = place.expect("the semaphore is never closed");
        let began = Instant::now();
        let sent = send.await;
        self.resize(began.elapsed(), place);
        sent
    }

    /// Takes down how long an answer took, and gives back its place unless there is one too many.
    fn resize(&self, took: Duration, place: SemaphorePermit<'_>) {
        let mut state = self.state.lock();
        state.answer_time += WEIGHT * (took.as_secs_f64() - state.answer_time);
        let wanted = window_size(state.answer_time);
        if wanted > state.size {
            let added = wanted - state.size;
            let kept = added.min(state.surplus);
            state.surplus -= kept;
            self.places.add_permits(added - kept);
        } else {
            state.surplus += state.size - wanted;
        }
        state.size = wanted;
        if state.surplus > 0 {
            state.surplus -= 1;
            place.forget();
        }
    }
}

/// The parts that may be on their way where an answer takes so many seconds.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number that is not negative"
)]
fn window_size(answer_time: f64) -> usize {
    ((answer_time * PARTS_PER_SECOND).ceil() as usize).clamp(MIN_PARTS, MAX_PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: BotId = BotId(7);

    /// Fills the window, and has everything answered after so long; how many were on their way.
    fn fill_and_answer(window: &Window, took: Duration) -> usize {
        let places: Vec<_> = std::iter::from_fn(|| window.places.try_acquire().ok()).collect();
        let on_their_way = places.len();
        for place in places {
            window.resize(took, place);
        }
        on_their_way
    }

    #[test]
    fn few_parts_are_on_their_way_where_answers_are_quick() {
        let window = Window::default();
        for _ in 0..100 {
            assert_eq!(
                fill_and_answer(&window, Duration::from_millis(2)),
                MIN_PARTS
            );
        }
    }

    #[test]
    fn slow_answers_do_not_hold_up_what_telegram_takes() {
        let window = Window::default();
        let took = Duration::from_millis(300);
        let rounds = 10;
        let sent: usize = (0..rounds).map(|_| fill_and_answer(&window, took)).sum();
        let seconds = took.as_secs_f64() * f64::from(rounds);
        let rate = sent as f64 / seconds;
        assert!(rate > 60.0, "{rate} a second; Telegram takes 30");
    }

    #[test]
    fn window_closes_again_when_answers_are_quick_again() {
        let window = Window::default();
        for _ in 0..50 {
            fill_and_answer(&window, Duration::from_secs(5));
        }
        assert_eq!(fill_and_answer(&window, Duration::ZERO), MAX_PARTS);
        for _ in 0..50 {
            fill_and_answer(&window, Duration::ZERO);
        }
        assert_eq!(fill_and_answer(&window, Duration::ZERO), MIN_PARTS);
    }

    #[tokio::test]
    async fn given_up_sends_leave_their_place_and_no_window() {
        let windows = SendWindows::default();
        for _ in 0..10 {
            let mut sends: Vec<_> = (0..2 * MIN_PARTS)
                .map(|_| Box::pin(windows.run(BOT, std::future::pending::<()>())))
                .collect();
            for send in &mut sends {
                assert!(futures::poll!(send).is_pending());
            }
        }
        assert!(windows.0.lock().is_empty());
    }
}
