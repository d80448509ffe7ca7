//! `firmseal policy` about a server's policies: proposed, looked at, agreed
//! to, put in force.

use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_api::client::Client;
use firmseal_api::policies::{
    Policies, Policy, PolicyActivation, PolicyFile as WireFile, PolicyProposal, PolicySource, ProposalState,
    ProposePolicy,
};
use firmseal_api::requests::Approve as Agree;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{KeyId, Root, statement};
use firmseal_fleet::{PolicyProposal as Proposal, ProposalState as State, Time};
use firmseal_manifest::{ArtifactId, PolicyDocument, PolicyFile, SignedStatement};
use firmseal_policy::{CedarPolicy, NUMBER, Reader, changes};
use firmseal_sign::{PipelineError, PolicyError, PolicyReader, policy_statement};

use super::past::{self, Compared};
use super::{files, unreadable};
use crate::commands::approve::Agreeing;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;
use crate::record::{Record, plain};
use crate::trust;

/// Propose a policy to a server
///
/// It has to be read without a complaint, and to say what its own examples
/// want. What changes is shown, and which of the server's newest decisions
/// would be others under it. It decides nothing before enough approvers
/// have agreed and an officer has activated it. Needs the role officer.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal policy propose policies --why 'nightly builds need provenance'
  firmseal policy propose policies --why 'no fallback on stable' --last 200")]
pub struct Propose {
    /// The directory of the policy and its examples
    directory: PathBuf,
    /// Why, for those who are to agree
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Make the server's newest N decisions again; 0 for none
    #[arg(long, value_name = "N", alias = "past", default_value_t = 100)]
    last: u32,
}

/// Agree to a policy that is proposed, after looking at it
///
/// Fetches both policies and reads them here: what you sign names the digest
/// of what this program read. Your key must be that of an approver of all
/// products and channels in the root document; whoever proposed it does not
/// count.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal policy approve 4f2a...c1 --ssh ~/.ssh/id_ed25519_sk.pub
  firmseal policy approve 4f2a...c1 --key file:ann.key --log approvals --anchor root.cbor")]
pub struct Approve {
    /// The policy's digest
    policy: ArtifactId,
    /// Root document version 1 as devices hold it: the server's must begin
    /// with it
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    #[command(flatten)]
    own: Agreeing,
}

/// Show what changes from one policy to another
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal policy diff policies
  firmseal policy diff 4f2a...c1 9b03...7e")]
pub struct Diff {
    /// The newer one: a directory, or the digest of one that the server has
    after: String,
    /// The older one; the policy in force, if absent
    before: Option<String>,
}

fn connect(profile: Option<&Path>) -> Result<Client> {
    Profile::read(profile)?.client()
}

/// A policy of the server's, whose bytes are those of its digest.
async fn fetch(client: &Client, policy: &ArtifactId) -> Result<(Policy, PolicyDocument)> {
    let told = client.operator().policy(policy).await?;
    let files = told.files.iter().map(|file| PolicyFile { name: file.name.clone(), text: file.text.clone() });
    let lies = || CliError::new(Kind::Refused, format_args!("policy {policy} is not what the server sends"));
    let document = PolicyDocument::new(told.schema, files.collect()).map_err(|_| lies())?;
    // Asked for by the digest of its rules it has another one of its own.
    match document.digest() == told.policy.0 && (told.policy == *policy || told.rules == *policy) {
        true => Ok((told, document)),
        false => Err(lies()),
    }
}

async fn in_force(client: &Client, policies: &Policies) -> Result<Option<PolicyDocument>> {
    match (policies.source, policies.in_force) {
        (PolicySource::Approved, Some(policy)) => Ok(Some(fetch(client, &policy).await?.1)),
        _ => Ok(None),
    }
}

/// A directory, or a policy of the server's.
async fn named(client: &Client, name: &str) -> Result<PolicyDocument> {
    match name.parse() {
        Ok(policy) if !Path::new(name).exists() => Ok(fetch(client, &policy).await?.1),
        _ => files::whole(Path::new(name)),
    }
}

