//! How a decision of a user ended, for those who run the bot: a metric, a log line, and for an approval an event. No word of what was asked or answered.

use crate::identity::ConnectorUid;
use crate::observation::Notice;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::store::DecisionKind;

/// Records that a decision ended; `by` is the id of the user who decided.
pub(crate) fn record_decision(
    pipeline: &PipelineState,
    uid: &ConnectorUid,
    kind: DecisionKind,
    result: &'static str,
    by: Option<i64>,
) {
    pipeline.metrics.count_decision(kind.label(), result);
    let connector = pipeline.registry.get(uid);
    tracing::info!(
        connector = connector.map(|c| c.connector_ref.to_string()),
        kind = kind.label(),
        result,
        by,
        "a decision of a user ended"
    );
    if kind == DecisionKind::Approval {
        // Nobody waits until it is told.
        drop(
            pipeline
                .observations
                .queue_notice(uid, Notice::ApprovalEnded { result }),
        );
    }
}
