//! A claimed lane, apart from the loop that works through it.

pub(crate) mod lane_worker;
