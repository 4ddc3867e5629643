//! The CRDs as the types generate them: what `crds` prints, `crds/` holds and `check` validates against.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{TelegramConnector, TelegramUserList};

/// Both CRDs, in the order in which they are printed and installed.
pub fn all() -> [CustomResourceDefinition; 2] {
    [TelegramConnector::crd(), TelegramUserList::crd()]
}
