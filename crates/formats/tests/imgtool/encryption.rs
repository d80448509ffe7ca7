//! Encrypted images, judged by Python's `cryptography` and by imgtool: what
//! the device's key opens is what was signed.

use crate::common::{TestKey, accepted, decrypted, fixture, fixture_path, sign};
use crate::mutations::boundaries;
use crate::peer::Imgtool;

/// Reads images of `file` lines, opens each with the device's key, writes
/// the plaintext image to `file.open` where the MAC holds, and says whether.
/// Where it was told to, it also makes content key and ephemeral key anew
/// from what the image is (decision 42), and compares.
const OPEN: &str = r#"
import struct, sys, hmac as stdhmac, hashlib
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

device = serialization.load_pem_private_key(open(sys.argv[1], 'rb').read(), None)
P256 = isinstance(device, ec.EllipticCurvePrivateKey)
RSA = isinstance(device, rsa.RSAPrivateKey)
RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
POINT = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
PKCS1 = serialization.Encoding.DER, serialization.PublicFormat.PKCS1
public = device.public_key().public_bytes(*(POINT if P256 else PKCS1 if RSA else RAW))
SHA256 = hashes.SHA256()

def ctr(key, data):
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return cipher.update(data) + cipher.finalize()

def unwrap(kind, value, size):
    if kind == 0x30:
        assert RSA and len(value) == device.key_size // 8
        key = device.decrypt(value, padding.OAEP(padding.MGF1(SHA256), SHA256, None))
        assert len(key) == size
        return key, value, 0
    points, sha = {0x32: (65, hashes.SHA256()), 0x33: (32, hashes.SHA256()), 0x34: (32, hashes.SHA512())}[kind]
    assert (points == 65) == P256 and len(value) == points + sha.digest_size + size
    point, tag, sealed = value[:points], value[points:-size], value[-size:]
    if P256:
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        shared = device.exchange(ec.ECDH(), peer)
    else:
        shared = device.exchange(x25519.X25519PublicKey.from_public_bytes(point))
    keys = HKDF(algorithm=sha, length=size + sha.digest_size, salt=None, info=b'MCUBoot_ECIES_v1').derive(shared)
    mac = hmac.HMAC(keys[size:], sha)
    mac.update(sealed)
    mac.verify(tag)
    return ctr(keys[:size], sealed), point, sha.digest_size * 8

def derived(signed, size, sha):
    seed = stdhmac.new(b'firmseal mcuboot encryption 1', signed, hashlib.sha256).digest()
    def out(what):
        info = what + b'\0' + struct.pack('>HH', size * 8, sha) + public
        return HKDFExpand(algorithm=hashes.SHA256(), length=32, info=info).derive(seed)
    if RSA:
        secret, key = out(b'oaep'), out(b'content')[:size]
        return key, oaep(key, secret), secret
    secret = out(b'ephemeral')
    if P256:
        own = ec.derive_private_key(int.from_bytes(secret, 'big'), ec.SECP256R1())
        return out(b'content')[:size], own.public_key().public_bytes(*POINT), secret
    own = x25519.X25519PrivateKey.from_private_bytes(secret)
    return out(b'content')[:size], own.public_key().public_bytes(*RAW), secret

