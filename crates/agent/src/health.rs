//! Health: does the new image do its work?

use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::config::Config;

/// A verdict on its way.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Decides whether an image on trial is confirmed.
pub trait Health: Send + Sync {
    /// `Ok` confirms; an error is the reason for going back.
    fn check(&self) -> Verdict<'_>;
}

/// A command that succeeds, in time.
pub struct HealthCommand {
    command: Vec<String>,
    timeout: Duration,
}

impl HealthCommand {
    /// The configured command. Without one an image is healthy once the
    /// agent runs in it.
    pub fn new(config: &Config) -> HealthCommand {
        let command = config.health.as_ref().map(|health| health.command.clone()).unwrap_or_default();
        HealthCommand { command, timeout: config.health_timeout() }
    }
}

impl Health for HealthCommand {
    fn check(&self) -> Verdict<'_> {
        Box::pin(async {
            let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
            run(program, arguments, self.timeout).await
        })
    }
}

/// Runs a program without a shell; it does not outlive the timeout.
pub(crate) async fn run(program: &str, arguments: &[String], timeout: Duration) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|err| format!("{program}: {err}"))?;
    match tokio::time::timeout(timeout, child.wait()).await {
        Err(_) => {
            // It is gone when the verdict is there, unless the kernel holds it.
            let _ = tokio::time::timeout(Duration::from_secs(5), child.kill()).await;
            Err(format!("{program} did not end within {} s", timeout.as_secs()))
        }
        Ok(Err(err)) => Err(format!("{program}: {err}")),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program}: {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_success_in_time_is_health() {
        let sleep = ["60".to_owned()];
        for (program, arguments, seconds, healthy) in [
            ("true", &[][..], 60, true),
            ("false", &[], 60, false),
            ("no-such-program", &[], 60, false),
            ("sleep", &sleep, 1, false),
        ] {
            let verdict = run(program, arguments, Duration::from_secs(seconds)).await;
            assert_eq!(verdict.is_ok(), healthy, "{program}: {verdict:?}");
        }
    }
}
