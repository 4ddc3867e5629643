//! Looking up a condition in a status; apart, so that what a condition says may look up what it said before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::conditions::ConditionType;
use crate::api::connector::TelegramConnectorStatus;

/// A condition of a status, by type.
pub(crate) fn find_condition(
    status: &TelegramConnectorStatus,
    type_: ConditionType,
) -> Option<&Condition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}

/// Whether the status says that Telegram accepts the token: a follower publishes the connector on this word.
pub(crate) fn vouches_for_token(status: &TelegramConnectorStatus) -> bool {
    find_condition(status, ConditionType::TokenValid).is_some_and(|c| c.status == "True")
}
