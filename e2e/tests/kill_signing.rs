//! Signing under trouble: `firmseal serve` and the key host with its HSM are
//! killed and hang at random, and so does the database, while pipelines ask
//! for signatures and releases. Each acknowledged request ends in one
//! signature, in one release, or in a refusal that names its rule, and the log
//! accounts for every time that a key was used.
//!
//! `FIRMSEAL_KILLS` says how often (6, and 200 at most); `FIRMSEAL_SEED` repeats
//! the choice of moments, though not what the server was doing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;
use std::time::Duration;

use firmseal_e2e::chance::setting;
use firmseal_e2e::custody::in_custody;
use firmseal_e2e::pipelines::{Pipelines, hold_store, make_product, set_policy};
use firmseal_e2e::{Chance, KeyHost, Operator, Server, Shell};

/// Most troubles: what comes of each request is judged as well, and the test
/// shall end.
const MOST: u64 = 200;
/// Requests between two troubles.
const STRETCH: u64 = 20;

/// What happens to a service, and to the HSM behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    ServerDies,
    HostDies,
    BothDie,
    ServerHangs,
    HostHangs,
    DatabaseHangs,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::ServerDies,
    Trouble::HostHangs,
    Trouble::BothDie,
    Trouble::DatabaseHangs,
    Trouble::HostDies,
    Trouble::ServerHangs,
];

impl Trouble {
    /// Comes and goes. `longest` is how many milliseconds a hang may last.
    fn strike(self, t: &Shell, server: &mut Server, hsm: &mut KeyHost, chance: &mut Chance, longest: u64) {
        let pause = |milliseconds: u64| thread::sleep(Duration::from_millis(milliseconds));
        match self {
            Trouble::ServerDies => {
                server.kill();
                // Once more, while it picks up what was cut off.
                server.start_unobserved();
                pause(chance.below(1500));
                server.kill();
                server.start();
            }
            Trouble::HostDies => {
                hsm.dies();
                pause(chance.below(1000));
                hsm.start();
            }
            Trouble::BothDie => {
                hsm.dies();
                pause(chance.below(200));
                server.kill();
                // It knows the public keys, and waits for the rest.
                server.start();
                pause(chance.below(200));
                hsm.start();
            }
            Trouble::ServerHangs => {
                server.hang();
                pause(chance.below(longest));
                server.go_on();
            }
            Trouble::HostHangs => {
                hsm.hangs();
                pause(chance.below(longest));
                hsm.goes_on();
            }
            Trouble::DatabaseHangs => {
                hold_store(t, server.place(), Duration::from_millis(chance.below(longest)));
            }
        }
    }
}

#[test]
fn trouble_loses_no_request_and_doubles_no_signature() {
    let mut chance = Chance::new();
    let kills = setting("FIRMSEAL_KILLS").unwrap_or(TROUBLES.len() as u64).min(MOST);
    let requests = STRETCH * (kills + 1);
    let t = Shell::new();
    let (mut hsm, mut server) = in_custody(&t);
    set_policy(&t, "place");
    hsm.start();
    server.start();
    make_product(&t);
    let (place, url) = (server.place().to_owned(), server.operators());
    let pipelines = Pipelines::new(requests);
    pipelines.run(&place, &url, || {
        // One trouble in each stretch of the work, at whatever moment of it;
        // of six in a row each is another one.
        let first = chance.below(TROUBLES.len() as u64);
        for number in 1..=kills {
            pipelines.wait_for(STRETCH * number);
            thread::sleep(Duration::from_millis(chance.below(60)));
            let trouble = TROUBLES[((first + number) % TROUBLES.len() as u64) as usize];
            println!("{number}: {trouble:?}");
            // Where there is time, now and then beyond what a key and a
            // database may take.
            let longest = if number % 13 == 12 { 13_000 } else { 1500 };
            trouble.strike(&t, &mut server, &mut hsm, &mut chance, longest);
        }
    });
    let operator = Operator::new(&place, &url);
    let came = pipelines.judge(&operator);
    server.stop();
    assert!(!server.log().text().contains("panicked at"), "{}", server.log().text());
    // What the host has signed, by its own log, is no more than what the
    // server's announced, and no less than what left.
    hsm.dies();
    let used = t.json("firmseal keyhost show host")["used"].as_u64().unwrap();
    let (signed, attempts) = (came.signed as u64, came.attempts as u64);
    assert!((signed..=signed + attempts).contains(&used), "{used} uses, {signed} signed, {attempts} told of");
    println!("{kills} troubles, {requests} requests: {came:?}, the key host used its keys {used} times");
}
