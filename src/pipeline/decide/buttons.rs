//! What is shown of the buttons that an assistant offers, and what a tap on one brings back. Pure.
//!
//! `callback_data` is `d:`, the decision's id and the button's number: nobody can guess another's. What does not fit on buttons stands as a list in
//! the message, so that nothing of it is lost: it can be answered in words.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::assistant::Choice;
use crate::store::DecisionOption;
use crate::telegram::{Button, Keyboard};

/// The most buttons of one question; Telegram takes 100.
const MAX_BUTTONS: usize = 40;
/// The most buttons in a row: Telegram's limit.
const MAX_PER_ROW: usize = 8;
/// So much of a text stands on a button, in characters as people count them.
const MAX_BUTTON_CHARS: usize = 40;
/// The longest text and value of a button, in bytes; with longer ones there are no buttons.
const MAX_TEXT_BYTES: usize = 1024;
/// The texts and values of all buttons: they are kept as long as the record of what was decided.
const MAX_BYTES: usize = 16 << 10;

/// What stands before the id in `callback_data`.
const PREFIX: &str = "d:";

/// What is shown of a choice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ShownChoice {
    /// The answers, numbered as the buttons are; empty where there are no buttons.
    pub(crate) options: Vec<DecisionOption>,
    /// What stands on the buttons, row by row.
    pub(crate) rows: Vec<Vec<String>>,
    /// The answers as lines, where the buttons do not show all of them.
    pub(crate) list: Option<String>,
}

impl ShownChoice {
    /// Lays a choice out.
    pub(crate) fn new(choice: &Choice) -> Self {
        let buttons: Vec<_> = choice.rows.iter().flatten().collect();
        let fits = |text: &str| text.len() <= MAX_TEXT_BYTES;
        let bytes = buttons.iter().map(|b| b.text.len() + b.value.len());
        let can_tap = buttons.len() <= MAX_BUTTONS
            && bytes.sum::<usize>() <= MAX_BYTES
            && buttons
                .iter()
                .all(|b| !b.text.trim().is_empty() && fits(&b.text) && fits(&b.value));
        let texts = buttons.iter().map(|b| match b.text.trim() {
            "" => b.value.trim(),
            text => text,
        });
        let shows_all = can_tap && texts.clone().all(|text| cut(text) == text);
        let list = || {
            texts
                .enumerate()
                .map(|(n, text)| format!("{}. {text}", n + 1))
        };
        let list = (!shows_all).then(|| list().collect::<Vec<_>>().join("\n"));
        if !can_tap {
            return Self {
                list,
                ..Self::default()
            };
        }
        let options = buttons.iter().map(|b| DecisionOption {
            text: b.text.trim().to_owned(),
            value: b.value.clone(),
            user_text: if choice.says_value { &b.value } else { &b.text }
                .trim()
                .to_owned(),
        });
        let rows = choice.rows.iter().flat_map(|row| row.chunks(MAX_PER_ROW));
        let labels = rows.map(|row| row.iter().map(|b| cut(b.text.trim())).collect());
        Self {
            options: options.collect(),
            rows: labels.collect(),
            list,
        }
    }
}

/// Buttons with these texts, numbered from 0.
pub(crate) fn keyboard(id: &str, rows: &[Vec<String>]) -> Keyboard {
    let mut number = 0..;
    let button = |text: &String, n: usize| Button {
        text: text.clone(),
        data: format!("{PREFIX}{id}:{n}"),
    };
    let mut row = |texts: &Vec<String>| {
        texts
            .iter()
            .zip(&mut number)
            .map(|(t, n)| button(t, n))
            .collect()
    };
    Keyboard {
        rows: rows.iter().map(&mut row).collect(),
    }
}

/// A new id that nobody can guess.
pub(crate) fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The decision and the option that `callback_data` names; `None`: it is none of ours.
pub(crate) fn parse_data(data: &str) -> Option<(&str, usize)> {
    parse_data_of(PREFIX, data)
}

