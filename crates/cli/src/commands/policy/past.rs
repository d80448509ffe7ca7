//! The past: decisions of a server, made again.

use firmseal_api::client::Client;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};
use firmseal_policy::{CedarPolicy, Differs, again, between};
use firmseal_sign::Decision;

use crate::error::{CliError, Kind, Result};
use crate::record::plain;

/// A decision beside what would be decided.
pub(super) struct Compared {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) differs: Option<Differs>,
}

impl Compared {
    /// In words, where it differs.
    pub(super) fn told(&self) -> Option<String> {
        let Differs { wanted, got } = self.differs.as_ref()?;
        Some(format!("{}\n      - {}\n      + {}", plain(&self.name), plain(wanted), plain(got)))
    }
}

/// The newest decisions of a server, each once, with their digests.
pub(super) async fn of_server(client: &Client, count: u32) -> Result<Vec<(String, Decision)>> {
    let (mut found, mut after) = (Vec::new(), None);
    while found.len() < count as usize {
        let page = client.operator().decisions(&PageQuery { after, limit: Some(PAGE_MAX) }).await?;
        for item in page.items {
            let digest = item.digest.to_string();
            if found.iter().any(|(known, _)| *known == digest) {
                continue;
            }
            let decision: Decision = serde_json::from_value(item.record).map_err(|error| {
                CliError::new(Kind::Unexpected, format_args!("decision {digest} cannot be read: {error}"))
            })?;
            if decision.digest().to_string() != digest {
                let what = format!("decision {digest} is not what the server sends");
                return Err(CliError::new(Kind::Refused, what));
            }
            found.push((digest, decision));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.truncate(count as usize);
    Ok(found)
}

/// What a policy says of decisions, beside what another one says now, or
/// beside what was decided.
pub(super) fn compare(
    decisions: &[(String, Decision)],
    old: Option<&CedarPolicy>,
    new: &CedarPolicy,
) -> Vec<Compared> {
    let compared = decisions.iter().map(|(digest, decision)| Compared {
        name: name(decision),
        digest: digest.clone(),
        differs: match old {
            Some(old) => between(&decision.question, old, new),
            None => again(decision, new),
        },
    });
    compared.collect()
}

/// What was asked, in a line.
pub(super) fn name(decision: &Decision) -> String {
    let question = &decision.question;
    format!(
        "{} {} {} {} by {}",
        question.request, question.product, question.channel, question.version, question.caller.name
    )
}
