use super::*;

/// Plays an answer of which `text(t)` bytes are there after `t` milliseconds, looking whenever the preview wants to, and
/// writes down what it did when.
struct PreviewSimulation {
    start: Instant,
    now: u64,
    preview: Preview,
    steps: Vec<(u64, PreviewStep)>,
}

impl PreviewSimulation {
    fn new(private_chat: bool) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: 0,
            preview: Preview::new(start, private_chat),
            steps: Vec::new(),
        }
    }

    fn until(
        &mut self,
        end: u64,
        text: impl Fn(u64) -> usize,
        result: impl Fn(PreviewStep) -> Result<i64, TelegramError>,
    ) -> &mut Self {
        while self.now < end {
            let now = self.start + Duration::from_millis(self.now);
            match self.preview.next_step(now, text(self.now)) {
                PreviewStep::Wait(until) => {
                    assert!(until > now, "a wait that is none would spin");
                    // New words wake the preview at any time; looking too often must do no harm.
                    let wait = u64::try_from((until - now).as_millis()).unwrap_or(50);
                    self.now += wait.clamp(1, 50);
                }
                step => {
                    self.steps.push((self.now, step));
                    match result(step) {
                        Ok(id) if step == PreviewStep::Send => self.preview.on_sent(id),
                        result => {
                            self.preview
                                .on_result(now, step, result.as_ref().map(|_| ()));
                        }
                    }
                }
            }
        }
        self
    }

    fn times(&self, wanted: impl Fn(PreviewStep) -> bool) -> Vec<u64> {
        self.steps
            .iter()
            .filter(|(_, step)| wanted(*step))
            .map(|(at, _)| *at)
            .collect()
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "it stands for a call that can fail"
)]
fn fine(_: PreviewStep) -> Result<i64, TelegramError> {
    Ok(77)
}

/// The first words after 2 s, then 40 bytes a second.
fn steady(at: u64) -> usize {
    usize::try_from(at.saturating_sub(1_950) / 25).expect("small")
}

#[test]
fn typing_shows_unless_the_answer_is_quick() {
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(14_000, |_| 0, fine);
    assert_eq!(
        simulation.times(|s| s == PreviewStep::Typing),
        [300, 4_800, 9_300, 13_800]
    );
    assert_eq!(simulation.steps.len(), 4);
    assert!(
        PreviewSimulation::new(true)
            .until(290, |_| 5, fine)
            .steps
            .is_empty()
    );
}

#[test]
fn first_preview_within_1500_ms_then_one_per_second() {
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(12_000, steady, fine);
    let drafts = simulation.times(|s| s == PreviewStep::Draft);
    assert!((2_700..=2_900).contains(&drafts[0]), "{drafts:?}");
    assert!(drafts.len() >= 9, "{drafts:?}");
    assert!(
        drafts.windows(2).all(|d| d[1] - d[0] >= 1_000),
        "{drafts:?}"
    );
    assert_eq!(
        simulation.times(|s| s == PreviewStep::Typing).last(),
        Some(&300)
    );
    assert_eq!(simulation.preview.message_id(), None);
}

#[test]
fn postponed_preview_is_sent_as_soon_as_possible() {
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(3_400, steady, fine);
    let last = *simulation
        .times(|s| s == PreviewStep::Draft)
        .last()
        .expect("one");
    let due = simulation.start + Duration::from_millis(last + 1_000);
    assert_eq!(simulation.preview.next_step(due, 500), PreviewStep::Draft);
    simulation
        .preview
        .postpone(due + Duration::from_millis(700));
    simulation.now = last + 1_000;
    simulation.until(12_000, steady, fine);
    let drafts = simulation.times(|s| s == PreviewStep::Draft);
    let next = drafts.iter().find(|at| **at > last).expect("one");
    assert!((last + 1_700..=last + 1_760).contains(next), "{drafts:?}");
}

#[test]
fn first_preview_does_not_wait_for_a_slow_typing_call() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut preview = Preview::new(start, true);
    assert_eq!(preview.next_step(at(400), 0), PreviewStep::Typing);
    // It has not ended when the first words come, nor when they are due.
    assert_eq!(preview.next_step(at(500), 1), PreviewStep::Wait(at(1_300)));
    assert!(preview.is_first());
    assert_eq!(preview.next_step(at(1_300), 9), PreviewStep::Draft);
    preview.on_result(at(1_350), PreviewStep::Draft, Ok(()));
    assert!(!preview.is_first());
}

#[test]
fn failed_first_preview_is_still_the_first() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut preview = Preview::new(start, true);
    assert!(matches!(
        preview.next_step(at(100), 1),
        PreviewStep::Wait(_)
    ));
    assert_eq!(preview.next_step(at(1_000), 9), PreviewStep::Draft);
    preview.on_result(
        at(1_000),
        PreviewStep::Draft,
        Err(&TelegramError::Server(502)),
    );
    assert!(preview.is_first());
}