def mgf1(seed, length):
    blocks = (hashlib.sha256(seed + struct.pack('>I', at)).digest() for at in range(length // 32 + 1))
    return b''.join(blocks)[:length]

def oaep(key, seed):
    numbers = device.public_key().public_numbers()
    size = device.key_size // 8
    xor = lambda one, two: bytes(a ^ b for a, b in zip(one, two))
    db = hashlib.sha256().digest() + bytes(size - 66 - len(key)) + b'\1' + key
    db = xor(db, mgf1(seed, len(db)))
    encoded = b'\0' + xor(seed, mgf1(db, 32)) + db
    return pow(int.from_bytes(encoded, 'big'), numbers.e, numbers.n).to_bytes(size, 'big')

def opened(image):
    e = '>' if image[:1] == b'\x96' else '<'
    magic, _, header, protected, size, flags = struct.unpack(e + 'IIHHII', image[:20])
    keylen = {4: 16, 8: 32}[flags & 12]
    at = header + size + protected
    info, total = struct.unpack(e + 'HH', image[at:at + 4])
    assert info == 0x6907
    end, at, content = at + total, at + 4, None
    while at < end:
        kind, _, length = struct.unpack(e + 'BBH', image[at:at + 4])
        if 0x30 <= kind <= 0x34:
            content = unwrap(kind, image[at + 4:at + 4 + length], keylen)
        at += 4 + length
    key, point, sha = content
    plain = image[:header] + ctr(key, image[header:header + size]) + image[header + size:]
    if len(sys.argv) > 2:
        want, own, secret = derived(plain[:header + size + protected], keylen, sha)
        assert (want, own) == (key, point), 'derived otherwise'
        open(path + '.secrets', 'wb').write(key + secret)
    return plain

for line in sys.stdin:
    path = line.strip()
    try:
        plain = opened(open(path, 'rb').read())
        open(path + '.open', 'wb').write(plain)
        print(1)
    except Exception as error:
        print(0, type(error).__name__, error)
"#;

/// `imgtool sign`, whose random numbers are those that were derived.
const IMGTOOL: &str = r#"
import json, sys
from cryptography.hazmat.primitives.asymmetric import ec, padding, x25519
from imgtool import image
from imgtool.main import imgtool
for line in sys.stdin:
    size, path, sealed, args = json.loads(line)
    secrets = open(path, 'rb').read()
    key, secret = secrets[:size], secrets[size:]
    class Rsa:
        def encrypt(self, plain, how):
            # Its seed cannot be told to the library: what was made of it is
            # what the device opened.
            assert plain == key and isinstance(how, padding.OAEP)
            assert how._algorithm.name == how._mgf._algorithm.name == 'sha256' and how._label is None
            return bytes.fromhex(sealed)
    image.rsa.RSAPublic._get_public = lambda self: Rsa()
    image.os.urandom = lambda length: {len(key): key}[length]
    own = lambda *_: ec.derive_private_key(int.from_bytes(secret, 'big'), ec.SECP256R1())
    image.ec.generate_private_key = own
    class Own:
        generate = staticmethod(lambda: x25519.X25519PrivateKey.from_private_bytes(secret))
    image.X25519PrivateKey = Own
    imgtool.main(args=args, standalone_mode=False)
"#;

/// Who signs, whose device it is for, imgtool's arguments, and ours.
type Shape =
    (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)], usize);

const SHAPES: &[Shape] = &[
    ("p256", "other-p256", &[], &[], 16),
    ("p256", "other-p256", &["--encrypt-keylen", "256"], &[("encrypt-keylen", "256")], 32),
    ("ed25519", "x25519", &[], &[], 16),
    (
        "ed25519",
        "x25519",
        &["--hmac-sha", "512", "-d", "(1, 2.3.4)"],
        &[("hmac-sha", "512"), ("dependencies", "(1, 2.3.4)")],
        16,
    ),
    (
        "ed25519",
        "x25519",
        &["--hmac-sha", "512", "--encrypt-keylen", "256", "--pure"],
        &[("hmac-sha", "512"), ("encrypt-keylen", "256"), ("pure", "true")],
        32,
    ),
    ("ed25519", "other-p256", &["--pad-header"], &[("pad-header", "true")], 16),
    ("ed25519", "other-rsa2048", &[], &[], 16),
    ("ed25519", "other-rsa2048", &["-e", "big", "--confirm"], &[("endian", "big"), ("confirm", "true")], 16),
    ("ed25519", "other-rsa3072", &["--encrypt-keylen", "256"], &[("encrypt-keylen", "256")], 32),
    (
        "rsa2048",
        "other-rsa2048",
        &["--save-enctlv", "--pad"],
        &[("save-enctlv", "true"), ("pad", "true")],
        16,
    ),
    ("rsa3072", "other-rsa2048", &["--encrypt-keylen", "256"], &[("encrypt-keylen", "256")], 32),
];

