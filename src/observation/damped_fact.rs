//! A fact that may alternate: somebody else polls with the same token, a server fails every other call. What is shown of it is written into
//! the status and told in events, so it follows a fault at once, but does not flap with it.
//!
//! A fault that comes back within [`FAULT_HOLD`] after it had given way, and one that alternates by nature, is held: it is shown until it has
//! not been seen for that long. So are the first words of a fault, whose details may differ with each failure.

use std::time::Duration;

use tokio::time::Instant;

/// How long a fault that alternates must be absent before it counts as over.
pub(super) const FAULT_HOLD: Duration = Duration::from_mins(3);

/// What can be damped.
pub(super) trait Dampable: Clone + PartialEq {
    /// Whether something is wrong.
    fn is_fault(&self) -> bool;
    /// Whether this fault alternates by nature, so that it is held from the first time.
    fn alternates(&self) -> bool;
    /// Whether both say the same, perhaps in other words.
    fn is_same_kind(&self, other: &Self) -> bool;
    /// Whether newer words of the same fault replace those of [`FAULT_HOLD`] ago.
    const RENEWS_DETAIL: bool;
}

/// What was seen, and what is shown of it.
#[derive(Debug)]
pub(super) struct DampedFact<F> {
    shown: Option<Shown<F>>,
    /// What was seen instead of a fault that is held; shown once that fault has been absent long enough.
    next: Option<F>,
    /// When any fault was seen last.
    last_fault: Option<Instant>,
    /// Faults that were shown, and when each gave way.
    former: Vec<(F, Instant)>,
}

#[derive(Debug)]
struct Shown<F> {
    fact: F,
    /// When these words were seen first.
    since: Instant,
    /// When a fact of this kind was seen last.
    seen: Instant,
    held: bool,
}

impl<F> Default for DampedFact<F> {
    fn default() -> Self {
        Self {
            shown: None,
            next: None,
            last_fault: None,
            former: Vec::new(),
        }
    }
}

impl<F: Dampable> DampedFact<F> {
    /// Notes what was seen. Whether that changes what is shown, or when it will change.
    pub(super) fn record(&mut self, fact: F, now: Instant, hold: Duration) -> bool {
        let advanced = self.advance(now, hold);
        if fact.is_fault() {
            self.last_fault = Some(now);
        }
        let Some(shown) = &mut self.shown else {
            self.show(fact, now, hold);
            return true;
        };
        if shown.fact.is_same_kind(&fact) {
            shown.seen = now;
            self.next = None;
            let is_old = F::RENEWS_DETAIL && now - shown.since >= hold;
            if shown.fact != fact && (is_old || !fact.is_fault()) {
                shown.fact = fact;
                shown.since = now;
                return true;
            }
            return advanced;
        }
        if shown.held {
            let is_known = self.next.as_ref().is_some_and(|n| n.is_same_kind(&fact));
            self.next = Some(fact);
            return self.advance(now, hold) || advanced || !is_known;
        }
        self.show(fact, now, hold);
        true
    }

    /// What is shown now, and how long it takes until something else is that was seen already.
    pub(super) fn shown(&mut self, now: Instant, hold: Duration) -> (Option<&F>, Option<Duration>) {
        self.advance(now, hold);
        let left = self.held_for(now, hold);
        (self.shown.as_ref().map(|shown| &shown.fact), left)
    }

    /// Shows what was seen instead of a held fault, if that has been absent long enough.
    fn advance(&mut self, now: Instant, hold: Duration) -> bool {
        if self.held_for(now, hold) != Some(Duration::ZERO) {
            return false;
        }
        let Some(next) = self.next.take() else {
            return false;
        };
        self.show(next, now, hold);
        true
    }

    /// How long the shown fault stays although something else was seen. The end of all faults waits for the last of any kind.
    fn held_for(&self, now: Instant, hold: Duration) -> Option<Duration> {
        let (next, shown) = (self.next.as_ref()?, self.shown.as_ref()?);
        let since = match self.last_fault {
            Some(last) if !next.is_fault() => last,
            _ => shown.seen,
        };
        Some(hold.saturating_sub(now - since))
    }

