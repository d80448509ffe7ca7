//! Policies that people agree to: the course from proposal to force, and what
//! a thief tries on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use firmseal_core::{Environment as CoreEnvironment, Root};
use firmseal_fleet::{ApprovalSignature, Caller, PolicyActivation, PolicyProposal, ProposalState, Time};
use firmseal_keys::DynLog;
use firmseal_manifest::{Digest, Event, PolicyDocument, PolicyFile, ProductId, PublicKey};
use firmseal_sign::policies::{APPROVALS_MIN, PolicyChangeError};
use firmseal_sign::{
    Keys, NewApproval, Pipeline, Policy, PolicyError, PolicyReader, PolicyStanding, Question, Reason,
    Requester, Tried, Verdict, policy_statement,
};
use firmseal_store::{Page, Policies, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};

const NOW: Time = Time::from_millis(1_800_000_000_000);

/// Reads policies whose first file is a word.
struct Words;

struct Word(Digest, Verdict);

impl Policy for Word {
    fn digest(&self) -> Digest {
        self.0
    }

    fn decide(&self, _: &Question) -> Result<Verdict, PolicyError> {
        Ok(self.1.clone())
    }
}

impl PolicyReader for Words {
    fn read(&self, document: &PolicyDocument) -> Result<Arc<dyn Policy>, PolicyError> {
        let verdict = match document.files[0].text.split(' ').next() {
            Some("permit") => Verdict::Permit,
            Some("refuse") => Verdict::Refuse { reasons: vec![Reason::new("no", "never")] },
            _ => return Err(PolicyError("it is no word".to_owned())),
        };
        Ok(Arc::new(Word(document.digest(), verdict)))
    }

    fn try_out(&self, document: &PolicyDocument) -> Result<Tried, PolicyError> {
        let examples = &document.files[1..];
        let failed = examples.iter().filter(|file| file.text == "wrong").map(|file| file.name.clone());
        Ok(Tried { cases: examples.len(), failed: failed.collect() })
    }
}

fn policy(text: &str) -> PolicyDocument {
    let file = |name: &str, text: &str| PolicyFile { name: name.to_owned(), text: text.to_owned() };
    PolicyDocument::new(1, vec![file("a.cedar", text), file("a.test.toml", "right")]).unwrap()
}

fn key(name: &str) -> TestKey {
    TestKey::ed25519(name.bytes().fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte)))
}

