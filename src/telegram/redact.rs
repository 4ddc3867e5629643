//! Removes a bot token from texts that come from outside and may repeat a request's URL: error chains and descriptions.

/// Replaces a secret.
const REPLACEMENT: &str = "***";

/// `text` with every occurrence of the token's secret replaced, however much of it is percent-encoded, once or repeatedly.
///
/// `token` is `<bot id>:<secret>`; the bot id is public and stays, so that a message still says which bot it is about.
pub(crate) fn redact(text: &str, token: &str) -> String {
    let secret = token.split_once(':').map_or(token, |(_, secret)| secret);
    if secret.is_empty() {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        if let Some(end) = match_secret(bytes, at, secret.as_bytes()) {
            // A match begins and ends at ASCII, so these are character boundaries.
            out.push_str(&text[copied..at]);
            out.push_str(REPLACEMENT);
            (copied, at) = (end, end);
        } else {
            at += 1;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// The end of an occurrence of `secret` that begins at `at`.
fn match_secret(text: &[u8], at: usize, secret: &[u8]) -> Option<usize> {
    secret.iter().try_fold(at, |at, expected| {
        let (byte, next) = decode_byte(text, at)?;
        (byte == *expected).then_some(next)
    })
}

/// The decoded byte at `at`, and the position of the next one: `%41` and `%2541` both are `A`.
fn decode_byte(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *text.get(at)?;
    if byte != b'%' {
        return Some((byte, at + 1));
    }
    let mut digits = at + 1;
    while text
        .get(digits..digits + 4)
        .is_some_and(|d| d.starts_with(b"25"))
    {
        digits += 2;
    }
    let hex = std::str::from_utf8(text.get(digits..digits + 2)?).ok()?;
    Some((u8::from_str_radix(hex, 16).ok()?, digits + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::redact;

    const TOKEN: &str = "8400000001:AAF7-g0gYncWnm5RqRRv6kNAGlao";

    #[rstest]
    #[case(
        "GET /bot8400000001:AAF7-g0gYncWnm5RqRRv6kNAGlao/getMe",
        "GET /bot8400000001:***/getMe"
    )]
    #[case("bot8400000001%3AAAF7-g0gYncWnm5RqRRv6kNAGlao", "bot8400000001%3A***")]
    #[case("AAF7%2Dg0gYncWnm5RqRRv6kNAGlao", "***")]
    #[case("AAF7%252dg0gYncWnm5RqRRv6kNAGla%6f!", "***!")]
    #[case("é AAF7-g0gYncWnm5RqRRv6kNAGlao é", "é *** é")]
    #[case("nothing 100% to hide %", "nothing 100% to hide %")]
    fn the_secret_goes_and_the_rest_stays(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(redact(text, TOKEN), expected);
    }

    proptest! {
        #[test]
        fn no_encoding_of_a_token_survives(
            secret in "[A-Za-z0-9_-]{20,40}",
            encoded in prop::collection::vec(0u8..4, 40),
            before in "\\PC{0,20}", after in "\\PC{0,20}",
        ) {
            let written: String = secret.bytes().zip(encoded).map(|(b, how)| match how {
                0 => format!("%{b:02X}"),
                1 => format!("%25{b:02x}"),
                _ => char::from(b).to_string(),
            }).collect();
            let out = redact(&format!("{before}{written}{after}"), &format!("1:{secret}"));
            prop_assert!(!out.contains(&written), "{out}");
            prop_assert!(out.contains("***"));
        }

        #[test]
        fn any_text_can_be_redacted(text in any::<String>()) {
            prop_assert_eq!(redact(&text, TOKEN), text);
        }
    }
}
