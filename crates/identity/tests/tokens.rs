//! Tokens that are good, and every kind that is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use firmseal_fleet::{CallerKind, Role, Time};
use firmseal_identity::{Discovery, Issuer, Jwks, KeyCache, Look, TOKEN_MAX, TokenError, Unverified};
use firmseal_testkit::identity::{Mint, Trick};
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;

fn settings(change: impl FnOnce(&mut Value)) -> Value {
    let mut settings = json!({
        "issuer": "https://ci.example",
        "kind": "workload",
        "audience": ["firmseal"],
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "authority": "ca.pem",
        "claims": { "repository": "repository", "workflow": "/job/workflow" },
        "grant": [
            {
                "match": { "repository": "acme/gw", "ref": ["refs/heads/main", "refs/tags/v*"] },
                "name": "ci:{repository}:{ref}",
                "roles": ["signer"],
                "team": "gateways",
                "scope": { "products": ["gw"] },
            },
            { "match": { "groups": "lookers" }, "name": "looker:{sub}", "roles": ["auditor"] },
        ],
    });
    change(&mut settings);
    settings
}

fn issuer(change: impl FnOnce(&mut Value)) -> Issuer {
    Issuer::new(serde_json::from_value(settings(change)).unwrap()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "https://ci.example", "aud": "firmseal", "sub": "repo:acme/gw", "jti": "1",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300,
        "repository": "acme/gw", "ref": "refs/heads/main", "job": { "workflow": "release.yml" },
    })
}

fn keys(mints: &[&Mint]) -> Jwks {
    let keys: Vec<Value> = mints.iter().map(|mint| mint.jwk()).collect();
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn check(issuer: &Issuer, keys: &Jwks, token: &str) -> Result<firmseal_identity::Verified, TokenError> {
    issuer.verify(&Unverified::parse(token)?, keys, at(NOW))
}

#[test]
fn a_good_token_is_a_caller() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let mint = Mint::new("a", algorithm);
        let verified = check(&issuer(|_| {}), &keys(&[&mint]), &mint.token(&claims())).unwrap();
        let caller = verified.caller;
        assert_eq!(caller.name, "ci:acme/gw:refs/heads/main");
        assert_eq!((caller.kind, caller.team.as_deref()), (CallerKind::Workload, Some("gateways")));
        assert_eq!(caller.roles, [Role::Signer].into());
        assert!(!caller.scope.takes_product(&"meter".parse().unwrap()));
        let kept = [
            ("issuer", "https://ci.example"),
            ("repository", "acme/gw"),
            ("subject", "repo:acme/gw"),
            ("workflow", "release.yml"),
        ];
        assert_eq!(caller.claims, kept.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(verified.once.is_some(), "a job's token is good for one change");
    }
}

#[test]
fn a_token_for_one_change_is_known_by_what_was_signed() {
    let mint = Mint::new("a", "EdDSA");
    let once = |change: fn(&mut Value), claims: &Value| {
        check(&issuer(change), &keys(&[&mint]), &mint.token(claims)).unwrap().once
    };
    let id = |claims: &Value| once(|_| {}, claims).unwrap().id;
    let mut other = claims();
    other["jti"] = "2".into();
    assert_eq!(id(&claims()), id(&claims()));
    assert_ne!(id(&claims()), id(&other));
    other.as_object_mut().unwrap().remove("jti");
    assert_ne!(id(&claims()), id(&other), "without an id of its issuer's too");
    assert_eq!(once(|settings| settings["single_use"] = json!(false), &claims()), None);
    let person = |settings: &mut Value| settings["kind"] = json!("person");
    assert_eq!(once(person, &claims()), None, "people change many things in a sitting");
    let person_too = |settings: &mut Value| {
        settings["kind"] = json!("person");
        settings["single_use"] = json!(true);
    };
    assert!(once(person_too, &claims()).is_some());
}

