//! Parses the command line and starts one command.

fn main() {}
