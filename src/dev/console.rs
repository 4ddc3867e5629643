//! Terminal output of `demo` and `dev`: headings, chat lines and check marks, coloured only on a terminal.

use std::io::{IsTerminal, Write};

/// Writes formatted lines to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    colour: bool,
}

impl Console {
    /// Colour if standard output is a terminal and `NO_COLOR` is not set.
    pub fn new() -> Self {
        Self {
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// A heading with an empty line before it.
    pub fn heading(self, text: &str) {
        self.line(&format!("\n{}", self.paint("1", text)));
    }

    /// An indented line.
    pub fn item(self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// A label and its value, in two columns.
    pub fn pair(self, label: &str, value: &str) {
        self.line(&format!("  {label:<15} {value}"));
    }

    /// `NAME=value`, for scripts and for `export`.
    pub fn assignment(self, name: &str, value: &str) {
        self.line(&format!("{name}={value}"));
        // A script that started this process waits for the line.
        let _ = std::io::stdout().flush();
    }

    /// A block of text as it is, indented.
    pub fn block(self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// A chat message with time and sender; further lines of the text are aligned below the first.
    pub fn chat(self, time: &str, sender: &str, text: &str) {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        self.line(&format!(
            "  {}  {} {first}",
            self.paint("2", time),
            self.paint("36", &format!("{sender:>20}:"))
        ));
        for line in lines {
            self.line(&format!(
                "  {:width$}  {:>20}  {line}",
                "",
                "",
                width = time.chars().count()
            ));
        }
    }

    /// `ok` or `FAIL`, and what was checked.
    pub fn check_result(self, held: bool, text: &str) {
        let mark = if held {
            self.paint("32", "ok  ")
        } else {
            self.paint("31", "FAIL")
        };
        self.line(&format!("  {mark} {text}"));
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    #[allow(
        clippy::unused_self,
        reason = "only the owner of a console writes to standard output"
    )]
    fn line(self, text: &str) {
        // A closed pipe (`demo | head`) must not cause a panic.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}
