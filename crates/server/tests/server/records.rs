//! Every action on record: brought about over the network, told by the log,
//! and agreed to by the monitor.

use std::sync::Arc;
use std::time::Duration;

use firmseal_api::access::CreateOperatorToken;
use firmseal_api::audit::{AuditOutcome, AuditQuery, AuditRecord, LogQuery};
use firmseal_api::client::Client;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};
use firmseal_api::keys::DisableKey;
use firmseal_api::policies::{PolicyFile, ProposePolicy};
use firmseal_api::registry::Product;
use firmseal_api::requests::{ApprovalSignature, Approve, Ordered};
use firmseal_api::signatures::{CreateSignature, SignatureRequest, SignatureState};
use firmseal_api::signing::CreateRelease;
use firmseal_core::Root;
use firmseal_fleet::Role;
use firmseal_fleet::audit::AuditAction;
use firmseal_manifest::{ArtifactId, Digest, Event, KeyId, Outcome, PolicyDocument, RequestId, Statement};
use firmseal_monitor::Export;
use firmseal_monitor::audited::Scope as Period;
use firmseal_server::Serves;
use firmseal_sign::{
    Policy, PolicyError, PolicyReader, Question, Reason, Recorded, Tried, Verdict, policy_statement, review,
};
use firmseal_store::{Events, Policies, SigningRequests};
use firmseal_testkit::TestKey;
use firmseal_trust::{Holder, Role as RootRole, RoleSpec, RootSpec};
use http::StatusCode;

use crate::bench::{Bench, order, product, root_key, root_spec, sha256, successor};
use crate::monitor::trusted;
use crate::signatures::{WAIT, status, wish};

/// Decides by what the build is called, whatever its document says.
struct ByBuild(Digest);

impl Policy for ByBuild {
    fn digest(&self) -> Digest {
        self.0
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        let reasons = vec![Reason::new(question.build.clone(), "it is called so")];
        Ok(match question.build.as_str() {
            "refused" => Verdict::Refuse { reasons },
            "held" if !question.released => Verdict::Hold { reasons },
            "agreed" if question.approvals < 2 => Verdict::Approvals { need: 2, reasons },
            _ => Verdict::Permit,
        })
    }
}

/// Reads every document as this policy.
struct AnyDocument;

impl PolicyReader for AnyDocument {
    fn read(&self, document: &PolicyDocument) -> Result<Arc<dyn Policy>, PolicyError> {
        Ok(Arc::new(ByBuild(document.digest())))
    }

    fn try_out(&self, _: &PolicyDocument) -> Result<Tried, PolicyError> {
        Ok(Tried { cases: 1, failed: Vec::new() })
    }
}

pub(crate) async fn decided_by_build() -> Bench {
    let mut bench = Bench::start().await;
    bench.policy = Some((Arc::new(ByBuild(Digest([9; 32]))), Arc::new(AnyDocument)));
    bench.restart().await;
    bench
}

/// A person with a name of the own, who was given a token over the network.
pub(crate) async fn person(bench: &Bench, admin: &Client, name: &str, role: Role) -> Client {
    let wish = CreateOperatorToken {
        name: name.to_owned(),
        roles: [role].into(),
        team: None,
        products: Default::default(),
        channels: Default::default(),
        keys: Default::default(),
        valid_for: None,
    };
    let made = admin.operator().create_operator_token(&wish).await.unwrap();
    bench.builder(Serves::Operator).token(&made.secret).build().unwrap()
}

