//! Signatures of several files, asked for at once.

use std::time::Duration;

use firmseal_api::problem::Problem;
use firmseal_api::signatures::{
    BATCH_MAX, CreateSignature, SignatureAnswer, SignatureQuery, SignatureRequest, SignatureState,
};
use firmseal_fleet::{Role, Scope};
use firmseal_manifest::ArtifactId;
use firmseal_server::Serves;
use http::StatusCode;

use crate::bench::{Bench, product};
use crate::signatures::{WAIT, status, wish};

fn request(answer: &SignatureAnswer) -> &SignatureRequest {
    match answer {
        SignatureAnswer::Request(request) => request,
        SignatureAnswer::Problem(problem) => panic!("{problem}"),
    }
}

fn problem(answer: &SignatureAnswer) -> &Problem {
    match answer {
        SignatureAnswer::Problem(problem) => problem,
        SignatureAnswer::Request(request) => panic!("{request:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_batch_comes_to_what_it_would_alone() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let (one, two) = (bench.upload(&admin, b"one").await, bench.upload(&admin, b"two").await);
    let signer = bench.operator(&[Role::Signer]).await;
    let signer = signer.operator();
    let asked = || {
        let ahead = CreateSignature { epoch: 17, ..wish(one) };
        let nothing = CreateSignature { artifact: ArtifactId(crate::bench::sha256(b"?")), ..wish(one) };
        vec![wish(one), ahead, nothing, wish(two), wish(one)]
    };
    let answers = signer.create_signatures("all", asked(), WAIT).await.unwrap();
    let (first, refused, last) = (request(&answers[0]), request(&answers[1]), request(&answers[4]));
    assert_eq!((first.state, first.artifact), (SignatureState::Signed, one));
    assert_eq!(
        (refused.state, refused.reasons[0].rule.as_str()),
        (SignatureState::Refused, "gate-epoch-ahead")
    );
    let missing = problem(&answers[2]);
    assert_eq!((missing.status, missing.kind.as_str()), (404, "urn:firmseal:problem:not-found"));
    assert!(missing.request_id.len() >= 8, "as the log calls the request: {missing:?}");
    assert_eq!((request(&answers[3]).state, request(&answers[3]).artifact), (SignatureState::Signed, two));
    // The same bytes twice in one batch are signed once.
    assert_eq!((last.state, &last.signature), (SignatureState::Signed, &first.signature));
    assert_ne!(last.id, first.id);

    // Sent again it is the same batch, and a request of it has a key of its own.
    let again = signer.create_signatures("all", asked(), WAIT).await.unwrap();
    assert_eq!(request(&again[3]), request(&answers[3]));
    assert_eq!(signer.create_signature("all/3", &wish(two), WAIT).await.unwrap().id, request(&answers[3]).id);
    let changed = vec![CreateSignature { commit: "def456".to_owned(), ..wish(one) }, wish(two)];
    let changed = signer.create_signatures("all", changed, WAIT).await.unwrap();
    assert_eq!((problem(&changed[0]).status, problem(&changed[1]).status), (409, 409));

    for count in [0, BATCH_MAX + 1] {
        let wrong = signer.create_signatures("many", vec![wish(one); count], WAIT).await;
        assert_eq!(status(wrong), StatusCode::BAD_REQUEST, "{count}");
    }
    let most = signer.create_signatures("most", vec![wish(one); BATCH_MAX], WAIT).await.unwrap();
    assert!(most.iter().all(|answer| request(answer).signature == first.signature));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_reaches_out_of_scope_hands_nothing_in() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    for name in ["gateway", "meter"] {
        admin.operator().create_product(&product(name)).await.unwrap();
    }
    let file = bench.upload(&admin, b"some firmware").await;
    let scope = Scope { products: ["gateway".parse().unwrap()].into(), ..Scope::default() };
    let (secret, _) = bench.scoped(&[Role::Signer], scope).await;
    let confined = bench.builder(Serves::Operator).token(&secret).build().unwrap();
    let other = CreateSignature { product: "meter".parse().unwrap(), ..wish(file) };
    let both = confined.operator().create_signatures("k", vec![wish(file), other], Duration::ZERO).await;
    assert_eq!(status(both), StatusCode::FORBIDDEN);
    let all = admin.operator().signatures(&SignatureQuery::default()).await.unwrap();
    assert_eq!(all.items, []);
}
