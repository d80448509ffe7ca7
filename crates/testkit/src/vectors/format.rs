//! The file format of vectors, and the verdict of the core on one.

use std::fmt::Write as _;

use firmseal_core::crypto::{BadSignature, RustCrypto};
use firmseal_core::{
    Component, Crypto, Device, Digest, Hasher, Image, Measured, Measurement, PublicKey, Refusal, Root, Takes,
    Time, Trust, admit, boot,
};
use firmseal_manifest::ids::parse_digest;

/// What is asked of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// May it install?
    Admit,
    /// May it boot on trial?
    Trial,
    /// May it boot, having been confirmed?
    Boot,
}

/// What a device was told since it was made.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Knows {
    /// The owner's root document.
    pub owner: Option<Vec<u8>>,
    /// The newest revocation document.
    pub revocation: Option<Vec<u8>>,
    /// The newest freshness document.
    pub freshness: Option<Vec<u8>>,
    /// How old the freshness document may be, in seconds.
    pub max_age: Option<u64>,
    /// Its trusted clock, in seconds since 1970.
    pub clock: Option<u64>,
    /// Its time floor.
    pub floor: u64,
    /// How far clocks may disagree, in seconds.
    pub leeway: u64,
    /// Nothing can boot, or somebody is there.
    pub stranded: bool,
    /// The channel that it takes; `*` where it takes each as that asks.
    pub channel: Option<String>,
}

/// One case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vector {
    /// File name without its ending.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// The question.
    pub purpose: Purpose,
    /// The answer: nothing, or the refusal's code.
    pub expect: Result<(), u16>,
    /// The device's product.
    pub product: String,
    /// Its vendor.
    pub vendor: [u8; 16],
    /// Its class.
    pub class: [u8; 16],
    /// Its counter of security epochs.
    pub epoch: u64,
    /// Its delegation floor.
    pub delegation: u64,
    /// What it was told.
    pub knows: Knows,
    /// Its components.
    pub components: Vec<VectorComponent>,
    /// What was measured, for a boot.
    pub measured: Vec<Measurable>,
    /// Its root document.
    pub root: Vec<u8>,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// A component of the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VectorComponent {
    /// Its identifier, one byte string.
    pub name: String,
    /// Index of the slot.
    pub slot: u64,
    /// Bytes the slot holds.
    pub capacity: u64,
    /// Sequence number of the confirmed image.
    pub sequence: u64,
}

/// Digest and size of what a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measurable {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl Measurable {
    /// The measurement of some content.
    pub fn of(content: &[u8]) -> Measurable {
        Measurable { digest: RustCrypto.digest(content), size: content.len() as u64 }
    }

    /// A measurement with this outcome. Core hands none out that it did not
    /// compute, so a hasher that was told the digest computes it.
    pub fn measured(&self) -> Measured {
        let mut measurement = Measurement::start(&Told(self.digest));
        let zeros = [0; 4096];
        let mut left = self.size;
        while left > 0 {
            let some = left.min(zeros.len() as u64);
            measurement.update(&zeros[..some as usize]);
            left -= some;
        }
        measurement.finish()
    }
}

#[derive(Clone, Copy)]
struct Told(Digest);

impl Hasher for Told {
    fn update(&mut self, _: &[u8]) {}

    fn finish(self) -> Digest {
        self.0
    }
}

impl Crypto for Told {
    type Hasher = Told;

    fn sha256(&self) -> Told {
        *self
    }

    fn verify(&self, _: &PublicKey<'_>, _: &[u8], _: &[u8]) -> Result<(), BadSignature> {
        Err(BadSignature)
    }
}

impl Vector {
    /// The core's answer: nothing, or the refusal's code.
    pub fn verdict(&self) -> Result<(), u16> {
        self.ask(|device, envelope, measured| match self.purpose {
            Purpose::Admit => admit(envelope, device, &RustCrypto).map(|_| ()),
            Purpose::Trial => boot(envelope, measured, device, Image::Trial, &RustCrypto).map(|_| ()),
            Purpose::Boot => boot(envelope, measured, device, Image::Confirmed, &RustCrypto).map(|_| ()),
        })
        .and_then(|verdict| verdict)
        .map_err(|why| why.code())
    }

