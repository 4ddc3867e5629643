//! The command line: flags, their environment variables, and the settings they become.
