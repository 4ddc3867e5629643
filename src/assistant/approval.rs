//! What an assistant asks people to approve before it does it.

/// A call of a tool, or anything else, that waits for a person's decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// The assistant's own name for the request.
    pub id: Option<String>,
    /// What will be done, in a line: plain text, never Markdown.
    pub title: String,
    /// With what: tools and arguments, line by line; plain text.
    pub details: String,
    /// What goes back with the decision as it is ([`super::ApprovalOutcome::token`]): in a protocol that names what is decided.
    pub token: Option<String>,
}
