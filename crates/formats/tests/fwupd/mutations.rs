//! Mutations: we never accept what fwupdtool and jcat-tool refuse (THREATS 16:
//! two parsers disagree).

use base64ct::{Base64, Encoding};

use crate::common::{OpenSsl, Random, TestKey, accepted, mutate};
use crate::peer::{self, METAINFO, cabinet, files, trusted};
use crate::{accepted_beside, beside, of};

fn count() -> usize {
    std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"))
}

/// Whether a signature still has its certificate. Whether anybody stands behind
/// it is the verifier's to ask; what is believed here is a key.
fn keeps_certificate(openssl: &OpenSsl, text: &[u8]) -> bool {
    openssl.ok("x509 -in p256.crt.pem -outform DER -out p256.der");
    let (text, certificate) = (String::from_utf8_lossy(text), openssl.read("p256.der"));
    let body = text.split_once("BEGIN PKCS7-----").and_then(|(_, rest)| rest.split_once("-----END"));
    let Some((body, _)) = body else { return true };
    let digits: String = body.replace("\\n", "").split_whitespace().collect();
    let Ok(der) = Base64::decode_vec(&digits) else { return true };
    der.windows(certificate.len()).any(|own| own == certificate)
}

/// What we accept fwupd trusts.
fn judge(openssl: &OpenSsl, cabinets: &[Vec<u8>], what: &str) {
    let key = TestKey::load("p256");
    let mut asked = 0;
    for (index, file) in cabinets.iter().enumerate() {
        if accepted(file, &key.public) && asked < count() {
            asked += 1;
            let is_trusted = matches!(trusted(openssl, file), Some((_, true)));
            assert!(is_trusted || !keeps_certificate(openssl, file), "{what} {index}");
        }
    }
    assert!(asked > 0, "{what}: the good one at least");
}

#[test]
fn cabinets_that_we_accept_fwupd_trusts() {
    let openssl = peer::place(&["p256"]);
    let all = files(METAINFO, &vec![7; 40_000]);
    for plain in [cabinet(std::slice::from_ref(&all)), peer::packed(&openssl, &all)] {
        let good = of(&openssl, &plain, "p256", "metainfo");
        let table = 36..200.min(good.len());
        let flips = table.flat_map(|at| [(at, 1), (at, 0x10), (at, 0x80)]);
        let flipped: Vec<Vec<u8>> = flips
            .map(|(at, bit)| {
                let mut bytes = good.clone();
                bytes[at] ^= bit;
                bytes
            })
            .chain([good.clone()])
            .collect();
        judge(&openssl, &flipped, "flipped");
        let mutated: Vec<Vec<u8>> = (0..20 * count() as u64)
            .map(|seed| {
                let mut random = Random(seed);
                let at = [0, 36, good.len() - 1500][random.below(3)];
                let mut bytes = good.clone();
                let mut piece = bytes.split_off(at);
                mutate(&mut piece, &mut random);
                bytes.extend(piece);
                let len = (bytes.len() as u32).to_le_bytes();
                if bytes.len() > 12 {
                    bytes[8..12].copy_from_slice(&len);
                }
                bytes
            })
            .chain([good.clone()])
            .collect();
        judge(&openssl, &mutated, "mutated");
    }
}

/// The metainfo, changed and signed: what we read and sign fwupd reads and
/// trusts.
#[test]
fn metainfos_that_we_sign_fwupd_reads() {
    const WORDS: [&str; 24] = [
        "",
        "<",
        ">",
        "/>",
        "\"",
        "'",
        "&",
        "&amp;",
        "&#65;",
        "<!-- x -->",
        "<!---->",
        "<a>x</a>",
        "<a/>",
        "<p>",
        "</p>",
        " ",
        "\n",
        "=",
        "x:y",
        "type",
        "firmware",
        "<name xml:lang=\"de\">x</name>",
        "<?x?>",
        "<![CDATA[x]]>",
    ];
    let openssl = peer::place(&["p256"]);
    let certificate = openssl.text("p256.crt.pem");
    let (key, mut signed) = (TestKey::load("p256"), Vec::new());
    for seed in 0..20 * count() as u64 {
        let mut random = Random(seed);
        let mut text = METAINFO.to_owned();
        let at = random.below(text.len());
        let end = text.len().min(at + [0, 0, 1, 5, 20][random.below(5)]);
        text.replace_range(at..end, WORDS[random.below(WORDS.len())]);
        let plain = cabinet(&[files(&text, b"firmware")]);
        signed.extend(crate::signed("fwupd", &plain, &key, "1.2.3", &[("certificate", &certificate)]));
    }
    judge(&openssl, &signed, "metainfo");
}

#[test]
fn jcats_that_we_accept_jcat_tool_accepts() {
    let openssl = peer::place(&["p256"]);
    let (key, file) = (TestKey::load("p256"), b"firmware".to_vec());
    let good = beside(&openssl, &file, "p256").unwrap();
    // The text, which is stored as it is, with its checksum made anew.
    let text = good[15..good.len() - 8].to_vec();
    let packed = |text: &[u8]| {
        openssl.write("text", text);
        let mut gzip = std::process::Command::new("gzip");
        gzip.args(["-n", "-c", "text"]).current_dir(openssl.dir.path()).output().expect("gzip").stdout
    };
    let mut asked = 0;
    for seed in 0..10 * count() as u64 {
        let mut random = Random(seed);
        let mut bytes = text.clone();
        if seed > 0 {
            mutate(&mut bytes, &mut random);
        }
        let jcat = packed(&bytes);
        if accepted_beside(&jcat, &file, &key) {
            asked += 1;
            let named = String::from_utf8_lossy(&bytes).contains("\"Id\":\"fw.bin\"");
            // A file's name is what jcat-tool is told, and not known here.
            let judged = named && keeps_certificate(&openssl, &bytes);
            assert!(!judged || peer::verifies(&openssl, &jcat, &file, "p256"), "{seed}");
        }
    }
    assert!(asked > 0, "the good one at least");
}
