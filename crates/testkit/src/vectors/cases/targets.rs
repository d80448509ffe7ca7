//! Facts, targets, components and floors (refusals 3xx and 4xx).

use firmseal_core::command::Section;
use firmseal_manifest::Environment;

use super::Cases;
use crate::craft::Commands;
use crate::item::{self, Item};

/// Labels and arguments of a sequence.
type Pairs = Vec<(i64, Item)>;

pub(super) fn add(cases: &mut Cases) {
    facts(cases);
    shared_sequence(cases);
    components(cases);
    floors(cases);
}

fn facts(cases: &mut Cases) {
    cases.refused(300, "facts_missing", "a SUIT manifest without our facts", |scene| {
        scene.craft.manifest.remove(-257);
    });
    cases.refused(102, "facts_of_another_profile", "facts of profile 2", |scene| {
        scene.craft.facts(|facts| facts.set(1, item::uint(2)));
    });
    cases.refused(
        102,
        "facts_unknown_member",
        "a member of the facts that profile 1 does not define",
        |scene| {
            scene.craft.facts(|facts| facts.set(20, item::uint(1)));
        },
    );
    for label in 1..=10 {
        let name = format!("facts_without_member_{label}");
        // Without the profile number, the rest means nothing.
        let (code, about) = match label {
            1 => (102, "the facts lack their profile number".to_owned()),
            10 => (301, "the facts describe no component".to_owned()),
            _ => (100, format!("the facts lack member {label}")),
        };
        cases.refused(code, &name, &about, |scene| {
            scene.craft.facts(|facts| facts.remove(label));
        });
    }
    cases.refused(302, "wrong_environment", "a production release on a device with a test root", |scene| {
        scene.release(|release| release.environment = Environment::Production);
    });
    cases.refused(
        302,
        "test_release_on_a_production_device",
        "a test release under a production root",
        |scene| {
            scene.world.root.environment = Environment::Production;
        },
    );
    cases.refused(100, "environment_unknown", "environment 2", |scene| {
        scene.craft.facts(|facts| facts.set(2, item::uint(2)));
    });
    cases.refused(303, "wrong_product", "a release of another product of the same class", |scene| {
        scene.release(|release| release.product = "toaster".parse().unwrap());
    });
    cases.refused(303, "product_prefix", "a product whose name begins as this one's", |scene| {
        scene.release(|release| release.product = "gateway2".parse().unwrap());
    });
    cases.refused(304, "wrong_vendor", "a release of another vendor", |scene| {
        scene.device.vendor[15] ^= 1;
    });
    cases.refused(305, "wrong_class", "a release for another class of devices", |scene| {
        scene.device.class[0] ^= 1;
    });
    cases.refused(100, "vendor_of_fifteen_bytes", "the vendor in the facts is no UUID", |scene| {
        scene.craft.facts(|facts| facts.set(3, item::bytes(&[7; 15])));
    });
}

fn shared_sequence(cases: &mut Cases) {
    let mut disagree = |name: &str, about: &str, change: &dyn Fn(&mut Pairs)| {
        cases.refused(301, name, about, |scene| {
            scene.craft.commands(Section::Shared, |commands| change(&mut commands.0));
        });
    };
    let ids = |vendor: &[u8], class: &[u8]| {
        item::map(&[(item::int(1), item::bytes(vendor)), (item::int(2), item::bytes(class))])
    };
    disagree(
        "facts_vendor_differs_from_sequence",
        "the sequence sets another vendor than the facts",
        &|commands| {
            let class = item::content(&item::split(&commands[0].1)[3]);
            commands[0].1 = ids(&[9; 16], &class);
        },
    );
    disagree(
        "facts_class_differs_from_sequence",
        "the sequence sets another class than the facts",
        &|commands| {
            let vendor = item::content(&item::split(&commands[0].1)[1]);
            commands[0].1 = ids(&vendor, &[9; 16]);
        },
    );
    disagree("vendor_condition_missing", "the vendor is set and never checked", &|commands| {
        commands.remove(1);
    });
    disagree("class_condition_missing", "the class is set and never checked", &|commands| {
        commands.remove(2);
    });
    disagree(
        "conditions_before_parameters",
        "vendor and class are checked before they are set",
        &|commands| {
            commands.swap(0, 2);
        },
    );
    disagree("vendor_not_first", "something else comes before vendor and class", &|commands| {
        let size = item::map(&[(item::int(14), item::uint(9000))]);
        commands.insert(0, (20, size));
    });
    disagree("vendor_set_again_later", "the shared sequence sets the vendor once more", &|commands| {
        let vendor = item::split(&commands[0].1)[1].clone();
        commands.push((20, item::map(&[(item::int(1), vendor)])));
    });
    disagree(
        "class_check_inside_try_each",
        "vendor and class are checked in an alternative that may fail",
        &|commands| {
            let inner: Vec<_> = commands.drain(..3).collect();
            let alternatives = item::array(&[item::bytes(&Commands::of(&inner)), item::null()]);
            commands.insert(0, (15, alternatives));
        },
    );
    disagree(
        "class_check_inside_run_sequence",
        "vendor and class are checked in a nested sequence",
        &|commands| {
            let inner: Vec<_> = commands.drain(..3).collect();
            commands.insert(0, (32, item::bytes(&Commands::of(&inner))));
        },
    );
    disagree("shared_sequence_empty", "nothing is set or checked", &|commands| commands.clear());

    cases.refused(301, "class_set_again_in_install", "the install sequence sets another class", |scene| {
        let class = item::bytes(&scene.device.class);
        scene.craft.commands(Section::Install, |commands| {
            commands.0.insert(0, (20, item::map(&[(item::int(2), class)])));
        });
    });
    cases.refused(
        301,
        "vendor_set_in_an_alternative",
        "an alternative of the validate sequence sets a vendor",
        |scene| {
            let vendor = item::bytes(&scene.device.vendor);
            scene.craft.commands(Section::Validate, |commands| {
                let inner = Commands::of(&[(20, item::map(&[(item::int(1), vendor)]))]);
                commands.add(15, item::array(&[item::bytes(&inner), item::null()]));
            });
        },
    );
    cases.refused(301, "shared_sequence_missing", "the common section has no sequence", |scene| {
        scene.craft.common(|common| common.remove(4));
    });
    cases.refused(
        301,
        "class_checked_for_one_component_of_two",
        "vendor and class are checked for the first component only",
        |scene| {
            scene.components(&["radio"]);
            scene.craft.commands(Section::Shared, |commands| commands.0[0].1 = item::uint(0));
        },
    );
    cases.refused(
        301,
        "index_missing_with_two_components",
        "vendor and class are checked without selecting all components",
        |scene| {
            scene.components(&["radio"]);
            scene.craft.commands(Section::Shared, |commands| drop(commands.0.remove(0)));
        },
    );
}

