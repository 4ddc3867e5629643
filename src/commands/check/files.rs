//! Finds the manifests of a path and reads them.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;

/// The longest manifest that is read: ten times what an API server accepts in one request.
const MAX_MANIFEST_BYTES: u64 = 32 * 1024 * 1024;

/// The text of a file, or of every manifest below a folder sorted by name, with the name to print. An unreadable file is a finding.
pub(super) fn read_manifests(path: &Path) -> Vec<Result<(String, String), Finding>> {
    if !path.is_dir() {
        return vec![read(path)];
    }
    let mut found = Vec::new();
    collect(path, &mut found);
    if found.is_empty() {
        return vec![Err(unreadable(
            path,
            "no .yaml, .yml or .json below this folder",
        ))];
    }
    found
        .into_iter()
        .map(|file| file.and_then(|file| read(&file)))
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<Result<PathBuf, Finding>>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            found.push(Err(unreadable(folder, &error.to_string())));
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    for path in paths {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let manifest = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"));
        if path.is_dir() {
            // A symbolic link to a parent folder would never end.
            if !hidden && !path.is_symlink() {
                collect(&path, found);
            }
        } else if manifest && !hidden {
            found.push(Ok(path));
        }
    }
}

fn read(path: &Path) -> Result<(String, String), Finding> {
    let length = fs::metadata(path)
        .map_err(|error| unreadable(path, &error.to_string()))?
        .len();
    if length > MAX_MANIFEST_BYTES {
        return Err(unreadable(
            path,
            "longer than 32 MiB, more than any API server accepts",
        ));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error.to_string()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good]
                .split(|byte| *byte == b'\n')
                .count();
            Err(Finding {
                line,
                ..unreadable(path, "not UTF-8; save the file as UTF-8")
            })
        }
    }
}

fn unreadable(path: &Path, why: &str) -> Finding {
    Finding {
        file: path.display().to_string(),
        line: 1,
        field: String::new(),
        message: format!("cannot be read: {why}"),
        warning: false,
    }
}
