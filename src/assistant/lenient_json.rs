//! JSON as servers write it, read where it stands: nothing is built, so that a huge or deep value that nobody asks for costs neither memory nor
//! an error. Strict about structure, because a value that is cut off has lost something; lenient about everything else: NaN, numbers of any
//! size, halves of surrogate pairs, bytes that are no UTF-8, repeated keys, a comma too many.
//!
//! Strings are bytes: UTF-8, but for what a server broke. Half of a surrogate pair stands there as the three bytes that WTF-8 has for it, so that
//! whoever joins two strings can mend the pair.

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::{Map, Value};

/// How deep a value is followed where a tree of it is made, or where it is searched.
const MAX_DEPTH: u32 = 8;
/// How many members of an object or an array get into a tree.
const MAX_MEMBERS: usize = 256;
/// What is longer gets no tree: it would take a multiple of that in memory.
const MAX_TREE_BYTES: usize = 256 << 10;

/// One value of which the structure was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Json<'a>(&'a [u8]);

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonKind {
    /// `null`, also where a field is missing.
    Null,
    /// A number, `true`, `false`, `NaN`.
    Scalar,
    /// A string.
    Text,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

impl<'a> Json<'a> {
    /// What a field is that is not there.
    pub(super) const NULL: Self = Self(b"");

    /// The first value of `bytes` and what follows it; `None` where its structure is broken or its end is missing.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let start = skip_space(bytes, 0);
        let end = StructureCheck {
            bytes,
            open: Vec::new(),
        }
        .value_end(start)?;
        Some((Self(&bytes[start..end]), &bytes[end..]))
    }

    #[inline]
    pub(super) fn kind(self) -> JsonKind {
        match self.0.first() {
            None => JsonKind::Null,
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b'"') => JsonKind::Text,
            Some(b'n' | b'N' | b'u') if matches!(self.0, b"null" | b"None" | b"undefined") => {
                JsonKind::Null
            }
            Some(_) => JsonKind::Scalar,
        }
    }

    #[inline]
    pub(super) fn is_null(self) -> bool {
        self.kind() == JsonKind::Null
    }

    #[inline]
    pub(super) fn is_object(self) -> bool {
        self.kind() == JsonKind::Object
    }

    /// The fields of these names, found in one pass; [`Self::NULL`] for those that are not there. The last of a repeated key counts that is not null.
    pub(super) fn fields<const N: usize>(self, names: [&str; N]) -> [Self; N] {
        let mut found = [Self::NULL; N];
        for (key, value) in self.members() {
            let key: &[u8] = &key.name();
            let wanted = names.iter().position(|name| name.as_bytes() == key);
            if let Some(at) = wanted
                && !value.is_null()
            {
                found[at] = value;
            }
        }
        found
    }

    /// One field.
    pub(super) fn field(self, name: &str) -> Self {
        let [value] = self.fields([name]);
        value
    }

    /// The members of an object; none of anything else.
    fn members(self) -> impl Iterator<Item = (Key<'a>, Self)> {
        let mut rest = self.inside(JsonKind::Object);
        std::iter::from_fn(move || {
            let start = skip_separators(rest);
            let key_end = string_end(rest, start)?;
            let key = Key(&rest[start + 1..key_end - 1]);
            let colon = skip_space(rest, key_end);
            let value_start = skip_space(rest, colon + 1);
            let value_end = checked_value_end(rest, value_start);
            let value = Self(&rest[value_start..value_end]);
            rest = &rest[value_end..];
            Some((key, value))
        })
    }

    /// The items of an array; none of anything else.
    pub(super) fn items(self) -> impl Iterator<Item = Self> {
        let mut rest = self.inside(JsonKind::Array);
        std::iter::from_fn(move || {
            let start = skip_separators(rest);
            if start >= rest.len() {
                return None;
            }
            let end = checked_value_end(rest, start);
            let item = Self(&rest[start..end]);
            rest = &rest[end..];
            Some(item)
        })
    }

    /// What stands between the brackets of a container of this kind; nothing in anything else.
    fn inside(self, kind: JsonKind) -> &'a [u8] {
        if self.kind() == kind {
            &self.0[1..self.0.len() - 1]
        } else {
            b""
        }
    }

    /// The text of a string; a number or a word as it is written. Nothing of anything else.
    pub(super) fn text(self) -> Option<Cow<'a, [u8]>> {
        match self.kind() {
            JsonKind::Text => Some(unescape(&self.0[1..self.0.len() - 1])),
            JsonKind::Scalar => Some(Cow::Borrowed(self.0)),
            JsonKind::Null | JsonKind::Array | JsonKind::Object => None,
        }
    }

    /// The same as Unicode: what is none becomes U+FFFD.
    pub(super) fn string(self) -> Option<String> {
        Some(String::from_utf8_lossy(&self.text()?).into_owned())
    }

    /// The text of a string that is not empty.
    pub(super) fn non_empty_string(self) -> Option<String> {
        if self.kind() != JsonKind::Text {
            return None;
        }
        self.string().filter(|text| !text.trim().is_empty())
    }

    /// A number that is no fraction, also one written as text.
    pub(super) fn integer(self) -> Option<u64> {
        let text = self.text()?;
        let text = String::from_utf8_lossy(&text);
        let text = text.trim();
        text.parse().ok().or_else(|| {
            let number: f64 = text.parse().ok()?;
            // A count beyond 2^53 is none.
            let is_count = number.fract() == 0.0 && (0.0..9e15).contains(&number);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked above"
            )]
            is_count.then_some(number as u64)
        })
    }

    /// Whether it says nothing: null, false, 0, an empty text, or a container of nothing else.
    pub(super) fn is_blank(self) -> bool {
        self.is_blank_to(MAX_DEPTH)
    }

    fn is_blank_to(self, depth: u32) -> bool {
        match self.kind() {
            JsonKind::Null => true,
            JsonKind::Scalar => matches!(self.0, b"false" | b"False" | b"0" | b"0.0" | b"NaN"),
            JsonKind::Text => self.0[1..self.0.len() - 1].trim_ascii().is_empty(),
            JsonKind::Array => depth > 0 && self.items().all(|item| item.is_blank_to(depth - 1)),
            JsonKind::Object => {
                depth > 0
                    && self
                        .members()
                        .all(|(_, value)| value.is_blank_to(depth - 1))
            }
        }
    }

    /// A tree of it, cut off where it is too deep or too wide: for what is only searched for words.
    pub(super) fn to_value(self) -> Value {
        if self.0.len() > MAX_TREE_BYTES {
            return Value::Null;
        }
        self.to_value_to(MAX_DEPTH)
    }

    fn to_value_to(self, depth: u32) -> Value {
        match self.kind() {
            JsonKind::Null => Value::Null,
            JsonKind::Scalar => serde_json::from_slice(self.0).unwrap_or_default(),
            JsonKind::Text => Value::String(self.string().unwrap_or_default()),
            JsonKind::Array | JsonKind::Object if depth == 0 => Value::Null,
            JsonKind::Array => self
                .items()
                .take(MAX_MEMBERS)
                .map(|item| item.to_value_to(depth - 1))
                .collect(),
            JsonKind::Object => self
                .members()
                .take(MAX_MEMBERS)
                .map(|(key, value)| {
                    let name = String::from_utf8_lossy(&key.name()).into_owned();
                    (name, value.to_value_to(depth - 1))
                })
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

/// A member's name as it is written.
struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    #[inline]
    fn name(&self) -> Cow<'a, [u8]> {
        unescape(self.0)
    }
}

