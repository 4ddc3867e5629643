//! Reads scripts from YAML files.

use std::path::Path;

use serde_yaml::{Mapping, Value};

/// One step, written `action: argument` or just `action`.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) action: String,
    pub(crate) argument: Value,
}

/// File name, title and steps of every conversation.
///
/// # Panics
/// A file is not a valid script.
pub(crate) fn read_all(folder: &Path) -> Vec<(String, String, Vec<Step>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let feature = file.file_stem().unwrap().to_string_lossy().into_owned();
        let yaml = std::fs::read_to_string(&file).unwrap();
        let conversations: Mapping = serde_yaml::from_str(&yaml)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for (title, steps) in conversations {
            let title = title.as_str().expect("a title is a text").to_owned();
            let steps = steps
                .as_sequence()
                .unwrap_or_else(|| panic!("{feature}: {title}: no list of steps"))
                .iter()
                .map(|step| {
                    parse_step(step).unwrap_or_else(|| panic!("{feature}: {title}: {step:?}"))
                })
                .collect();
            all.push((feature.clone(), title, steps));
        }
    }
    all
}

fn parse_step(step: &Value) -> Option<Step> {
    if let Some(action) = step.as_str() {
        return Some(Step {
            action: action.to_owned(),
            argument: Value::Null,
        });
    }
    let (action, argument) = step.as_mapping().filter(|m| m.len() == 1)?.iter().next()?;
    Some(Step {
        action: action.as_str()?.to_owned(),
        argument: argument.clone(),
    })
}
