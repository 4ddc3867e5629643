//! Parses plain YAML scalars as Kubernetes does: `yes` is true, as in YAML 1.1, and `012` is ten.
//!
//! The server and kubectl parse YAML with go-yaml; a check that parsed it differently would accept what they refuse.

use serde_json::{Number, Value};

/// The value of a scalar that is neither quoted nor tagged.
pub(super) fn parse_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

fn integer(digits: &str) -> Option<Number> {
    let (negative, magnitude) = match digits.strip_prefix(['-', '+']) {
        Some(rest) => (digits.starts_with('-'), rest),
        None => (false, digits),
    };
    let radix = |prefix, radix| {
        magnitude
            .strip_prefix(prefix)
            .map(|rest| (rest, radix))
            .filter(|(rest, _)| !rest.starts_with(['+', '-']))
    };
    let (body, base) = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0", 8).filter(|(rest, _)| !rest.is_empty()))
        .unwrap_or((magnitude, 10));
    if body.is_empty() || !body.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    if negative {
        i64::from_str_radix(&format!("-{body}"), base)
            .ok()
            .map(Number::from)
    } else {
        u64::from_str_radix(body, base).ok().map(Number::from)
    }
}

fn float(digits: &str) -> Option<Number> {
    let shape = digits.trim_start_matches(['+', '-']);
    let numeric = shape.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && shape.contains(|c: char| c.is_ascii_digit())
        && shape
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !numeric {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    // kubectl and Helm send JSON that Go has written, where a whole number has no exponent: 7.123456789e+09 is an integer for the server.
    let whole = format!("{value:.0}").parse::<i64>().ok();
    match whole.filter(|_| value.fract() == 0.0) {
        Some(whole) => Some(whole.into()),
        None => Number::from_f64(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse_plain;

    #[test]
    fn plain_scalars_are_what_kubernetes_makes_of_them() {
        for (text, value) in [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("12", json!(12)),
            ("-1", json!(-1)),
            ("012", json!(10)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000)),
            ("7.123456789e+09", json!(7_123_456_789_i64)),
            ("-1.0", json!(-1)),
            ("1e30", json!(1e30)),
            ("-1001234567890", json!(-1_001_234_567_890_i64)),
            ("2024-01-01", json!("2024-01-01")),
            ("7000001:abc", json!("7000001:abc")),
            ("127.0.0.1", json!("127.0.0.1")),
            ("-", json!("-")),
            (".inf", json!(".inf")),
            ("089", json!(89)),
            ("truely", json!("truely")),
        ] {
            assert_eq!(parse_plain(text), value, "{text}");
        }
    }
}
