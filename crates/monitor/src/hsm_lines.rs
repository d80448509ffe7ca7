//! An HSM's own log, as lines that are alike for all of them.
//!
//! Each maker has a log of its own. What is needed of it is when which key was
//! used: a JSON object in each line, `{"time": …, "key": …, "event": …,
//! "by": …}`. One with a `time` alone says that the log goes as far as that.

use serde::Deserialize;

use crate::trail::{Collected, Use, seconds};

#[derive(Deserialize)]
struct Line {
    time: String,
    key: Option<String>,
    event: Option<String>,
    by: Option<String>,
}

/// Reads a line: a use of the key that has this name there.
pub(crate) fn collect(line: &[u8], key: &str, into: &mut Collected) -> Result<(), String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let time = seconds(&line.time)?;
    into.saw(time);
    match (line.key, line.event) {
        (None, None) => {}
        (Some(used), Some(event)) if used == key => {
            into.used_then(Use::new(time, event, line.by, None, None))
        }
        (Some(_), Some(_)) => {}
        _ => return Err(format!("a use at {} needs both `key` and `event`", line.time)),
    }
    Ok(())
}
