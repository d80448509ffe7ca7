//! OpenSSL as the judge, both ways: it accepts what our authority answers and
//! refuses what was changed; we accept what its authority answers, and
//! nothing else that one could be given.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "fuzz/entry.rs"]
mod entry;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use firmseal_fleet::Time;
use firmseal_keys::scheme::holds;
use firmseal_manifest::{Digest, KeyAlgorithm, PublicKey, Signature, Tbs};
use firmseal_timestamp::certificate::Unsigned;
use firmseal_timestamp::{
    Authorities, Authority, Nonce, Query, Stamp, TimestampError, Wanted, response, verify,
};

const POLICY: &str = "1.3.6.1.4.1.99999.1";
const DATA: &[u8] = b"a signature, say";

/// A directory in which OpenSSL works.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn tries(&self, line: &str) -> (bool, String) {
        let out = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn run(&self, line: &str) -> String {
        let (good, text) = self.tries(line);
        assert!(good, "openssl {line}: {text}");
        text
    }

    /// An authority of OpenSSL's: a CA, and a signer below it.
    fn authority(name: &str, key: &str, extensions: &str) -> Bench {
        let bench = Bench::new();
        bench.write("tsa.cnf", CONFIG.as_bytes());
        bench.write("ext.cnf", extensions.as_bytes());
        bench.write("serial", b"01\n");
        bench.run(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN={name}-ca"
        ));
        bench.run(&format!("req -newkey {key} -nodes -keyout tsa.key -out tsa.csr -subj /CN={name}"));
        bench.run("x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -days 20 -out tsa.pem -extfile ext.cnf");
        bench
    }

    fn reply(&self, query: &Query) -> Vec<u8> {
        self.write("q.tsq", &query.encode().unwrap());
        self.run("ts -reply -queryfile q.tsq -config tsa.cnf -out r.tsr");
        self.read("r.tsr")
    }

    fn authorities(&self) -> Authorities {
        Authorities::from_pem(&self.read("ca.pem")).unwrap()
    }
}

const GOOD: &str = "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n";
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const CONFIG: &str = "
[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = ca.pem
signer_key = tsa.key
signer_digest = sha512
default_policy = 1.3.6.1.4.1.99999.1
other_policies = 1.3.6.1.4.1.99999.2
digests = sha256, sha384
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
clock_precision_digits = 3
";

fn of(data: &[u8]) -> Digest {
    Digest(digest(&SHA256, data).as_ref().try_into().unwrap())
}

fn now() -> Time {
    Time::from(std::time::SystemTime::now())
}

fn query(nonce: u8) -> Query {
    Query { digest: of(DATA), nonce: Some(Nonce::new([nonce; 8])), policy: None }
}

fn judge(response_: &[u8], authorities: &Authorities) -> Result<Stamp, TimestampError> {
    let wanted = Wanted { digest: &of(DATA), nonce: Some(Nonce::new([9; 8])), policy: None };
    verify(&response(response_)?, wanted, authorities, &holds)
}

#[test]
fn what_openssl_answers_holds_and_nothing_else() {
    for key in [P256, "ec -pkeyopt ec_paramgen_curve:P-384", "rsa:3072"] {
        let bench = Bench::authority("tsa", key, GOOD);
        let answer = bench.reply(&query(9));
        let stamp = judge(&answer, &bench.authorities()).unwrap();
        assert_eq!((stamp.policy.as_str(), stamp.accuracy, stamp.signer.as_str()), (POLICY, 1501, "CN=tsa"));
        stamp.check_clock(now(), 5_000).unwrap();
        let later = Time::from_millis(now().millis() + 60_000);
        assert!(matches!(stamp.check_clock(later, 5_000), Err(TimestampError::Clock { .. })));

        let own = Authorities::from_pem(&bench.read("tsa.pem")).unwrap();
        assert!(judge(&answer, &own).is_ok(), "the signer itself may be configured");
        let stranger = Bench::authority("tsa", P256, GOOD);
        assert!(matches!(judge(&answer, &stranger.authorities()), Err(TimestampError::Untrusted(_))));

        let token = response(&answer).unwrap();
        let ask = |wanted: Wanted<'_>| verify(&token, wanted, &bench.authorities(), &holds);
        let digest = of(DATA);
        let wanted = Wanted { digest: &digest, nonce: None, policy: None };
        assert!(ask(wanted).is_ok());
        assert!(ask(Wanted { policy: Some(POLICY), ..wanted }).is_ok());
        let other = ask(Wanted { policy: Some("1.2.3"), ..wanted });
        assert_eq!(other, Err(TimestampError::Policy(POLICY.to_owned())));
        assert_eq!(ask(Wanted { nonce: Some(Nonce::new([8; 8])), ..wanted }), Err(TimestampError::Nonce));
        let evil = of(b"something else");
        assert_eq!(ask(Wanted { digest: &evil, ..wanted }), Err(TimestampError::OtherBytes));

        // No byte of the token may change but in what nobody signed: the
        // authority's certificate, which is configured.
        let good = ask(wanted).unwrap();
        let mut survived = 0;
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            entry::run(&changed);
            if let Ok(stamp) = verify(&changed, wanted, &own, &holds) {
                assert_eq!(stamp, good, "byte {at}");
                survived += 1;
            }
        }
        assert!(survived < token.len() / 2, "{survived} of {}", token.len());
        for length in 0..token.len() {
            entry::run(&token[..length]);
            assert!(verify(&token[..length], wanted, &own, &holds).is_err(), "{length} bytes");
        }
        let longer = [token.as_slice(), &[0]].concat();
        assert!(verify(&longer, wanted, &own, &holds).is_err());
    }
}

