//! Mutations of what a tree is made of: nodes and properties that are left
//! out, doubled, moved, renamed, given to both.

use crate::common::{Random, TestKey, accepted, make};
use crate::peer::Uboot;
use firmseal_formats::inspect;

/// A tree, token by token: the layout of dtc, without images behind it.
struct Tokens {
    strings: Vec<u8>,
    all: Vec<Vec<u8>>,
}

impl Tokens {
    fn read(file: &[u8]) -> Tokens {
        let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let (start, end) = (word(8), word(8) + word(36));
        let (mut at, mut all) = (start, Vec::new());
        while at < end {
            let len = match word(at) {
                1 => 4 + (file[at + 4..].iter().position(|byte| *byte == 0).unwrap() + 1).next_multiple_of(4),
                3 => 12 + word(at + 4).next_multiple_of(4),
                _ => 4,
            };
            all.push(file[at..at + len].to_vec());
            at += len;
        }
        Tokens { strings: file[word(12)..word(12) + word(32)].to_vec(), all }
    }

    fn write(&self) -> Vec<u8> {
        let structure = self.all.concat();
        let (len, strings) = (structure.len() as u32, self.strings.len() as u32);
        let head = [0xd00d_feed, 56 + len + strings, 56, 56 + len, 40, 17, 16, 0, strings, len];
        let mut file = head.map(u32::to_be_bytes).concat();
        file.extend([0; 16]);
        file.extend(structure);
        file.extend(&self.strings);
        file
    }

    fn kind(&self, at: usize) -> u8 {
        self.all[at][3]
    }

    /// A property, or the whole of a node.
    fn part(&self, at: usize) -> std::ops::Range<usize> {
        let mut depth = 0;
        for end in at..self.all.len() {
            match self.kind(end) {
                1 => depth += 1,
                2 => depth -= 1,
                _ => {}
            }
            if depth <= 0 {
                return at..end + 1;
            }
        }
        at..at + 1
    }

    fn mutate(&mut self, random: &mut Random) {
        let at = 1 + random.below(self.all.len() - 2);
        let to = 1 + random.below(self.all.len() - 2);
        let part = self.part(at);
        match random.below(8) {
            0 => drop(self.all.drain(part)),
            1 => {
                let copy = self.all[part].to_vec();
                self.all.splice(to..to, copy);
            }
            2 => {
                let moved: Vec<_> = self.all.drain(part).collect();
                let to = to.min(self.all.len() - 1);
                self.all.splice(to..to, moved);
            }
            3 => self.all.swap(at, to),
            // A name of another property.
            4 if self.kind(at) == 3 && self.kind(to) == 3 => {
                let name = self.all[to][8..12].to_vec();
                self.all[at][8..12].copy_from_slice(&name);
            }
            // A value of another.
            5 if self.kind(at) == 3 && self.kind(to) == 3 => {
                let name = self.all[at][8..12].to_vec();
                self.all[at] = self.all[to].clone();
                self.all[at][8..12].copy_from_slice(&name);
            }
            // The name of a node, or a value's first letter.
            6 if self.kind(at) == 1 => self.all[at][4] ^= 1,
            6 if self.all[at].len() > 12 => self.all[at][12] ^= 1,
            _ => self.all.insert(at, vec![0, 0, 0, 4]),
        }
    }
}

