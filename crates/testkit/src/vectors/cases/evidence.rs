//! Evidence: log proof, approvals and the owner's consent (refusals 70x).

use firmseal_core::crypto::RustCrypto;
use firmseal_manifest::{Digest, Environment, Purpose, SignedStatement, StatementPurpose};
use firmseal_trust::{ClosedLogSpec, DemandsSpec, Role};

use super::Cases;
use crate::keys::TestKey;
use crate::story::{self, NOW, ORIGIN, agree, approver};
use crate::vectors::scene::Scene;

pub(super) fn add(cases: &mut Cases) {
    accepted(cases);
    proofs(cases);
    intents(cases);
    approvals(cases);
    owners(cases);
}

fn accepted(cases: &mut Cases) {
    cases.ok("ok_strict", "two approvers, a log and two witnesses, as the root demands", |scene| {
        scene.tell(|_| ());
    });
    cases.ok(
        "ok_strict_production",
        "a silent production root demands proof and approvals, and gets them",
        |scene| {
            scene.release(|release| release.environment = Environment::Production);
            scene.world.root.environment = Environment::Production;
            scene.tell(|_| ());
            scene.world.root.demands.clear();
        },
    );
    cases.ok(
        "ok_evidence_not_demanded",
        "evidence that nobody asks for, of a log that nobody knows",
        |scene| {
            scene.tell(|story| story.proof = |proof| proof.checkpoint.origin = "another".to_owned());
            scene.world.root.demands = vec![DemandsSpec::NOTHING];
        },
    );
    cases.ok(
        "ok_full_verification",
        "a delegated key, two of three approvers, a log of 1,048,576 entries and two of three witnesses",
        |scene| {
            scene.tell(|story| {
                story.demands.delegation = true;
                story.delegated = true;
                story.levels = Some(20);
            });
        },
    );
    cases.ok("ok_three_approvers", "all three approvers agree where two must", |scene| {
        scene.tell(|story| story.approvers = vec![2, 0, 1]);
    });
    cases.ok("ok_three_witnesses", "all three witnesses cosign where two must", |scene| {
        scene.tell(|story| story.witnesses.push((2, NOW)));
    });
    cases.ok("ok_approval_expired_since", "an approval that expired after the release was born", |scene| {
        scene.tell(|_| ()).device.knows.clock = Some(NOW + 1_000_000_000);
    });
    cases.ok("ok_born_in_a_closed_log", "the log was closed after the release was born in it", |scene| {
        scene.tell(|_| ());
        close(scene, 7, None);
    });
    cases.ok("boot_ok_strict", "the confirmed image of a strict root, with all its evidence", |scene| {
        scene.boot().tell(|_| ());
    });
}

/// Takes the log out of its role and closes it at a size.
fn close(scene: &mut Scene, size: u64, hash: Option<Digest>) {
    let key = TestKey::ed25519(79);
    let role = scene.world.root.roles.iter_mut().find(|role| role.role == Role::Log).unwrap();
    role.holders[0].name = "log.example.com/2".to_owned();
    role.holders[0].keys = vec![key.public().clone()];
    let hash = hash.unwrap_or_else(|| tree_of(scene));
    let key = story::log_key().public().clone();
    scene.world.root.closed_logs = vec![ClosedLogSpec { origin: ORIGIN.to_owned(), key, size, hash }];
}

/// The hash of the tree in the scene's envelope.
fn tree_of(scene: &Scene) -> Digest {
    use crate::{Members, item};
    let envelope = Members::parse(&item::untag(scene.envelope.as_ref().unwrap()));
    let evidence = Members::parse(&item::content(&envelope.get(-258)));
    let checkpoint = Members::parse(&item::split(&evidence.get(3))[0]);
    Digest::from_slice(&item::content(&checkpoint.get(3))).unwrap()
}