/// A root document whose approvers are named; more than two have to agree
/// only where it says so.
fn root(approvers: &[&str], threshold: u64, products: Vec<ProductId>) -> Vec<u8> {
    let root_key = TestKey::ed25519(100);
    let holder = |name: &str, key: &PublicKey| Holder { name: name.into(), keys: vec![key.clone()] };
    let role = |role, threshold, holders, products| RoleSpec {
        role,
        threshold,
        holders,
        products,
        channels: vec![],
        both_kinds: false,
    };
    let approvers = approvers.iter().map(|name| holder(name, key(name).public())).collect();
    let unsigned = RootSpec {
        version: 1,
        lineage: [1; 16],
        environment: CoreEnvironment::Test,
        roles: vec![
            role(Role::Root, 1, vec![holder("custodian", root_key.public())], vec![]),
            role(Role::Release, 1, vec![holder("ci", TestKey::ed25519(101).public())], vec![]),
            role(Role::Approver, threshold, approvers, products),
        ],
        minimum_epoch: 0,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = root_key.sign(&unsigned.to_be_signed(root_key.public()).unwrap());
    unsigned.seal(&[(root_key.public(), signature)]).unwrap()
}

struct Bench {
    path: PathBuf,
    store: LocalStore,
    root: Vec<u8>,
    pipeline: Pipeline,
    _directory: tempfile::TempDir,
}

async fn pipeline(store: &LocalStore, log: &LocalStore, root: &[u8]) -> Pipeline {
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let log: Arc<dyn DynLog> = Arc::new(log.intents().clone());
    let pipeline =
        Pipeline::new(shared, log, root.to_vec(), Keys::default()).with_policy_reader(Arc::new(Words));
    pipeline.load_trust(NOW).await.unwrap();
    pipeline.load_policy().await.unwrap();
    pipeline
}

impl Bench {
    async fn new() -> Bench {
        Bench::under(root(&["ann", "ben", "cleo"], 1, vec![])).await
    }

    async fn under(root: Vec<u8>) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = LocalStore::open(&path).unwrap();
        let pipeline = pipeline(&store, &store, &root).await;
        Bench { path, store, root, pipeline, _directory: directory }
    }

    /// The same place after a restart.
    async fn again(&self) -> Pipeline {
        pipeline(&self.store, &self.store, &self.root).await
    }

    async fn propose(&self, text: &str) -> PolicyProposal {
        self.propose_as("olga", &policy(text)).await.unwrap()
    }

    async fn propose_as(
        &self,
        name: &str,
        document: &PolicyDocument,
    ) -> Result<PolicyProposal, PolicyChangeError> {
        let by = Requester(Caller::local(name));
        self.pipeline.propose_policy(document, &by, "because", NOW).await.map(|(proposal, _)| proposal)
    }

    /// What somebody signs who looked at this proposal.
    fn word(&self, name: &str, proposal: &PolicyProposal) -> NewApproval {
        let key = key(name);
        let statement = policy_statement(proposal, &Root::decode(&self.root).unwrap());
        let signature = key.sign(&statement.to_be_signed(key.public()).unwrap());
        NewApproval {
            key: key.public().id(),
            signature: ApprovalSignature::Cose { signature: signature.0 },
            brought_by: "courier".to_owned(),
        }
    }

    async fn approve(&self, name: &str, proposal: &PolicyProposal) -> Result<(), PolicyChangeError> {
        let word = self.word(name, proposal);
        self.pipeline.approve_policy(&proposal.policy, word, NOW).await.map(|_| ())
    }

    async fn activate(&self, policy: &Digest) -> Result<PolicyActivation, PolicyChangeError> {
        self.pipeline.activate_policy(policy, "olga", NOW).await
    }

    /// The whole course.
    async fn agree(&self, text: &str) -> PolicyActivation {
        let proposal = self.propose(text).await;
        for name in ["ann", "ben"] {
            self.approve(name, &proposal).await.unwrap();
        }
        let activation = self.activate(&proposal.policy).await.unwrap();
        self.pipeline.enter_events().await.unwrap();
        activation
    }
}

fn broken(pipeline: &Pipeline, why: &str) {
    let trouble = pipeline.policy_trouble().expect("it should not verify");
    assert!(trouble.contains(why), "{trouble}");
    assert!(matches!(pipeline.policy_standing(), PolicyStanding::Broken(_)));
}

/// The one file below a directory that holds these bytes.
fn holding(directory: &Path, bytes: &[u8]) -> PathBuf {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if fs::read(&entry).unwrap() == bytes {
                found.push(entry);
            }
        }
    }
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[tokio::test]
async fn people_agree_and_the_log_has_it() {
    let bench = Bench::new().await;
    assert_eq!(bench.pipeline.policy_standing(), PolicyStanding::None);
    let proposal = bench.propose("permit").await;
    assert_eq!((proposal.need, proposal.base), (APPROVALS_MIN, None));
    let same = bench.propose("permit").await;
    assert_eq!(same, proposal, "proposed twice it is one proposal");
    // An officer alone.
    let error = bench.activate(&proposal.policy).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::NotAgreed { have: 0, need: 2 }), "{error}");
    bench.approve("ann", &proposal).await.unwrap();
    bench.approve("ann", &proposal).await.unwrap();
    let error = bench.activate(&proposal.policy).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::NotAgreed { have: 1, need: 2 }), "{error}");
    assert_eq!(bench.pipeline.policy_standing(), PolicyStanding::None);
    bench.approve("ben", &proposal).await.unwrap();
    let activation = bench.activate(&proposal.policy).await.unwrap();
    assert_eq!((activation.number, activation.root, activation.approvals.len()), (1, 1, 2));
    assert_eq!(bench.activate(&proposal.policy).await.unwrap(), activation, "in force it stays in force");
    assert_eq!(bench.pipeline.policy().unwrap().digest(), proposal.policy);

    // A restart before the log has heard of it, and after.
    assert_eq!(bench.again().await.policy_standing(), PolicyStanding::Agreed(Arc::new(activation.clone())));
    bench.pipeline.enter_events().await.unwrap();
    assert_eq!(bench.again().await.policy_standing(), PolicyStanding::Agreed(Arc::new(activation.clone())));
    let leaves = bench.store.intents().read(0, 99).await.unwrap();
    let told = leaves.iter().filter_map(|leaf| Event::decode(&leaf.leaf)).next_back().unwrap();
    assert_eq!(told, activation.event());
    // A policy of the settings counts for nothing any more.
    let given = Words.read(&policy("permit anything")).unwrap();
    let next = bench.again().await.with_policy(given);
    next.load_policy().await.unwrap();
    assert_eq!(next.policy().unwrap().digest(), proposal.policy);
    let error = bench.propose_as("olga", &policy("permit")).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::InForce(_)), "{error}");
}