pub(crate) async fn sign(client: &Client, file: ArtifactId, build: &str) -> SignatureRequest {
    let wish = CreateSignature { build: build.to_owned(), ..wish(file) };
    client.operator().create_signature(build, &wish, WAIT).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_releases_the_own_request_and_another_officer_does() {
    let bench = decided_by_build().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let file = bench.upload(&admin, b"some firmware").await;
    let held = sign(&admin, file, "held").await;
    assert_eq!((held.state, held.reasons[0].rule.as_str()), (SignatureState::Held, "held"));
    // The same person with another token: roles do not help, nor another
    // credential.
    let own = bench.operator(&[Role::Officer]).await;
    for requester in [&admin, &own] {
        let refused = requester.operator().release_signature(held.id).await.unwrap_err();
        assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
        assert!(refused.to_string().contains("tester asked for this signature"), "{refused}");
    }
    let still = admin.operator().signature(held.id, Duration::ZERO).await.unwrap();
    assert_eq!((still.state, still.signature), (SignatureState::Held, None));
    let signer = person(&bench, &admin, "sam", Role::Signer).await;
    assert_eq!(status(signer.operator().release_signature(held.id).await), StatusCode::FORBIDDEN);

    let olga = person(&bench, &admin, "olga", Role::Officer).await;
    olga.operator().release_signature(held.id).await.unwrap();
    let signed = admin.operator().signature(held.id, WAIT).await.unwrap();
    assert_eq!(signed.state, SignatureState::Signed, "{signed:?}");
    let again = olga.operator().release_signature(held.id).await;
    assert_eq!(status(again), StatusCode::CONFLICT, "it is released once");

    let of_it = AuditQuery { request: Some(held.id), ..AuditQuery::default() };
    let mut story = admin.operator().audit(&of_it).await.unwrap().items;
    story.sort_by_key(|record| record.log_index);
    let released = story.iter().find(|record| record.action == AuditAction::HoldReleased).unwrap();
    assert_eq!(released.by.as_deref(), Some("olga"));
    assert!(story.iter().any(|record| record.action == AuditAction::SigningHeld), "{story:#?}");
}

/// Approvers, and the root document that names them.
pub(crate) struct Approvers {
    root: Vec<u8>,
    pub(crate) client: Client,
}

fn approver(name: &str) -> TestKey {
    TestKey::ed25519(name.as_bytes()[0])
}

impl Approvers {
    /// Publishes the root document.
    pub(crate) async fn appoint(bench: &Bench, admin: &Client) -> Approvers {
        let mut spec = RootSpec { version: 2, ..root_spec(&bench.release_key()) };
        let holder = |name: &str| Holder { name: name.into(), keys: vec![approver(name).public().clone()] };
        spec.roles.push(RoleSpec {
            role: RootRole::Approver,
            threshold: 2,
            holders: ["ann", "ben"].map(holder).into(),
            products: vec![],
            channels: vec![],
            both_kinds: false,
        });
        let root = successor(&spec, bench.root(), &[root_key()]);
        admin.operator().publish_root(root.clone().into()).await.unwrap();
        Approvers { root, client: bench.operator(&[Role::Approver]).await }
    }

    pub(crate) fn word(&self, name: &str, statement: &dyn Fn(&Root<'_>) -> Statement) -> Approve {
        let key = approver(name);
        let statement = statement(&Root::decode(&self.root).unwrap());
        let signature = key.sign(&statement.to_be_signed(key.public()).unwrap());
        Approve {
            key: ArtifactId(key.public().id().0),
            signature: ApprovalSignature::Cose { signature: firmseal_api::Base64(signature.0) },
        }
    }
}

/// An order that waits for people: one agrees and does so no more, and it is
/// taken back.
async fn agreed_and_taken_back(bench: &Bench, admin: &Client, approvers: &Approvers, wish: CreateRelease) {
    let wish = CreateRelease { build: "agreed".to_owned(), ..wish };
    let id: RequestId = match admin.operator().create_release("agreed", &wish).await.unwrap() {
        Ordered::Request(request) => request.id,
        other => panic!("it waits for people: {other:?}"),
    };
    let request = bench.store.signing_request(id).await.unwrap().unwrap();
    let word = approvers.word("ann", &|root| review::statement(&request, root));
    let operator = approvers.client.operator();
    assert_eq!(operator.approve(id, &word).await.unwrap().missing, 1);
    assert_eq!(operator.withdraw_approvals(id).await.unwrap().missing, 2);
    admin.operator().cancel_request(id).await.unwrap();
}

/// A policy that is taken back, and one that comes into force.
async fn policies_change(bench: &Bench, officer: &Client, approvers: &Approvers) {
    let wish = |text: &str| ProposePolicy {
        schema: 1,
        files: vec![PolicyFile { name: "a.cedar".to_owned(), text: text.to_owned() }],
        why: "because".to_owned(),
    };
    let taken_back = officer.operator().propose_policy(&wish("one")).await.unwrap();
    officer.operator().withdraw_policy(&taken_back.policy).await.unwrap();
    let proposed = officer.operator().propose_policy(&wish("two")).await.unwrap();
    let proposal = bench.store.policy_proposal(proposed.id).await.unwrap().unwrap();
    for name in ["ann", "ben"] {
        let word = approvers.word(name, &|root| policy_statement(&proposal, root));
        approvers.client.operator().approve_policy(&proposed.policy, &word).await.unwrap();
    }
    officer.operator().activate_policy(&proposed.policy).await.unwrap();
}

/// What keys do when they fail, and what is unusual, other tests bring about
/// (sign: `jobs`); here it is noted as signing notes it.
async fn keys_act_up(bench: &Bench, signed: &SignatureRequest) {
    let signature = signed.signature.as_ref().unwrap();
    let (request, intent) = (signed.id, signature.log_index);
    let attempt = Event::Attempt { request, intent, outcome: Outcome::Unknown };
    let unusual = Event::Unusual { request, key: KeyId(signature.key_id.0), how: 0b101 };
    for event in [attempt, unusual] {
        bench.store.note(event, None).await.unwrap();
    }
}

/// Everything that is on record, oldest first, with the proofs.
async fn export(bench: &Bench, auditor: &Client) -> Export {
    let operator = auditor.operator();
    let all = AuditQuery { limit: Some(PAGE_MAX), ..AuditQuery::default() };
    let mut records = operator.audit(&all).await.unwrap().items;
    records.reverse();
    let end = records.iter().filter_map(|record| record.log_index).max().unwrap() + 1;
    bench.store.intents().checkpoint().await.unwrap();
    let query = LogQuery { from: 0, size: None, limit: Some(PAGE_MAX) };
    let proven = loop {
        let proven = operator.log_entries(&query).await.unwrap();
        if proven.size >= end && proven.checkpoint.is_some() {
            break proven;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut decisions = std::collections::BTreeMap::new();
    for id in records.iter().filter_map(|record| record.decision) {
        decisions.insert(id, operator.decision(&id).await.unwrap().to_vec());
    }
    let scope = Period { from: None, to: None, retention_days: proven.retention_days, first: 0, end };
    let checkpoint = proven.checkpoint.unwrap().into_bytes();
    Export { scope, checkpoint, records, entries: proven.entries, decisions }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_is_on_record_as_the_log_tells_it() {
    let bench = decided_by_build().await;
    let admin = bench.everything().await;
    let made = admin.operator().create_product(&product("gateway")).await.unwrap();
    let olga = person(&bench, &admin, "olga", Role::Officer).await;
    person(&bench, &admin, "otto", Role::Auditor).await;
    let tokens = admin.operator().operator_tokens().await.unwrap().items;
    let otto = tokens.iter().find(|token| token.name == "otto").unwrap();
    admin.operator().revoke_operator_token(otto.id).await.unwrap();
    admin.operator().revoke_operator_token(otto.id).await.unwrap();
    for _ in 0..3 {
        let denied = olga.operator().create_product(&product("other")).await;
        assert_eq!(status(denied), StatusCode::FORBIDDEN);
    }
    let approvers = Approvers::appoint(&bench, &admin).await;
    let file = bench.upload(&admin, &[7; 5000]).await;
    let signed = sign(&admin, file, "permitted").await;
    assert_eq!(signed.state, SignatureState::Signed, "{signed:?}");
    let other = bench.upload(&admin, &[8; 5000]).await;
    assert_eq!(sign(&admin, other, "refused").await.state, SignatureState::Refused);
    // No policy is asked about what cannot be read: it is on record all the
    // same.
    let unread = CreateSignature { build: "unread".to_owned(), evidence: vec![file], ..wish(other) };
    let unread = admin.operator().create_signature("unread", &unread, WAIT).await.unwrap();
    assert_eq!((unread.state, unread.reasons[0].rule.as_str()), (SignatureState::Refused, "evidence"));
    let held = sign(&admin, other, "held").await;
    olga.operator().release_signature(held.id).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &[9; 5000]).await;
    let rollout = bench.rollout(&admin, &release).await;
    agreed_and_taken_back(&bench, &admin, &approvers, order("gateway", "1.1.0", file)).await;
    admin.operator().halt_rollout(rollout.id).await.unwrap();
    admin.operator().withdraw_release(release.id).await.unwrap();
    policies_change(&bench, &olga, &approvers).await;
    keys_act_up(&bench, &signed).await;
    let why = DisableKey { why: "rehearsal".to_owned(), at: None };
    let key = signed.signature.as_ref().unwrap().key.parse().unwrap();
    olga.operator().disable_key(&key, &why).await.unwrap();

    let export = export(&bench, &admin).await;
    let audited = firmseal_monitor::audit(&export, &trusted(&bench), &[], 0);
    assert!(audited.findings.is_empty(), "{:#?}", audited.findings);
    refused_unasked(&export, unread.decision.unwrap(), other, file);
    let listed = admin.operator().decisions(&PageQuery { after: None, limit: Some(PAGE_MAX) }).await.unwrap();
    let listed: Vec<_> = listed.items.iter().map(|decision| decision.digest).collect();
    assert!(
        !listed.is_empty() && !listed.contains(&unread.decision.unwrap()),
        "policies are asked of theirs"
    );
    for action in AuditAction::ALL {
        let own: Vec<_> = export.records.iter().filter(|record| record.action == action).collect();
        assert!(!own.is_empty(), "nothing is on record as {}", action.word());
        said_in_full(action, &own, &release.product, &made);
    }
}

/// Whether the log names what a request was refused on that no policy was
/// asked about.
fn refused_unasked(export: &Export, decision: ArtifactId, file: ArtifactId, evidence: ArtifactId) {
    let Some(Recorded::Refused(refused)) = Recorded::read(&export.decisions[&decision]) else {
        panic!("{:?}", String::from_utf8_lossy(&export.decisions[&decision]))
    };
    let question = &refused.question;
    let read: Vec<_> = question.artifacts.iter().map(|facts| facts.digest).collect();
    assert_eq!((read, &question.asked.evidence), (vec![file], &vec![evidence]));
    assert_eq!(
        (question.asked.caller.name.as_str(), refused.refused[0].rule.as_str()),
        ("tester", "evidence")
    );
    let told = export.records.iter().find(|record| record.decision == Some(decision)).unwrap();
    assert_eq!(told.reasons[0].rule, "evidence");
    let named = |leaf: &firmseal_api::audit::LogEntry| matches!(Event::decode(&leaf.leaf.0), Some(Event::Decided { decision: own, .. }) if own == decision.0);
    assert_eq!(export.entries.iter().filter(|entry| named(entry)).count(), 1);
}

/// Whether the records of an action say who and what. Each action is listed: a
/// new one does not compile until somebody brings it about above and says here
/// what is expected of its record.
fn said_in_full(
    action: AuditAction,
    own: &[&AuditRecord],
    of: &firmseal_manifest::ProductId,
    made: &Product,
) {
    let by = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| Some(*name)).collect();
        assert_eq!(own.iter().map(|record| record.by.as_deref()).collect::<Vec<_>>(), names, "{own:#?}");
    };
    let all = |say: &dyn Fn(&AuditRecord) -> bool| assert!(own.iter().all(|record| say(record)), "{own:#?}");
    let about_it = |record: &AuditRecord| record.request.is_some() && record.product.as_ref() == Some(of);
    let because = |record: &AuditRecord| record.reasons.first().map(|reason| reason.rule.clone());
    match action {
        AuditAction::SigningRequested => {
            by(&["tester"]);
            all(&|record| about_it(record) && record.digest.is_some() && record.build.is_some());
        }
        AuditAction::SigningDecided => {
            all(&|record| about_it(record) && record.decision.is_some());
            let refused = own.iter().find(|record| record.outcome == AuditOutcome::Failure).unwrap();
            assert_eq!(because(refused).as_deref(), Some("refused"));
            assert!(own.iter().any(|record| because(record).as_deref() == Some("evidence")), "{own:#?}");
        }
        AuditAction::SigningHeld => {
            by(&["tester"]);
            all(&|record| about_it(record) && because(record).as_deref() == Some("held"));
        }
        AuditAction::HoldReleased => {
            by(&["olga"]);
            all(&about_it);
        }
        AuditAction::Approved => {
            all(&|record| record.request.is_some() && record.digest.is_some() && record.key_id.is_some());
            // Of one that is taken back before it stands on record only the
            // key is known.
            assert!(own.iter().filter(|record| record.by.is_some()).count() >= 2, "{own:#?}");
        }
        AuditAction::ApprovalWithdrawn => all(&|record| about_it(record) && record.key_id.is_some()),
        AuditAction::SigningAttempted => {
            by(&["tester"]);
            all(&|record| about_it(record) && record.outcome == AuditOutcome::Unknown);
        }
        AuditAction::ArtifactSigned => {
            all(&|record| about_it(record) && record.key.is_some() && record.decision.is_some());
        }
        AuditAction::ReleaseSigned | AuditAction::ReleaseRetired => {
            all(&|record| about_it(record) && record.release.is_some());
        }
        AuditAction::SigningClosed => {
            all(&|record| about_it(record) && record.outcome == AuditOutcome::Failure);
        }
        AuditAction::KeyChanged => {
            by(&["olga"]);
            all(&|record| record.key.is_some() && because(record).as_deref() == Some("disabled"));
        }
        AuditAction::PolicyProposed => by(&["olga", "olga"]),
        AuditAction::PolicyClosed => all(&|record| record.request.is_some()),
        AuditAction::PolicyActivated => {
            by(&["olga"]);
            all(&|record| record.version.as_deref() == Some("policy 1"));
        }
        AuditAction::TrustPublished => {
            by(&["the settings", "tester"]);
            let documents: Vec<_> = own.iter().map(|record| record.version.as_deref()).collect();
            assert_eq!(documents, [Some("root document 1"), Some("root document 2")]);
        }
        AuditAction::RolloutChanged => {
            assert_eq!(own.len(), 2, "begun and halted: {own:#?}");
            all(&|record| record.product.as_ref() == Some(of) && record.release.is_some());
        }
        AuditAction::Anomaly => {
            all(&|record| about_it(record) && record.key.is_some() && record.reasons.len() == 2);
        }
        AuditAction::CredentialCreated => {
            all(&|record| record.by.is_some() && record.credential.is_some());
            // Whoever uses the store's files needs no server, and is told of.
            let local = own.iter().filter(|record| because(record).as_deref() == Some("local"));
            assert!(local.count() > 0, "{own:#?}");
            let otto = |record: &&&AuditRecord| record.credential.as_ref().unwrap().holder == "otto";
            let otto = own.iter().find(otto).unwrap();
            assert_eq!((otto.by.as_deref(), otto.source), (Some("tester"), Some([127, 0, 0, 1].into())));
            assert_eq!(otto.credential.as_ref().unwrap().roles, [Role::Auditor].into());
            assert!(otto.roles.contains(&Role::Admin), "what allowed it");
        }
        AuditAction::CredentialRevoked => {
            by(&["tester"]);
            all(&|record| record.credential.as_ref().unwrap().holder == "otto");
        }
        AuditAction::ProductCreated => {
            by(&["tester"]);
            // Anybody who may read the product can hold it against the log.
            let digest = ArtifactId(sha256(&serde_json::to_vec(made).unwrap()));
            all(&|record| record.product.as_ref() == Some(of) && record.digest == Some(digest));
        }
        AuditAction::AccessDenied => {
            by(&["olga"]);
            // One record, whenever it was told: the rest is counted until the
            // hour is over.
            all(&|record| record.count.is_some_and(|count| (1..=3).contains(&count)));
            all(&|record| record.outcome == AuditOutcome::Failure);
            all(&|record| because(record).as_deref() == Some("role") && record.source.is_some());
        }
    }
}