fn proofs(cases: &mut Cases) {
    cases.refused(700, "proof_dropped", "a carrier dropped the proof", |scene| {
        scene.tell(|story| story.evidence = |evidence| evidence.proof = None);
    });
    cases.refused(700, "intent_dropped", "a carrier dropped the intent", |scene| {
        scene.tell(|story| story.evidence = |evidence| evidence.intent = None);
    });
    cases.refused(700, "evidence_dropped", "a carrier dropped all evidence", |scene| {
        scene.tell(|_| ());
        scene.envelope = None;
        scene.craft.envelope.remove(-258);
    });
    cases.refused(705, "one_witness", "one of two needed witnesses has cosigned", |scene| {
        scene.tell(|story| story.witnesses.truncate(1));
    });
    cases.refused(705, "one_witness_twice", "one witness has cosigned twice, at two times", |scene| {
        scene.tell(|story| story.witnesses = vec![(0, NOW), (0, NOW + 1)]);
    });
    cases.refused(705, "witness_unknown", "the second witness is not one of the root's", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                let other = TestKey::ed25519(5);
                proof.checkpoint.cosignatures[1].key = other.public().id();
            };
        });
    });
    cases.refused(201, "cosignature_bit_flipped", "one bit of a cosignature differs", |scene| {
        scene.tell(|story| story.proof = |proof| proof.checkpoint.cosignatures[1].signature[40] ^= 1);
    });
    cases.refused(201, "cosignature_time_changed", "a carrier made a cosignature younger", |scene| {
        scene.tell(|story| story.proof = |proof| proof.checkpoint.cosignatures[0].time += 1);
    });
    cases.refused(
        201,
        "checkpoint_signature_bit_flipped",
        "one bit of the log's signature differs",
        |scene| {
            scene.tell(|story| story.proof = |proof| proof.checkpoint.signature.1[0] ^= 1);
        },
    );
    cases.refused(201, "checkpoint_size_changed", "a checkpoint of another size", |scene| {
        scene.tell(|story| story.proof = |proof| proof.checkpoint.size += 1);
    });
    cases.refused(704, "log_unknown", "a log that the root does not know", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                let thief = TestKey::ed25519(5);
                let (size, hash) = (proof.checkpoint.size, proof.checkpoint.hash);
                proof.checkpoint = story::cosigned(ORIGIN, size, hash, &thief, &[(0, NOW), (1, NOW)]);
            };
        });
    });
    cases.refused(704, "log_of_another_origin", "the log's key under another origin", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                let (size, hash, key) = (proof.checkpoint.size, proof.checkpoint.hash, story::log_key());
                proof.checkpoint =
                    story::cosigned("other.example.com", size, hash, &key, &[(0, NOW), (1, NOW)]);
            };
        });
    });
    cases.refused(704, "leaf_of_another_index", "the right path with another index", |scene| {
        scene.tell(|story| story.proof = |proof| proof.index = 4);
    });
    cases.refused(704, "index_beyond_the_tree", "an index that equals the size", |scene| {
        scene.tell(|story| story.proof = |proof| proof.index = 7);
    });
    cases.refused(704, "path_too_short", "a path without its last hash", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                proof.path.pop();
            };
        });
    });
    cases.refused(704, "path_too_long", "a path with one hash more", |scene| {
        scene.tell(|story| story.proof = |proof| proof.path.push(Digest([0; 32])));
    });
    cases.refused(704, "path_bit_flipped", "one bit of the path differs", |scene| {
        scene.tell(|story| story.proof = |proof| proof.path[1].0[9] ^= 4);
    });
    cases.refused(704, "beyond_a_closed_log", "born in a log after its final size", |scene| {
        scene.tell(|_| ());
        close(scene, 6, None);
    });
    cases.refused(704, "fork_of_a_closed_log", "another tree of the closed log's final size", |scene| {
        scene.tell(|_| ());
        close(scene, 7, Some(Digest([1; 32])));
    });
    cases.refused(204, "no_witness_role", "a root that demands a proof and names no witnesses", |scene| {
        scene.tell(|_| ());
        scene.world.root.roles.retain(|role| role.role != Role::Witness);
    });
}