#[test]
fn every_trick_is_refused() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let mint = Mint::new("a", algorithm);
        let (issuer, keys) = (issuer(|_| {}), keys(&[&mint]));
        for trick in Trick::ALL {
            let token = mint.trick(&claims(), trick, "https://thief.example/jwks");
            let refused = check(&issuer, &keys, &token).map(|verified| verified.caller.name);
            let refused = refused.expect_err(&format!("{algorithm} {trick:?}"));
            let right = match trick {
                Trick::WrongIssuer => refused == TokenError::UnknownIssuer,
                Trick::WrongAudience | Trick::TwoAudiences => refused == TokenError::Audience,
                Trick::AlgNone | Trick::Hs256WithPublicKey => refused == TokenError::Algorithm,
                Trick::Expired => refused == TokenError::Expired,
                Trick::Early => refused == TokenError::Early,
                Trick::Lasting => matches!(refused, TokenError::TooLong { .. }),
                Trick::OtherKeySameKid | Trick::Jwk | Trick::Changed => refused == TokenError::Signature,
                Trick::Jku | Trick::UnknownKid => refused == TokenError::UnknownKey,
                Trick::Crit | Trick::SubTwice | Trick::Logout => matches!(refused, TokenError::Malformed(_)),
            };
            assert!(right, "{algorithm} {trick:?}: {refused}");
        }
    }
}

#[test]
fn a_key_signs_only_with_the_algorithm_of_its_kind_and_its_issuer() {
    let (rsa, curve) = (Mint::new("a", "RS256"), Mint::new("a", "ES256"));
    let both = keys(&[&rsa, &curve]);
    // One name for two keys of two kinds is one key for each algorithm.
    check(&issuer(|_| {}), &both, &rsa.token(&claims())).unwrap();
    check(&issuer(|_| {}), &both, &curve.token(&claims())).unwrap();
    // The issuer is configured for one algorithm.
    let rs256 = issuer(|settings| settings["algorithms"] = json!(["RS256"]));
    assert_eq!(check(&rs256, &both, &curve.token(&claims())), Err(TokenError::Algorithm));
    // An ES256 signature under a header that says EdDSA finds no such key.
    let header = json!({ "alg": "EdDSA", "kid": "a" });
    let confused = curve.signed(&header, &claims().to_string());
    assert_eq!(check(&issuer(|_| {}), &both, &confused), Err(TokenError::UnknownKey));
    // Two keys that one name means, and no name where there are two.
    let twins = [Mint::new("a", "ES256"), Mint::new("a", "ES256")];
    let ambiguous = keys(&[&twins[0], &twins[1]]);
    assert_eq!(check(&issuer(|_| {}), &ambiguous, &twins[0].token(&claims())), Err(TokenError::UnknownKey));
    let nameless = rsa.signed(&json!({ "alg": "RS256" }), &claims().to_string());
    check(&issuer(|_| {}), &both, &nameless).unwrap();
    let more = keys(&[&rsa, &Mint::new("b", "RS256")]);
    assert_eq!(check(&issuer(|_| {}), &more, &nameless), Err(TokenError::UnknownKey));
}

#[test]
fn claims_are_held_against_grants_in_their_order() {
    let mint = Mint::new("a", "EdDSA");
    let keys = keys(&[&mint]);
    let name = |change: &[(&str, Value)], issuer: &Issuer| {
        let mut claims = claims();
        for (claim, value) in change {
            claims[*claim] = value.clone();
        }
        check(issuer, &keys, &mint.token(&claims)).map(|verified| verified.caller.name)
    };
    let plain = issuer(|_| {});
    let tag = name(&[("ref", json!("refs/tags/v1.2"))], &plain);
    assert_eq!(tag.unwrap(), "ci:acme/gw:refs/tags/v1.2");
    for (claim, value) in [
        ("ref", json!("refs/heads/main2")),
        ("ref", json!("refs/tags/v1/x")),
        ("ref", json!(["refs/heads/main"])),
        ("ref", json!(7)),
        ("repository", json!("acme/gw2")),
        ("repository", json!("ACME/gw")),
        ("repository", Value::Null),
    ] {
        assert_eq!(name(&[(claim, value.clone())], &plain), Err(TokenError::NoGrant), "{claim} {value}");
    }
    let groups = json!(["others", "lookers"]);
    let other = name(&[("repository", json!("x/y")), ("groups", groups.clone())], &plain).unwrap();
    assert_eq!(other, "looker:repo%3Aacme/gw", "the first grant did not fit, the second one does");
    assert_eq!(name(&[("groups", groups)], &plain).unwrap(), "ci:acme/gw:refs/heads/main");
    // An address that nobody verified is not an address.
    let mail = issuer(|settings| {
        settings["grant"] =
            json!([{ "match": { "email": "ann@acme.example" }, "name": "{email}", "roles": ["auditor"] }]);
    });
    let ann = ("email", json!("ann@acme.example"));
    assert_eq!(name(std::slice::from_ref(&ann), &mail), Err(TokenError::NoGrant));
    assert_eq!(name(&[ann.clone(), ("email_verified", json!("true"))], &mail), Err(TokenError::NoGrant));
    assert_eq!(name(&[ann.clone(), ("email_verified", json!(true))], &mail).unwrap(), "ann@acme.example");
    // Nor is it one where it is asked for by a pointer.
    let mail = issuer(|settings| {
        settings["grant"] =
            json!([{ "match": { "/email": "ann@acme.example" }, "name": "{/email}", "roles": ["auditor"] }]);
    });
    assert_eq!(name(std::slice::from_ref(&ann), &mail), Err(TokenError::NoGrant));
    assert_eq!(name(&[ann, ("email_verified", json!(true))], &mail).unwrap(), "ann@acme.example");
}

