//! Files of several parts around a long one.

use std::process::Command;

use firmseal_manifest::Digest;
use firmseal_testkit::item::{self, Item};
use firmseal_testkit::{Commands, Craft, Members};
use serde_json::{Value, json};

use crate::common::OpenSsl;
use crate::files::{Sparse, digest, sha256};
use crate::mender::{Artifact, summed, tar};

/// What the long part begins with; the rest is zeros.
const HEAD: &[u8] = b"firmware";

/// A package with two images, each of half of it: their lengths have 32 bits.
pub(crate) fn swupdate(place: &OpenSsl, len: u64) {
    let half = (len / 2) & !3;
    let sum = sha256(HEAD, half);
    let image = |name: &str| {
        format!("{{ filename = \"{name}\"; type = \"raw\"; device = \"/dev/{name}\"; sha256 = \"{sum}\"; }}")
    };
    let description = format!(
        "software = {{ version = \"1.2.3\"; hardware-compatibility: [ \"1.0\" ];\n  images: ( {}, {} ); }};\n",
        image("a.img"),
        image("b.img")
    );
    let mut file = Sparse::source(place);
    let mut member = |name: &str, mode: u32, head: &[u8], len: u64| {
        file.put(b"070701");
        for field in [7, mode, 0, 0, 1, 0, len as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0] {
            file.put(format!("{field:08x}").as_bytes());
        }
        file.put(format!("{name}\0").as_bytes());
        file.align(4);
        file.put(head);
        file.skip(len - head.len() as u64);
        file.align(4);
    };
    member("sw-description", 0o100_644, description.as_bytes(), description.len() as u64);
    member("a.img", 0o100_644, HEAD, half);
    member("b.img", 0o100_644, HEAD, half);
    member("TRAILER!!!", 0, b"", 0);
    file.align(512);
    file.end();
}

/// An envelope whose last part is a payload that the manifest's digest decides.
pub(crate) fn suit(place: &OpenSsl, len: u64) {
    let set = |label: i64, value: Item| (20, item::map(&[(item::int(label), value)]));
    let command = |label: i64| (label, item::uint(2));
    let sum = Digest(digest(HEAD, len).try_into().unwrap());
    let shared = [set(3, item::bytes(&item::suit_digest(&sum)))];
    let install = [set(21, item::text("#z")), command(21), command(3)];
    let mut common = Members::default();
    common.set(2, item::array(&[item::array(&[item::bytes(&[0])])]));
    common.set(4, item::bytes(&Commands::of(&shared)));
    let (mut manifest, mut envelope) = (Members::default(), Members::default());
    manifest.set(1, item::uint(1));
    manifest.set(2, item::uint(7));
    manifest.set(3, item::bytes(&common.encode()));
    manifest.set(20, item::bytes(&Commands::of(&install)));
    envelope.set_key(item::text("#z"), item::bytes(b""));
    let sealed = Craft { manifest, envelope }.seal(&[]);
    // The empty payload ends it: its head makes room for a long one.
    let mut file = Sparse::source(place);
    file.put(&sealed[..sealed.len() - 1]);
    match u32::try_from(len) {
        Ok(len) => file.put(&[&[0x5a][..], &len.to_be_bytes()].concat()),
        Err(_) => file.put(&[&[0x5b][..], &len.to_be_bytes()].concat()),
    }
    file.put(HEAD);
    file.skip(len - HEAD.len() as u64);
    file.end();
}

/// The header of a file of this length in a tar.
fn header(name: &str, len: u64) -> Vec<u8> {
    let mut header = tar(&[(name.to_owned(), Vec::new())])[..512].to_vec();
    header[124..135].copy_from_slice(format!("{len:011o}").as_bytes());
    summed(&mut header);
    header
}

/// An artifact that is not packed, with one long file.
pub(crate) fn mender(place: &OpenSsl, len: u64) {
    let info = "{\"type\":\"app\",\"artifact_provides\":{\"app.version\":\"1.2.3\"}}";
    let artifact = Artifact::new().with("headers/0000/type-info", info);
    let artifact = Artifact { data: Vec::new(), ..artifact };
    let mut members = artifact.members();
    let (_, manifest) = &mut members[1];
    let line = format!("{}  data/0000/app.bin\n", sha256(HEAD, len));
    manifest.extend(line.as_bytes());
    let mut file = Sparse::source(place);
    let first = tar(&members);
    file.put(&first[..first.len() - 1024]);
    file.put(&header("data/0000.tar", 512 + len.next_multiple_of(512) + 1024));
    file.put(&header("app.bin", len));
    file.put(HEAD);
    file.skip(len - HEAD.len() as u64);
    file.align(512);
    // Both archives end.
    file.skip(1024 + 1024);
    file.end();
}

