//! Progress: how far long work has come, on stderr, for people who watch.
//!
//! Nothing is drawn where stderr is not a terminal or programs read the
//! output: a bar in a log file is noise.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// Redraws a second. More would cost the terminal more than it tells.
const REDRAWS: u8 = 10;

/// A bar or a line that follows the work. Dropping it wipes it.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar over a number of bytes.
    pub fn bytes(output: &Output, what: impl Into<Cow<'static, str>>, total: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), target(output));
        style(&bar, "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}");
        bar.set_message(what);
        Progress(bar)
    }

    /// A line that changes while something is waited for.
    pub fn waiting(output: &Output, what: impl Into<Cow<'static, str>>) -> Progress {
        let bar = ProgressBar::with_draw_target(None, target(output));
        style(&bar, "{spinner} {elapsed} {msg}");
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress(bar)
    }

    /// Whether anybody sees it.
    #[cfg(any(feature = "full", test))]
    pub fn is_visible(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Says how far it has come.
    pub fn set(&self, position: u64) {
        self.0.set_position(position);
    }

    /// Says what is going on.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn target(output: &Output) -> ProgressDrawTarget {
    if output.is_json() || !io::stderr().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr_with_hz(REDRAWS)
    }
}

/// A template that does not parse leaves the plain style; the test below
/// keeps ours parsing.
fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_see_no_progress() {
        let output = Output::new(true);
        let bar = Progress::bytes(&output, "hashing", 10);
        bar.set(5);
        assert!(!bar.is_visible());
        assert!(!Progress::waiting(&output, "waiting").is_visible());
    }
}
