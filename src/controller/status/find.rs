//! Looking up a condition in a status; apart, so that what a condition says may look up what it said before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::conditions::ConditionType;
use crate::api::connector::TelegramConnectorStatus;

/// A condition of a status, by type.
pub fn find_condition(
    status: &TelegramConnectorStatus,
    type_: ConditionType,
) -> Option<&Condition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}