fn tried(document: &PolicyDocument) -> Result<()> {
    let tried = Reader.try_out(document).map_err(|PolicyError(why)| CliError::new(Kind::Refused, why))?;
    if tried.cases == 0 {
        return Err(CliError::new(Kind::Refused, "the policy has no examples")
            .hint("`firmseal policy test --help` shows how one is written"));
    }
    match tried.failed.is_empty() {
        true => Ok(()),
        false => {
            let failed = tried.failed.join("\n");
            Err(CliError::new(
                Kind::Refused,
                format_args!("the policy does not say what its examples want\n{failed}"),
            ))
        }
    }
}

impl Propose {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let document = files::whole(&self.directory)?;
        let policy = CedarPolicy::load(&document).map_err(unreadable)?;
        tried(&document)?;
        let client = connect(profile)?;
        let before = in_force(&client, &client.operator().policies().await?).await?;
        for line in changes(before.as_ref(), &document) {
            output.note(plain(&line));
        }
        let decisions = past::of_server(&client, self.last).await?;
        if !decisions.is_empty() {
            let old = before.as_ref().map(CedarPolicy::load).transpose().map_err(unreadable)?;
            let compared = past::compare(&decisions, old.as_ref(), &policy);
            compared.iter().filter_map(Compared::told).for_each(|line| output.note(line));
            let differ = compared.iter().filter(|one| one.differs.is_some()).count();
            output.note(format_args!("{differ} of the last {} decisions would be others", compared.len()));
        }
        let files = document.files.iter();
        let wish = ProposePolicy {
            schema: NUMBER,
            files: files.map(|file| WireFile { name: file.name.clone(), text: file.text.clone() }).collect(),
            why: self.why,
        };
        let proposal = client.operator().propose_policy(&wish).await?;
        if proposal.policy.0 != document.digest() {
            return Err(CliError::new(Kind::Unexpected, "the server took another policy than was sent"));
        }
        output.value(&proposal, || record(&proposal).print())
    }
}

impl Approve {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = connect(profile)?;
        let (told, document) = fetch(&client, &self.policy).await?;
        let open = told.proposals.into_iter().find(|proposal| proposal.state == ProposalState::Open);
        let open = open.ok_or_else(|| {
            CliError::new(Kind::Conflict, format_args!("no proposal of policy {} is open", self.policy))
                .hint("`firmseal policy list` shows what is proposed")
        })?;
        let chain = trust::served_behind(&client, self.anchor.as_deref()).await?;
        let root = Root::decode(chain.root())?;
        // Read here, whatever the server read.
        CedarPolicy::load(&document).map_err(unreadable)?;
        tried(&document)?;
        let before = match &open.base {
            Some(base) => Some(fetch(&client, base).await?.1),
            None => None,
        };
        let proposal = proposal_in(&open, told.policy);
        output.note(record(&open).print().trim_end());
        let change = changes(before.as_ref(), &document);
        change.iter().for_each(|line| output.note(plain(line)));
        let statement = policy_statement(&proposal, &root);
        let (agreement, signature) = self.own.agree(&statement).await?;
        let signed = SignedStatement { statement, signatures: vec![agreement] };
        let key = approver(&signed, &root)?;
        let agree = Agree { key: ArtifactId(key.0), signature };
        let answer = client.operator().approve_policy(&told.policy, &agree).await?;
        output.value(&answer, || record(&answer).print())
    }
}

impl Diff {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = connect(profile)?;
        let after = named(&client, &self.after).await?;
        let before = match &self.before {
            Some(name) => Some(named(&client, name).await?),
            None => in_force(&client, &client.operator().policies().await?).await?,
        };
        let lines = changes(before.as_ref(), &after);
        output.value(&lines, || lines.iter().map(|line| plain(line) + "\n").collect())
    }
}

