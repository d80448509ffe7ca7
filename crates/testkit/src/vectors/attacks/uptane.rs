//! What the Uptane Standard 2.1.0 §4.2 lists and TUF does not.

use super::tuf::two;
use super::{Attack, List, Outcome, Tries};
use crate::story::{self, NOW};
use crate::vectors::format::Measurable;
use crate::vectors::scene::payload;

const DAY: u64 = 86_400;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "eavesdrop",
        list: List::Uptane,
        thief: "the network, a mirror or a bundle",
        outcome: Outcome::Open {
            until: "payloads are encrypted; on the way TLS 1.3 with hybrid key exchange hides them",
        },
        remains: "whoever holds a payload reads it",
        tests: &[
            "e2e: eavesdrop_on_the_way_reads_nothing_and_a_stick_is_read",
            "server: tls_is_1_3_and_nothing_older",
            "server: the_key_exchange_is_hybrid_post_quantum",
        ],
        cases: |_| (),
    },
    Attack {
        name: "drop_request",
        list: List::Uptane,
        thief: "the network",
        outcome: Outcome::Bounded {
            bound: "no update for as long as it lasts; bundles install without a network, and what is confirmed boots",
            by: "the device reports trouble as soon as it is heard; operators see when it polled last; \
                 with `max_age` the device refuses what is old",
            soon: "at the next poll that is missed, and after `max_age`",
        },
        remains: "the device stays on what it runs",
        tests: &[
            "agent: reports_wait_while_the_server_is_gone_and_find_its_new_address",
            "agent: drop_request_stops_no_boot_and_no_bundle",
        ],
        cases: drop_request,
    },
    Attack {
        name: "slow_retrieval",
        list: List::Uptane,
        thief: "the network, a mirror or the server",
        outcome: Outcome::Bounded {
            bound: "a carrier below `minimum_rate` is left; what was checked is kept, and the install goes on there",
            by: "the device",
            soon: "at the end of the first minute below it",
        },
        remains: "where every carrier is slow, as a dropped request",
        tests: &[
            "agent: an_interrupted_download_goes_on_where_it_stopped",
            "agent: a_carrier_that_drips_is_left",
        ],
        cases: slow_retrieval,
    },
    Attack {
        name: "partial_bundle",
        list: List::Uptane,
        thief: "the network, and every release that was ever signed",
        outcome: Outcome::Prevented {
            by: "the device",
            when: "a trial begins only when every component has matched, and each is measured again at every boot",
        },
        remains: "",
        tests: &[
            "agent: a_release_for_some_of_the_components_is_refused",
            "agent: a_carrier_that_ends_early_or_never_is_no_danger",
        ],
        cases: partial_bundle,
    },
    Attack {
        name: "mixed_bundles",
        list: List::Uptane,
        thief: "the network, and every release that was ever signed",
        outcome: Outcome::Prevented {
            by: "the device",
            when: "before a byte of payload is fetched, and again at every boot",
        },
        remains: "",
        tests: &[],
        cases: mixed_bundles,
    },
];

fn drop_request(tries: &mut Tries<'_>) {
    tries.install(Err(712), "of_all_news", "news are asked for and never came", |scene| {
        scene.tell(|_| ()).device.knows.max_age = Some(DAY);
        scene.device.knows.clock = Some(NOW);
    });
    tries.install(Ok(()), "ok_and_a_bundle_with_news", "no network: the bundle brings news along", |scene| {
        scene.tell(|_| ()).device.knows.max_age = Some(DAY);
        scene.device.knows.clock = Some(NOW);
        scene.device.knows.freshness = Some(story::freshness(0, &[(0, NOW), (1, NOW)]));
    });
    tries.boot(Ok(()), "ok", "nothing was heard for three years, and the image boots", |scene| {
        scene.tell(|_| ()).device.knows.max_age = Some(DAY);
        scene.device.knows.clock = Some(NOW + 1095 * DAY);
    });
}

fn slow_retrieval(tries: &mut Tries<'_>) {
    tries.install(Err(712), "until_the_news_are_old", "it took longer than news are good for", |scene| {
        scene.tell(|_| ()).device.knows.max_age = Some(DAY);
        scene.device.knows.freshness = Some(story::freshness(0, &[(0, NOW), (1, NOW)]));
        scene.device.knows.clock = Some(NOW + DAY + 1);
    });
    tries.trial(Err(603), "of_half_an_image", "half of the image has arrived", |scene| {
        scene.device.measured = vec![Measurable::of(&payload(0)[..4500])];
    });
    tries.boot(Err(603), "of_half_an_image", "half of the image has arrived", |scene| {
        scene.device.measured = vec![Measurable::of(&payload(0)[..4500])];
    });
}

fn partial_bundle(tries: &mut Tries<'_>) {
    tries.install(
        Ok(()),
        "ok_for_one_of_two",
        "a release for one of two components: core admits it, an agent whose components switch together \
         refuses it (800)",
        |scene| {
            two(scene);
            scene.release(|release| release.components.truncate(1));
        },
    );
    tries.trial(Err(603), "of_one_of_two", "the second component is still the one before", |scene| {
        two(scene).device.measured[1] = Measurable::of(&payload(9));
    });
    tries.boot(Err(603), "of_one_of_two", "the second component is still the one before", |scene| {
        two(scene).device.measured[1] = Measurable::of(&payload(9));
    });
    tries.boot(Err(603), "of_one_measured", "the second component was not looked at", |scene| {
        two(scene).device.measured.truncate(1);
    });
}

fn mixed_bundles(tries: &mut Tries<'_>) {
    tries.refused(306, "for_another_set", "a release whose second component is another board's", |scene| {
        two(scene).device.components[1].name = "display".to_owned();
    });
    tries.refused(400, "of_two_ages", "the second component is older than the one that runs", |scene| {
        two(scene).device.components[1].sequence = 8;
    });
    tries.boot(Err(603), "in_each_others_slots", "two slots hold each other's images", |scene| {
        two(scene).device.measured.swap(0, 1);
    });
}
