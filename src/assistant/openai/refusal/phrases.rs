//! The phrases by which servers refuse a part of a request. They are matched against text in lower case; words in upper case stand for the
//! expressions of [`WORDS`].

use std::sync::LazyLock;

use regex::Regex;

/// What the upper-case words of a pattern stand for; an expression may use those after it.
const WORDS: [(&str, &str); 10] = [
    ("LIST", r"[\[({]*(NAME(?:\s*,\s*NAME)*)[\])}]*"),
    ("QUOTED", r#"["'`][a-z][a-z0-9_]*["'`]"#),
    ("NAME", r#"["'`]?[a-z][a-z0-9_]*["'`]?"#),
    (
        "UNKNOWN",
        "(?:unrecogni[sz]ed|unknown|unsupported|unexpected|unpermitted|disallowed|extraneous|invalid|extra|additional|forbidden)",
    ),
    (
        "FIELDS",
        r"(?:arguments?|parameters?|params?|fields?|names?|keys?|property|properties|options?|attributes?)(?:\(s\)|\(es\))?",
    ),
    (
        "FIELD",
        "(?:argument|parameter|param|field|property|option|attribute)",
    ),
    (
        "OF",
        "(?:request|json|body|input|keyword|query|payload|field|top-level)",
    ),
    ("NOT", "(?:not|n't|cannot)(?: be| an?| currently| yet)*"),
    (
        "PERMITTED",
        "(?:supported?|allowed|permitted|recogni[sz]ed|valid|available|known|defined|accepted|implemented|enabled|expected|used|set|true)",
    ),
    ("BE", "(?:is|are|was|were|does|do|must|should)"),
];

/// Phrases that name refused fields; group 1 holds the name, or a list of names.
const NAMING: [&str; 19] = [
    // Unrecognized request argument supplied: user / unknown field `user` / extraneous key [user]
    r"UNKNOWN (?:OF )*FIELDS(?: (?:supplied|provided|found|passed|in (?:the )?OF))*(?: in object)?\s*[:=]?\s*(?:FIELD )?LIST",
    // The parameter `user` is not supported / parameters ['user'] are not supported
    r"\bFIELDS?:? LIST (?:BE )?(?:currently )?(?:NOT PERMITTED|UNKNOWN|disabled|should not exist)",
    r"\bFIELD (NAME) should not exist",
    // The user parameter is not supported
    r"(NAME) FIELD (?:BE )?(?:currently )?(?:NOT PERMITTED|UNKNOWN|disabled)",
    // 'user' is not supported / ('user' was unexpected) / "user": Extra inputs are not permitted
    r"(QUOTED):?\s*(?:BE )?(?:currently )?(?:NOT PERMITTED|an? UNKNOWN|UNKNOWN|disabled|be false|(?:not|n't) support)",
    r"(QUOTED):?\s*extra (?:inputs|fields) (?:are )?not (?:permitted|allowed)",
    // Additional properties are not allowed ('store', 'user' were unexpected)
    r"\((QUOTED(?:\s*,\s*QUOTED)+) were unexpected",
    // user: Extra inputs are not permitted
    r"(?m)(?:^|[\s.>])(NAME): (?:extra (?:inputs|fields)|UNKNOWN|must be false|(?:input )?should be false|not (?:permitted|allowed|supported))",
    // user is not supported / user is not a valid parameter
    r"(?m)(?:^|[,:] )(NAME) is (?:not (?:currently |yet )?supported|unsupported)",
    r"(NAME) BE not an? (?:PERMITTED|known) FIELD",
    // pydantic's text: the name on a line of its own
    r"(?m)(?:^|> )(NAME)\n\s+extra (?:inputs|fields)",
    // pydantic's list as Python writes it
    r"'type': '(?:extra_forbidden|value_error\.extra)', 'loc': [\[(](?:'body', )?(QUOTED)[,)\]]",
    r"'loc': [\[(](?:'body', )?(QUOTED),?[)\]], 'msg': 'extra ",
    // Extra inputs are not permitted, field: 'user' / extra keys not allowed @ data['user']
    r"extra (?:inputs|fields) (?:are )?not permitted,? field: (NAME)",
    r"extra keys not allowed @ data\[(QUOTED)\]",
    // does not support parameters: ['user'] / doesn't support the 'user' parameter
    r"(?:not|n't) (?:support|accept|allow) (?:the )?(?:following )?FIELDS\s*:?\s*LIST",
    r"(?:not|n't) (?:support|accept|allow) (?:the )?(NAME) FIELD",
    // Additional parameters are not allowed: 'user'
    r"FIELDS (?:BE )?not PERMITTED: LIST",
    // unknown variant / field, as zod and serde write a path
    r"unrecogni[sz]ed key\(s\) in object: LIST",
];

/// Phrases that refuse streaming without naming the field.
const STREAM: [&str; 10] = [
    r"verified to stream\b",
    r"(?:^|[^\w-])stream(?:ing)?(?: mode| option| responses?| requests?| outputs?| completions?)? (?:BE )?(?:currently )?(?:unsupported|disabled|NOT PERMITTED)",
    r"(?:not|n't|cannot|unable to) (?:currently )?(?:supports? )?stream(?:ing|ed)?\b",
    r"(?:cannot|can't|can not) be streamed",
    r"(?:^|[^\w-])stream(?:ing)? is only (?:supported|available|allowed)",
    r#"(?:^|[^\w-])stream(?:ing)?["'`]?\s*[:=]?\s*(?:input )?(?:must|should|has to) be (?:set to )?["'`]?false"#,
    r#"(?:^|[^\w-])stream["'`]?\s*[=:]\s*["'`]?true["'`]? (?:BE )?(?:unsupported|NOT PERMITTED)"#,
    r#"only ["'`]?stream["'`]?\s*[=:]\s*["'`]?false"#,
    r"only (?:supports? )?non-?stream",
    r#"set ["'`]?stream["'`]?\s*(?:to|=|:)\s*["'`]?false"#,
];

/// Phrases that refuse the role `system`, or messages whose roles do not alternate.
const SYSTEM_ROLE: [&str; 13] = [
    r#"\b(?:system|developer)["'`]?[ _-](?:role|message|prompt|instruction)s?["'`]? (?:BE )?(?:currently )?(?:unsupported|NOT PERMITTED)"#,
    r#"["'`](?:system|developer)["'`] (?:BE )?(?:currently )?(?:unsupported|NOT (?:PERMITTED|one of))"#,
    r#"(?:not|n't|cannot) (?:currently )?(?:support|accept|allow|handle|use) (?:an? |the |any )?["'`]?(?:system|developer)\b"#,
    r"must (?:strictly )?alternate\b",
    r#"UNKNOWN (?:message )?role:?\s*["'`]?(?:system|developer)\b"#,
    r#"\brole[:=]?\s*["'`]?(?:system|developer)["'`]? (?:is )?(?:invalid|unsupported|not )"#,
    r#"only (?:supports? |accepts? |allows? )?["'`]?user["'`]?(?:,? and|,| or|/)? ["'`]?(?:assistant|model)["'`]? (?:roles?|messages?)"#,
    r"input tag 'system' found",
    r#"unknown variant ["'`]?(?:system|developer)\b"#,
    r#"\b(?:got|received|found) (?:role )?["'`]?(?:system|developer)\b"#,
    r#"must (?:start|begin) with (?:an? |the )?["'`]?user\b"#,
    r"first message(?:'s role)? (?:must|should|has to) (?:be|have|come)[^.\n]{0,30}\buser\b",
    r#"(?:system|developer)["'`]? role is (?:invalid|unknown)"#,
];

/// Lists of the roles that there are: without `system` in it, that role is refused.
const ROLES: [&str; 3] = [
    r#"\broles?["'`\]]*:? (?:must|should|can|may|has to)(?: only)? be (?:either )?(?:one of )?:?([^.\n]{0,80})"#,
    r"(?:valid|supported|allowed) roles?(?: are)?:?([^.\n]{0,80})",
    r#"(?:should|must) be (["'`]?user["'`][^.\n]{0,60})"#,
];

static NAMING_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&NAMING));
static STREAM_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&STREAM));
static SYSTEM_ROLE_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&SYSTEM_ROLE));
static ROLES_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&ROLES));

