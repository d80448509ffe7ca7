//! Log lines: JSON for machines, text for people, both on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object in each line.
    Json,
    /// Text.
    Text,
}

/// Writes log lines from here on. `filter` is the usual syntax (`info`,
/// `firmseal_server=debug`); one that does not parse becomes `info`.
/// Returns whether this was the first call: later ones change nothing.
pub fn start(format: LogFormat, filter: &str) -> bool {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
            .is_ok(),
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init().is_ok(),
    }
}