/// Follows the structure of one value with a stack of its own: no depth is too deep.
struct StructureCheck<'a> {
    bytes: &'a [u8],
    /// The brackets that are open.
    open: Vec<u8>,
}

impl StructureCheck<'_> {
    /// Where the value that begins at `start` ends.
    fn value_end(mut self, start: usize) -> Option<usize> {
        let mut at = start;
        loop {
            at = self.begin_value(at)?;
            // A bracket that was opened has its first value next.
            if matches!(self.bytes[at - 1], b'{' | b'[') && self.is_inside(at) {
                at = self.before_value(at)?;
                continue;
            }
            loop {
                let Some(&bracket) = self.open.last() else {
                    return Some(at);
                };
                at = skip_space(self.bytes, at);
                let byte = *self.bytes.get(at)?;
                at += 1;
                if byte == closing(bracket) {
                    self.open.pop();
                } else if byte == b',' {
                    at = skip_space(self.bytes, at);
                    // A comma too many.
                    if *self.bytes.get(at)? != closing(bracket) {
                        at = self.before_value(at)?;
                        break;
                    }
                } else {
                    return None;
                }
            }
        }
    }

    /// Passes a scalar, a string, an empty container, or the opening bracket of one that is not empty.
    fn begin_value(&mut self, at: usize) -> Option<usize> {
        let at = skip_space(self.bytes, at);
        match *self.bytes.get(at)? {
            bracket @ (b'{' | b'[') => {
                let next = skip_space(self.bytes, at + 1);
                if *self.bytes.get(next)? == closing(bracket) {
                    return Some(next + 1);
                }
                self.open.push(bracket);
                Some(at + 1)
            }
            b'"' => string_end(self.bytes, at),
            _ => Some(word_end(self.bytes, at)).filter(|end| *end > at),
        }
    }

    /// Whether the bracket in front of `at` was just opened, rather than being the end of a string or a word.
    fn is_inside(&self, at: usize) -> bool {
        self.open.last() == Some(&self.bytes[at - 1])
    }

    /// Within an object, passes the key and its colon.
    fn before_value(&self, at: usize) -> Option<usize> {
        if self.open.last() != Some(&b'{') {
            return Some(at);
        }
        let at = skip_space(self.bytes, at);
        if *self.bytes.get(at)? != b'"' {
            return None;
        }
        let colon = skip_space(self.bytes, string_end(self.bytes, at)?);
        (*self.bytes.get(colon)? == b':').then_some(colon + 1)
    }
}

