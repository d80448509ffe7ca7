//! Intel HEX: what is read, what is refused, and Python's `intelhex` as the
//! judge, with a firmware of Debian's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Random, mutate};
use firmseal_formats::inspect;

/// MicroPython for the micro:bit, a Cortex-M0 (Debian's
/// firmware-microbit-micropython).
const MICROBIT: &str = "/usr/share/firmware-microbit-micropython/firmware.hex";

const SMALL: &str = ":020000040001F9\n:0400100001020304E2\n:04001400AABBCCDDDA\n:020000040002F8\n:01000000FF00\n:04000005000100C036\n:00000001FF\n";

fn read(text: &str) -> Result<(Vec<u64>, u64), String> {
    let inspection = firmseal_formats::find("hex").unwrap().inspect(&text.as_bytes().to_vec());
    inspection.map(|own| (own.load_addresses, own.image_size)).map_err(|error| error.to_string())
}

/// A record with its checksum.
fn record(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    let digits: String = bytes.iter().chain([&sum]).map(|byte| format!("{byte:02X}")).collect();
    format!(":{digits}\n")
}

#[test]
fn ranges_are_told_with_their_addresses() {
    let inspection = inspect(&SMALL.as_bytes().to_vec()).unwrap();
    assert_eq!((inspection.format.as_str(), inspection.image_size), ("hex", 9));
    assert_eq!(inspection.load_addresses, [0x10010, 0x20000]);
    let loads: Vec<_> = inspection.loads.iter().map(|own| (own.address, own.size)).collect();
    assert_eq!(loads, [(0x10010, Some(8)), (0x20000, Some(1))]);
    let told: Vec<_> = inspection.fields.iter().map(|field| field.value.as_str()).collect();
    assert_eq!(
        told[..3],
        ["0x00010010 to 0x00010017 (8 bytes)", "0x00020000 to 0x00020000 (1 bytes)", "0x000100c0"]
    );
    assert_eq!(read(&SMALL.replace('\n', "\r\n")), read(SMALL));
    assert_eq!(read(&SMALL.to_ascii_lowercase()), read(SMALL));
    assert_eq!(read(SMALL.trim_end()), read(SMALL));
    assert_eq!(read(&format!("{SMALL}\n\r\n")), read(SMALL));
    // A segment's address is sixteen times its number; ranges join from both sides.
    let end = record(&[0, 0, 0, 1]);
    let segment = record(&[2, 0, 0, 2, 0x10, 0]);
    let pieces = [segment, record(&[1, 0, 2, 0, 9]), record(&[1, 0, 0, 0, 7]), record(&[1, 0, 1, 0, 8]), end];
    assert_eq!(read(&pieces.concat()), Ok((vec![0x10000], 3)));
}

