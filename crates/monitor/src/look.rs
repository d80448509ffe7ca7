//! One look: at what others say that keys did, at the registry, at the log.

use firmseal_api::client::Client;
use firmseal_outbound::Endpoint;

use crate::error::MonitorError;
use crate::follow::{Trusted, follow};
use crate::memory::Memory;
use crate::reconcile::reconcile;
use crate::records::Records;
use crate::registry;
use crate::report::Report;

/// Looks at the log, and at the registry behind a client where there is one,
/// with the root document to begin at, and compares both with records of what
/// keys did where there are any. `now` is in seconds since 1970, and
/// `grace` is how long a release may be on its way. Where it could not look
/// at everything, what was found stands beside why.
pub async fn look(
    log: &Endpoint,
    trusted: &Trusted,
    registry: Option<(&Client, Option<&[u8]>)>,
    records: Option<&mut Records>,
    memory: &mut Memory,
    (now, grace): (u64, u64),
) -> (Report, Option<MonitorError>) {
    let mut report = Report {
        time: now,
        origin: trusted.log.name().to_owned(),
        entries: memory.size(),
        releases: None,
        signatures: None,
        devices: None,
        uses: None,
        trouble: None,
        findings: Vec::new(),
    };
    let looked = async {
        // Records and the registry first: what they list has its entry
        // already, so that the log, which is looked at after them, shows it.
        let used = match records {
            Some(records) => Some(records.read(now).await?),
            None => None,
        };
        let listed = match registry {
            Some((client, root)) => Some(registry::fetch(client, root).await?),
            None => None,
        };
        report.findings = follow(log, trusted, memory, now).await?.findings;
        report.entries = memory.size();
        if let Some(listed) = listed {
            report.findings.extend(reconcile(memory.entries(), &listed, now, grace));
            report.releases = Some(listed.releases.len() as u64);
            report.signatures = Some(listed.signatures.len() as u64);
            report.devices = Some(listed.devices.len() as u64);
        }
        if let Some(used) = used {
            report.uses = Some(used.count());
            report.findings.extend(used.compare(memory.entries(), now, grace));
        }
        Ok(())
    };
    let trouble: Option<MonitorError> = looked.await.err();
    report.trouble = trouble.as_ref().map(ToString::to_string);
    (report, trouble)
}
