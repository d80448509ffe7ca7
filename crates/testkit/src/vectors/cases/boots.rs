//! Boots: what was installed, measured and asked for once more.

use firmseal_core::command::Section;

use super::Cases;
use crate::craft::Commands;
use crate::item;
use crate::vectors::format::Measurable;
use crate::vectors::scene::payload;

pub(super) fn add(cases: &mut Cases) {
    cases.ok("boot_ok", "the confirmed image: its sequence number equals the floor", |scene| {
        scene.boot();
    });
    cases.ok("boot_ok_trial", "an image on trial: its sequence number is above the floor", |scene| {
        scene.boot().device.components[0].sequence = 6;
    });
    cases.ok("boot_ok_two_components", "two components, each as it should be", |scene| {
        scene.components(&["radio"]).boot();
    });
    cases.ok("boot_ok_install_dropped", "the install sequence was dropped after the install", |scene| {
        scene.boot();
        scene.craft.envelope.remove(20);
    });
    cases.ok(
        "boot_ok_below_the_root",
        "the root's minimum epoch rose above the confirmed image: it governs installs",
        |scene| {
            scene.boot().world.root.minimum_epoch = 9;
        },
    );
    cases.refused(603, "boot_image_differs", "one bit of the image differs", |scene| {
        let mut image = payload(0);
        image[4500] ^= 1;
        scene.boot().device.measured = vec![Measurable::of(&image)];
    });
    cases.refused(603, "boot_size_differs", "the right digest over another number of bytes", |scene| {
        scene.boot().device.measured[0].size += 1;
    });
    cases.refused(603, "boot_nothing_measured", "the slot was not measured", |scene| {
        scene.boot().device.measured.clear();
    });
    cases.refused(
        603,
        "boot_one_component_not_measured",
        "only the first of two slots was measured",
        |scene| {
            scene.components(&["radio"]).boot().device.measured.pop();
        },
    );
    cases.refused(603, "boot_measurements_swapped", "two slots hold each other's images", |scene| {
        scene.components(&["radio"]).boot().device.measured.swap(0, 1);
    });
    cases.refused(603, "boot_second_image_differs", "the second of two images differs", |scene| {
        scene.components(&["radio"]).boot().device.measured[1].digest.0[31] ^= 0x80;
    });
    cases.refused(400, "boot_sequence_lower", "an image older than the confirmed one", |scene| {
        scene.boot().device.components[0].sequence = 8;
    });
    cases.refused(401, "boot_epoch_lower", "an image below the counter of security epochs", |scene| {
        scene.boot().device.epoch = 4;
    });
    cases.refused(
        403,
        "boot_delegation_lower",
        "a delegation index below the highest one committed",
        |scene| {
            scene.boot().device.delegation = 1;
        },
    );
    cases.refused(603, "boot_validate_empty", "a manifest that validates nothing", |scene| {
        scene.boot().craft.sequence(Section::Validate, &[0x80]);
    });
    cases.refused(603, "boot_validate_missing", "a manifest without a validate section", |scene| {
        scene.boot().craft.manifest.remove(7);
    });
    cases.refused(
        603,
        "boot_component_not_validated",
        "a manifest that validates the first of two components",
        |scene| {
            scene.components(&["radio"]).boot();
            let commands = [(12, item::uint(0)), (3, item::uint(15))];
            scene.craft.sequence(Section::Validate, &Commands::of(&commands));
        },
    );
    cases.refused(603, "boot_mismatch_taken_softly", "a validation that shrugs off a mismatch", |scene| {
        let mut image = payload(0);
        image[0] ^= 1;
        scene.boot().device.measured = vec![Measurable::of(&image)];
        let check = item::bytes(&Commands::of(&[(3, item::uint(15))]));
        let commands = [(15, item::array(&[check, item::null()]))];
        scene.craft.sequence(Section::Validate, &Commands::of(&commands));
    });
    cases.refused(504, "boot_condition_abort", "a validation that always aborts", |scene| {
        scene.boot().craft.commands(Section::Validate, |commands| commands.add(14, item::uint(15)));
    });
    cases.refused(
        504,
        "boot_for_another_device",
        "a validation that asks for the UUID of one single device",
        |scene| {
            scene.boot().craft.commands(Section::Validate, |commands| {
                commands.add(20, item::map(&[(item::int(24), item::bytes(&[5; 16]))]));
                commands.add(24, item::uint(15));
            });
        },
    );
    cases.refused(
        504,
        "boot_slot_condition_without_parameter",
        "a slot is checked and none was set",
        |scene| {
            scene.boot().craft.commands(Section::Validate, |commands| commands.add(5, item::uint(15)));
        },
    );
    cases.refused(
        502,
        "boot_check_content",
        "a content check, which a boot from measurements cannot answer",
        |scene| {
            scene.boot().craft.commands(Section::Validate, |commands| {
                commands.add(20, item::map(&[(item::int(18), item::bytes(b"x"))]));
                commands.add(6, item::uint(15));
            });
        },
    );
    cases.refused(308, "boot_wrong_slot", "built for slot 0, run from slot 1", |scene| {
        scene.release(|release| release.components[0].slot = Some(0)).boot();
    });
    cases.refused(603, "boot_facts_size_differs", "facts and commands give different sizes", |scene| {
        scene.boot();
        scene.craft.component_facts(0, |facts| facts.set(1, item::uint(9001)));
    });
    cases.refused(
        101,
        "boot_endless_steps",
        "nested lists of components multiply to more steps than allowed",
        |scene| {
            scene.components(&["b", "c", "d", "e", "f", "g", "h"]).boot();
            let all = || (12, item::boolean(true));
            let mut inner = Commands::of(&[all(), (3, item::uint(15)), (3, item::uint(15))]);
            for _ in 0..4 {
                inner = Commands::of(&[all(), (32, item::bytes(&inner))]);
            }
            scene.craft.sequence(Section::Validate, &inner);
        },
    );
    cases.refused(
        201,
        "boot_signature_bit_flipped",
        "the signature is checked again at every boot",
        |scene| {
            let mut block = scene.boot().block();
            block.signature[0] ^= 1;
            scene.blocks(&[block.encode()]);
        },
    );
    cases.refused(303, "boot_wrong_product", "an image of another product", |scene| {
        scene.boot().release(|release| release.product = "toaster".parse().unwrap());
    });
}
