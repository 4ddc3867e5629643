//! `check FILES`: manifests against the CRDs' schema and CEL rules, offline, with file and line. For pull-request checks.
//!
//! What the API server would refuse is an error: the same schema, the same rules ([`crate::api`]), and unknown fields as in kubectl's strict
//! validation. What it would accept but looks wrong in these files, such as a reference to an object that is missing in
//! them, is a warning. Objects of other kinds are skipped.

mod files;
mod hints;
mod object_index;
mod objects;
mod references;
mod scalar;
mod yaml;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use objects::{CheckedObject, KindValidators};

/// What the administrator of the cluster requires beyond the CRDs.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// `run --require-secret-label`: warn of Secrets without the label.
    pub require_secret_label: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckSummary {
    /// Findings that the API server would refuse, and unreadable files.
    pub errors: usize,
    /// Findings that it would accept.
    pub warnings: usize,
    /// `TelegramConnector`s found.
    pub connectors: usize,
    /// `TelegramUserList`s and `ClusterTelegramUserList`s found.
    pub lists: usize,
    /// Objects of other kinds, which were skipped.
    pub others: usize,
    /// Files read.
    pub files: usize,
}

impl CheckSummary {
    /// The exit code of the command: 1 if there were errors, else 0.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.errors > 0)
    }
}

impl fmt::Display for CheckSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, {} ({} and {} checked, {} of other kinds passed over)",
            count(self.files, "file"),
            count(self.errors, "error"),
            count(self.warnings, "warning"),
            count(self.connectors, "TelegramConnector"),
            count(self.lists, "TelegramUserList"),
            self.others,
        )
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// One error or warning with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    /// The field's path; empty where the finding is about no field.
    field: String,
    message: String,
    warning: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        if self.warning {
            write!(f, "warning: ")?;
        }
        write!(f, "{}", self.message)
    }
}

/// Checks files and folders (every `.yaml`, `.yml` and `.json` below them); writes one line per finding in the order of the files, and a
/// summary as the last line.
///
/// # Errors
/// Only if `out` cannot be written. An unreadable file is a finding.
pub fn run(
    paths: &[PathBuf],
    options: CheckOptions,
    out: &mut dyn Write,
) -> io::Result<CheckSummary> {
    let mut summary = CheckSummary::default();
    let mut findings = Vec::new();
    let mut objects: Vec<CheckedObject> = Vec::new();
    let kinds = KindValidators::compile();
    for path in paths {
        for source in files::read_manifests(path) {
            let (file, text) = match source {
                Ok(read) => read,
                Err(unreadable) => {
                    findings.push(unreadable);
                    continue;
                }
            };
            summary.files += 1;
            for document in yaml::documents(&text) {
                match document {
                    Ok(document) => kinds.check(&file, &document, &mut findings, &mut objects),
                    Err(error) => findings.push(Finding {
                        file: file.clone(),
                        line: error.line,
                        field: String::new(),
                        message: format!(
                            "not YAML: {}; nothing of this document was checked",
                            error.what
                        ),
                        warning: false,
                    }),
                }
            }
        }
    }
    references::check_references(&objects, options, &mut findings);
    for object in &objects {
        match object.kind.as_str() {
            "TelegramConnector" if object.ours => summary.connectors += 1,
            "TelegramUserList" | "ClusterTelegramUserList" if object.ours => summary.lists += 1,
            _ => summary.others += 1,
        }
    }
    let order = sorted_indices(&findings);
    for index in order {
        let finding = &findings[index];
        if finding.warning {
            summary.warnings += 1;
        } else {
            summary.errors += 1;
        }
        writeln!(out, "{finding}")?;
    }
    writeln!(out, "{summary}")?;
    Ok(summary)
}

/// Sorts by file in the order of reading, then by line.
fn sorted_indices(findings: &[Finding]) -> Vec<usize> {
    let mut files: HashMap<&str, usize> = HashMap::new();
    for finding in findings {
        let next = files.len();
        files.entry(&finding.file).or_insert(next);
    }
    let mut order: Vec<usize> = (0..findings.len()).collect();
    order.sort_by_key(|index| {
        let finding = &findings[*index];
        (files[finding.file.as_str()], finding.line)
    });
    order
}
