//! What an answer says beside its text: the sources that it names, and what it cost.

use super::answer_parts::AnswerParts;
use crate::assistant::Citation;
use crate::assistant::answer_metadata::token_usage;
use crate::assistant::lenient_json::{Json, JsonKind};

/// The most titles that are looked for.
const MAX_RESULTS: usize = 100;

/// Perplexity's lists: `citations` are addresses (`[1]` in the text is the first), `search_results` have their titles.
pub(super) fn read_citations(citations: Json<'_>, results: Json<'_>, parts: &mut AnswerParts) {
    let known: Vec<_> = results.items().take(MAX_RESULTS).filter_map(link).collect();
    let title_of = |url: &str| {
        let found = known.iter().find(|(known, _)| known == url);
        found.and_then(|(_, title)| title.clone())
    };
    let listed = citations.items().take(MAX_RESULTS).map(|citation| {
        // What is no address keeps the place of one.
        let (url, title) = link(citation).unwrap_or_default();
        let title = title.or_else(|| title_of(&url));
        Citation { url, title }
    });
    let listed: Vec<Citation> = listed.collect();
    if !listed.is_empty() {
        parts.push_citation_list(listed);
    } else if !known.is_empty() {
        let results = known.into_iter();
        parts.push_citation_list(
            results
                .map(|(url, title)| Citation { url, title })
                .collect(),
        );
    }
}

/// `OpenAI`'s annotations: `{"type": "url_citation", "url_citation": {"url", "title"}}`, in Responses without the inner object.
pub(super) fn read_annotations(annotations: Json<'_>, parts: &mut AnswerParts) {
    for annotation in annotations.items().take(MAX_RESULTS) {
        read_annotation(annotation, parts);
    }
}

pub(super) fn read_annotation(annotation: Json<'_>, parts: &mut AnswerParts) {
    let inner = annotation.field("url_citation");
    let source = if inner.is_object() { inner } else { annotation };
    if let Some((url, title)) = link(source) {
        parts.push_citation(&url, title);
    }
}

/// An address, or an object with one and a title.
fn link(source: Json<'_>) -> Option<(String, Option<String>)> {
    if source.kind() == JsonKind::Text {
        return Some((source.non_empty_string()?, None));
    }
    let [url, title] = source.fields(["url", "title"]);
    Some((url.non_empty_string()?, title.non_empty_string()))
}

/// `usage` in the words of either dialect.
pub(super) fn read_usage(usage: Json<'_>, parts: &mut AnswerParts) {
    if let Some(usage) = token_usage(usage) {
        parts.push_usage(usage);
    }
}