#[inline]
fn closing(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}

#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Behind white space and the comma that ends the member before.
#[inline]
fn skip_separators(bytes: &[u8]) -> usize {
    let at = skip_space(bytes, 0);
    if bytes.get(at) == Some(&b',') {
        skip_space(bytes, at + 1)
    } else {
        at
    }
}

/// Behind the closing quote of the string whose opening one is at `start`.
#[inline]
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += find_quote_or_backslash(bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// How much of a string is searched word by word. `memchr` is faster per byte, but begins slowly: keys and the pieces of an answer are short.
const SHORT_STRING: usize = 32;

/// Where the next quote or backslash stands.
#[inline]
fn find_quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let at = bytes.len() - rest.len();
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        if at >= SHORT_STRING {
            return memchr2(b'"', b'\\', rest).map(|found| at + found);
        }
        rest = behind;
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(bytes.len() - rest.len() + found)
}

const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// The highest bit of each byte that is zero, up to the first of them; those behind it mean nothing.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(u64::from_le_bytes([0x01; 8])) & !word & u64::from_le_bytes([0x80; 8])
}

/// Behind a number or a word.
#[inline]
fn word_end(bytes: &[u8], start: usize) -> usize {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_');
    let length = bytes[start..].iter().position(|b| !is_word(b));
    length.map_or(bytes.len(), |length| start + length)
}

/// The end of a value whose structure was checked before.
fn checked_value_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at).unwrap_or(bytes.len()),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ if depth > 0 => at += 1,
            _ => at = word_end(bytes, at).max(at + 1),
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// What a string says whose quotes are off. What no escape is stays as it is written: servers that forget to escape a backslash mean it.
#[inline]
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    // No quote stands in it but behind a backslash.
    match find_quote_or_backslash(text) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(unescape_each(text)),
    }
}

fn unescape_each(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let simple = match rest.get(1) {
            Some(b'n') => Some(b'\n'),
            Some(b't') => Some(b'\t'),
            Some(b'r') => Some(b'\r'),
            Some(b'b') => Some(8),
            Some(b'f') => Some(12),
            Some(sign @ (b'"' | b'\\' | b'/' | b'\'')) => Some(*sign),
            _ => None,
        };
        if let Some(byte) = simple {
            plain.push(byte);
            rest = &rest[2..];
        } else if let Some((code, length)) = unicode_escape(rest) {
            push_code_point(&mut plain, code);
            rest = &rest[length..];
        } else {
            plain.push(b'\\');
            rest = &rest[1..];
        }
    }
    plain.extend_from_slice(rest);
    plain
}

/// `\uXXXX` at the beginning of `text`, or two of them that are a pair: the code point, and how long it is written.
fn unicode_escape(text: &[u8]) -> Option<(u32, usize)> {
    let unit = |text: &[u8]| {
        let digits = text.strip_prefix(b"\\u")?.get(..4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(text)?;
    if (0xD800..0xDC00).contains(&first)
        && let Some(second) = text.get(6..).and_then(unit)
        && (0xDC00..0xE000).contains(&second)
    {
        return Some((pair(first, second), 12));
    }
    Some((first, 6))
}

/// The code point of a surrogate pair.
pub(super) fn pair(high: u32, low: u32) -> u32 {
    0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF)
}

#[expect(clippy::cast_possible_truncation, reason = "each byte is masked")]
fn push_code_point(bytes: &mut Vec<u8>, code: u32) {
    match char::from_u32(code) {
        Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        // Half of a pair, in the form of WTF-8.
        None => bytes.extend_from_slice(&[
            0xE0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3F) as u8,
            0x80 | (code & 0x3F) as u8,
        ]),
    }
}

#[cfg(test)]
mod tests;
