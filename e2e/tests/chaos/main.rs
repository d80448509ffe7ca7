//! Chaos: servers and agents are killed at random while releases roll out,
//! and whatever was acknowledged is there in the end.
//!
//! `FIRMSEAL_KILLS` says how often (12); `FIRMSEAL_SEED` repeats the choice of
//! victims and moments, though not what the victims were doing.
#![allow(clippy::unwrap_used, clippy::panic)]

mod gossip;
mod machine;
mod promises;
mod rage;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use firmseal_e2e::chance::setting;
use firmseal_e2e::device::Model;
use firmseal_e2e::spy::Spy;
use firmseal_e2e::{Chance, Operator, Server, Shell, until};
use serde_json::Value;

use machine::Machine;
use promises::{Promises, firmware};
use rage::{Bell, rage};

const DEVICES: usize = 3;

/// Each boot that is cut off counts as a try, and here that says nothing
/// about the image.
const GATEWAY: Model<'_> = Model {
    product: "gateway",
    components: &[("main", 32 << 20)],
    settings: "tries = 20\nsync_bytes = 1048576",
};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn kills_lose_nothing() {
    let chance = Chance::new();
    let kills = setting("FIRMSEAL_KILLS").unwrap_or(12);
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=32MiB");
    let machines: Vec<Machine> =
        (1..=DEVICES).map(|number| Machine::new(&t, &server, &format!("gateway-{number}"))).collect();
    let operator = Operator::new(server.place(), &server.operators());
    let spy = Spy::enrol(&operator, &server, "gateway");
    let (devices, log) = (server.devices(), server.log().clone());
    let server = Mutex::new(server);
    let over = AtomicBool::new(false);

    let mut promises = Promises::default();
    let told = thread::scope(|scope| {
        let gossip = scope.spawn(|| gossip::gossip(&spy, &operator, &over));
        let rage = scope.spawn(|| {
            let _bell = Bell(&over);
            rage(chance, kills, &server, &log, &machines);
        });
        while !over.load(Ordering::Relaxed) || promises.releases.len() < 3 {
            let release = promises.publish(&t);
            let first = &machines[promises.releases.len() % DEVICES];
            until("a device to confirm a release", || {
                first.logged("confirmed").contains(&release).then_some(())
            });
            if promises.enrolled.len() < 3 {
                promises.enrol(&t, &devices);
            }
        }
        rage.join().unwrap();
        gossip.join().unwrap()
    });

    let last = promises.releases.last().unwrap();
    for machine in &machines {
        let status = until("the last release on each device", || {
            let status = machine.status();
            let done = status["floors"]["sequence"]["main"] == last["sequence"]
                && status["reports"] == 0
                && status["install"] == Value::Null;
            done.then_some(status)
        });
        assert_eq!(status["boot"]["confirmed"], status["boot"]["active"]);
    }
    let resumed = machines.iter().map(Machine::resumed).sum::<usize>();
    println!("{} releases; {resumed} installs went on after a cut", promises.releases.len());
    // What counts is what a server finds that comes up after a cut.
    let mut server = server.into_inner().unwrap();
    server.kill();
    server.start();
    promises.check(&t);
    gossip::check(&machines, &spy, &told, &operator);

    let image = firmware(promises.releases.len());
    for Machine { device, powered, .. } in machines {
        drop(powered);
        let slot = device.ok("boot").says(&format!("{} runs", text(last, "version"))).stdout;
        let slot = device.slot("main", slot.lines().next().unwrap());
        assert!(slot[..image.len()] == image[..], "{}", device.home().display());
    }
    for (_, device) in &promises.enrolled {
        device.ok("poll-once").says("installed");
    }
    server.stop();
    assert!(!server.log().text().contains("panicked at"), "{}", server.log().text());
}
