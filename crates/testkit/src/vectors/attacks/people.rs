//! People and places that turn: a server, an approver, a witness, a clock.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::evidence::holder_id;
use firmseal_manifest::Digest;

use super::{Attack, List, Outcome, Tries};
use crate::story::{self, NOW, STRICT, approver};
use crate::vectors::scene::Scene;
use crate::vectors::told::{NED, key, nightly, revoke};

const DAY: u64 = 86_400;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "stolen_server",
        list: List::Own,
        thief: "the server with the release key and the log's key in reach; witnesses cosign its log honestly",
        outcome: Outcome::Bounded {
            bound: "installs nothing where the root demands approvals; withholds, chooses among valid releases and \
                    enrols devices",
            by: "the device; whoever follows the log, where approvals are not demanded",
            soon: "before a byte is fetched; when the log is read next; after `max_age` for what is withheld",
        },
        remains: "under a root without approvals it signs what installs, and the log says so for ever",
        tests: &[
            "server: a_stolen_key_signs_nothing_here_any_more_and_takes_its_releases_along",
            "agent: stolen_server_signs_nothing_that_installs",
        ],
        cases: stolen_server,
    },
    Attack {
        name: "dishonest_approver",
        list: List::Own,
        thief: "one approver of the two that must agree, the release key and an honest log",
        outcome: Outcome::Prevented {
            by: "the device: it counts holders and compares what each signed",
            when: "before a byte of payload is fetched, and again at every boot",
        },
        remains: "two who agree are believed; what they agreed to stays in the log",
        tests: &[],
        cases: dishonest_approver,
    },
    Attack {
        name: "dishonest_witness",
        list: List::Own,
        thief: "one witness of the two that must cosign, and the log's key",
        outcome: Outcome::Prevented {
            by: "the device: it counts witnesses, tests expiry against the latest of them and the age of news against \
                 the earliest, to which its time floor rises",
            when: "before a byte of payload is fetched, and again at every boot",
        },
        remains: "one that turns its clock ahead makes delegations and approvals look expired: leave it out, or revoke it",
        tests: &[
            "tlog: a_quorum_counts_witnesses",
            "agent: dishonest_witness_makes_nothing_young",
            "agent: one_witness_cannot_end_the_news",
        ],
        cases: dishonest_witness,
    },
    Attack {
        name: "wrong_clock",
        list: List::Own,
        thief: "the device's clock",
        outcome: Outcome::Bounded {
            bound: "what has a proof is judged by its witnesses and not by the clock; one that is ahead stops installs \
                    under `max_age`",
            by: "the device",
            soon: "at the first install",
        },
        remains: "a clock that is turned back makes old news look young, down to the time floor",
        tests: &["agent: news_is_fetched_where_it_is_demanded_and_clocks_may_lie"],
        cases: wrong_clock,
    },
];

fn stolen_server(tries: &mut Tries<'_>) {
    tries.refused(701, "signs_and_logs", "signed, logged and witnessed: nobody approved", |scene| {
        scene.tell(|story| story.approvers.clear());
    });
    tries.refused(707, "moves_an_approval", "the approvals of another release", |scene| {
        scene.tell(|story| story.statement = |statement| statement.manifest = Digest([1; 32]));
    });
    tries.refused(701, "approves_itself", "its own requester stands among the approvers", |scene| {
        scene.tell(|story| {
            story.statement = |statement| statement.requester = holder_id("ann", &RustCrypto);
        });
    });
    tries.install(Err(712), "withholds", "withholds the news", |scene| {
        scene.tell(|_| ()).device.knows.max_age = Some(DAY);
    });
    tries.install(
        Err(711),
        "withholds_a_revocation",
        "passes news on without the revocation in it",
        |scene| {
            scene.tell(|_| ()).device.knows.freshness = Some(story::freshness(4, &[(0, NOW), (1, NOW)]));
        },
    );
    let open = "signed and logged under a root that demands no approvals: until it is revoked, and in the log for ever";
    let unapproved = |scene: &mut Scene| {
        scene.tell(|story| {
            story.demands = STRICT;
            story.demands.approvals = false;
            story.approvers.clear();
        });
    };
    tries.install(Ok(()), "ok_without_approvals", open, unapproved);
    tries.boot(Ok(()), "ok_without_approvals", open, unapproved);
    tries.install(Err(710), "once_the_release_is_revoked", "and then its digest was revoked", |scene| {
        unapproved(scene);
        revoke(scene, vec![], vec![scene.craft.digest()]);
    });
}

