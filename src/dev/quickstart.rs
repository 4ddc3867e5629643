//! The manifests of `examples/quickstart/`, which `demo` and `dev` use when they are given none.

use std::io;
use std::path::{Path, PathBuf};

/// Relative to the root of a checkout.
const FOLDER: &str = "examples/quickstart";

/// Host and port of the assistant in the quickstart's connector, which `demo` and `dev` redirect to the sample assistant.
pub const ASSISTANT_ADDRESS: &str = "127.0.0.1:8081";

/// Name and content of each file at build time.
const FILES: [(&str, &str); 4] = [
    (
        "1-namespace.yaml",
        include_str!("../../examples/quickstart/1-namespace.yaml"),
    ),
    (
        "2-bot-token.yaml",
        include_str!("../../examples/quickstart/2-bot-token.yaml"),
    ),
    (
        "3-acme-staff.yaml",
        include_str!("../../examples/quickstart/3-acme-staff.yaml"),
    ),
    (
        "4-support.yaml",
        include_str!("../../examples/quickstart/4-support.yaml"),
    ),
];

/// The folder to apply: the checkout's own, or outside a checkout a copy written below `scratch`.
///
/// # Errors
/// A file of the copy cannot be written.
pub fn folder(scratch: &Path) -> io::Result<PathBuf> {
    let checkout = Path::new(FOLDER);
    if checkout.is_dir() {
        return Ok(checkout.to_path_buf());
    }
    let copy = scratch.join("quickstart");
    std::fs::create_dir_all(&copy)?;
    for (name, text) in FILES {
        std::fs::write(copy.join(name), text)?;
    }
    Ok(copy)
}
