//! A word added to an envelope that is signed already changes nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_core::{Envelope, Environment, StatementPurpose};
use firmseal_manifest::consent::{ConsentError, add_statement, announced};
use firmseal_manifest::{
    Agreement, ComponentSpec, Delegation, Digest, Evidence, Intent, Purpose, ReleaseSpec, RequestId,
    SignedStatement, Statement,
};
use firmseal_testkit::TestKey;
use uuid::Uuid;

fn release() -> ReleaseSpec {
    ReleaseSpec {
        environment: Environment::Test,
        vendor: Uuid::from_u128(7),
        class: Uuid::from_u128(8),
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: "1.2.3".parse().unwrap(),
        sequence: 5,
        epoch: 2,
        delegation: 0,
        rollback_of: None,
        components: vec![ComponentSpec {
            name: "main".to_owned(),
            size: 5000,
            digest: Digest([1; 32]),
            slot: None,
            block: firmseal_core::BlockSize::B4096,
            tree_root: Digest([2; 32]),
        }],
        description: Some("a text beside it".to_owned()),
    }
}

fn word(seed: u8, purpose: StatementPurpose) -> SignedStatement {
    let key = TestKey::ed25519(seed);
    let statement = Statement {
        purpose,
        environment: Environment::Test,
        lineage: [seed; 16],
        request: RequestId::new(),
        manifest: Digest([3; 32]),
        signers: vec![],
        previous: None,
        expiry: 9,
        header: Digest([4; 32]),
        difference: Digest([5; 32]),
        policy: Digest([6; 32]),
        requester: Digest([7; 32]),
    };
    let signature = key.sign(&statement.to_be_signed(key.public()).unwrap());
    SignedStatement { statement, signatures: vec![Agreement::Cose { key: key.public().clone(), signature }] }
}

#[test]
fn what_is_added_is_what_the_author_would_have_written() {
    let manifest = release().assemble().unwrap();
    let intent = Intent {
        purpose: Purpose::Release,
        subject: manifest.digest(),
        keys: vec![],
        delegation: None,
        statements: vec![],
        requester: Digest([7; 32]),
        policy: Digest([6; 32]),
        context: vec![],
    };
    let (approval, first, second) = (
        word(1, StatementPurpose::Approval),
        word(2, StatementPurpose::Owner),
        word(3, StatementPurpose::Owner),
    );
    let none = Delegation { chains: vec![] };
    for (intent, delegation, before) in [
        (None, None, vec![]),
        (Some(intent.clone()), None, vec![]),
        (Some(intent), Some(&none), vec![approval]),
    ] {
        let with = |statements: &[&SignedStatement]| {
            let statements = statements.iter().map(|own| (*own).clone()).collect();
            let evidence = Evidence { intent: intent.clone(), statements, proof: None };
            let some = !evidence.statements.is_empty() || evidence.intent.is_some();
            manifest.seal_with(&[], delegation, some.then_some(&evidence)).unwrap()
        };
        let mut all: Vec<&SignedStatement> = before.iter().collect();
        let mut envelope = with(&all);
        for statement in [&first, &second] {
            envelope = add_statement(&envelope, statement).unwrap();
            all.push(statement);
            assert_eq!(envelope, with(&all), "byte for byte");
        }
        let decoded = Envelope::decode(&envelope).unwrap();
        let said = intent.as_ref().map(|intent| (intent.requester, intent.policy));
        assert_eq!(announced(&decoded), said);
    }
}

#[test]
fn what_is_no_envelope_stays_none() {
    let word = word(2, StatementPurpose::Owner);
    assert!(matches!(add_statement(b"", &word), Err(ConsentError::Refused(_))));
    let mut envelope = release().assemble().unwrap().seal(&[]).unwrap();
    let mut added = 0;
    let full = loop {
        match add_statement(&envelope, &word) {
            Ok(more) => envelope = more,
            Err(error) => break error,
        }
        added += 1;
    };
    assert!(matches!(full, ConsentError::TooLarge(_)), "{full}");
    assert!(added > 16, "devices stop at a count, this at the size: {added}");
}