/// Length of the value that holds a content key.
fn wrapped_len(device: &str, key_len: usize) -> usize {
    match device {
        "other-rsa2048" => 256,
        "other-rsa3072" => 384,
        _ => 65 + 32 + key_len,
    }
}

/// An image without the trailer of its slot.
fn unpadded(image: &[u8]) -> &[u8] {
    let magic = image.len() - 16;
    if !image.ends_with(&[0x2c, 0xb6, 0x79, 0x80]) {
        return image;
    }
    let end = image[..magic].iter().rposition(|byte| !matches!(byte, 1 | 0xff)).unwrap();
    &image[..end + 1]
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

const SLOT: [(&str, &str); 2] = [("header-size", "64"), ("slot-size", "0x2000")];

/// Our image of a shape.
fn made(imgtool: &Imgtool, shape: &Shape, more: &[(&str, &str)]) -> Vec<u8> {
    let (signer, device, _, parameters, _) = shape;
    let recipient = imgtool.public(device);
    let parameters = [&SLOT[..], &[("encrypt", recipient.as_str())], parameters, more].concat();
    sign(&fixture("firmware.bin"), &TestKey::load(signer), "1.2.3+4", 7, &parameters).unwrap()
}

/// What Python opens of images: the plaintext, or nothing.
fn opened(imgtool: &Imgtool, device: &str, images: &[Vec<u8>], derived: bool) -> Vec<Option<Vec<u8>>> {
    let paths: Vec<_> = images
        .iter()
        .enumerate()
        .map(|(index, image)| imgtool.write(&format!("sealed-{index}"), image))
        .collect();
    let lines: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let key = imgtool.path(&format!("{device}.pem"));
    let arguments = [key.as_path(), std::path::Path::new("derived")];
    let out = imgtool.python(OPEN, &arguments[..if derived { 2 } else { 1 }], &lines);
    let verdicts = out.lines().zip(paths).map(|(line, path)| {
        assert!(!line.contains("derived otherwise"));
        let mut open = path.into_os_string();
        open.push(".open");
        (line == "1").then(|| std::fs::read(open).unwrap())
    });
    let verdicts: Vec<_> = verdicts.collect();
    assert_eq!(verdicts.len(), images.len());
    verdicts
}

#[test]
fn what_the_device_opens_is_what_was_signed() {
    let imgtool = Imgtool::new();
    for shape in SHAPES {
        let (signer, device, args, _, key_len) = shape;
        let ours = made(&imgtool, shape, &[]);
        assert_eq!(ours, made_again(&imgtool, shape, &ours), "{args:?}: the same wish, the same file");
        // Not readable, and nothing to verify, without the device's key.
        let firmware = fixture("firmware.bin");
        assert!(!ours.windows(16).any(|piece| piece == &firmware[100..116]), "{args:?}");
        assert!(firmseal_formats::inspect(&ours).unwrap().encrypted);
        let key = TestKey::load(signer).public;
        assert!(!accepted(&ours, &key));
        let plain = opened(&imgtool, device, std::slice::from_ref(&ours), true).remove(0).expect("it opens");
        assert_eq!(imgtool.verify_as_built(signer, std::slice::from_ref(&plain)), [true], "{args:?}");
        assert_eq!(decrypted(&ours, &imgtool.private(device)).unwrap(), plain);
        assert!(accepted(&plain, &key) && !accepted(&plain, &TestKey::load("other-ed25519").public));

        // imgtool makes the same file of the same keys.
        let (out, pem) = (imgtool.path("theirs.bin"), imgtool.path(&format!("{signer}.pem")));
        let recipient = imgtool.path(&format!("{device}.pub.pem"));
        let (pem, recipient) = (pem.to_str().unwrap(), recipient.to_str().unwrap());
        let mut all = vec!["sign", "-k", pem, "-v", "1.2.3+4", "-s", "7", "-H", "64", "-S", "0x2000"];
        all.extend(["-E", recipient]);
        // The wrapped key stands last.
        let sealed = unpadded(&ours);
        let tail = wrapped_len(device, *key_len);
        let sealed: String = sealed[sealed.len() - tail..].iter().map(|byte| format!("{byte:02x}")).collect();
        all.extend(*args);
        let (source, theirs) = (fixture_path("firmware.bin"), out.to_str().unwrap());
        all.extend([source.to_str().unwrap(), theirs]);
        let secrets = imgtool.path("sealed-0.secrets");
        let line = serde_json::to_string(&(key_len, secrets.to_str().unwrap(), sealed, all)).unwrap();
        imgtool.python(IMGTOOL, &[], &line);
        let theirs = std::fs::read(out).unwrap();
        if *signer == "ed25519" {
            assert_eq!(ours, theirs, "{args:?}");
        }
        // ECDSA signatures, which are random and of one of three lengths,
        // stand before the wrapped key.
        let (mine, other) = (unpadded(&ours), unpadded(&theirs));
        let tail = 4 + tail;
        assert_eq!(mine[mine.len() - tail..], other[other.len() - tail..], "{args:?}");
        assert_eq!(ours.len() == 0x2000, theirs.len() == 0x2000, "{args:?}");
        assert_eq!(ours[..276], theirs[..276], "{args:?}");
        let theirs = opened(&imgtool, device, &[theirs], true).remove(0).expect("it opens");
        assert!(accepted(&theirs, &key));
    }
}

/// Laid out anew, with the signature that there is.
fn made_again(imgtool: &Imgtool, shape: &Shape, ours: &[u8]) -> Vec<u8> {
    let (signer, device, _, parameters, _) = shape;
    let recipient = imgtool.public(device);
    let parameters = [&SLOT[..], &[("encrypt", recipient.as_str())], parameters].concat();
    let inspection = firmseal_formats::inspect(&ours.to_vec()).unwrap();
    let key = TestKey::load(signer);
    crate::common::attach(&fixture("firmware.bin"), &key, "1.2.3+4", 7, &parameters, |_| {
        inspection.signatures[0].signature.clone()
    })
    .unwrap()
}

#[test]
fn images_in_the_clear_are_signed_and_encrypted_again() {
    let imgtool = Imgtool::new();
    let shape = &SHAPES[0];
    let clear = made(&imgtool, shape, &[("clear", "true")]);
    let (first, second) = (TestKey::load("p256"), TestKey::load("other-p256"));
    assert!(accepted(&clear, &first.public));
    assert_eq!(imgtool.verify_all("p256", std::slice::from_ref(&clear)), [true]);
    // Another's signature beside the first, and only then encrypted.
    let recipient = imgtool.public("other-p256");
    let parameters = [("append", "true"), ("encrypt", recipient.as_str())];
    let both = sign(&clear, &second, "1.2.3+4", 7, &parameters).unwrap();
    let plain = opened(&imgtool, "other-p256", std::slice::from_ref(&both), true).remove(0).unwrap();
    for (name, key) in [("p256", &first), ("other-p256", &second)] {
        assert!(!accepted(&both, &key.public) && accepted(&plain, &key.public), "{name}");
        assert_eq!(imgtool.verify_all(name, std::slice::from_ref(&plain)), [true], "{name}");
    }
    let refusals: [(&[u8], Pairs<'_>, &str); 4] = [
        (&both, &[("encrypt", recipient.as_str())], "is encrypted"),
        (&clear, &[], "say for whom"),
        (&clear, &[("encrypt", recipient.as_str()), ("encrypt-keylen", "256")], "header does not say so"),
        (&fixture("mcuboot/p256.bin"), &[("encrypt", recipient.as_str())], "header does not say so"),
    ];
    for (source, parameters, expected) in refusals {
        let error = sign(&source.to_vec(), &first, "1.2.3+4", 7, parameters).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn keys_that_do_not_go_together_are_refused_as_imgtool_refuses_them() {
    let imgtool = Imgtool::new();
    let firmware = fixture("firmware.bin");
    let (p256, x25519) = (imgtool.public("other-p256"), imgtool.public("x25519"));
    let rsa = imgtool.public("other-rsa2048");
    let cases: [(&str, Pairs<'_>, &str); 12] = [
        ("p256", &[("encrypt", &x25519)], "P-256 or RSA for both"),
        ("p384", &[("encrypt", &p256)], "not encrypted so"),
        ("p256", &[("encrypt", &rsa)], "not encrypted so"),
        ("rsa2048", &[("encrypt", &rsa), ("hmac-sha", "256")], "take none"),
        ("p256", &[("encrypt", "AAECAwQFBgcICQoLDA0ODw==")], "a secret"),
        ("rsa2048", &[("encrypt", &p256)], "not encrypted so"),
        ("p256", &[("encrypt", &p256), ("hmac-sha", "512")], "X25519 keys alone"),
        ("p256", &[("encrypt", &imgtool.public("p384"))], "P-256, X25519"),
        ("p256", &[("encrypt", &imgtool.private("other-p256"))], "P-256, X25519"),
        ("p256", &[("encrypt", &p256), ("encrypt-keylen", "192")], "128 or 256"),
        ("p256", &[("encrypt-keylen", "256")], "needs encrypt"),
        ("p256", &[("clear", "true")], "needs encrypt"),
    ];
    for (signer, parameters, expected) in cases {
        let parameters = [&SLOT[..], parameters].concat();
        let error = sign(&firmware, &TestKey::load(signer), "1.0.0", 7, &parameters).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    // PEM, and what stands between its lines.
    let line: String = p256.lines().filter(|line| !line.starts_with("-----")).collect();
    let laid_out = |text: &str| {
        let parameters = [&SLOT[..], &[("encrypt", text)]].concat();
        let signature = firmseal_manifest::Signature(vec![7; 64]);
        let key = TestKey::load("p256");
        crate::common::attach(&firmware, &key, "1.0.0", 7, &parameters, |_| signature.clone()).unwrap()
    };
    assert_eq!(laid_out(&line), laid_out(&p256));
}

/// What we open and accept, Python opens and imgtool accepts.
#[test]
fn each_field_length_and_boundary_of_encrypted_images() {
    let imgtool = Imgtool::new();
    let long = std::env::var_os("FIRMSEAL_FUZZ_ITERATIONS").is_some();
    for shape in [&SHAPES[1], &SHAPES[3], &SHAPES[4], &SHAPES[6], &SHAPES[10]] {
        let (signer, device, ..) = shape;
        let (good, key) = (made(&imgtool, shape, &[]), TestKey::load(signer).public);
        let mut images = boundaries(&good);
        // Each part of the wrapped key: point, MAC, content key; or what RSA
        // makes of it.
        for back in 1..=wrapped_len(device, shape.4).min(130) {
            let mut bytes = good.clone();
            let at = bytes.len() - back;
            bytes[at] ^= 0x40;
            images.push(bytes);
        }
        if !long {
            images = images.into_iter().step_by(11).collect();
        }
        images.push(good);
        let theirs = opened(&imgtool, device, &images, false);
        let nothing = Vec::new();
        let plain: Vec<_> = theirs.iter().map(|plain| plain.clone().unwrap_or(nothing.clone())).collect();
        let verdicts = imgtool.verify_all(signer, &plain);
        assert_eq!(verdicts.last(), Some(&true));
        let private = imgtool.private(device);
        let ours = |image: &Vec<u8>| decrypted(image, &private).is_some_and(|plain| accepted(&plain, &key));
        assert!(ours(images.last().unwrap()));
        for (image, theirs) in images.iter().zip(verdicts) {
            assert!(theirs || !ours(image), "{signer}: the peer refuses {image:02x?}");
        }
        // Another device's key opens nothing.
        let other = match *device {
            "x25519" => "other-x25519",
            "other-rsa2048" => "rsa2048",
            _ => "p256",
        };
        assert!(decrypted(images.last().unwrap(), &imgtool.private(other)).is_none());
    }
}
