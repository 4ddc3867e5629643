//! What a data URI stands in: a link or picture of Markdown, a definition, an HTML tag, or the text itself.

/// The longest name in a placeholder, in characters.
const MAX_NAME_CHARS: usize = 80;

/// The words for what was taken out, in the user's language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceholderWords<'a> {
    pub(crate) picture: &'a str,
    pub(crate) file: &'a str,
}

impl PlaceholderWords<'_> {
    /// What is shown in the place of what is called so.
    pub(super) fn shown(self, is_picture: bool, name: &str) -> String {
        let word = if is_picture { self.picture } else { self.file };
        if name.is_empty() {
            format!("({word})")
        } else {
            format!("({word}: {name})")
        }
    }
}

/// What in the text may still turn out to be around a data URI, character by character.
#[derive(Debug)]
pub(super) struct Openers {
    /// Square brackets that are open.
    depth: usize,
    link: LinkState,
    tag: TagState,
    /// The last character was `!`.
    is_bang: bool,
    /// Only spaces stand before this in its line.
    is_line_start: bool,
    /// The outermost bracket was the first of its line.
    opened_at_line_start: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Outside,
    /// Behind the bracket that closes the outermost one.
    LabelEnd,
    /// Behind `](` or `]:`, where the URI comes.
    Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagState {
    Outside,
    /// Behind `<`.
    Begun,
    Inside,
}

impl Openers {
    pub(super) fn new(is_line_start: bool) -> Self {
        Self {
            depth: 0,
            link: LinkState::Outside,
            tag: TagState::Outside,
            is_bang: false,
            is_line_start,
            opened_at_line_start: false,
        }
    }

    /// The next character of the text; `in_candidate`: it belongs to what may be a data URI.
    pub(super) fn push(&mut self, c: char, in_candidate: bool) {
        self.is_bang = c == '!';
        self.link = match (self.link, c) {
            (LinkState::LabelEnd, '(' | ':') => LinkState::Destination,
            (LinkState::Destination, ' ' | '\t' | '<') => LinkState::Destination,
            (LinkState::Destination, _) if in_candidate => LinkState::Destination,
            _ => LinkState::Outside,
        };
        match c {
            '\n' => self.depth = 0,
            '[' => {
                if self.depth == 0 {
                    self.opened_at_line_start = self.is_line_start;
                }
                self.depth += 1;
            }
            ']' if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.link = LinkState::LabelEnd;
                }
            }
            _ => {}
        }
        self.tag = match (self.tag, c) {
            (_, '<') => TagState::Begun,
            (TagState::Begun, c) if c.is_ascii_alphabetic() => TagState::Inside,
            (TagState::Begun, _) | (_, '>') => TagState::Outside,
            (tag, _) => tag,
        };
        self.is_line_start = c == '\n' || (self.is_line_start && c == ' ');
    }

    /// Whether anything can be open behind this byte.
    pub(super) fn may_open(byte: u8) -> bool {
        matches!(byte, b'[' | b'<' | b'!')
    }

    /// Text while nothing is open, which opens nothing: the same as each of its characters pushed.
    pub(super) fn pass(&mut self, text: &str) {
        let line = text.rsplit('\n').next().unwrap_or_default();
        let begins_line = line.len() < text.len() || self.is_line_start;
        self.is_line_start = begins_line && line.bytes().all(|byte| byte == b' ');
    }

    /// Whether what is held back may be around a data URI that follows.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
            || self.link != LinkState::Outside
            || self.is_bang
            || self.tag != TagState::Outside
    }

    /// Everything that was open is text.
    pub(super) fn close(&mut self) {
        *self = Self::new(self.is_line_start);
    }

    /// Whether the outermost bracket was the first of its line.
    pub(super) fn opened_at_line_start(&self) -> bool {
        self.opened_at_line_start
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `[name](…)`, `![name](…)`.
    Link,
    /// `[name]: …` on a line of its own.
    Definition,
    /// `<…>`.
    Autolink,
    /// `<img src="…">`, closed by its quote if it has one.
    Tag,
    /// Nothing.
    Text,
}

/// What a data URI stands in.
#[derive(Debug)]
pub(super) struct UriContext {
    kind: Kind,
    /// Where it begins, and where its URI does, in the text that is held back.
    start: usize,
    uri_start: usize,
    name: String,
    is_picture: bool,
    /// The quote that is open: around the URI, and then behind it.
    quote: Option<char>,
    /// Of a tag, what stands before its URI.
    tag: String,
}

