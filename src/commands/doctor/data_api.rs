//! The registration of the data API: while the API servers do not reach it, no namespace of the cluster can be deleted, also where an uninstalled
//! operator has left it behind.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;

use super::context::Context;
use super::finding::Finding;
use super::probe::within;
use crate::data_api::certificate::API_SERVICE;

const DATA_API: &str = "data-api";

/// Nothing where there is no data API and none is wanted.
pub(super) async fn check(ctx: &Context) -> Option<Finding> {
    let served = ctx
        .flags()
        .is_some_and(|flags| flags.run.data_api_listen.is_some());
    let api_services: Api<APIService> = Api::all(ctx.client.clone());
    match within(ctx.timeout, api_services.get_opt(API_SERVICE)).await {
        Ok(found) => judge(found.as_ref(), served),
        Err(why) => served.then(|| Finding::skipped(DATA_API, API_SERVICE, why)),
    }
}

/// `served`: the operator's flags say that it serves the data API.
fn judge(found: Option<&APIService>, served: bool) -> Option<Finding> {
    let Some(found) = found else {
        return served.then(|| {
            Finding::failure(
                DATA_API,
                API_SERVICE,
                "the APIService does not exist: kubectl does not know tgdm, tgconv, tgdl and tgout",
            )
            .with_fix("helm upgrade with dataApi.enabled=true")
        });
    };
    let conditions = found.status.as_ref().and_then(|s| s.conditions.as_ref());
    let available = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Available");
    if available.is_some_and(|condition| condition.status == "True") {
        return Some(Finding::ok(
            DATA_API,
            API_SERVICE,
            "the API servers reach the data API",
        ));
    }
    let why = available
        .and_then(|condition| condition.message.as_deref().or(condition.reason.as_deref()))
        .unwrap_or("the API servers have not looked yet");
    let message = format!(
        "the API servers do not reach the data API, so that no namespace of the cluster can be deleted: {why}"
    );
    let fix = if served {
        "docs/runbooks/telegram-connector-data-api-unavailable.md"
    } else {
        "nobody serves it any more: kubectl delete apiservice v1alpha1.data.connectors.pupau.ai"
    };
    Some(Finding::failure(DATA_API, API_SERVICE, message).with_fix(fix))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn with_condition(status: &str) -> APIService {
        let condition =
            json!({"type": "Available", "status": status, "message": "no endpoints of data-api"});
        let object =
            json!({"metadata": {"name": API_SERVICE}, "status": {"conditions": [condition]}});
        serde_json::from_value(object).expect("an APIService")
    }

    #[rstest]
    #[case::not_wanted(None, false, None)]
    #[case::missing(None, true, Some(("FAIL", "does not exist", "dataApi.enabled")))]
    #[case::reached(Some("True"), true, Some(("ok", "reach the data API", "")))]
    #[case::away(Some("False"), true, Some(("FAIL", "deleted: no endpoints", "runbooks")))]
    #[case::left_behind(Some("False"), false, Some(("FAIL", "no namespace", "delete apiservice")))]
    fn registration_is_judged_by_what_hangs_without_it(
        #[case] available: Option<&str>,
        #[case] served: bool,
        #[case] expected: Option<(&str, &str, &str)>,
    ) {
        let found = available.map(with_condition);
        let judged = judge(found.as_ref(), served);
        assert_eq!(judged.is_some(), expected.is_some());
        if let (Some(finding), Some((level, message, fix))) = (judged, expected) {
            assert_eq!(finding.level.word(), level);
            assert!(finding.message.contains(message), "{finding:?}");
            assert!(finding.fix.unwrap_or_default().contains(fix));
        }
    }
}
