//! How many tests passed and failed, read from what test runners print.

use std::ops::AddAssign;

/// A count of tests.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One check that has no finer grain.
    pub(crate) fn one(ok: bool) -> Tally {
        Tally { passed: u64::from(ok), failed: u64::from(!ok) }
    }

    /// Reads a summary line, if it is one: nextest's `Summary [ 1.2s] 34 tests
    /// run: 33 passed (1 slow), 1 failed, 2 skipped`, libtest's `test result:
    /// ok. 5 passed; 0 failed; ...`, or our own `5 passed, 0 failed`.
    pub(crate) fn read(line: &str) -> Option<Tally> {
        let line = line.trim();
        let counts = if let Some(rest) = line.strip_prefix("Summary [") {
            rest.split_once("run:")?.1
        } else if let Some(rest) = line.strip_prefix("test result:") {
            rest.split_once('.')?.1
        } else if line.starts_with(|first: char| first.is_ascii_digit())
            && line.contains(" passed, ")
            && line.ends_with(" failed")
        {
            line
        } else {
            return None;
        };
        let mut tally = Tally::default();
        for part in counts.split([',', ';']) {
            let mut words = part.split_whitespace();
            let Some(Ok(count)) = words.next().map(str::parse::<u64>) else { continue };
            match words.next() {
                Some("passed") => tally.passed += count,
                // nextest: "1 failed", "1 timed out", "1 exec failed".
                Some("failed" | "timed" | "exec") => tally.failed += count,
                _ => {}
            }
        }
        Some(tally)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn check(line: &str, passed: u64, failed: u64) {
        assert_eq!(Tally::read(line), Some(Tally { passed, failed }), "{line}");
    }

    #[test]
    fn summaries_are_read() {
        check("     Summary [   0.024s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped", 11, 1);
        check("     Summary [   9s] 3/9 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped", 1, 2);
        check("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", 5, 2);
        check("7 passed, 0 failed", 7, 0);
    }

    #[test]
    fn other_lines_are_not() {
        for line in ["PASS [ 0.1s] 3 passed", "3 files, 2 failed", "", "Summary of it", "test result"] {
            assert_eq!(Tally::read(line), None, "{line}");
        }
    }
}