    /// Calls `ask` with the device, the envelope and the measurements; the
    /// refusal of what the device was told besides, if there is one.
    pub fn ask<T>(&self, ask: impl FnOnce(&Device<'_>, &[u8], &[Measured]) -> T) -> Result<T, Refusal> {
        let root = Root::decode(&self.root).expect("a vector's root decodes");
        root.verify(&RustCrypto).expect("a vector's root verifies");
        let ids: Vec<[&[u8]; 1]> = self.components.iter().map(|own| [own.name.as_bytes()]).collect();
        let components: Vec<Component<'_>> = self
            .components
            .iter()
            .zip(&ids)
            .map(|(own, id)| Component { id, slot: own.slot, capacity: own.capacity, sequence: own.sequence })
            .collect();
        let knows = &self.knows;
        let owner = knows.owner.as_ref().map(|owner| Root::decode(owner).expect("an owner's root decodes"));
        let revocation = match &knows.revocation {
            Some(bytes) => Some(root.revocation(bytes, &RustCrypto)?),
            None => None,
        };
        let freshness = match &knows.freshness {
            Some(bytes) => Some(root.freshness(bytes, &self.product, |_| false, &RustCrypto)?),
            None => None,
        };
        let device = Device {
            trust: Trust {
                root: &root,
                owner: owner.as_ref(),
                revocation: revocation.as_ref(),
                freshness: freshness.as_ref(),
                max_age: knows.max_age,
                time: Time { clock: knows.clock, floor: knows.floor, leeway: knows.leeway },
            },
            stranded: knows.stranded,
            takes: knows.takes(),
            product: &self.product,
            vendor: &self.vendor,
            class: &self.class,
            id: None,
            epoch: self.epoch,
            delegation: self.delegation,
            components: &components,
        };
        let measured: Vec<Measured> = self.measured.iter().map(Measurable::measured).collect();
        Ok(ask(&device, &self.envelope, &measured))
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(out, "{key}: {value}");
        };
        line("about", &self.about);
        line("purpose", self.purpose.word());
        line("expect", &expectation(self.expect));
        line("product", &self.product);
        line("vendor", &hex(&self.vendor));
        line("class", &hex(&self.class));
        line("epoch", &self.epoch.to_string());
        line("delegation", &self.delegation.to_string());
        self.knows.lines(&mut line);
        for VectorComponent { name, slot, capacity, sequence } in &self.components {
            line("component", &format!("{name} slot={slot} capacity={capacity} sequence={sequence}"));
        }
        for Measurable { digest, size } in &self.measured {
            line("measured", &format!("{digest} {size}"));
        }
        line("root", &hex(&self.root));
        line("envelope", &hex(&self.envelope));
        out
    }

    /// Reads a file.
    pub fn parse(name: &str, text: &str) -> Option<Vector> {
        let mut lines = Lines(text);
        let about = lines.take("about")?;
        let purpose = match lines.take("purpose")? {
            "admit" => Purpose::Admit,
            "trial" => Purpose::Trial,
            "boot" => Purpose::Boot,
            _ => return None,
        };
        let expect = parse_expectation(lines.take("expect")?)?;
        let product = lines.take("product")?;
        let vendor = unhex(lines.take("vendor")?)?.try_into().ok()?;
        let class = unhex(lines.take("class")?)?.try_into().ok()?;
        let epoch = lines.take("epoch")?.parse().ok()?;
        let delegation = lines.take("delegation")?.parse().ok()?;
        let knows = Knows::parse(&mut lines)?;
        let mut components = Vec::new();
        while let Some(line) = lines.take("component") {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let mut number = |key: &str| words.next()?.strip_prefix(key)?.parse().ok();
            let (slot, capacity, sequence) = (number("slot=")?, number("capacity=")?, number("sequence=")?);
            components.push(VectorComponent { name, slot, capacity, sequence });
        }
        let mut measured = Vec::new();
        while let Some(line) = lines.take("measured") {
            let (digest, size) = line.split_once(' ')?;
            measured.push(Measurable { digest: parse_digest(digest)?, size: size.parse().ok()? });
        }
        let (root, envelope) = (unhex(lines.take("root")?)?, unhex(lines.take("envelope")?)?);
        lines.0.is_empty().then(|| Vector {
            name: name.to_owned(),
            about: about.to_owned(),
            purpose,
            expect,
            product: product.to_owned(),
            vendor,
            class,
            epoch,
            delegation,
            knows,
            components,
            measured,
            root,
            envelope,
        })
    }
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Purpose::Admit => "admit",
            Purpose::Trial => "trial",
            Purpose::Boot => "boot",
        }
    }
}

