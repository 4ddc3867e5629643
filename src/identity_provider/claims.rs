//! What a person must be to belong to the company: claims that the provider makes of them.

use serde_json::{Map, Value};

/// The claims of a person, as the provider writes them.
pub(super) type Claims = Map<String, Value>;

/// A claim that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Its name; where there is no claim of this name, a path with dots into nested ones: `realm_access.roles`.
    pub claim: String,
    /// Any of these will do: the claim is one of them, or a list that holds one of them.
    pub values: Vec<String>,
}

/// What the claims of a person say about a required one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimCheck {
    /// One of the values is among what the provider says.
    Holds,
    /// It is there, and holds none of the values.
    Differs,
    /// It is not there.
    Absent,
}

impl RequiredClaim {
    /// Whether these claims fulfil it.
    pub(super) fn check(&self, claims: &Claims) -> ClaimCheck {
        match find(claims, &self.claim) {
            None | Some(Value::Null) => ClaimCheck::Absent,
            Some(Value::Array(members)) if members.iter().any(|m| self.names(m)) => {
                ClaimCheck::Holds
            }
            Some(value) if self.names(value) => ClaimCheck::Holds,
            Some(_) => ClaimCheck::Differs,
        }
    }

    /// Whether a value is one of those that will do. Upper and lower case differ, as everywhere in JSON.
    fn names(&self, value: &Value) -> bool {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return false,
        };
        self.values.contains(&text)
    }
}

/// The claim of this name. A name may hold dots itself (`https://acme.example/groups`): as it is written it comes first.
fn find<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut segments = name.split('.');
    let mut value = claims.get(segments.next()?)?;
    for segment in segments {
        value = value.as_object()?.get(segment)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::a_string("department", json!({"department": "staff"}), ClaimCheck::Holds)]
    #[case::another_string("department", json!({"department": "Staff"}), ClaimCheck::Differs)]
    #[case::a_part_of_one("department", json!({"department": "staffing"}), ClaimCheck::Differs)]
    #[case::a_list("groups", json!({"groups": ["guests", "staff"]}), ClaimCheck::Holds)]
    #[case::another_list("groups", json!({"groups": ["guests"]}), ClaimCheck::Differs)]
    #[case::an_empty_list("groups", json!({"groups": []}), ClaimCheck::Differs)]
    #[case::a_list_in_a_list("groups", json!({"groups": [["staff"]]}), ClaimCheck::Differs)]
    #[case::a_truth("employed", json!({"employed": true}), ClaimCheck::Holds)]
    #[case::a_number("level", json!({"level": 7}), ClaimCheck::Holds)]
    #[case::an_object("groups", json!({"groups": {"staff": true}}), ClaimCheck::Differs)]
    #[case::nothing("groups", json!({"group": "staff"}), ClaimCheck::Absent)]
    #[case::null("groups", json!({"groups": null}), ClaimCheck::Absent)]
    #[case::nested("realm.roles", json!({"realm": {"roles": ["staff"]}}), ClaimCheck::Holds)]
    #[case::dots_in_the_name("a.b/c", json!({"a.b/c": "staff", "a": {"b/c": "no"}}), ClaimCheck::Holds)]
    #[case::too_deep("groups.staff.x", json!({"groups": ["staff"]}), ClaimCheck::Absent)]
    fn a_claim_holds_if_it_names_any_of_the_values(
        #[case] claim: &str,
        #[case] claims: Value,
        #[case] expected: ClaimCheck,
    ) {
        let required = RequiredClaim {
            claim: claim.to_owned(),
            values: ["staff", "true", "7"].map(str::to_owned).to_vec(),
        };
        let claims = claims.as_object().expect("an object");
        assert_eq!(required.check(claims), expected);
    }
}