fn intents(cases: &mut Cases) {
    cases.refused(706, "intent_of_another_manifest", "the log announces another manifest", |scene| {
        scene.tell(|story| story.intent = |intent| intent.subject = Digest([1; 32]));
    });
    cases.refused(706, "intent_of_another_key", "the log announces another key", |scene| {
        scene.tell(|story| story.intent = |intent| intent.keys = vec![TestKey::ed25519(5).public().id()]);
    });
    cases.refused(
        706,
        "intent_of_a_delegation",
        "the log announces a delegation that is not there",
        |scene| {
            scene.tell(|story| story.intent = |intent| intent.delegation = Some(Digest([1; 32])));
        },
    );
    cases.refused(706, "intent_of_another_purpose", "the log announces an artifact's signature", |scene| {
        scene.tell(|story| story.intent = |intent| intent.purpose = Purpose::Artifact);
    });
    cases.refused(706, "intent_without_the_statement", "the log announces no approval", |scene| {
        scene.tell(|story| story.intent = |intent| intent.statements.clear());
    });
    cases.refused(
        706,
        "intent_with_another_statement",
        "the log announces an approval that is not there",
        |scene| {
            scene.tell(|story| story.intent = |intent| intent.statements.push(Digest([0xff; 32])));
        },
    );
    cases.refused(704, "intent_changed_after_logging", "the intent is not the one in the log", |scene| {
        scene.tell(|story| {
            story.evidence = |evidence| {
                if let Some(intent) = &mut evidence.intent {
                    intent.policy = Digest([1; 32]);
                }
            };
        });
    });
}