#[tokio::test]
async fn whose_word_does_not_count() {
    let bench = Bench::new().await;
    let (mine, other) = (bench.propose("permit").await, bench.propose("refuse").await);
    let refused = async |word: NewApproval| {
        bench.pipeline.approve_policy(&mine.policy, word, NOW).await.map(|_| ()).unwrap_err()
    };
    let error = refused(bench.word("mallory", &mine)).await;
    assert!(matches!(error, PolicyChangeError::Stranger(_)), "{error}");
    let error = refused(bench.word("ann", &other)).await;
    assert!(matches!(error, PolicyChangeError::BadSignature), "for another policy: {error}");
    for change in [
        (|own: &mut PolicyProposal| own.need = 1) as fn(&mut PolicyProposal),
        |own| own.why = "something harmless".to_owned(),
        |own| own.base = Some(Digest([9; 32])),
        |own| own.expiry += 1,
        |own| own.proposer_id = Digest([9; 32]),
    ] {
        let mut told = mine.clone();
        change(&mut told);
        let error = refused(bench.word("ann", &told)).await;
        assert!(matches!(error, PolicyChangeError::BadSignature), "{told:?}: {error}");
    }
    // Another server with the same root documents.
    let twin = Bench::new().await;
    let there = twin.propose("permit").await;
    assert_eq!(there.policy, mine.policy);
    let error = refused(twin.word("ann", &there)).await;
    assert!(matches!(error, PolicyChangeError::BadSignature), "for another server: {error}");

    // Who proposes does not agree, and leaves enough others.
    let own = bench.propose_as("cleo", &policy("permit three")).await.unwrap();
    let error = bench.approve("cleo", &own).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::Own(_)), "{error}");
    let two = Bench::under(root(&["ann", "ben"], 1, vec![])).await;
    let error = two.propose_as("ann", &policy("permit")).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::TooFewApprovers { need: 2, have: 1 }), "{error}");
    let narrow = Bench::under(root(&["ann", "ben"], 1, vec!["gateway".parse().unwrap()])).await;
    let error = narrow.propose_as("olga", &policy("permit")).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::NoApprovers), "approvers of one product: {error}");
    let strict = Bench::under(root(&["ann", "ben", "cleo"], 3, vec![])).await;
    assert_eq!(strict.propose("permit").await.need, 3, "the root document asks for more");
}

#[tokio::test]
async fn what_is_no_policy_is_not_proposed() {
    let bench = Bench::new().await;
    let file = |name: &str, text: &str| PolicyFile { name: name.to_owned(), text: text.to_owned() };
    let of = |files| PolicyDocument::new(1, files).unwrap();
    let unread = bench.propose_as("olga", &policy("nonsense")).await.unwrap_err();
    assert!(matches!(unread, PolicyChangeError::Unreadable(_)), "{unread}");
    let bare = bench.propose_as("olga", &of(vec![file("a.cedar", "permit")])).await.unwrap_err();
    assert!(matches!(bare, PolicyChangeError::NoExamples), "{bare}");
    let wrong = of(vec![file("a.cedar", "permit"), file("a.test.toml", "wrong")]);
    let wrong = bench.propose_as("olga", &wrong).await.unwrap_err();
    assert!(matches!(wrong, PolicyChangeError::Examples(_)), "{wrong}");
    let by = Requester(Caller::local("olga"));
    for why in ["", " ", "a\u{1b}[2J", &"x".repeat(513)] {
        let error = bench.pipeline.propose_policy(&policy("permit"), &by, why, NOW).await.unwrap_err();
        assert!(matches!(error, PolicyChangeError::Why), "{error}");
    }
    assert_eq!(bench.store.policy_proposals(None, Page::first(9)).await.unwrap(), []);
}