fn compile(patterns: &[&str]) -> Vec<Regex> {
    let expand = |pattern: &str| {
        WORDS
            .iter()
            .fold(pattern.to_owned(), |text, (word, expression)| {
                text.replace(word, expression)
            })
    };
    patterns
        .iter()
        .map(|pattern| Regex::new(&expand(pattern)).expect("a constant pattern"))
        .collect()
}

/// The fields that a text in lower case refuses by name.
pub(super) fn refused_names(text: &str) -> Vec<&str> {
    let lists = NAMING_PATTERNS
        .iter()
        .flat_map(|pattern| pattern.captures_iter(text))
        .filter_map(|found| found.get(1))
        .map(|list| list.as_str());
    let names = lists.flat_map(|list| {
        list.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|name| !name.is_empty())
    });
    names.collect()
}

/// Whether a text in lower case refuses streaming.
pub(super) fn refuses_streaming(text: &str) -> bool {
    STREAM_PATTERNS.iter().any(|pattern| pattern.is_match(text))
}

/// Whether a text in lower case refuses the role `system`, or roles that do not alternate.
pub(super) fn refuses_system_role(text: &str) -> bool {
    let mut lists = ROLES_PATTERNS
        .iter()
        .flat_map(|pattern| pattern.captures_iter(text));
    SYSTEM_ROLE_PATTERNS
        .iter()
        .any(|pattern| pattern.is_match(text))
        || lists.any(|list| {
            let list = list.get(1).map_or("", |list| list.as_str());
            list.contains("user") && !list.contains("system")
        })
}