/// The id and the number in `callback_data` that begins with `prefix`; `None`: it is not made up so.
pub(crate) fn parse_data_of<'a>(prefix: &str, data: &'a str) -> Option<(&'a str, usize)> {
    let (id, option) = data.strip_prefix(prefix)?.rsplit_once(':')?;
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then_some((id, option.parse().ok()?))
}

/// A text as it stands on a button.
fn cut(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.grapheme_indices(true).nth(MAX_BUTTON_CHARS) {
        None => text,
        Some(_) => {
            let kept = text.graphemes(true).take(MAX_BUTTON_CHARS - 1);
            format!("{}…", kept.collect::<String>().trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::assistant::ChoiceButton;

    fn choice(rows: &[&[&str]]) -> Choice {
        let button = |text: &&str| ChoiceButton {
            text: (*text).to_owned(),
            value: format!("v{text}"),
        };
        Choice {
            rows: rows
                .iter()
                .map(|row| row.iter().map(button).collect())
                .collect(),
            ..Choice::default()
        }
    }

    #[test]
    fn buttons_stand_in_their_rows_without_a_list() {
        let shown = ShownChoice::new(&choice(&[&["Yes", " No "], &["Later"]]));
        assert_eq!(shown.rows, [vec!["Yes", "No"], vec!["Later"]]);
        assert_eq!(shown.list, None);
        assert_eq!(shown.options[1].value, "v No ");
    }

    #[test]
    fn rows_that_are_too_long_are_wrapped() {
        let shown = ShownChoice::new(&choice(&[&["x"; 11]]));
        let widths: Vec<_> = shown.rows.iter().map(Vec::len).collect();
        assert_eq!(widths, [8, 3]);
    }

    #[test]
    fn long_texts_are_cut_by_graphemes_and_listed_whole() {
        let family = "👨‍👩‍👧".repeat(41);
        let shown = ShownChoice::new(&choice(&[&[&family, "No"]]));
        let label = &shown.rows[0][0];
        assert_eq!(label, &format!("{}…", "👨‍👩‍👧".repeat(39)));
        assert_eq!(shown.list, Some(format!("1. {family}\n2. No")));
    }

    #[rstest]
    #[case::too_many(vec!["x"; 41])]
    #[case::without_text(vec!["Yes", ""])]
    fn what_no_buttons_can_show_is_a_list(#[case] texts: Vec<&str>) {
        let shown = ShownChoice::new(&choice(&[&texts]));
        assert_eq!((shown.rows, shown.options.len()), (vec![], 0));
        let list = shown.list.expect("a list");
        assert_eq!(list.lines().count(), texts.len());
        assert!(
            list.ends_with(if texts.len() == 41 { "41. x" } else { "2. v" }),
            "{list}"
        );
    }

    #[test]
    fn buttons_that_are_too_long_together_are_a_list() {
        let text = "x".repeat(900);
        for (count, has_buttons) in [(9, true), (10, false)] {
            let texts = vec![text.as_str(); count];
            let shown = ShownChoice::new(&choice(&[&texts]));
            assert_eq!(!shown.options.is_empty(), has_buttons, "{count}");
            let list = shown.list.expect("the whole texts");
            assert_eq!(list.lines().count(), count);
        }
    }

    #[test]
    fn data_of_a_button_names_its_decision_and_number() {
        let id = new_id();
        let keyboard = keyboard(&id, &[vec!["a".into()], vec!["b".into(), "c".into()]]);
        let data = &keyboard.rows[1][1].data;
        assert!(data.len() <= 64, "{data}");
        assert_eq!(parse_data(data), Some((id.as_str(), 2)));
    }

    #[rstest]
    #[case("")]
    #[case("d:")]
    #[case("d:0123456789abcdef0123456789abcdef")]
    #[case("d:0123456789abcdef0123456789abcdef:")]
    #[case("d:0123456789abcdef0123456789abcdef:-1")]
    #[case("d:0123456789abcdef0123456789abcde':0")]
    #[case("x:0123456789abcdef0123456789abcdef:0")]
    fn data_of_others_names_nothing(#[case] data: &str) {
        assert_eq!(parse_data(data), None);
    }
}