fn dishonest_approver(tries: &mut Tries<'_>) {
    tries.refused(701, "alone", "agrees alone", |scene| {
        scene.tell(|story| story.approvers = vec![0]);
    });
    tries.refused(701, "twice", "agrees twice", |scene| {
        scene.tell(|story| story.approvers = vec![0, 0]);
    });
    tries.refused(701, "to_the_own_request", "agrees to what it asked for itself", |scene| {
        scene.tell(|story| {
            story.statement = |statement| statement.requester = approver(1).public().id().0;
        });
    });
    tries.refused(201, "for_a_colleague", "signs a second time in a colleague's name", |scene| {
        scene.tell(|story| {
            story.agree = Box::new(|statement, place| match place {
                0 => story::agree(statement, &approver(0)),
                _ => {
                    let mut other = statement.clone();
                    other.expiry += 1;
                    story::agree(&other, &approver(place))
                }
            });
        });
    });
    tries.refused(
        701,
        "on_another_channel",
        "agrees on a channel where it may alone, for devices that take none",
        |scene| {
            nightly(scene, None, vec![NED]);
        },
    );
    tries.refused(707, "to_something_else", "shows its colleague another manifest", |scene| {
        scene.tell(|story| story.statement = |statement| statement.manifest = Digest([1; 32]));
    });
    let revoked = |scene: &mut Scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(approver(0).public().id(), Some(4), &[])], vec![]);
    };
    tries.install(Err(701), "once_revoked", "its key was revoked: it does not count", revoked);
    tries.trial(Err(701), "once_revoked", "its key was revoked after the install", revoked);
}

fn dishonest_witness(tries: &mut Tries<'_>) {
    tries.refused(705, "alone", "cosigns a fork alone", |scene| {
        scene.tell(|story| story.witnesses = vec![(2, NOW)]);
    });
    tries.refused(705, "twice", "cosigns a fork twice", |scene| {
        scene.tell(|story| story.witnesses = vec![(2, NOW), (2, NOW + 1)]);
    });
    tries.refused(211, "in_the_past", "turns its clock back for an approval that has expired", |scene| {
        scene.tell(|story| {
            story.witnesses = vec![(0, 1), (1, NOW + 2)];
            story.statement = |statement| statement.expiry = NOW;
        });
    });
    tries.refused(211, "in_the_future", "turns its clock ahead: what is good looks expired", |scene| {
        scene.tell(|story| {
            story.delegated = true;
            story.witnesses = vec![(0, NOW), (1, NOW + 100 * 365 * DAY)];
        });
    });
    tries.install(
        Err(712),
        "makes_old_news_young",
        "news of eight days ago, and one clock years ahead",
        |scene| {
            scene.tell(|_| ()).device.knows.max_age = Some(7 * DAY);
            scene.device.knows.freshness = Some(story::freshness(0, &[(0, NOW), (1, NOW + 1000 * DAY)]));
            scene.device.knows.clock = Some(NOW + 8 * DAY);
        },
    );
    tries.install(Ok(()), "ok_left_out", "the same with the other two witnesses", |scene| {
        scene.tell(|story| {
            story.delegated = true;
            story.witnesses = vec![(0, NOW), (2, NOW + 2)];
        });
    });
    tries.install(Err(705), "once_revoked", "its key was revoked: it does not count", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(story::witness(1).public().id(), None, &[])], vec![]);
    });
}

fn wrong_clock(tries: &mut Tries<'_>) {
    for (name, clock) in [("ok_ahead", NOW + 1_000_000_000), ("ok_behind", 0)] {
        let change = move |scene: &mut Scene| {
            scene.tell(|story| story.delegated = true).device.knows.clock = Some(clock);
        };
        let about = "a proof says when it was: the clock is not asked";
        tries.install(Ok(()), name, about, change);
        tries.boot(Ok(()), name, about, change);
    }
    tries.install(Err(712), "ahead_of_the_news", "a clock that is years ahead finds all news old", |scene| {
        scene.tell(|_| ()).device.knows.max_age = Some(DAY);
        scene.device.knows.freshness = Some(story::freshness(0, &[(0, NOW), (1, NOW)]));
        scene.device.knows.clock = Some(NOW + 1000 * DAY);
    });
    tries.install(
        Err(712),
        "behind_the_floor",
        "a clock that was turned back, and news before the floor",
        |scene| {
            scene.tell(|_| ()).device.knows.max_age = Some(DAY);
            scene.device.knows.freshness = Some(story::freshness(0, &[(0, NOW), (1, NOW)]));
            (scene.device.knows.clock, scene.device.knows.floor) = (Some(NOW), NOW + DAY);
        },
    );
}
