//! Command sequences (refusals 5xx, and limits).

use firmseal_core::command::Section;

use super::Cases;
use crate::craft::Commands;
use crate::item::{self, Item};

/// The argument of a run-sequence that holds `depth - 1` more of them.
pub(super) fn nested(depth: usize) -> Item {
    let inner = match depth {
        1 => Commands::of(&[(3, item::uint(15))]),
        _ => Commands::of(&[(32, nested(depth - 1))]),
    };
    item::bytes(&inner)
}

/// The same with a try-each at each level.
fn tried(depth: usize) -> Item {
    let inner = match depth {
        1 => Commands::of(&[(3, item::uint(15))]),
        _ => Commands::of(&[(15, tried(depth - 1))]),
    };
    item::array(&[item::bytes(&inner), item::null()])
}

pub(super) fn add(cases: &mut Cases) {
    let mut case = |code, name: &str, about: &str, section, label: i64, argument: Item| {
        cases.refused(code, name, about, |scene| {
            scene.craft.commands(section, |commands| commands.add(label, argument));
        });
    };
    let policy = || item::uint(2);
    let parameter = |label: i64, value: Item| item::map(&[(item::int(label), value)]);
    case(500, "unknown_command", "a command that the draft does not define", Section::Validate, 99, policy());
    case(500, "custom_command", "a private command", Section::Install, -300, policy());
    case(
        500,
        "set_parameters",
        "the set-parameters of old drafts",
        Section::Install,
        19,
        parameter(21, item::text("x")),
    );
    case(
        500,
        "process_dependency",
        "a command of the extension for dependencies",
        Section::Install,
        11,
        policy(),
    );
    case(
        501,
        "unknown_parameter",
        "a parameter that the draft does not define",
        Section::Validate,
        20,
        parameter(99, item::uint(1)),
    );
    case(
        501,
        "custom_parameter",
        "a private parameter",
        Section::Install,
        20,
        parameter(-300, item::uint(1)),
    );
    case(502, "invoke_in_install", "an install that invokes", Section::Install, 23, policy());
    case(502, "invoke_in_validate", "a validation that invokes", Section::Validate, 23, policy());
    case(502, "fetch_in_validate", "a validation that fetches", Section::Validate, 21, policy());
    case(502, "write_in_shared", "a shared sequence that writes", Section::Shared, 18, policy());
    case(502, "fetch_in_invoke", "an invocation that fetches", Section::Invoke, 21, policy());
    case(502, "copy_in_invoke", "an invocation that copies", Section::Invoke, 22, policy());
    case(
        502,
        "soft_failure_at_the_top",
        "soft failure is set outside of any nested sequence",
        Section::Install,
        20,
        parameter(13, item::boolean(true)),
    );
    case(
        502,
        "invoke_in_a_nested_install",
        "a nested sequence of the install invokes",
        Section::Install,
        32,
        item::bytes(&Commands::of(&[(23, item::uint(2))])),
    );
    case(
        100,
        "soft_failure_not_boolean",
        "soft failure of 1",
        Section::Install,
        32,
        item::bytes(&Commands::of(&[(20, item::map(&[(item::int(13), item::uint(1))]))])),
    );
    case(
        100,
        "reporting_policy_16",
        "a reporting policy with a bit that is not defined",
        Section::Validate,
        3,
        item::uint(16),
    );
    case(
        100,
        "component_index_beyond",
        "component index 1 of one component",
        Section::Validate,
        12,
        item::uint(1),
    );
    case(
        100,
        "component_index_false",
        "a component index of false",
        Section::Validate,
        12,
        item::boolean(false),
    );
    case(
        100,
        "component_index_empty",
        "an empty list of component indices",
        Section::Validate,
        12,
        item::array(&[]),
    );
    case(100, "component_index_negative", "a component index of -1", Section::Validate, 12, item::int(-1));
    case(
        100,
        "try_each_with_one_alternative",
        "a try-each that has nothing else to try",
        Section::Validate,
        15,
        item::array(&[item::bytes(&[0x80])]),
    );
    case(
        100,
        "try_each_nil_first",
        "nil comes before another alternative",
        Section::Validate,
        15,
        item::array(&[item::null(), item::bytes(&[0x80])]),
    );
    case(
        100,
        "try_each_not_wrapped",
        "an alternative that is not in a byte string",
        Section::Validate,
        15,
        item::array(&[item::array(&[]), item::null()]),
    );
    case(
        100,
        "command_without_argument_nested",
        "a nested sequence of odd length",
        Section::Validate,
        32,
        item::bytes(&item::array(&[item::int(3)])),
    );
    case(
        100,
        "nested_sequence_with_trailing_bytes",
        "bytes after a nested sequence",
        Section::Validate,
        32,
        item::bytes(&[0x80, 0x00]),
    );
    case(
        100,
        "parameters_unordered",
        "parameters in descending order",
        Section::Validate,
        20,
        item::map(&[(item::int(14), item::uint(1)), (item::int(5), item::uint(1))]),
    );
    case(
        100,
        "parameter_twice",
        "the image size stands twice in one override",
        Section::Validate,
        20,
        item::map(&[(item::int(14), item::uint(1)), (item::int(14), item::uint(2))]),
    );
    case(
        102,
        "image_digest_of_sha_512",
        "an image digest by another algorithm",
        Section::Validate,
        20,
        parameter(3, item::bytes(&item::array(&[item::int(-44), item::bytes(&[0; 64])]))),
    );
    case(
        100,
        "image_digest_short",
        "an image digest of 31 bytes",
        Section::Validate,
        20,
        parameter(3, item::bytes(&item::array(&[item::int(-16), item::bytes(&[0; 31])]))),
    );
    case(
        101,
        "uri_of_257_bytes",
        "a URI beyond the limit on texts",
        Section::Install,
        20,
        parameter(21, item::text(&"x".repeat(257))),
    );
    case(101, "run_sequence_five_deep", "run-sequences nested five deep", Section::Validate, 32, nested(5));
    case(101, "try_each_five_deep", "try-eachs nested five deep", Section::Validate, 15, tried(5));
    case(
        101,
        "content_beyond_a_sequence",
        "a sequence of more than 8 KiB",
        Section::Install,
        20,
        parameter(18, item::bytes(&[0; 8200])),
    );

    cases.refused(101, "too_many_commands", "513 commands in one sequence", |scene| {
        scene.craft.sequence(Section::Validate, &Commands::of(&vec![(3, item::uint(15)); 513]));
    });
    cases.refused(
        101,
        "too_many_commands_together",
        "300 commands in validate and 300 in a nested sequence of install",
        |scene| {
            let many = Commands::of(&vec![(3, item::uint(15)); 300]);
            scene.craft.sequence(Section::Validate, &many);
            scene.craft.sequence(Section::Install, &Commands::of(&[(32, item::bytes(&many))]));
        },
    );
    cases.refused(101, "too_many_commands_nested", "sixty sequences of ten commands each", |scene| {
        let ten = item::bytes(&Commands::of(&vec![(3, item::uint(15)); 10]));
        scene.craft.sequence(Section::Validate, &Commands::of(&vec![(32, ten); 60]));
    });
    cases.refused(100, "command_without_argument", "a sequence of odd length", |scene| {
        scene.craft.sequence(Section::Validate, &item::array(&[item::int(3)]));
    });
    cases.refused(100, "sequence_is_a_map", "a section that is no sequence", |scene| {
        scene.craft.sequence(Section::Validate, &item::map(&[(item::int(3), item::uint(15))]));
    });
}
