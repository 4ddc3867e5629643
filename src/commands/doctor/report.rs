//! Prints findings as they come, and at the end what is to be mended first.

use std::io::{self, Write};

use super::finding::{Finding, Level};
use crate::cli::OutputFormat;

/// What was printed so far.
pub(super) struct Report<W> {
    out: W,
    format: OutputFormat,
    failures: usize,
    warnings: usize,
    skipped: usize,
    /// What to type for the first failure, or else the first warning.
    first_fix: Option<(Level, String)>,
}

impl<W: Write> Report<W> {
    pub(super) fn new(out: W, format: OutputFormat) -> Self {
        Self {
            out,
            format,
            failures: 0,
            warnings: 0,
            skipped: 0,
            first_fix: None,
        }
    }

    /// Prints one finding.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn print(&mut self, finding: &Finding) -> io::Result<()> {
        match finding.level {
            Level::Ok => {}
            Level::Skipped => self.skipped += 1,
            Level::Warning => self.warnings += 1,
            Level::Failure => self.failures += 1,
        }
        if let Some(fix) = &finding.fix
            && finding.level >= Level::Warning
            && self
                .first_fix
                .as_ref()
                .is_none_or(|(level, _)| *level < finding.level)
        {
            self.first_fix = Some((finding.level, fix.clone()));
        }
        match self.format {
            OutputFormat::Table => writeln!(self.out, "{}", line(finding)),
            OutputFormat::Json => {
                serde_json::to_writer(&mut self.out, finding)?;
                writeln!(self.out)
            }
        }
    }

    /// Prints how many things are to be mended, and the first line to type; for people only. Whether nothing is broken.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        if matches!(self.format, OutputFormat::Table) {
            writeln!(self.out, "\n{}", self.summary())?;
            if let Some((_, fix)) = &self.first_fix {
                writeln!(self.out, "first: {fix}")?;
            }
        }
        self.out.flush()?;
        Ok(self.failures == 0)
    }

    fn summary(&self) -> String {
        let parts = [
            (self.failures, "broken"),
            (self.warnings, "to look at"),
            (self.skipped, "not checked"),
        ];
        let counted: Vec<String> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match (self.failures + self.warnings, counted.is_empty()) {
            (_, true) => "nothing to mend".to_owned(),
            (0, false) => format!("nothing to mend; {}", counted.join(", ")),
            (_, false) => counted.join(", "),
        }
    }
}

/// A finding as one line, whatever texts of others it holds.
fn line(finding: &Finding) -> String {
    let what = if finding.object.is_empty() {
        finding.check.to_owned()
    } else {
        format!("{} {}", finding.check, finding.object)
    };
    let mut line = format!(
        "{:<4}  {what}  -- {}",
        finding.level.word(),
        finding.message
    );
    if let Some(fix) = &finding.fix {
        line.push_str("; ");
        line.push_str(fix);
    }
    line.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: OutputFormat, findings: &[Finding]) -> (String, bool) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, format);
        for finding in findings {
            report.print(finding).expect("a vector takes everything");
        }
        let whole = report.finish().expect("a vector takes everything");
        (String::from_utf8(out).expect("text"), whole)
    }

    #[test]
    fn first_line_to_type_is_that_of_the_first_failure() {
        let findings = [
            Finding::ok("api-server", "", "v1.36.0"),
            Finding::warning("certificate", "", "9 days left").with_fix("renew it"),
            Finding::failure("bot-token", "acme/support", "no such\nSecret").with_fix("kubectl a"),
            Finding::failure("assistant", "acme/support", "down").with_fix("kubectl b"),
        ];
        let (text, whole) = printed(OutputFormat::Table, &findings);
        let expected = "ok    api-server  -- v1.36.0\n\
                        WARN  certificate  -- 9 days left; renew it\n\
                        FAIL  bot-token acme/support  -- no such Secret; kubectl a\n\
                        FAIL  assistant acme/support  -- down; kubectl b\n\
                        \n2 broken, 1 to look at\nfirst: kubectl a\n";
        assert_eq!(text, expected);
        assert!(!whole);
    }

    #[test]
    fn healthy_report_ends_with_nothing_to_mend() {
        let (text, whole) = printed(OutputFormat::Table, &[Finding::ok("clock", "", "same")]);
        assert_eq!(text, "ok    clock  -- same\n\nnothing to mend\n");
        assert!(whole);
        let skipped = Finding::skipped("store", "", "it is elsewhere");
        let (text, whole) = printed(OutputFormat::Table, &[skipped]);
        assert!(
            text.ends_with("\nnothing to mend; 1 not checked\n"),
            "{text}"
        );
        assert!(whole);
    }

    #[test]
    fn json_is_one_object_a_line_with_the_check_id() {
        let finding = Finding::failure("lease", "default/l", "stale").with_fix("kubectl x");
        let (text, _) = printed(OutputFormat::Json, &[finding]);
        assert_eq!(
            text,
            "{\"check\":\"lease\",\"object\":\"default/l\",\"level\":\"failure\",\"message\":\"stale\",\"fix\":\"kubectl x\"}\n"
        );
    }
}
