//! The documentation is consistent: links and anchors lead somewhere, the contents list every page, and what a reader copies works.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use regex::Regex;
use telegram_connector_operator::api::conditions::{ConditionType, Reason};
use telegram_connector_operator::cli::Cli;

use super::pages::{self, Page};
use super::{check_text, folder};

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages::all() {
        for link in &page.links {
            let Some((target, anchor)) = page.target(link) else {
                continue;
            };
            let is_page = target.extension().is_some_and(|e| e == "md");
            let found = target.exists()
                && anchor.is_none_or(|a| !is_page || Page::read(&target).anchors.contains(&a));
            if !found {
                broken.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_contents_list_every_page_once() {
    let summary = Page::read(&folder("docs/SUMMARY.md"));
    let listed: Vec<PathBuf> = summary
        .links
        .iter()
        .map(|link| summary.target(link).unwrap().0)
        .collect();
    let once: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), once.len(), "a page is listed twice");
    let mut pages: BTreeSet<PathBuf> = pages::all()
        .into_iter()
        .map(|page| page.path.canonicalize().unwrap())
        .filter(|path| path.starts_with(folder("docs").canonicalize().unwrap()))
        .collect();
    pages.remove(&folder("docs/SUMMARY.md").canonicalize().unwrap());
    assert_eq!(pages, once);
}

#[test]
fn the_readme_is_one_page_with_the_commands_that_ci_runs() {
    let readme = fs::read_to_string(folder("README.md")).unwrap();
    assert!(
        readme.lines().count() < 90,
        "figures and tables go to docs/"
    );
    let ci = fs::read_to_string(folder(".ci/run")).unwrap();
    for command in ["cargo run --release -- demo", "cargo test"] {
        let shown = Regex::new(&format!(r"(?m)^\$ {}( +#|$)", regex::escape(command))).unwrap();
        let run = Regex::new(&format!("(?m)^attempt \"[^\"]*README[^\"]*\" {command}$")).unwrap();
        assert!(shown.is_match(&readme), "README: {command}");
        assert!(run.is_match(&ci), ".ci/run: {command}");
    }
}

/// The commands of this program in a page's consoles, as words; a file that a shell would make or read is no word of them.
fn commands_of_the_program(page: &Page) -> Vec<Vec<String>> {
    let word = Regex::new(r#""([^"]*)"|'([^']*)'|(\S+)"#).unwrap();
    let end = Regex::new(r" +(#|\||>|2>|&|;).*$").unwrap();
    let start =
        Regex::new(r"(?:^| -- )telegram-connector-operator +|^cargo run --release -- +").unwrap();
    let mut commands = Vec::new();
    for block in page.code_blocks.iter().filter(|b| b.language == "console") {
        let text = block.text.replace("\\\n", " ");
        for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let line = end.replace(line, "");
            let Some(command) = start.find_iter(&line).last() else {
                continue;
            };
            let words = word.captures_iter(&line[command.end()..]);
            commands.push(
                words
                    .map(|found| {
                        let text = found.get(1).or(found.get(2)).or(found.get(3));
                        text.unwrap().as_str().to_owned()
                    })
                    .collect(),
            );
        }
    }
    commands
}

#[test]
fn the_program_takes_every_command_in_the_pages() {
    let mut tried = 0;
    for page in pages::all() {
        for words in commands_of_the_program(&page) {
            let line = words.join(" ");
            let words = std::iter::once("telegram-connector-operator".to_owned()).chain(words);
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{}: {line}: {error}", page.path.display());
            }
            tried += 1;
        }
    }
    assert!(tried >= 12, "only {tried} commands");
}

#[test]
fn connectors_in_the_pages_pass_check() {
    let ours = Regex::new("(?m)^kind: Telegram").unwrap();
    let mut checked = 0;
    for page in pages::all() {
        for block in page.code_blocks.iter().filter(|b| b.language == "yaml") {
            if !ours.is_match(&block.text) {
                continue;
            }
            let (outcome, output) = check_text("page.yaml", &block.text);
            assert_eq!(outcome.errors, 0, "{}: {output}", page.path.display());
            checked += outcome.connectors + outcome.lists;
        }
    }
    assert!(checked >= 2, "only {checked} manifests");
}

#[test]
fn crds_are_applied_in_one_way() {
    let applied = Regex::new(r"kubectl apply [^`\n|#]*crds/?|crds \| kubectl[^`\n]*").unwrap();
    let mut pages: Vec<PathBuf> = pages::all().into_iter().map(|page| page.path).collect();
    pages.push(folder(
        "charts/telegram-connector-operator/templates/NOTES.txt",
    ));
    let mut ways = Vec::new();
    for page in pages.iter().filter(|page| !page.ends_with("decisions.md")) {
        let text = fs::read_to_string(page).unwrap();
        ways.extend(applied.find_iter(&text).map(|way| way.as_str().to_owned()));
    }
    // A server without CEL, which no cluster of a supported version is.
    ways.retain(|way| !way.contains("--validate=false"));
    assert!(ways.len() >= 2, "{ways:?}");
    ways.sort();
    ways.dedup();
    assert_eq!(ways, ["kubectl apply --server-side -f crds/"]);
}

#[test]
fn the_conditions_page_has_every_condition_and_failing_reason() {
    let page = fs::read_to_string(folder("docs/conditions.md")).unwrap();
    let word = Regex::new("`([A-Z][A-Za-z]+)`").unwrap();
    let named: BTreeSet<&str> = word
        .captures_iter(&page)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    for condition in ConditionType::ALL {
        assert!(named.contains(condition.as_str()), "{condition}");
    }
    // Of those that Ready can have, the ones that say that all is well.
    let well = [Reason::MessagesFlow];
    for reason in Reason::ALL.iter().filter(|r| r.is_ready_reason()) {
        let shown = named.contains(reason.as_str());
        assert!(shown || well.contains(reason), "{reason}");
    }
    let row = Regex::new(r"(?m)^\| `[A-Za-z]+` \|.*$").unwrap();
    for reason in row
        .find_iter(&page)
        .flat_map(|row| word.captures_iter(row.as_str()))
    {
        let known = Reason::parse(&reason[1]).is_some()
            || ConditionType::parse(&reason[1]).is_some()
            || &reason[1] == "TelegramUserList";
        assert!(known, "{}", &reason[1]);
    }
}