/// Lists what is in force, was, and is proposed.
pub async fn list(profile: Option<&Path>, output: &Output) -> Result {
    let policies = connect(profile)?.operator().policies().await?;
    output.value(&policies, || {
        let source = match policies.source {
            PolicySource::None => "nothing beside the gate",
            PolicySource::File => "a policy of the server's settings, which nobody agreed to",
            PolicySource::Approved => "a policy that people agreed to",
            PolicySource::Broken => "nothing is signed: what should be in force does not verify",
        };
        let mut text = Record::new()
            .row("in force", source)
            .maybe("policy", policies.in_force)
            .row("rules", policies.rules)
            .maybe("trouble", policies.trouble.as_ref())
            .print();
        for own in &policies.activations {
            text.push_str(&format!(
                "{} number {} in force since {} by {}\n",
                own.policy,
                own.number,
                own.time,
                plain(&own.by)
            ));
        }
        for own in policies.proposals.iter().filter(|own| own.state != ProposalState::Activated) {
            let state = format!("{:?}", own.state).to_lowercase();
            let missing =
                if own.missing > 0 { format!(", {} approvals missing", own.missing) } else { String::new() };
            text.push_str(&format!(
                "{} {state}{missing}: {} by {}\n",
                own.policy,
                plain(&own.why),
                plain(&own.proposer)
            ));
        }
        text
    })
}

/// Shows a policy's text, and who agreed to it.
pub async fn show(profile: Option<&Path>, policy: ArtifactId, output: &Output) -> Result {
    let (told, _) = fetch(&connect(profile)?, &policy).await?;
    output.value(&told, || {
        let mut text = Record::new().row("policy", told.policy).row("rules", told.rules).print();
        for proposal in &told.proposals {
            text.push_str(&record(proposal).print());
        }
        for file in &told.files {
            text.push_str(&format!("\n--- {}\n", plain(&file.name)));
            text.extend(file.text.lines().map(|line| plain(line) + "\n"));
        }
        text
    })
}

/// Puts a policy in force.
pub async fn activate(profile: Option<&Path>, policy: ArtifactId, output: &Output) -> Result {
    let activation: PolicyActivation = connect(profile)?.operator().activate_policy(&policy).await?;
    output.value(&activation, || {
        Record::new()
            .row("in force", activation.policy)
            .row("number", activation.number)
            .maybe("before it", activation.previous)
            .row("agreed", names(activation.approvals.iter().map(|approval| &approval.holder)))
            .row("since", activation.time)
            .print()
    })
}

/// Takes a proposal back.
pub async fn withdraw(profile: Option<&Path>, policy: ArtifactId, output: &Output) -> Result {
    let proposal = connect(profile)?.operator().withdraw_policy(&policy).await?;
    output.value(&proposal, || record(&proposal).print())
}

fn names<'a>(holders: impl Iterator<Item = &'a String>) -> String {
    holders.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn record(proposal: &PolicyProposal) -> Record {
    Record::new()
        .row("policy", proposal.policy)
        .row("proposal", proposal.id)
        .row("state", format!("{:?}", proposal.state).to_lowercase())
        .maybe("in place of", proposal.base)
        .row("why", &proposal.why)
        .row("proposer", &proposal.proposer)
        .row("agreed", names(proposal.approvals.iter().map(|approval| &approval.holder)))
        .row("missing", proposal.missing)
        .row("expires", Time::from_millis(proposal.expiry.saturating_mul(1000)))
}

/// What is agreed to: what the server says of the proposal, about the policy
/// that was read here.
fn proposal_in(told: &PolicyProposal, policy: ArtifactId) -> Proposal {
    Proposal {
        id: told.id,
        policy: policy.0,
        base: told.base.map(|base| base.0),
        need: told.need,
        proposer: told.proposer.clone(),
        proposer_id: told.proposer_id.0,
        why: told.why.clone(),
        expiry: told.expiry,
        created: told.created,
        state: State::Open,
    }
}

/// Whose signature it is. One that does not count is found before it is sent.
fn approver(signed: &SignedStatement, root: &Root<'_>) -> Result<KeyId> {
    let stranger = || {
        CliError::new(Kind::NotAllowed, "this key is no approver's of all products and channels")
            .hint("`firmseal root show` names the approvers and their keys")
    };
    let role = root.approvers("", None).map_err(|_| stranger())?;
    let mut found = None;
    let encoded = signed.encode().map_err(PipelineError::KeyUnfit)?;
    statement::approvers(&encoded, &role, |_, key| found = Some(key), &RustCrypto)?;
    found.ok_or_else(stranger)
}
