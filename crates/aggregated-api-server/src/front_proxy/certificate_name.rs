//! The common name of a certificate's subject. rustls checks chains, but tells no names of clients; this is all of X.509 that lacks.

/// `2.5.4.3`, the object identifier of a common name.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The last common name of the subject, as Go takes it; `None` if there is none, or the certificate cannot be read.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (whole, _) = read(certificate, SEQUENCE)?;
    let (body, _) = read(whole, SEQUENCE)?;
    let rest = read(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_, rest) = read(rest, INTEGER)?; // serial number
    let (_, rest) = read(rest, SEQUENCE)?; // signature algorithm
    let (_, rest) = read(rest, SEQUENCE)?; // issuer
    let (_, rest) = read(rest, SEQUENCE)?; // validity
    let (mut subject, _) = read(rest, SEQUENCE)?;
    let mut name = None;
    while !subject.is_empty() {
        let (mut attributes, rest) = read(subject, SET)?;
        subject = rest;
        while !attributes.is_empty() {
            let (attribute, rest) = read(attributes, SEQUENCE)?;
            attributes = rest;
            let (identifier, value) = read(attribute, OBJECT_IDENTIFIER)?;
            if identifier == COMMON_NAME {
                name = Some(text(value)?);
            }
        }
    }
    name
}

fn text(value: &[u8]) -> Option<String> {
    let kind = *value.first()?;
    if ![UTF8_STRING, PRINTABLE_STRING, IA5_STRING].contains(&kind) {
        return None;
    }
    let (bytes, _) = read(value, kind)?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// One DER value with this tag: its content, and what follows it.
fn read(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (length, rest) = rest.split_at_checked(count)?;
            let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
            (length.iter().fold(0, add), rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::common_name;

    #[test]
    fn the_name_is_read_from_among_others() {
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        for (kind, value) in [
            (DnType::OrganizationName, "acme"),
            (DnType::CommonName, "front-proxy-client"),
            (DnType::CountryName, "IT"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let der = certificate.der();
        assert_eq!(common_name(der).as_deref(), Some("front-proxy-client"));
        for end in 0..der.len() {
            // Cut anywhere, it is no certificate, and no panic.
            let _ = common_name(&der[..end]);
        }
        assert_eq!(common_name(&der[..der.len() / 2]), None);
    }
}