    fn show(&mut self, fact: F, now: Instant, hold: Duration) {
        self.next = None;
        self.former.retain(|(_, ended)| now - *ended < hold);
        let is_back = self.former.iter().any(|(f, _)| f.is_same_kind(&fact));
        let held = fact.is_fault() && (is_back || fact.alternates());
        let shown = Shown {
            fact,
            since: now,
            seen: now,
            held,
        };
        if let Some(before) = self.shown.replace(shown)
            && before.fact.is_fault()
        {
            self.former.retain(|(f, _)| !f.is_same_kind(&before.fact));
            self.former.push((before.fact, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 is good, everything else a fault of the kind of its tens; 90 and more alternate by nature.
    #[derive(Debug, Clone, PartialEq)]
    struct Fact(u32);

    impl Dampable for Fact {
        const RENEWS_DETAIL: bool = true;
        fn is_fault(&self) -> bool {
            self.0 != 0
        }
        fn alternates(&self) -> bool {
            self.0 >= 90
        }
        fn is_same_kind(&self, other: &Self) -> bool {
            self.0 / 10 == other.0 / 10
        }
    }

    /// What is shown after each of these (second, fact).
    fn shown_after(seen: &[(u64, u32)]) -> Vec<u32> {
        let begin = Instant::now();
        let mut damped = DampedFact::default();
        seen.iter()
            .map(|(second, fact)| {
                let now = begin + Duration::from_secs(*second);
                damped.record(Fact(*fact), now, FAULT_HOLD);
                damped.shown(now, FAULT_HOLD).0.expect("it was seen").0
            })
            .collect()
    }

    #[test]
    fn single_fault_ends_with_the_first_success() {
        let seen = [(0, 0), (1, 10), (2, 10), (3, 0), (300, 10), (301, 0)];
        assert_eq!(shown_after(&seen), [0, 10, 10, 0, 10, 0]);
    }

    #[test]
    fn fault_that_comes_back_is_held_until_it_stays_away() {
        let seen = [
            (0, 10),
            (5, 0),
            (10, 10),
            (15, 0),
            (20, 10),
            (199, 0),
            (201, 0),
        ];
        assert_eq!(shown_after(&seen), [10, 0, 10, 10, 10, 10, 0]);
    }

    #[test]
    fn fault_that_alternates_by_nature_is_held_at_once() {
        let seen = [
            (0, 0),
            (1, 90),
            (3, 0),
            (170, 90),
            (180, 0),
            (349, 0),
            (350, 0),
        ];
        assert_eq!(shown_after(&seen), [0, 90, 90, 90, 90, 90, 0]);
    }

    #[test]
    fn two_faults_that_alternate_are_shown_as_one() {
        let seen = [(0, 10), (1, 20), (2, 10), (3, 20), (4, 10), (5, 20)];
        assert_eq!(shown_after(&seen), [10, 20, 10, 10, 10, 10]);
        // Until the first has been absent for the hold.
        let seen = [(0, 90), (1, 20), (100, 20), (179, 20), (180, 20)];
        assert_eq!(shown_after(&seen), [90, 90, 90, 90, 20]);
        // A fault that is seen once is shown in its time, too.
        let begin = Instant::now();
        let mut damped = DampedFact::default();
        damped.record(Fact(90), begin, FAULT_HOLD);
        damped.record(Fact(20), begin, FAULT_HOLD);
        let shown = damped.shown(begin + FAULT_HOLD, FAULT_HOLD);
        assert_eq!(shown, (Some(&Fact(20)), None));
    }

    #[test]
    fn details_of_a_lasting_fault_change_once_per_hold() {
        let seen = [(0, 10), (1, 11), (2, 12), (180, 13), (181, 14)];
        assert_eq!(shown_after(&seen), [10, 10, 10, 13, 13]);
    }

    #[test]
    fn held_fault_says_when_its_end_is_shown() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut damped = DampedFact::default();
        assert!(damped.record(Fact(90), at(0), FAULT_HOLD));
        assert_eq!(damped.shown(at(1), FAULT_HOLD), (Some(&Fact(90)), None));
        assert!(damped.record(Fact(0), at(60), FAULT_HOLD));
        let left = Duration::from_mins(2);
        assert_eq!(
            damped.shown(at(60), FAULT_HOLD),
            (Some(&Fact(90)), Some(left))
        );
        assert_eq!(damped.shown(at(180), FAULT_HOLD), (Some(&Fact(0)), None));
    }
}