fn components(cases: &mut Cases) {
    cases.refused(306, "component_unknown", "a component that the device does not have", |scene| {
        scene.device.components[0].name = "radio".to_owned();
    });
    cases.refused(
        306,
        "component_with_a_longer_identifier",
        "an identifier of two byte strings, the first of which is known",
        |scene| {
            scene.craft.common(|common| {
                let id = item::array(&[item::bytes(b"main"), item::bytes(b"x")]);
                common.set(2, item::array(&[id]));
            });
        },
    );
    cases.refused(306, "component_twice", "one component stands twice in the manifest", |scene| {
        scene.components(&["radio"]);
        scene.craft.common(|common| {
            let main = item::array(&[item::bytes(b"main")]);
            common.set(2, item::array(&[main.clone(), main]));
        });
    });
    cases.refused(
        301,
        "component_count_differs_from_facts",
        "one component in the manifest, two in the facts",
        |scene| {
            scene.craft.facts(|facts| {
                let own = item::split(&facts.get(10)).remove(0);
                facts.set(10, item::array(&[own.clone(), own]));
            });
        },
    );
    cases.refused(307, "larger_than_the_slot", "a payload one byte larger than its slot", |scene| {
        scene.device.components[0].capacity = 8999;
    });
    cases.refused(
        307,
        "second_component_larger_than_its_slot",
        "the second of two payloads is too large",
        |scene| {
            scene.components(&["radio"]);
            scene.device.components[1].capacity = 100;
        },
    );
    cases.refused(308, "wrong_slot", "built for slot 0, and slot 1 would be written", |scene| {
        scene.release(|release| release.components[0].slot = Some(0));
    });
    cases.refused(100, "payload_empty", "a payload of no bytes", |scene| {
        scene.craft.component_facts(0, |facts| facts.set(1, item::uint(0)));
    });
    cases.refused(101, "payload_beyond_the_limit", "a payload of 2^48 + 1 bytes", |scene| {
        scene.device.components[0].capacity = u64::MAX;
        scene.craft.component_facts(0, |facts| facts.set(1, item::uint((1 << 48) + 1)));
    });
    cases.refused(102, "block_size_2048", "a block tree of 2048-byte blocks", |scene| {
        scene.craft.component_facts(0, |facts| {
            let mut tree = item::split(&facts.get(3));
            tree[1] = item::uint(2048);
            facts.set(3, item::array(&tree));
        });
    });
    cases.refused(102, "tree_of_another_hash", "a block tree of SHA-512", |scene| {
        scene.craft.component_facts(0, |facts| {
            let mut tree = item::split(&facts.get(3));
            tree[0] = item::int(-44);
            facts.set(3, item::array(&tree));
        });
    });
    cases.refused(100, "component_without_a_tree", "a component's facts lack the block tree", |scene| {
        scene.craft.component_facts(0, |facts| facts.remove(3));
    });
}

fn floors(cases: &mut Cases) {
    cases.refused(400, "sequence_equal", "the very release that is installed", |scene| {
        scene.device.components[0].sequence = 7;
    });
    cases.refused(400, "sequence_lower", "an older release", |scene| {
        scene.device.components[0].sequence = 8;
    });
    cases.refused(
        400,
        "sequence_lower_for_one_component",
        "newer for the first component and older for the second",
        |scene| {
            scene.components(&["radio"]);
            scene.device.components[1].sequence = 9;
        },
    );
    cases.refused(401, "epoch_lower", "a security epoch below the device's counter", |scene| {
        scene.device.epoch = 4;
    });
    cases.refused(402, "epoch_below_the_root", "a security epoch below the root's minimum", |scene| {
        scene.world.root.minimum_epoch = 4;
    });
    cases.refused(403, "delegation_lower", "a delegation index below the highest one committed", |scene| {
        scene.device.delegation = 1;
    });
}