#[test]
fn an_answer_to_another_policy_is_told() {
    let bench = Bench::authority("tsa", P256, GOOD);
    let second = Query { policy: Some("1.3.6.1.4.1.99999.2".to_owned()), ..query(9) };
    let stamp = judge(&bench.reply(&second), &bench.authorities()).unwrap();
    assert_eq!(stamp.policy, "1.3.6.1.4.1.99999.2");
    let strange = Query { policy: Some("1.2.3".to_owned()), ..query(9) };
    bench.write("q.tsq", &strange.encode().unwrap());
    bench.tries("ts -reply -queryfile q.tsq -config tsa.cnf -out r.tsr");
    let refused = response(&bench.read("r.tsr"));
    assert!(matches!(&refused, Err(TimestampError::Refused { status: 2, .. })), "{refused:?}");
    assert!(strange.encode().is_ok() && Query { policy: Some("x".to_owned()), ..strange }.encode().is_err());
}

#[test]
fn a_certificate_is_for_timestamps_alone() {
    // OpenSSL loads no such signer; the certificates are judged as those of
    // authorities of our own, by the same check.
    for (extensions, good) in [
        (GOOD, true),
        ("extendedKeyUsage=critical,timeStamping\n", true),
        ("extendedKeyUsage=timeStamping\n", false),
        ("extendedKeyUsage=critical,timeStamping,codeSigning\n", false),
        ("extendedKeyUsage=critical,codeSigning\n", false),
        ("keyUsage=critical,digitalSignature\n", false),
        ("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature,keyCertSign\n", false),
        ("extendedKeyUsage=critical,timeStamping\nnameConstraints=critical,permitted;DNS:x\n", false),
    ] {
        let bench = Bench::authority("tsa", P256, extensions);
        bench.run("pkey -in tsa.key -pubout -out tsa.pub");
        let key = PublicKey::from_pem(std::str::from_utf8(&bench.read("tsa.pub")).unwrap()).unwrap();
        let made = Authority::new(&bench.read("tsa.pem"), &key, POLICY, 1000);
        assert_eq!(made.is_ok(), good, "{extensions}: {made:?}");
    }
}

/// Our authority with a key in memory.
struct Own {
    pair: EcdsaKeyPair,
    authority: Authority,
    pem: Vec<u8>,
}