#[test]
fn what_has_two_meanings_is_refused() {
    let end = record(&[0, 0, 0, 1]);
    let with = |records: &[&[u8]]| records.iter().map(|own| record(own)).collect::<String>() + &end;
    let many: Vec<String> = (0..1025u16)
        .map(|at| record(&[1, ((at * 2) >> 8) as u8, (at * 2) as u8, 0, 7]))
        .chain([end.clone()])
        .collect();
    let cases = [
        ("no end", record(&[1, 0, 0, 0, 7]), "no record that ends"),
        ("nothing in it", end.clone(), "fills no address"),
        (
            "a record behind the end",
            with(&[&[1, 0, 0, 0, 7]]) + &record(&[1, 0, 9, 0, 7]),
            "line 3: something follows",
        ),
        ("a wrong checksum", SMALL.replace("E2", "E3"), "line 2: the checksum"),
        ("a digit that is none", SMALL.replace("E2", "G2"), "no hexadecimal digit"),
        ("a sign", SMALL.replace(":0400", ":+400"), "no hexadecimal digit"),
        ("an odd digit", SMALL.replace("E2", "E"), "odd number"),
        ("less than it says", record(&[3, 0, 0, 0, 7, 8]) + &end, "says 3 bytes of data and has 2"),
        ("more than it says", record(&[1, 0, 0, 0, 7, 8]) + &end, "says 1 bytes of data and has 2"),
        ("no type", format!(":000000\n{end}"), "too short"),
        ("no colon", SMALL.replacen(":0400", "0400", 1), "colon"),
        ("an address twice", with(&[&[2, 0, 0, 0, 7, 8], &[1, 0, 1, 0, 8]]), "filled twice"),
        ("an address twice, from below", with(&[&[1, 0, 1, 0, 8], &[2, 0, 0, 0, 7, 8]]), "filled twice"),
        ("a record around the end of 64 KiB", with(&[&[2, 0xff, 0xff, 0, 7, 8]]), "beyond its 64 KiB"),
        ("a type of others", with(&[&[0, 0, 0, 0x0a]]), "type 10"),
        ("an end with data", with(&[&[1, 0, 0, 1, 7]]), "type 1 with 1 bytes"),
        ("an end with an address", record(&[1, 0, 0, 0, 7]) + &record(&[0, 0, 1, 1]), "with an address"),
        ("an upper half of one byte", with(&[&[1, 0, 0, 4, 7]]), "type 4 with 1 bytes"),
        ("two entries", with(&[&[4, 0, 0, 5, 0, 0, 0, 1], &[4, 0, 0, 5, 0, 0, 0, 1]]), "second entry"),
        ("an endless line", format!(":{}", "0".repeat(600)), "longer than any record"),
        ("scattered beyond bounds", many.concat(), "more than 1024"),
    ];
    for (name, text, expected) in cases {
        let error = read(&text).expect_err(name);
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_firmware_of_debian_reads_as_intelhex_reads_it() {
    let bytes =
        std::fs::read(MICROBIT).expect("firmware-microbit-micropython is installed: cargo xtask setup");
    let inspection = inspect(&bytes).unwrap();
    assert_eq!(inspection.format, "hex");
    assert_eq!(
        judge(std::slice::from_ref(&bytes)),
        [Some((inspection.load_addresses, inspection.image_size))]
    );
}

/// THREATS 16: two parsers disagree. What intelhex refuses is refused, and
/// what both take they read alike.
#[test]
fn we_never_accept_what_intelhex_refuses() {
    let long = std::env::var_os("FIRMSEAL_FUZZ_ITERATIONS").is_some();
    let mut texts = vec![SMALL.as_bytes().to_vec()];
    for seed in 0..if long { 5_000 } else { 200 } {
        let mut random = Random(seed);
        let mut bytes = SMALL.as_bytes().to_vec();
        // One byte of a record with a checksum that holds gets further than
        // the rest.
        if seed % 2 == 0 {
            let mut lines: Vec<_> = SMALL.lines().map(str::to_owned).collect();
            let line = random.below(lines.len());
            let at = 1 + 2 * random.below((lines[line].len() - 3) / 2);
            lines[line].replace_range(at..at + 2, &format!("{:02X}", random.below(8)));
            lines[line] = mended(&lines[line]);
            bytes = lines.join("\n").into_bytes();
        } else {
            mutate(&mut bytes, &mut random);
        }
        texts.push(bytes);
    }
    let (mut taken, mut refused) = (0, 0);
    for (bytes, theirs) in texts.iter().zip(judge(&texts)) {
        let ours = firmseal_formats::find("hex").unwrap().inspect(bytes).ok();
        match ours {
            Some(ours) => {
                let ours = Some((ours.load_addresses, ours.image_size));
                assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(bytes));
                taken += 1;
            }
            None => refused += 1,
        }
    }
    assert!(taken > 5 && refused > 50, "{taken} {refused}");
}

/// The line with a checksum that holds, if it is a record.
fn mended(line: &str) -> String {
    let digits = line.strip_prefix(':').filter(|digits| digits.len() >= 4 && digits.len() % 2 == 0);
    let pairs = digits.filter(|digits| digits.is_ascii()).map(|digits| {
        (0..digits.len() - 2).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
    });
    match pairs.flatten() {
        Some::<Vec<u8>>(bytes) => record(&bytes).trim_end().to_owned(),
        None => line.to_owned(),
    }
}

/// Where intelhex finds bytes, and how many; nothing of what it refuses.
fn judge(texts: &[Vec<u8>]) -> Vec<Option<(Vec<u64>, u64)>> {
    const SCRIPT: &str = "
import io, json, sys
from intelhex import IntelHex
for line in sys.stdin:
    try:
        read = IntelHex(io.StringIO(bytes.fromhex(line).decode('latin-1'), newline=''))
        ranges = read.segments()
        print(json.dumps([[start for start, _ in ranges], sum(end - start for start, end in ranges)]))
    except Exception:
        print('null')
";
    let venv = std::env::var_os("FIRMSEAL_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let mut python = Command::new(venv.join("bin/python"));
    let mut child = python.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = texts
        .iter()
        .map(|text| text.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(out.status.success());
    let verdicts: Vec<_> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(verdicts.len(), texts.len());
    verdicts
}
