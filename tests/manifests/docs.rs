//! The documentation is consistent: no dead link between pages, and every flag is listed.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use regex::Regex;
use telegram_connector_operator::cli::Cli;

use super::folder;

/// Every Markdown page for readers.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![folder("README.md")];
    let mut folders = vec![folder("docs"), folder("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 25, "{pages:?}");
    pages
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").unwrap();
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let here = page.parent().unwrap_or(Path::new(""));
        for found in link.captures_iter(&text) {
            if !here.join(&found[1]).exists() {
                broken.push(format!("{}: {}", page.display(), &found[1]));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_flag_of_run_is_in_the_readme() {
    let readme = fs::read_to_string(folder("README.md")).unwrap();
    let cli = Cli::command();
    let run = cli.find_subcommand("run").unwrap();
    let missing: Vec<String> = run
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|flag| !matches!(*flag, "help" | "version"))
        .map(|flag| format!("`--{flag}"))
        .filter(|flag| !readme.contains(flag.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn crds_are_applied_in_one_way() {
    let applied = Regex::new(r"kubectl apply [^`\n|#]*crds/?|crds \| kubectl[^`\n]*").unwrap();
    let mut pages = pages();
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
    assert!(ways.len() >= 4, "{ways:?}");
    ways.sort();
    ways.dedup();
    assert_eq!(ways, ["kubectl apply --server-side -f crds/"]);
}