impl UriContext {
    /// `before`: what is held back before the URI.
    pub(super) fn of(before: &str, opened_at_line_start: bool) -> Self {
        let mut context = Self {
            kind: Kind::Text,
            start: before.len(),
            uri_start: before.len(),
            name: String::new(),
            is_picture: false,
            quote: None,
            tag: String::new(),
        };
        let unquoted = before.strip_suffix('<').unwrap_or(before);
        let destination = unquoted.trim_end_matches([' ', '\t']);
        if let Some(label_end) = destination.strip_suffix("](").map(str::len)
            && let Some(open) = matching_bracket(&before[..label_end])
        {
            context.kind = Kind::Link;
            context.name = bounded_name(&before[open + 1..label_end]);
            context.is_picture = before[..open].ends_with('!');
            context.start = open - usize::from(context.is_picture);
        } else if let Some(label) = destination.strip_suffix("]:")
            && opened_at_line_start
            && let Some(label) = label.strip_prefix('[')
        {
            context.kind = Kind::Definition;
            context.name = bounded_name(label);
            context.start = 0;
        } else if unquoted.len() < before.len() {
            context.kind = Kind::Autolink;
            context.start = unquoted.len();
        } else if let Some(open) = open_tag(before) {
            context.kind = Kind::Tag;
            context.start = open;
            before[open..].clone_into(&mut context.tag);
            context.quote = before.chars().next_back().filter(|c| is_quote(*c));
            let name = &before[open + 1..];
            context.is_picture = name.get(..3).is_some_and(|n| n.eq_ignore_ascii_case("img"));
        }
        context
    }

    pub(super) fn with_media_type(mut self, is_picture: bool) -> Self {
        self.is_picture |= is_picture;
        self
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn uri_start(&self) -> usize {
        self.uri_start
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_picture(&self) -> bool {
        self.is_picture
    }

    /// The quotes around the URI.
    pub(super) fn quote(&self) -> Option<char> {
        self.quote
    }

    /// Whether a character behind the URI is the end of what it stands in.
    pub(super) fn is_closed_by(&self, c: char) -> bool {
        match self.kind {
            Kind::Link => c == ')',
            Kind::Tag => c == '>' || self.quote == Some(c),
            Kind::Autolink => c == '>',
            Kind::Definition | Kind::Text => false,
        }
    }

    /// Whether anything belongs to it behind the URI.
    pub(super) fn has_tail(&self) -> bool {
        matches!(self.kind, Kind::Link | Kind::Tag | Kind::Autolink)
    }

    /// Reads a character behind the URI; `Some`: whether it is the last, `None`: it does not belong to it.
    pub(super) fn push_tail(&mut self, c: char) -> Option<bool> {
        match self.quote {
            Some(quote) if quote == c => self.quote = None,
            None if is_quote(c) && self.kind != Kind::Autolink => self.quote = Some(c),
            _ => {}
        }
        let end = match self.kind {
            Kind::Link => ')',
            _ => '>',
        };
        match (self.kind, c) {
            (_, c) if c == end && self.quote.is_none() => Some(true),
            (Kind::Link, '\n') | (Kind::Autolink, _) => None,
            _ => Some(false),
        }
    }

    /// The whole text behind the URI.
    pub(super) fn read_tail(&mut self, tail: &str) {
        if self.kind == Kind::Tag {
            self.tag.push_str(tail);
            self.name = attribute(&self.tag, "alt")
                .map(bounded_name)
                .unwrap_or_default();
        }
    }

    /// What is shown instead.
    pub(super) fn placeholder(&self, words: PlaceholderWords<'_>) -> String {
        words.shown(self.is_picture, &self.name)
    }
}

fn is_quote(c: char) -> bool {
    c == '"' || c == '\''
}

/// Where the bracket is open that would be closed at the end of the text.
fn matching_bracket(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices().rev() {
        match c {
            ']' => depth += 1,
            '[' if depth == 0 => return Some(at),
            '[' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Where the tag begins that the text ends in.
fn open_tag(text: &str) -> Option<usize> {
    let open = text.rfind('<')?;
    let inside = &text[open + 1..];
    let is_tag = inside.starts_with(|c: char| c.is_ascii_alphabetic()) && !inside.contains('>');
    is_tag.then_some(open)
}

/// The value of an attribute in quotes.
fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = tag;
    while let Some((before, behind)) = rest.split_once('=') {
        let found = before.trim_end();
        let start = found.len().checked_sub(name.len())?;
        let is_name = found
            .get(start..)
            .is_some_and(|n| n.eq_ignore_ascii_case(name))
            && found[..start].ends_with(char::is_whitespace);
        let value = behind.trim_start();
        let quote = value.chars().next().filter(|c| is_quote(*c));
        let value = quote.and_then(|quote| value[1..].split_once(quote));
        rest = match value {
            Some((value, _)) if is_name => return Some(value),
            Some((_, behind)) => behind,
            None => behind,
        };
    }
    None
}

/// A name in one line, as long as a placeholder may be.
pub(super) fn bounded_name(name: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}
