//! UEFI firmware with Secure Boot as the judge, in QEMU: it starts what we sign
//! with the key that it knows, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{OpenSsl, TestKey, accepted, make};
use firmseal_formats::{Parameters, Wanted, attach, find, lay_out};
use firmseal_manifest::{PublicKey, Signature, Tbs};

const IMAGE: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// The key that Debian's firmware for tests knows.
const OWNER: &str = "/usr/share/ovmf/PkKek-1-snakeoil";
/// A machine that says nothing for so long never will.
const PATIENCE: Duration = Duration::from_secs(300);

/// The image, signed with OpenSSL's hands: the owner's key is a file of the
/// firmware's package.
fn signed_by_owner(openssl: &OpenSsl, image: &[u8]) -> Vec<u8> {
    openssl.ok(&format!("pkey -in {OWNER}.key -passin pass:snakeoil -out owner.pem"));
    openssl.ok("pkey -in owner.pem -pubout -out owner.pub.pem");
    let certificate = std::fs::read_to_string(format!("{OWNER}.pem")).unwrap();
    let key = PublicKey::from_pem(&openssl.text("owner.pub.pem")).unwrap();
    let parameters: Parameters =
        [("certificate", certificate), ("append", "true".to_owned())].into_iter().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 0, key: &key, parameters: &parameters };
    let format = find("pe").unwrap();
    let laid_out = lay_out(format, &image, &wanted).unwrap();
    let Tbs::Pkcs1(digest) = laid_out.tbs else { panic!("{:?}", laid_out.tbs) };
    openssl.write("digest", &digest);
    openssl.ok("pkeyutl -sign -inkey owner.pem -pkeyopt digest:sha256 -in digest -out signature");
    let signature = Signature(openssl.read("signature"));
    let plan = attach(format, &laid_out.unsigned.unwrap(), &image, &signature).unwrap();
    let mut out = Vec::new();
    plan.write_to(&image, &mut out).unwrap();
    out
}

/// Whether firmware starts an image; it says that it does, or why not.
fn starts(directory: &Path, name: &str, image: &[u8]) -> bool {
    let place = directory.join(name);
    let boot = place.join("esp/EFI/BOOT");
    std::fs::create_dir_all(&boot).unwrap();
    std::fs::write(boot.join("BOOTX64.EFI"), image).unwrap();
    std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd", place.join("vars.fd")).unwrap();
    let line = "-machine q35,smm=on -global ICH9-LPC.disable_s3=1 \
        -global driver=cfi.pflash01,property=secure,value=on -m 256 -nodefaults -display none -no-reboot -net none \
        -serial file:serial.log \
        -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd \
        -drive if=pflash,format=raw,unit=1,file=vars.fd -drive format=raw,file=fat:rw:esp";
    let mut machine = Command::new("qemu-system-x86_64")
        .args(line.split_whitespace())
        .current_dir(&place)
        .stdin(Stdio::null())
        .spawn()
        .expect("qemu-system-x86_64 is installed: run `cargo xtask setup`");
    let since = Instant::now();
    let told = loop {
        let log = std::fs::read(place.join("serial.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let word = log.lines().find_map(|line| {
            let disk = line.contains("HARDDISK");
            let started = line.contains("BdsDxe: starting");
            // The end of the line says why.
            let refused = line.contains("BdsDxe: failed to load") && line.contains("Access Denied");
            (disk && (started || refused)).then_some(started)
        });
        let ended = machine.try_wait().unwrap();
        match word {
            Some(word) => break Some(word),
            None if since.elapsed() > PATIENCE || ended.is_some() => break None,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let _ = machine.kill();
    let _ = machine.wait();
    told.unwrap_or_else(|| panic!("{name}: the machine says neither"))
}

#[test]
fn firmware_starts_what_its_owner_signed_and_nothing_else() {
    let openssl = OpenSsl::new(&["rsa2048"]);
    let image = std::fs::read(IMAGE).unwrap_or_else(|error| panic!("{IMAGE}: {error}"));
    let (stranger, certificate) = (TestKey::load("rsa2048"), openssl.text("rsa2048.crt"));
    let foreign = make("pe", &image, &stranger, &[("certificate", &certificate)]).unwrap();
    // Behind the stranger's: firmware believes any signature that it knows.
    let good = signed_by_owner(&openssl, &foreign);
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    // Of the header the time stamp, which is signed and used for nothing; in a
    // section; the last byte of the owner's signature, the padding being zeros.
    let pe = u32::from_le_bytes(good[60..64].try_into().unwrap()) as usize;
    let last = good.iter().rposition(|byte| *byte != 0).unwrap();
    let (header, section, signature) = (changed(pe + 8), changed(5000), changed(last));
    let cases = [
        ("good", &good, true),
        ("in_header", &header, false),
        ("in_section", &section, false),
        ("in_signature", &signature, false),
        ("foreign", &foreign, false),
        ("unsigned", &image, false),
    ];
    let owner = PublicKey::from_pem(&openssl.text("owner.pub.pem")).unwrap();
    for (name, image, expected) in cases {
        assert_eq!(accepted(image, &owner), expected, "{name}");
    }
    let directory = openssl.dir.path();
    std::thread::scope(|scope| {
        let machines = cases.map(|(name, image, _)| scope.spawn(move || starts(directory, name, image)));
        for (machine, (name, _, expected)) in machines.into_iter().zip(cases) {
            assert_eq!(machine.join().unwrap(), expected, "{name}");
        }
    });
}