#[test]
fn times_and_audiences_are_strict() {
    let mint = Mint::new("a", "EdDSA");
    let keys = keys(&[&mint]);
    let outcome = |change: &[(&str, Value)]| {
        let mut claims = claims();
        for (claim, value) in change {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(*claim),
                value => claims.as_object_mut().unwrap().insert((*claim).to_owned(), value.clone()),
            };
        }
        check(&issuer(|_| {}), &keys, &mint.token(&claims)).err()
    };
    let malformed = |change: &[(&str, Value)]| matches!(outcome(change), Some(TokenError::Malformed(_)));
    assert_eq!(outcome(&[("iat", json!(NOW - 100)), ("nbf", Value::Null), ("exp", json!(NOW - 29))]), None);
    let late = [("iat", json!(NOW - 100)), ("nbf", Value::Null), ("exp", json!(NOW - 30))];
    assert_eq!(outcome(&late), Some(TokenError::Expired));
    assert_eq!(outcome(&[("nbf", json!(NOW + 30))]), None);
    assert_eq!(outcome(&[("nbf", json!(NOW + 31))]), Some(TokenError::Early));
    assert_eq!(outcome(&[("iat", json!(NOW + 31)), ("nbf", Value::Null)]), Some(TokenError::Early));
    assert_eq!(outcome(&[("exp", json!(NOW + 3600))]), None);
    assert!(matches!(outcome(&[("exp", json!(NOW + 3601))]), Some(TokenError::TooLong { .. })));
    assert!(malformed(&[("exp", Value::Null)]) && malformed(&[("iat", Value::Null)]));
    assert!(malformed(&[("exp", json!("1800000300"))]) && malformed(&[("exp", json!(-1))]));
    assert!(malformed(&[("exp", json!(1e300))]) && malformed(&[("sub", Value::Null)]));
    assert!(malformed(&[("sub", json!(""))]) && malformed(&[("iss", Value::Null)]));
    assert_eq!(outcome(&[("aud", json!(["firmseal"]))]), None);
    for aud in [json!([]), json!(""), json!("Firmseal"), json!({ "firmseal": 1 }), json!([["firmseal"]])] {
        assert_eq!(outcome(&[("aud", aud.clone())]), Some(TokenError::Audience), "{aud}");
    }
    assert_eq!(outcome(&[("aud", Value::Null)]), Some(TokenError::Audience));
    assert_eq!(outcome(&[("azp", json!("somebody-else"))]), Some(TokenError::Audience));
    let typed = |kind: &str| {
        let token = mint.signed(&json!({ "alg": "EdDSA", "kid": "a", "typ": kind }), &claims().to_string());
        check(&issuer(|_| {}), &keys, &token).is_ok()
    };
    assert!(typed("jwt") && typed("application/jwt") && !typed("at+jwt") && !typed("logout+jwt"));
}