fn approvals(cases: &mut Cases) {
    cases.refused(701, "no_approval", "nobody has approved", |scene| {
        scene.tell(|story| story.approvers.clear());
    });
    cases.refused(701, "one_approval", "one of two needed approvers has approved", |scene| {
        scene.tell(|story| story.approvers = vec![0]);
    });
    cases.refused(701, "one_approver_twice", "one approver has signed twice", |scene| {
        scene.tell(|story| story.approvers = vec![0, 0]);
    });
    cases.refused(
        102,
        "statement_about_a_file",
        "approvals of a file in the place of a release's",
        |scene| {
            scene.tell(|story| {
                story.statement = |statement| statement.purpose = StatementPurpose::Artifact;
            });
        },
    );
    cases.refused(
        102,
        "statement_about_a_policy",
        "approvals of a policy in the place of a release's",
        |scene| {
            scene.tell(|story| {
                story.statement = |statement| statement.purpose = StatementPurpose::Policy;
            });
        },
    );
    cases.refused(
        701,
        "requester_approves",
        "one of two approvers asked for the release, by name",
        |scene| {
            scene.tell(|story| {
                story.statement = |statement| {
                    statement.requester = firmseal_core::evidence::holder_id("ann", &RustCrypto);
                };
            });
        },
    );
    cases.refused(701, "requester_approves_by_key", "one of two approvers asked with the own key", |scene| {
        scene.tell(|story| {
            story.statement = |statement| statement.requester = approver(1).public().id().0;
        });
    });
    cases.refused(
        701,
        "requester_approves_with_another_role",
        "one of two approvers asked with a key of another role",
        |scene| {
            scene.holders(1, vec![("ann", vec![TestKey::ed25519(1)])]);
            scene.tell(|story| {
                story.statement = |statement| statement.requester = TestKey::ed25519(1).public().id().0;
            });
        },
    );
    cases.refused(201, "approval_bit_flipped", "one bit of an approver's signature differs", |scene| {
        scene.tell(|story| {
            story.evidence = |evidence| {
                let mut other = evidence.statements[0].statement.clone();
                other.expiry += 1;
                evidence.statements[0].signatures[1] = agree(&other, &approver(1));
            };
        });
    });
    cases.refused(707, "approval_of_another_manifest", "the approvers approved another manifest", |scene| {
        scene.tell(|story| story.statement = |statement| statement.manifest = Digest([1; 32]));
    });
    cases.refused(707, "approval_of_another_key", "the approvers approved another signing key", |scene| {
        scene.tell(|story| {
            story.statement = |statement| statement.signers = vec![TestKey::ed25519(5).public().id()];
        });
    });
    cases.refused(
        707,
        "approval_under_another_policy",
        "approved under a policy that did not decide",
        |scene| {
            scene.tell(|story| story.intent = |intent| intent.policy = Digest([1; 32]));
        },
    );
    cases.refused(707, "approval_of_another_request", "the log names another requester", |scene| {
        scene.tell(|story| story.intent = |intent| intent.requester = Digest([1; 32]));
    });
    cases.refused(302, "approval_of_a_test", "approved for production, released for test", |scene| {
        scene.tell(|story| story.statement = |statement| statement.environment = Environment::Production);
    });
    cases.refused(701, "approval_of_another_lineage", "approved under another vendor's root", |scene| {
        scene.tell(|story| story.statement = |statement| statement.lineage = *b"another lineage!");
    });
    cases.refused(211, "approval_expired", "the approval had expired when the release was born", |scene| {
        scene.tell(|story| story.statement = |statement| statement.expiry = NOW + 1);
    });
    cases.refused(
        211,
        "approval_expired_for_one_witness",
        "one witness says that it was in time, the other that it was not",
        |scene| {
            scene.tell(|story| {
                story.witnesses = vec![(0, 1), (1, NOW + 2)];
                story.statement = |statement| statement.expiry = NOW;
            });
        },
    );
    cases.refused(701, "owners_consent_as_approval", "an owner's consent is not an approval", |scene| {
        scene.tell(|story| {
            story.statement = |statement| {
                statement.purpose = firmseal_manifest::StatementPurpose::Owner;
            };
            story.intent = |intent| intent.statements.clear();
        });
    });
    cases.refused(
        707,
        "approvals_of_two_manifests",
        "each approver has approved another manifest",
        |scene| {
            scene.tell(|story| {
                story.approvers = vec![0];
                story.evidence = |evidence| {
                    let mut statement = evidence.statements[0].statement.clone();
                    statement.manifest = Digest([1; 32]);
                    let signatures = vec![agree(&statement, &approver(1))];
                    evidence.statements.push(SignedStatement { statement, signatures });
                };
                story.intent = |_| ();
            });
            scene.world.root.demands[0].demands.proof = false;
        },
    );
}

fn owners(cases: &mut Cases) {
    let owned = |scene: &mut Scene| scene.device.knows.owner = Some(story::owner_root());
    cases.ok("ok_owner", "the owner consents, as the vendor's root demands", |scene| {
        scene.tell(|story| {
            story.demands.owner = true;
            story.owned = true;
        });
        owned(scene);
    });
    cases.ok("ok_owner_not_asked", "a device with an owner, under roots that ask for no consent", |scene| {
        scene.tell(|_| ());
        owned(scene);
    });
    cases.refused(703, "owner_silent", "the owner has not consented", |scene| {
        scene.tell(|story| story.demands.owner = true);
        owned(scene);
    });
    cases.refused(
        703,
        "owner_unknown",
        "the root demands consent of an owner that the device does not have",
        |scene| {
            scene.tell(|story| {
                story.demands.owner = true;
                story.owned = true;
            });
        },
    );
    cases.refused(703, "vendor_consents_for_the_owner", "consent under the vendor's lineage", |scene| {
        scene.tell(|story| {
            story.demands.owner = true;
            story.owned = true;
            story.consent = |consent| consent.lineage = *b"firmseal-testkit";
        });
        owned(scene);
    });
    cases.refused(
        707,
        "owner_consents_to_another_manifest",
        "the owner consented to another release",
        |scene| {
            scene.tell(|story| {
                story.demands.owner = true;
                story.owned = true;
                story.consent = |consent| consent.manifest = Digest([1; 32]);
            });
            owned(scene);
        },
    );
}
