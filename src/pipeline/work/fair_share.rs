//! How many lanes a connector may have in work: its share of what is free, and a few whoever else is busy.

/// Lanes that every connector may have in work even when all others together have used up the whole: so nobody waits
/// for somebody else's assistant.
const GUARANTEED_LANES: usize = 4;

/// What each of the connectors that ask for lanes at the same time may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneShare {
    free_per_connector: usize,
}

impl LaneShare {
    /// The share where `running` of the process's `max_lanes` are in work and `asking` connectors want and may have more.
    pub(super) fn new(max_lanes: usize, running: usize, asking: usize) -> Self {
        Self {
            free_per_connector: max_lanes.saturating_sub(running).div_ceil(asking.max(1)),
        }
    }

    /// Lanes that a connector may claim which has `running` of its own `concurrency` in work. None while it has more than
    /// that, because the setting was lowered.
    pub(super) fn lanes_to_claim(self, running: usize, concurrency: usize) -> usize {
        let guaranteed = GUARANTEED_LANES.saturating_sub(running);
        let capacity = concurrency.saturating_sub(running);
        capacity.min(self.free_per_connector.max(guaranteed))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::alone(0, 1, 0, 20, 20)]
    #[case::alone_and_partly_busy(10, 1, 10, 20, 10)]
    #[case::at_its_own_limit(20, 1, 20, 20, 0)]
    #[case::half_each(0, 10, 0, 20, 10)]
    #[case::rounded_up(0, 30, 0, 20, 4)]
    #[case::all_used_up_by_others(100, 1, 0, 20, 4)]
    #[case::beyond_the_whole(150, 5, 3, 20, 1)]
    #[case::guaranteed_ones_in_work(100, 1, 4, 20, 0)]
    #[case::nobody_asks(0, 0, 0, 20, 20)]
    #[case::one_at_a_time(0, 1, 0, 1, 1)]
    #[case::one_at_a_time_and_busy(1, 1, 1, 1, 0)]
    #[case::setting_below_the_guarantee(100, 1, 0, 2, 2)]
    #[case::setting_raised_while_busy(1, 1, 1, 5, 4)]
    #[case::setting_lowered_while_busy(20, 1, 20, 5, 0)]
    #[case::setting_above_the_whole(0, 1, 0, 1024, 100)]
    #[case::eight_at_once(0, 8, 0, 1024, 13)]
    #[case::ninth_where_eight_used_up_the_whole(104, 1, 0, 1024, 4)]
    fn free_lanes_are_shared_and_a_few_guaranteed(
        #[case] in_work: usize,
        #[case] asking: usize,
        #[case] own: usize,
        #[case] concurrency: usize,
        #[case] expected: usize,
    ) {
        assert_eq!(
            LaneShare::new(100, in_work, asking).lanes_to_claim(own, concurrency),
            expected
        );
    }
}
