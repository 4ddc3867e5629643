//! How many lanes a connector may have in work: its share of what is free, and a few whoever else is busy.

use crate::pipeline::state::pipeline_state::PipelineLimits;

/// Lanes that every connector may have in work even when all others together have used up the whole: so nobody waits
/// for somebody else's assistant.
const GUARANTEED_LANES: usize = 4;

/// What each of the connectors that ask for lanes at the same time may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneShare {
    free_per_connector: usize,
    max_per_connector: usize,
}

impl LaneShare {
    /// The share where `running` lanes are in work and `asking` connectors want more.
    pub(super) fn new(limits: PipelineLimits, running: usize, asking: usize) -> Self {
        Self {
            free_per_connector: limits.lanes.saturating_sub(running).div_ceil(asking.max(1)),
            max_per_connector: limits.lanes_per_connector,
        }
    }

    /// Lanes that a connector may claim which has `running` in work.
    pub(super) fn lanes_to_claim(self, running: usize) -> usize {
        let guaranteed = GUARANTEED_LANES.saturating_sub(running);
        let capacity = self.max_per_connector.saturating_sub(running);
        capacity.min(self.free_per_connector.max(guaranteed))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::alone(0, 1, 0, 20)]
    #[case::alone_and_partly_busy(10, 1, 10, 10)]
    #[case::at_its_own_limit(20, 1, 20, 0)]
    #[case::half_each(0, 10, 0, 10)]
    #[case::rounded_up(0, 30, 0, 4)]
    #[case::all_used_up_by_others(100, 1, 0, 4)]
    #[case::beyond_the_whole(150, 5, 3, 1)]
    #[case::guaranteed_ones_in_work(100, 1, 4, 0)]
    #[case::nobody_asks(0, 0, 0, 20)]
    fn free_lanes_are_shared_and_a_few_guaranteed(
        #[case] in_work: usize,
        #[case] asking: usize,
        #[case] own: usize,
        #[case] expected: usize,
    ) {
        let limits = PipelineLimits {
            lanes: 100,
            lanes_per_connector: 20,
            ..PipelineLimits::default()
        };
        assert_eq!(
            LaneShare::new(limits, in_work, asking).lanes_to_claim(own),
            expected
        );
    }
}