impl Knows {
    /// The channels that it takes.
    pub fn takes(&self) -> Takes<'_> {
        match self.channel.as_deref() {
            None => Takes::General,
            Some("*") => Takes::Any,
            Some(channel) => Takes::Channel(channel),
        }
    }

    fn lines(&self, line: &mut impl FnMut(&str, &str)) {
        let documents =
            [("owner", &self.owner), ("revocation", &self.revocation), ("freshness", &self.freshness)];
        for (key, document) in documents {
            document.iter().for_each(|bytes| line(key, &hex(bytes)));
        }
        let some = |number: u64| Some(number).filter(|number| *number > 0);
        let numbers = [
            ("max_age", self.max_age),
            ("clock", self.clock),
            ("floor", some(self.floor)),
            ("leeway", some(self.leeway)),
        ];
        for (key, number) in numbers {
            number.iter().for_each(|number| line(key, &number.to_string()));
        }
        if self.stranded {
            line("stranded", "yes");
        }
        self.channel.iter().for_each(|channel| line("channel", channel));
    }

    fn parse(lines: &mut Lines<'_>) -> Option<Knows> {
        let mut document = |key| match lines.take(key) {
            Some(text) => unhex(text).map(Some),
            None => Some(None),
        };
        let (owner, revocation, freshness) =
            (document("owner")?, document("revocation")?, document("freshness")?);
        let mut number = |key| match lines.take(key) {
            Some(text) => text.parse::<u64>().ok().map(Some),
            None => Some(None),
        };
        let (max_age, clock) = (number("max_age")?, number("clock")?);
        let (floor, leeway) = (number("floor")?.unwrap_or(0), number("leeway")?.unwrap_or(0));
        let stranded = lines.take("stranded").is_some_and(|text| text == "yes");
        let channel = lines.take("channel").map(str::to_owned);
        Some(Knows { owner, revocation, freshness, max_age, clock, floor, leeway, stranded, channel })
    }
}

/// A case that concerns a root document alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootVector {
    /// File name without its ending.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// The answer: nothing, or the refusal's code.
    pub expect: Result<(), u16>,
    /// The document that the device holds, where the case is a rotation.
    pub held: Option<Vec<u8>>,
    /// The document.
    pub root: Vec<u8>,
}

impl RootVector {
    /// The core's answer: nothing, or the refusal's code.
    pub fn verdict(&self) -> Result<(), u16> {
        let verdict = match &self.held {
            None => Root::decode(&self.root).and_then(|root| root.verify(&RustCrypto)),
            Some(held) => {
                Root::decode(held).and_then(|held| held.successor(&self.root, &RustCrypto).map(drop))
            }
        };
        verdict.map_err(|why| why.code())
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let expect = expectation(self.expect);
        let held = self.held.as_ref().map_or_else(String::new, |held| format!("held: {}\n", hex(held)));
        format!("about: {}\nexpect: {expect}\n{held}root: {}\n", self.about, hex(&self.root))
    }

    /// Reads a file.
    pub fn parse(name: &str, text: &str) -> Option<RootVector> {
        let mut lines = Lines(text);
        let about = lines.take("about")?.to_owned();
        let expect = parse_expectation(lines.take("expect")?)?;
        let held = lines.take("held").map(|held| unhex(held).ok_or(())).transpose().ok()?;
        let root = unhex(lines.take("root")?)?;
        lines.0.is_empty().then(|| RootVector { name: name.to_owned(), about, expect, held, root })
    }
}

struct Lines<'t>(&'t str);

impl<'t> Lines<'t> {
    /// The value of the next line, if its key is `key`.
    fn take(&mut self, key: &str) -> Option<&'t str> {
        let (line, rest) = self.0.split_once('\n')?;
        let value = line.strip_prefix(key)?.strip_prefix(": ")?;
        self.0 = rest;
        Some(value)
    }
}

fn expectation(expect: Result<(), u16>) -> String {
    match expect {
        Ok(()) => "ok".to_owned(),
        Err(code) => format!("refused {code}"),
    }
}

fn parse_expectation(text: &str) -> Option<Result<(), u16>> {
    match text {
        "ok" => Some(Ok(())),
        _ => text.strip_prefix("refused ")?.parse().ok().map(Err),
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Bytes from hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect()
}
