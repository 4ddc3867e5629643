//! The program: the allocator, and a call to [`telegram_connector_operator::commands::main`].

use std::process::ExitCode;

/// Returns memory to the system and keeps the resident size flat over days of small allocations, which glibc's allocator does not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    telegram_connector_operator::commands::main()
}