fn own(algorithm: KeyAlgorithm, from: Time) -> Own {
    let scheme = match algorithm {
        KeyAlgorithm::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::generate(scheme).unwrap();
    let key = PublicKey::from_point(algorithm, pair.public_key().as_ref()).unwrap();
    let unsigned =
        Unsigned::new(&key, "Timestamps of the lab", [7; 16], from, Duration::from_secs(86_400 * 365))
            .unwrap();
    let signature = pair.sign(&SystemRandom::new(), &unsigned.to_be_signed().unwrap()).unwrap();
    let pem = unsigned.seal(&Signature(signature.as_ref().to_vec())).unwrap().into_bytes();
    let authority = Authority::new(&pem, &key, POLICY, 1500).unwrap();
    Own { pair, authority, pem }
}

impl Own {
    fn answer(&self, request: &[u8], now: Time) -> Vec<u8> {
        let answer =
            self.authority.prepare(request, [3; 16], now).unwrap_or_else(|refused| panic!("{refused:?}"));
        let Tbs::Message(message) = self.authority.to_be_signed(&answer).unwrap() else { panic!() };
        let signature = self.pair.sign(&SystemRandom::new(), &message).unwrap();
        self.authority.seal(answer, &Signature(signature.as_ref().to_vec())).unwrap()
    }
}

#[test]
fn openssl_accepts_our_authority() {
    let hour_ago = Time::from_millis(now().millis() - 3_600_000);
    for (algorithm, hash) in [(KeyAlgorithm::P256, "-sha256"), (KeyAlgorithm::P384, "-sha512")] {
        let own = own(algorithm, hour_ago);
        let bench = Bench::new();
        bench.write("tsa.pem", &own.pem);
        bench.write("data", DATA);
        bench.write("other", b"other");
        for more in ["-cert", "-cert -no_nonce", "-cert -tspolicy 1.3.6.1.4.1.99999.1"] {
            bench.run(&format!("ts -query -data data {hash} {more} -out q.tsq"));
            bench.write("r.tsr", &own.answer(&bench.read("q.tsq"), now()));
            let said = bench.run("ts -verify -queryfile q.tsq -in r.tsr -CAfile tsa.pem");
            assert!(said.contains("Verification: OK"), "{said}");
            bench.run("ts -verify -data data -in r.tsr -CAfile tsa.pem");
            let text = bench.run("ts -reply -in r.tsr -text");
            assert!(
                text.contains("Status: Granted.") && text.contains("Policy OID: 1.3.6.1.4.1.99999.1"),
                "{text}"
            );
            assert!(!bench.tries("ts -verify -data other -in r.tsr -CAfile tsa.pem").0);
        }
        bench.run("ts -query -data data -cert -out second.tsq");
        assert!(
            !bench.tries("ts -verify -queryfile second.tsq -in r.tsr -CAfile tsa.pem").0,
            "another nonce"
        );
        let stranger = Bench::authority("tsa", P256, GOOD);
        bench.write("ca.pem", &stranger.read("ca.pem"));
        assert!(!bench.tries("ts -verify -data data -in r.tsr -CAfile ca.pem").0, "another authority");
        // Without certificates in the token, whoever verifies has them.
        bench.run("ts -query -data data -out bare.tsq");
        bench.write("bare.tsr", &own.answer(&bench.read("bare.tsq"), now()));
        bench.run("ts -verify -queryfile bare.tsq -in bare.tsr -CAfile tsa.pem -untrusted tsa.pem");
    }
}

#[test]
fn our_own_answers_hold_here_too() {
    let start = Time::from_millis(now().millis() - 3_600_000);
    let own = own(KeyAlgorithm::P256, start);
    let authorities = Authorities::from_pem(&own.pem).unwrap();
    let answer = own.answer(&query(9).encode().unwrap(), now());
    let stamp = judge(&answer, &authorities).unwrap();
    assert_eq!((stamp.accuracy, stamp.signer.as_str()), (1500, "CN=Timestamps of the lab"));
    // From before the certificate, and after it.
    for shift in [-7_200_000_i64, 366 * 86_400_000] {
        let then = Time::from_millis(now().millis().saturating_add_signed(shift));
        let answer = own.answer(&query(9).encode().unwrap(), then);
        assert!(matches!(judge(&answer, &authorities), Err(TimestampError::Untrusted(_))), "{shift}");
    }
    for (request, status) in [
        (b"".to_vec(), 2),
        (b"hello".to_vec(), 2),
        (Query { policy: Some("1.2.3".to_owned()), ..query(1) }.encode().unwrap(), 2),
    ] {
        let Err(refused) = own.authority.prepare(&request, [3; 16], now()) else { panic!() };
        let told = response(&refused);
        assert!(
            matches!(&told, Err(TimestampError::Refused { status: s, text }) if *s == status && !text.is_empty()),
            "{told:?}"
        );
        let bench = Bench::new();
        bench.write("r.tsr", &refused);
        assert!(bench.run("ts -reply -in r.tsr -text").contains("Status: Rejected."));
    }
    // SHA-1 is not asked about.
    let bench = Bench::new();
    bench.write("data", DATA);
    bench.run("ts -query -data data -sha1 -out q.tsq");
    assert!(own.authority.prepare(&bench.read("q.tsq"), [3; 16], now()).is_err());
}

#[test]
fn a_clock_that_may_be_years_off_tells_no_time() {
    let stamp = firmseal_timestamp::Stamp {
        time: Time::from_millis(1_000_000_000_000),
        accuracy: u64::MAX,
        policy: "1.2.3".to_owned(),
        serial: "01".to_owned(),
        signer: "CN=somebody".to_owned(),
    };
    assert_eq!(stamp.check_clock(Time::from_millis(1_000_000_010_000), 5_000), Ok(()));
    let later = stamp.check_clock(Time::from_millis(1_000_000_010_001), 5_000);
    assert!(matches!(later, Err(TimestampError::Clock { .. })), "{later:?}");
}