#[test]
fn whatever_a_tree_is_made_of_uboot_accepts_what_we_do() {
    let count: u64 = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let key = TestKey::load("rsa3072");
    let second = "conf-2 { description = \"two\"; kernel = \"kernel-1\"; fdt = \"fdt-2\"; };";
    let good = make("fit", &uboot.make("", second, ""), &key, &[]).unwrap();
    assert!(uboot.accepts(&Tokens::read(&good).write(), "rsa3072.dtb"));
    let mut taken = 0;
    for seed in 0..count * 20 {
        let mut random = Random(seed);
        let mut tokens = Tokens::read(&good);
        for _ in 0..=random.below(2) {
            tokens.mutate(&mut random);
        }
        let file = tokens.write();
        if accepted(&file, &key.public) {
            taken += 1;
            // The only configuration of a file that names no default is
            // started by its name; fit_check_sign falls over without one.
            let notes = inspect(&file).unwrap().notes;
            let is_named = notes.iter().any(|note| note.name == "default" && note.value == "conf-1");
            let boots = match is_named {
                true => uboot.accepts(&file, "rsa3072.dtb"),
                false => uboot.accepts_configuration(&file, "rsa3072.dtb", "conf-1"),
            };
            assert!(boots, "seed {seed}");
        }
    }
    assert!(taken > count / 4, "{taken}: what is changed where nothing is covered is still taken");
}

/// CVE-2026-46728: the images stand in themselves once more, the signature
/// lists the copies, and what runs are others. U-Boot before 2026 took it.
#[test]
fn a_copy_of_the_images_is_not_verified_in_their_place() {
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let key = TestKey::load("rsa3072");
    let good = make("fit", &uboot.make("", "", ""), &key, &[]).unwrap();
    let mut tokens = Tokens::read(&good);
    let named = |tokens: &Tokens, name: &str, from: usize| {
        let wanted = [name.as_bytes(), &[0]].concat();
        let at = tokens.strings.windows(wanted.len()).position(|window| window == wanted).unwrap() as u32;
        let is = |token: &&Vec<u8>| token[3] == 3 && token[8..12] == at.to_be_bytes();
        from + tokens.all[from..].iter().position(|token| is(&token)).unwrap()
    };
    let images =
        tokens.all.iter().position(|token| token[3] == 1 && token[4..].starts_with(b"images\0")).unwrap();
    let part = tokens.part(images);
    let copy = tokens.all[part.clone()].to_vec();
    tokens.all.splice(part.end - 1..part.end - 1, copy);
    // What runs, with a hash that fits it.
    let data = named(&tokens, "data", images);
    tokens.all[data][40] ^= 1;
    let len = u32::from_be_bytes(tokens.all[data][4..8].try_into().unwrap()) as usize;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &tokens.all[data][12..12 + len]);
    let value = named(&tokens, "value", data);
    tokens.all[value][12..44].copy_from_slice(digest.as_ref());
    let list = named(&tokens, "hashed-nodes", 0);
    let old = String::from_utf8(tokens.all[list][12..].to_vec()).unwrap();
    let mut new = old.trim_end_matches('\0').replace("/images/", "/images/images/").into_bytes();
    new.push(0);
    tokens.all[list][4..8].copy_from_slice(&(new.len() as u32).to_be_bytes());
    tokens.all[list].truncate(12);
    new.resize(new.len().next_multiple_of(4), 0);
    tokens.all[list].extend(new);
    let file = tokens.write();
    assert!(!uboot.accepts(&file, "rsa3072.dtb"));
    let error = inspect(&file).unwrap_err().to_string();
    assert!(error.contains("image `images`: it has no data"), "{error}");
}

#[test]
fn every_number_in_the_header_at_its_bounds() {
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let key = TestKey::load("rsa3072");
    let good = make("fit", &uboot.make("", "", "-E"), &key, &[]).unwrap();
    for at in (0..40).step_by(4) {
        let own = u32::from_be_bytes(good[at..at + 4].try_into().unwrap());
        let near = [own.wrapping_sub(4), own.wrapping_sub(1), own + 1, own + 4, own + 16];
        let len = good.len() as u32;
        let far =
            [0, 1, 39, 40, 56, len - 1, len, len + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff];
        for value in near.into_iter().chain(far).filter(|value| *value != own) {
            let mut file = good.clone();
            file[at..at + 4].copy_from_slice(&value.to_be_bytes());
            if accepted(&file, &key.public) {
                assert!(uboot.accepts(&file, "rsa3072.dtb"), "{at}: {value:#x}");
            }
        }
    }
}