#[tokio::test]
async fn a_proposal_is_of_one_base_and_of_its_time() {
    let bench = Bench::new().await;
    let first = bench.agree("permit").await;
    let (next, stale) = (bench.propose("refuse").await, bench.propose("refuse two").await);
    for name in ["ann", "ben"] {
        bench.approve(name, &stale).await.unwrap();
        bench.approve(name, &next).await.unwrap();
    }
    let second = bench.activate(&next.policy).await.unwrap();
    assert_eq!((second.number, second.previous), (2, Some(first.policy)));
    let error = bench.activate(&stale.policy).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::NotProposed(_)), "{error}");
    let state = bench.store.policy_proposal(stale.id).await.unwrap().unwrap().state;
    assert_eq!(state, ProposalState::Superseded);

    // Back to the first: the same people again, and nothing they said before.
    let old = bench.store.policy_proposal(first.proposal).await.unwrap().unwrap();
    let back = bench.propose("permit").await;
    let replayed = bench.pipeline.approve_policy(&back.policy, bench.word("ann", &old), NOW).await;
    assert!(matches!(replayed.unwrap_err(), PolicyChangeError::BadSignature));
    let error = bench.activate(&back.policy).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::NotAgreed { have: 0, .. }), "{error}");
    for name in ["ben", "cleo"] {
        bench.approve(name, &back).await.unwrap();
    }
    assert_eq!(bench.activate(&back.policy).await.unwrap().number, 3);

    let late = bench.propose("refuse").await;
    for name in ["ann", "ben"] {
        bench.approve(name, &late).await.unwrap();
    }
    let after = NOW.plus(Duration::from_secs(15 * 24 * 3600));
    let error = bench.pipeline.activate_policy(&late.policy, "olga", after).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::Expired(_)), "{error}");
    let gone = bench.propose("refuse").await;
    bench.pipeline.withdraw_policy(&gone.policy, NOW).await.unwrap();
    let error = bench.approve("ann", &gone).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::NotProposed(_)), "{error}");
}

#[tokio::test]
async fn a_store_that_was_changed_by_hand_signs_nothing() {
    let bench = Bench::new().await;
    let first = bench.agree("permit").await;
    let second = bench.agree("refuse").await;

    // The activations are gone, or are those of an earlier backup.
    let empty = Bench::new().await;
    broken(&pipeline(&empty.store, &bench.store, &bench.root).await, "the store has none");
    let earlier = Bench::new().await;
    for proposal in [first.proposal] {
        let proposal = bench.store.policy_proposal(proposal).await.unwrap().unwrap();
        let open = PolicyProposal { state: ProposalState::Open, ..proposal };
        earlier.store.insert_policy_proposal(open).await.unwrap();
    }
    earlier.store.activate_policy(first.clone()).await.unwrap();
    broken(
        &pipeline(&earlier.store, &bench.store, &bench.root).await,
        "another one is in force than the log",
    );
    // The log is another server's.
    broken(&pipeline(&bench.store, &empty.store, &bench.root).await, "another one is in force than the log");

    // Somebody writes an activation without the approvers: with nobody's
    // word, with an old one, or with one of them alone.
    let old = bench.store.policy_proposal(first.proposal).await.unwrap().unwrap();
    for (number, approvals) in
        [vec![], first.approvals.clone(), second.approvals[..1].to_vec()].into_iter().enumerate()
    {
        let thief = Bench::new().await;
        let proposal = thief.propose("permit anything").await;
        let forged = PolicyActivation {
            number: 1,
            policy: proposal.policy,
            previous: None,
            proposal: proposal.id,
            approvals,
            ..first.clone()
        };
        thief.store.activate_policy(forged).await.unwrap();
        broken(&thief.again().await, "");
        assert_eq!(old.policy, first.policy, "{number}");
    }

    // The document is damaged: proposed again, it is mended.
    let damaged = holding(&bench.path, &policy("refuse").encode());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[30] ^= 1;
    fs::remove_file(&damaged).unwrap();
    fs::write(&damaged, bytes).unwrap();
    let next = bench.again().await;
    broken(&next, "does not verify");
    let error = next.activate_policy(&second.policy, "olga", NOW).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::Broken(_)), "{error}");
    let by = Requester(Caller::local("olga"));
    let error = next.propose_policy(&policy("refuse"), &by, "mend it", NOW).await.unwrap_err();
    assert!(matches!(error, PolicyChangeError::InForce(_)), "{error}");
    assert_eq!(next.policy_standing(), PolicyStanding::Agreed(Arc::new(second)));
}