#[test]
fn slow_call_does_not_shorten_the_interval() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut preview = Preview::new(start, true);
    assert_eq!(preview.next_step(at(400), 0), PreviewStep::Typing);
    preview.on_result(at(400), PreviewStep::Typing, Ok(()));
    assert!(matches!(
        preview.next_step(at(500), 1),
        PreviewStep::Wait(_)
    ));
    assert_eq!(preview.next_step(at(1_500), 9), PreviewStep::Draft);
    preview.on_result(at(2_100), PreviewStep::Draft, Ok(()));
    assert_eq!(
        preview.next_step(at(2_500), 99),
        PreviewStep::Wait(at(3_100))
    );
    assert_eq!(preview.next_step(at(3_100), 99), PreviewStep::Draft);
}

#[test]
fn draft_is_refreshed_before_it_expires() {
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(65_000, |at| usize::from(at > 1_000), fine);
    let drafts = simulation.times(|s| s == PreviewStep::Draft);
    assert_eq!(drafts.len(), 4, "{drafts:?}");
    assert!(
        drafts.windows(2).all(|d| d[1] - d[0] < 25_000),
        "{drafts:?}"
    );
}

#[test]
fn group_preview_is_edited_less_than_20_times_a_minute() {
    let mut simulation = PreviewSimulation::new(false);
    simulation.until(62_000, steady, fine);
    assert_eq!(simulation.times(|s| s == PreviewStep::Send).len(), 1);
    let edits = simulation.times(|s| s == PreviewStep::Edit(77));
    assert!((10..20).contains(&edits.len()), "{edits:?}");
    assert!(simulation.times(|s| s == PreviewStep::Draft).is_empty());
    assert_eq!(simulation.preview.message_id(), Some(77));
}

#[test]
fn server_without_drafts_gets_one_edit_per_second() {
    let refused = |step| match step {
        PreviewStep::Draft => Err(TelegramError::Refused {
            code: 404,
            description: "Not Found: method not found".into(),
        }),
        _ => Ok(77),
    };
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(10_000, steady, refused);
    assert_eq!(simulation.times(|s| s == PreviewStep::Draft).len(), 1);
    assert_eq!(simulation.times(|s| s == PreviewStep::Send).len(), 1);
    let edits = simulation.times(|s| matches!(s, PreviewStep::Edit(_)));
    assert!(edits.len() >= 5, "{edits:?}");
    assert!(edits.windows(2).all(|e| e[1] - e[0] >= 1_000), "{edits:?}");
}

#[test]
fn rate_limit_is_obeyed_and_doubles_the_interval() {
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(4_000, steady, |step| match step {
        PreviewStep::Draft => Err(TelegramError::RateLimited(Duration::from_secs(10))),
        _ => Ok(0),
    });
    let held = simulation.now;
    simulation.until(30_000, steady, fine);
    let drafts = simulation.times(|s| s == PreviewStep::Draft);
    let after: Vec<_> = drafts.iter().filter(|at| **at > held).copied().collect();
    assert!(after[0] - drafts[0] >= 10_000, "{drafts:?}");
    assert!(after.windows(2).all(|d| d[1] - d[0] >= 2_000), "{drafts:?}");
    assert!(
        simulation
            .times(|s| s == PreviewStep::Typing)
            .iter()
            .all(|at| *at < held || *at > after[0] - 100)
    );
}

#[test]
fn forbidden_and_ambiguous_errors_end_the_preview() {
    for error in [
        TelegramError::Forbidden("blocked".into()),
        TelegramError::ChatNotFound,
    ] {
        let mut simulation = PreviewSimulation::new(true);
        simulation.until(20_000, steady, |step| match step {
            PreviewStep::Draft => Err(error.clone()),
            _ => Ok(0),
        });
        assert_eq!(
            simulation.times(|s| s == PreviewStep::Draft).len(),
            1,
            "{error:?}"
        );
    }
    let mut simulation = PreviewSimulation::new(false);
    simulation.until(20_000, steady, |step| match step {
        PreviewStep::Send => Err(TelegramError::Ambiguous("lost".into())),
        _ => Ok(0),
    });
    assert_eq!(simulation.times(|s| s == PreviewStep::Send).len(), 1);
}

#[test]
fn preview_stops_after_three_failures() {
    let mut simulation = PreviewSimulation::new(true);
    simulation.until(60_000, steady, |_| Err(TelegramError::Server(502)));
    assert_eq!(simulation.times(|s| s == PreviewStep::Draft).len(), 3);
}
