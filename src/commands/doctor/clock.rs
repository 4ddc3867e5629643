//! This machine's clock against those of the API server and of Telegram.

use jiff::Timestamp;

use super::finding::Finding;

const CLOCK: &str = "clock";
/// More is too much: sessions, retries and certificates go by the clock.
const TOLERANCE_SECONDS: i64 = 30;

/// What somebody else's clock said, and ours at the same moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockReading {
    /// Whose clock it is.
    whose: &'static str,
    theirs: Timestamp,
    ours: Timestamp,
}

impl ClockReading {
    /// `ours` is this machine's time when the other was read.
    pub(super) fn new(whose: &'static str, theirs: Timestamp, ours: Timestamp) -> Self {
        Self {
            whose,
            theirs,
            ours,
        }
    }

    /// By how many seconds ours is ahead.
    fn ahead(self) -> i64 {
        self.ours.duration_since(self.theirs).as_secs()
    }
}

/// One finding for all clocks that agree, and one for each that does not.
pub(super) fn check(readings: &[ClockReading]) -> Vec<Finding> {
    if readings.is_empty() {
        return vec![Finding::skipped(CLOCK, "", "nobody told the time")];
    }
    let (agreeing, others): (Vec<&ClockReading>, Vec<_>) = readings
        .iter()
        .partition(|reading| reading.ahead().abs() <= TOLERANCE_SECONDS);
    let mut findings = Vec::new();
    if !agreeing.is_empty() {
        let names: Vec<&str> = agreeing.iter().map(|reading| reading.whose).collect();
        let message = format!("agrees with {}", names.join(" and "));
        findings.push(Finding::ok(CLOCK, "", message));
    }
    for reading in others {
        let ahead = reading.ahead();
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let message = format!(
            "this machine is {} s {direction} {}",
            ahead.abs(),
            reading.whose
        );
        findings.push(
            Finding::warning(CLOCK, "", message)
                .with_fix("timedatectl status on the machine whose clock is wrong"),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_is_two_minutes_off_is_told() {
        let ours: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let reading = |whose, ahead| ClockReading {
            whose,
            theirs: ours - jiff::SignedDuration::from_secs(ahead),
            ours,
        };
        let findings = check(&[reading("the API server", 30), reading("Telegram", -120)]);
        assert_eq!(findings[0].message, "agrees with the API server");
        assert_eq!(findings[1].level.word(), "WARN");
        assert_eq!(findings[1].message, "this machine is 120 s behind Telegram");
    }
}