/// A layout with an image of one long layer.
pub(crate) fn oci(place: &OpenSsl, len: u64) {
    const TYPES: [&str; 3] = ["config.v1+json", "layer.v1.tar", "manifest.v1+json"];
    let [config, layer, manifest] = TYPES.map(|own| format!("application/vnd.oci.image.{own}"));
    let about = |kind: &str, sum: &str, size: u64| json!({ "mediaType": kind, "digest": format!("sha256:{sum}"), "size": size });
    let text = |value: Value| value.to_string().into_bytes();
    let whole = |bytes: &[u8]| sha256(bytes, bytes.len() as u64);
    let sum = sha256(HEAD, len);
    let rootfs = json!({ "type": "layers", "diff_ids": [format!("sha256:{sum}")] });
    let configuration =
        text(json!({ "architecture": "arm64", "os": "linux", "config": {}, "rootfs": rootfs }));
    let own = text(json!({ "schemaVersion": 2, "mediaType": manifest,
        "config": about(&config, &whole(&configuration), configuration.len() as u64),
        "layers": [about(&layer, &sum, len)] }));
    let index =
        text(json!({ "schemaVersion": 2, "manifests": [about(&manifest, &whole(&own), own.len() as u64)] }));
    let short = [
        (format!("blobs/sha256/{}", whole(&configuration)), configuration),
        (format!("blobs/sha256/{}", whole(&own)), own),
        ("index.json".to_owned(), index),
        ("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()),
    ];
    let mut file = Sparse::source(place);
    let first = tar(&short);
    file.put(&first[..first.len() - 1024]);
    file.put(&header(&format!("blobs/sha256/{sum}"), len));
    file.put(HEAD);
    file.skip(len - HEAD.len() as u64);
    file.align(512);
    file.skip(1024);
    file.end();
}

/// A cabinet with a metainfo and a payload in one folder, in blocks that are not
/// packed. Of zeros alone: then blocks have one checksum.
pub(crate) fn cabinet(place: &OpenSsl, len: u64) {
    const BLOCK: u64 = 32 * 1024;
    // The metainfo is a block of its own, and folders end with a short one alone.
    let sum = sha256(b"", len);
    let mut metainfo = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<component type=\"firmware\">\n  <id>com.example.board</id>\n  \
         <name>Board</name>\n  <summary>Firmware</summary>\n  <provides><firmware type=\"flashed\">\
         09d7cf52-0720-4710-91d1-08469b7fe9c8</firmware></provides>\n  <releases>\n    <release version=\"1.2.3\" \
         date=\"2026-01-01\">\n      <checksum type=\"sha256\" filename=\"fw.bin\" target=\"content\">{sum}</checksum>\n    \
         </release>\n  </releases>\n</component>\n"
    )
    .into_bytes();
    metainfo.resize(BLOCK as usize, b'\n');
    let table: Vec<u8> = [("board.metainfo.xml", BLOCK, 0), ("fw.bin", len, BLOCK)]
        .iter()
        .flat_map(|(name, size, at)| {
            let numbers = [*size as u32, *at as u32].map(u32::to_le_bytes).concat();
            [&numbers[..], &[0, 0, 0x21, 0x5c, 0, 0, 0x20, 0], name.as_bytes(), &[0]].concat()
        })
        .collect();
    let blocks = 1 + len.div_ceil(BLOCK);
    let start = 36 + 8 + table.len() as u64;
    let whole = start + 8 * blocks + BLOCK + len;
    let mut file = Sparse::source(place);
    file.put(b"MSCF\0\0\0\0");
    file.put(&[whole as u32, 0, 44, 0].map(u32::to_le_bytes).concat());
    file.put(&[3, 1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    file.put(&(start as u32).to_le_bytes());
    file.put(&[(blocks as u16).to_le_bytes(), [0, 0]].concat());
    file.put(&table);
    let mut block = |content: &[u8], size: u64| {
        let words = content.as_chunks::<4>().0.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
        file.put(&(words ^ size as u32 ^ (size as u32) << 16).to_le_bytes());
        file.put(&[size as u16, size as u16].map(u16::to_le_bytes).concat());
        file.put(content);
        file.skip(size - content.len() as u64);
    };
    block(&metainfo, BLOCK);
    let mut left = len;
    while left > 0 {
        block(b"", left.min(BLOCK));
        left -= left.min(BLOCK);
    }
    assert_eq!(file.at(), whole);
    file.end();
}

/// A FIT with its one image behind the tree.
pub(crate) fn fit(place: &OpenSsl, len: u64) {
    // Nobody asks an image that is refused for the right hash.
    let sum = if len < (2 << 30) - (1 << 16) { sha256(HEAD, len) } else { "00".repeat(32) };
    let source = format!(
        "/dts-v1/;\n/ {{ description = \"a board\"; #address-cells = <1>;\n  images {{ kernel {{ data-offset = <0>; \
         data-size = <{len:#x}>; type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\"; \
         load = <0x40080000>; entry = <0x40080000>; hash-1 {{ algo = \"sha256\"; value = [{sum}]; }}; }}; }};\n  \
         configurations {{ default = \"conf\"; conf {{ kernel = \"kernel\"; }}; }};\n}};\n"
    );
    place.write("source.its", source.as_bytes());
    let out = Command::new("dtc")
        .args(["-q", "-I", "dts", "-O", "dtb", "-o", "source.itb", "source.its"])
        .current_dir(place.dir.path())
        .output()
        .expect("dtc: run `cargo xtask setup`");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut file = Sparse::source(place);
    file.put(&place.read("source.itb"));
    file.align(4);
    file.put(HEAD);
    file.skip(len - HEAD.len() as u64);
    file.end();
}
