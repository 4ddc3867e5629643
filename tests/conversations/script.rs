//! Scripts read from their files.

use std::path::Path;

use serde_yaml::{Mapping, Value};

/// One step: what is done, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) does: String,
    pub(crate) with: Value,
}

/// All conversations of all files: the file's name, the conversation's, and its steps.
///
/// # Panics
/// A file is no script.
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
                .map(|step| read(step).unwrap_or_else(|| panic!("{feature}: {title}: {step:?}")))
                .collect();
            all.push((feature.clone(), title, steps));
        }
    }
    all
}

/// `does: with`, or just `does`.
fn read(step: &Value) -> Option<Step> {
    if let Some(does) = step.as_str() {
        return Some(Step {
            does: does.to_owned(),
            with: Value::Null,
        });
    }
    let (does, with) = step.as_mapping().filter(|m| m.len() == 1)?.iter().next()?;
    Some(Step {
        does: does.as_str()?.to_owned(),
        with: with.clone(),
    })
}
