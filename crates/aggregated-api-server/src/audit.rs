//! Who did what to which object: one line by `tracing`, target `audit`, and no content.

use std::sync::atomic::Ordering;

use crate::server::ResourceRequest;

/// Said of a request whose client has gone before it was answered; what it asked for may have been done.
const CLIENT_GONE: u16 = 499;

/// The line of a request that is being answered. It is written even if the answer never comes.
///
/// There is one for each request that changes something, or that reads what lies under an object; and for each that is refused by RBAC.
pub(crate) struct AuditLine<'a> {
    asked: &'a ResourceRequest<'a>,
    code: u16,
}

impl<'a> AuditLine<'a> {
    pub(crate) fn new(asked: &'a ResourceRequest<'a>) -> Self {
        Self {
            asked,
            code: CLIENT_GONE,
        }
    }

    /// Writes the line, now that it is known what was answered.
    pub(crate) fn write(mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for AuditLine<'_> {
    fn drop(&mut self) {
        let ResourceRequest { path, verb, .. } = self.asked;
        let reads = matches!(*verb, "get" | "list" | "watch") && path.subresource.is_empty();
        if reads && self.code != 403 {
            return;
        }
        let dry_run = self.asked.parameters.get("dryRun").is_some()
            || self.asked.dry_run_in_body.load(Ordering::Relaxed);
        tracing::info!(
            target: "audit",
            user = self.asked.caller.user,
            verb,
            resource = path.resource,
            subresource = path.subresource,
            namespace = path.namespace,
            name = path.name,
            dry_run,
            code = self.code,
            "a request to the aggregated API"
        );
    }
}
