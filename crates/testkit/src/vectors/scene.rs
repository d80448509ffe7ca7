//! A scene: a world, a device in it and an envelope, before something is
//! made wrong with them.

use firmseal_manifest::{ReleaseSpec, UnsignedManifest};

use super::format::{Knows, Measurable, Purpose, Vector, VectorComponent};
use crate::craft::{Block, Craft};
use crate::item::Item;
use crate::keys::TestKey;
use crate::story::Story;
use crate::world::{COMPONENT, PRODUCT, World, component, firmware};

/// Everything that one case can change.
pub struct Scene {
    /// Keys and root.
    pub world: World,
    /// The release behind `craft`.
    pub release: ReleaseSpec,
    /// The manifest in pieces.
    pub craft: Craft,
    /// Holders of the release role that sign.
    pub signers: usize,
    /// The device; its root and envelope are filled in at the end.
    pub device: Vector,
    /// The finished envelope, where the case makes it itself.
    pub envelope: Option<Vec<u8>>,
}

/// The payload of a component, by its place.
pub(super) fn payload(place: usize) -> Vec<u8> {
    firmware(9000 + place, 1 + place as u64)
}

impl Default for Scene {
    fn default() -> Scene {
        let world = World::default();
        let release = world.release(&payload(0));
        let device = Vector {
            name: String::new(),
            about: String::new(),
            purpose: Purpose::Admit,
            expect: Ok(()),
            product: PRODUCT.to_owned(),
            vendor: *world.vendor().as_bytes(),
            class: *world.class().as_bytes(),
            epoch: 3,
            delegation: 0,
            knows: Knows::default(),
            components: vec![own(COMPONENT)],
            measured: Vec::new(),
            root: Vec::new(),
            envelope: Vec::new(),
        };
        let craft = Craft::of(&release.assemble().unwrap());
        Scene { world, release, craft, signers: 1, device, envelope: None }
    }
}

fn own(name: &str) -> VectorComponent {
    VectorComponent { name: name.to_owned(), slot: 1, capacity: 1 << 20, sequence: 6 }
}

impl Scene {
    /// Changes the release and assembles it again.
    pub fn release(&mut self, change: impl FnOnce(&mut ReleaseSpec)) -> &mut Scene {
        change(&mut self.release);
        self.craft = Craft::of(&self.assembled());
        self
    }

    /// The release as an author assembles it.
    pub fn assembled(&self) -> UnsignedManifest {
        self.release.assemble().unwrap()
    }

    /// Adds components to release and device.
    pub fn components(&mut self, names: &[&str]) -> &mut Scene {
        for (place, name) in names.iter().enumerate() {
            self.release.components.push(component(name, &payload(place + 1)).0);
            self.device.components.push(own(name));
        }
        self.release(|_| ())
    }

    /// Other holders of the release role.
    pub fn holders(&mut self, threshold: u64, holders: Vec<(&str, Vec<TestKey>)>) -> &mut Scene {
        self.world = World::new(threshold, holders);
        self
    }

    /// The device boots what it confirmed: this very release.
    pub fn boot(&mut self) -> &mut Scene {
        self.device.purpose = Purpose::Boot;
        for (place, component) in self.device.components.iter_mut().enumerate() {
            component.sequence = 7;
            self.device.measured.push(Measurable::of(&payload(place)));
        }
        self
    }

    /// A key of the release role: first key of the first holder.
    pub fn key(&self) -> &TestKey {
        &self.world.release[0].1[0]
    }

    /// The first holder's signature, in pieces.
    pub fn block(&self) -> Block {
        self.craft.sign(self.key())
    }

    /// Makes the envelope now, with these authentication blocks.
    pub fn blocks(&mut self, blocks: &[Item]) {
        self.envelope = Some(self.craft.assemble(blocks));
    }

    /// The envelope as it stands.
    pub fn sealed(&self) -> Vec<u8> {
        let keys: Vec<&TestKey> =
            self.world.release[..self.signers].iter().map(|(_, keys)| &keys[0]).collect();
        self.craft.seal(&keys)
    }

    /// Flips a bit of the sealed envelope in the middle of `part`.
    pub fn flip(&mut self, part: &[u8]) {
        let mut envelope = self.sealed();
        let at = envelope.windows(part.len()).position(|window| window == part).expect("no such part");
        envelope[at + part.len() / 2] ^= 1;
        self.envelope = Some(envelope);
    }

    /// Gives the root every role and the release its story, signed by the
    /// first holder of the release role or under that holder's delegation.
    pub fn tell(&mut self, change: impl FnOnce(&mut Story)) -> &mut Scene {
        let mut story = Story::default();
        change(&mut story);
        if story.delegated && self.release.delegation == 0 {
            self.release(|release| release.delegation = 5);
        }
        story.furnish(&mut self.world);
        self.envelope = Some(story.tell(&mut self.craft, &self.world, &self.world.release[0].1[0]));
        self
    }

    /// The finished case.
    pub fn finish(self, name: &str, about: &str, expect: Result<(), u16>) -> Vector {
        let envelope = self.envelope.clone().unwrap_or_else(|| self.sealed());
        let root = self.world.root_document();
        Vector { name: name.to_owned(), about: about.to_owned(), expect, root, envelope, ..self.device }
    }
}