#[test]
fn tokens_that_are_none_are_refused_without_looking_far() {
    for text in ["", ".", "..", "a.b.c", "a.b.c.d", "e30.e30.", "e30=.e30.e30", "e30.e30.e\n", "…"] {
        assert!(Unverified::parse(text).is_err(), "{text}");
    }
    let mint = Mint::new("a", "EdDSA");
    let header = json!({ "alg": "EdDSA" });
    for bad in ["[]", "null", "{\"a\":1,\"a\":1}", "{", "\u{0}"] {
        assert!(
            matches!(Unverified::parse(&mint.signed(&header, bad)), Err(TokenError::Malformed(_))),
            "{bad}"
        );
    }
    for (name, value) in [("kid", json!(1)), ("typ", json!([])), ("b64", json!(false)), ("zip", json!("DEF"))]
    {
        let mut header = header.clone();
        header[name] = value;
        assert!(Unverified::parse(&mint.signed(&header, "{}")).is_err(), "{name}");
    }
    let long = mint.signed(&header, &format!("{{\"a\":\"{}\"}}", "x".repeat(TOKEN_MAX)));
    assert_eq!(Unverified::parse(&long).err(), Some(TokenError::Malformed("it is too long")));
    for word in ["none", "None", "NONE", "", "HS256", "PS256", "RS1", "RS256 ", "ES256K"] {
        let token = mint.signed(&json!({ "alg": word }), "{}");
        assert_eq!(Unverified::parse(&token).err(), Some(TokenError::Algorithm), "{word}");
    }
}

#[test]
fn keys_that_are_not_fit_are_left_out() {
    let rsa = Mint::new("a", "RS256").jwk();
    let curve = Mint::new("c", "ES256").jwk();
    let fit = |key: &Value| Jwks::parse(json!({ "keys": [key] }).to_string().as_bytes()).is_some();
    assert!(fit(&rsa) && fit(&curve));
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    // 1024 bits; an exponent of 3; an even modulus.
    let short = "_".repeat(170) + "w";
    for bad in [
        with(&rsa, "n", json!(short)),
        with(&rsa, "e", json!("Aw")),
        with(&rsa, "e", json!("")),
        with(&rsa, "n", json!("A".repeat(342))),
        with(&rsa, "use", json!("enc")),
        with(&rsa, "alg", json!("PS256")),
        with(&rsa, "key_ops", json!(["encrypt"])),
        with(&rsa, "d", json!("AQAB")),
        with(&rsa, "kid", json!(7)),
        with(&curve, "crv", json!("P-384")),
        with(&curve, "x", json!("AA")),
        with(&curve, "kty", json!("oct")),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!("key"),
    ] {
        assert!(!fit(&bad), "{bad}");
    }
    // Beside a good one they do no harm.
    let set = json!({ "keys": [with(&rsa, "use", json!("enc")), with(&rsa, "kid", json!("z")), curve] });
    assert!(Jwks::parse(set.to_string().as_bytes()).is_some());
    assert!(Jwks::parse(b"{\"keys\":[]}").is_none() && Jwks::parse(b"[]").is_none());
    assert!(Jwks::parse(json!({ "keys": vec![curve; 65] }).to_string().as_bytes()).is_none());
    assert!(Jwks::parse(&vec![b' '; Jwks::MAX + 1]).is_none());
}

