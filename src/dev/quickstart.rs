//! The manifests of `examples/quickstart/`, which `demo` and `dev` use when they are given none.

use std::io;
use std::path::{Path, PathBuf};

/// The folder in a checkout.
const FOLDER: &str = "examples/quickstart";

/// Where the quickstart's connector expects its assistant; `demo` and `dev` lead this address to the sample assistant.
pub const ASSISTANT_ADDRESS: &str = "127.0.0.1:8081";

/// The files as they were when this program was built.
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

/// The folder to apply: the checkout's, or outside a checkout a copy that is made below `scratch`.
///
/// # Errors
/// The copy cannot be written.
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