#[test]
fn keys_are_fetched_when_they_are_due_and_not_for_strangers() {
    let (old, new) = (Mint::new("old", "EdDSA"), Mint::new("new", "EdDSA"));
    let issuer = issuer(|_| {});
    let settings = issuer.settings();
    let token = |mint: &Mint| Unverified::parse(&mint.token(&claims())).unwrap();
    let mut cache = KeyCache::default();
    let look = |cache: &mut KeyCache, mint: &Mint, seconds: u64| {
        cache.look(&token(mint), settings, at(NOW + seconds))
    };
    assert_eq!(look(&mut cache, &old, 0), Look::Fetch);
    assert_eq!(look(&mut cache, &old, 1), Look::OutOfReach, "one attempt at a time");
    cache.fetched(keys(&[&old]), at(NOW + 1));
    assert!(matches!(look(&mut cache, &old, 2), Look::Keys(_)));
    // A key that is new, and one that somebody made up.
    assert!(matches!(look(&mut cache, &new, 3), Look::Keys(_)), "too early to ask again");
    assert_eq!(look(&mut cache, &new, 30), Look::Fetch);
    assert!(matches!(look(&mut cache, &new, 31), Look::Keys(_)), "twice a minute at most");
    cache.fetched(keys(&[&new]), at(NOW + 32));
    assert!(matches!(look(&mut cache, &new, 33), Look::Keys(_)));
    // What was taken away is gone.
    let Look::Keys(left) = look(&mut cache, &old, 34) else { panic!() };
    assert_eq!(check(&issuer, &left, &old.token(&claims())), Err(TokenError::UnknownKey));
    // The provider is out of reach: the old keys serve for a day.
    assert_eq!(look(&mut cache, &new, 32 + 3600), Look::Fetch);
    assert!(matches!(look(&mut cache, &new, 33 + 3600), Look::Keys(_)));
    assert_eq!(look(&mut cache, &new, 32 + 86_400), Look::Fetch);
    assert_eq!(look(&mut cache, &new, 33 + 86_400), Look::OutOfReach);
}

#[test]
fn discovery_answers_for_its_issuer_alone() {
    let answer = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
    let good = answer("https://ci.example", "https://keys.example/jwks");
    let found = Discovery::read("https://ci.example", good.as_bytes()).unwrap();
    assert_eq!((found.jwks.as_str(), found.device, found.token), ("https://keys.example/jwks", None, None));
    assert_eq!(Discovery::read("https://ci.example/", good.as_bytes()), None);
    let open = answer("https://ci.example", "http://keys.example/jwks");
    assert_eq!(Discovery::read("https://ci.example", open.as_bytes()), None);
    assert_eq!(Discovery::read("https://ci.example", b"{}"), None);
}

#[test]
fn settings_that_open_a_door_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 19] = [
        (|s| s["issuer"] = json!("http://ci.example"), "https://"),
        (|s| s["issuer"] = json!("https://ci.example?x"), "query"),
        (|s| s["jwks"] = json!("http://ci.example/jwks"), "https://"),
        (|s| s["audience"] = json!([]), "audience"),
        (|s| s["algorithms"] = json!([]), "algorithm"),
        (|s| s["leeway_seconds"] = json!(301), "leeway"),
        (|s| s["longest_seconds"] = json!(100_000), "longest"),
        (|s| s["stale_seconds"] = json!(60), "stale"),
        (|s| s["grant"] = json!([]), "nobody gets in"),
        (|s| s["grant"][0]["roles"] = json!([]), "no role"),
        (|s| s["grant"][0]["match"] = json!({}), "anybody"),
        (|s| s["grant"][0]["match"] = json!({ "repository": "*/gw" }), "anybody"),
        (|s| s["grant"][0]["match"] = json!({ "repository": ["acme/gw", "**"] }), "anybody"),
        // What everybody's tokens can say.
        (|s| s["grant"][0]["match"] = json!({ "ref": "refs/heads/main", "workflow": "release" }), "anybody"),
        (
            |s| s["grant"][0]["match"] = json!({ "/ref": "refs/heads/main", "iss": "https://ci.example" }),
            "anybody",
        ),
        (
            |s| s["grant"][0]["match"] = json!({ "job_workflow_ref": "acme/gw/.github/workflows/r.yml@*" }),
            "anybody",
        ),
        (|s| s["claims"] = json!({ "issuer": "x" }), "in any case"),
        (|s| s["sign_in"] = json!({ "client_id": "firmseal" }), "only people"),
        (
            |s| {
                s["kind"] = json!("person");
                s["sign_in"] = json!({ "client_id": "other" });
            },
            "not an audience",
        ),
    ];
    for (change, want) in cases {
        let refused = Issuer::new(serde_json::from_value(settings(change)).unwrap()).unwrap_err();
        assert!(refused.to_string().contains(want), "{want}: {refused}");
    }
    for (name, value) in
        [("algorithms", json!(["none"])), ("algorithms", json!(["HS256"])), ("audiences", json!([]))]
    {
        let mut settings = settings(|_| {});
        settings[name] = value;
        assert!(serde_json::from_value::<firmseal_identity::IdentitySettings>(settings).is_err(), "{name}");
    }
}
