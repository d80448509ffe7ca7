//! Two servers on one place are one service: one serves, the other stands by,
//! and takes over when the first is killed, hangs, loses its store or is
//! stopped for maintenance, while pipelines ask for signatures and releases.
//! Nothing that was acknowledged is lost, nothing is signed twice.
//!
//! `FIRMSEAL_TAKEOVERS` says how often (4, and 200 at most); `FIRMSEAL_SEED`
//! repeats the choice of moments.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;
use std::time::{Duration, Instant};

use firmseal_e2e::chance::setting;
use firmseal_e2e::custody::in_custody;
use firmseal_e2e::pipelines::{Pipelines, hold_store, make_product, set_policy};
use firmseal_e2e::supervisor::Supervisor;
use firmseal_e2e::{Chance, Operator, Server, Shell, until};

const MOST: u64 = 200;
/// Requests between two takeovers.
const STRETCH: u64 = 15;
/// How long a server may be silent before its supervisor ends it, and how long
/// its store before it ends itself.
const WATCHDOG: Duration = Duration::from_secs(3);
const HANG: &str = "\n[limits]\nhang_seconds = 2\n";

/// How the server that serves comes to its end.
#[derive(Clone, Copy, Debug)]
enum End {
    Dies,
    Hangs,
    LosesItsStore,
    IsStopped,
}

const ENDS: [End; 4] = [End::Dies, End::LosesItsStore, End::IsStopped, End::Hangs];

/// One of two servers, and its supervisor.
struct Supervised {
    server: Server,
    supervisor: Supervisor,
}

impl Supervised {
    fn new(t: &Shell, place: &str, port: u16, number: usize) -> Supervised {
        let socket = t.path(format!("notify-{number}"));
        let supervisor = Supervisor::new(&socket);
        let shell = Shell::at(&t.path("")).with("NOTIFY_SOCKET", socket);
        Supervised { server: Server::standby_in_place(shell, place, port), supervisor }
    }

    /// Starts it, and waits until it says what it does.
    fn start(&mut self, status: &str) {
        self.supervisor.begin();
        self.server.start_unobserved();
        self.supervisor.wait_for(status);
    }
}

impl End {
    fn comes(self, t: &Shell, of: &mut Supervised) {
        match self {
            End::Dies => of.server.kill(),
            End::IsStopped => of.server.stop(),
            End::Hangs => {
                of.server.hang();
                of.supervisor.wait_for_silence(WATCHDOG);
                of.server.kill();
            }
            End::LosesItsStore => {
                hold_store(t, of.server.place(), Duration::from_secs(12));
                until("the server to end itself", || (!of.server.is_running()).then_some(()));
                let last = of.server.log().text();
                assert!(last.contains("the store gave no answer for 2 s"), "{last}");
            }
        }
    }
}

/// A disk of ours that stalls ends a server as one that hangs does, at any
/// time: the other serves then.
fn overtaken(serving: &mut Supervised, waiting: &mut Supervised) {
    if !serving.server.is_running()
        && serving.server.log().text().contains("the store gave no answer for 2 s")
    {
        waiting.supervisor.wait_for("serving");
        std::mem::swap(serving, waiting);
        waiting.start("standing by");
    }
}

#[test]
fn one_server_goes_on_where_the_other_ends() {
    let mut chance = Chance::new();
    let takeovers = setting("FIRMSEAL_TAKEOVERS").unwrap_or(ENDS.len() as u64).min(MOST);
    let t = Shell::new();
    let (mut hsm, server) = in_custody(&t);
    let port = server.port();
    set_policy(&t, "place");
    let settings = String::from_utf8(t.read("place/server.toml")).unwrap();
    t.write("place/server.toml", settings + HANG);
    hsm.start();
    let [mut serving, mut waiting] = [0, 1].map(|number| Supervised::new(&t, "place", port, number));
    serving.start("serving");
    waiting.start("standing by");
    make_product(&t);
    until("the server to know of its standby", || {
        serving.server.metrics().contains("\nfirmseal_successor 1\n").then_some(())
    });
    let (place, url) = (server.place().to_owned(), server.operators());
    let pipelines = Pipelines::new(STRETCH * (takeovers + 1));
    pipelines.run(&place, &url, || {
        let first = chance.below(ENDS.len() as u64);
        for number in 1..=takeovers {
            pipelines.wait_for(STRETCH * number);
            overtaken(&mut serving, &mut waiting);
            thread::sleep(Duration::from_millis(chance.below(60)));
            let end = ENDS[((first + number) % ENDS.len() as u64) as usize];
            end.comes(&t, &mut serving);
            let gone = Instant::now();
            waiting.supervisor.wait_for("serving");
            println!("{number}: {end:?}: served again after {:?}", gone.elapsed());
            std::mem::swap(&mut serving, &mut waiting);
            waiting.start("standing by");
        }
    });
    let came = pipelines.judge(&Operator::new(&place, &url));
    overtaken(&mut serving, &mut waiting);
    serving.server.stop();
    waiting.supervisor.wait_for("serving");
    waiting.server.stop();
    for server in [&serving.server, &waiting.server] {
        assert!(!server.log().text().contains("panicked at"), "{}", server.log().text());
    }
    hsm.dies();
    let used = t.json("firmseal keyhost show host")["used"].as_u64().unwrap();
    let (signed, attempts) = (came.signed as u64, came.attempts as u64);
    assert!((signed..=signed + attempts).contains(&used), "{used} uses, {came:?}");
    println!("{takeovers} takeovers: {came:?}, the key host used its keys {used} times");
}

#[test]
fn a_standby_that_could_not_take_over_says_so_at_once() {
    let t = Shell::new();
    let port = firmseal_e2e::server::init(&t, "place");
    let mut server = Server::in_place(&t, "place", port);
    server.start();
    // A second server that does not stand by is told how it would.
    let refused = t.run("firmseal serve place");
    assert_eq!(refused.code, Some(8), "{}", refused.stderr);
    assert!(refused.stderr.contains("--standby"), "{}", refused.stderr);
    // What is wrong with one is said while there is somebody to mend it.
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let secret = settings.lines().find(|line| line.starts_with("secret = ")).unwrap();
    let typed = [
        settings.replace(secret, "secret = \"prompt\""),
        settings.replace("artifact = \"file:", "artifact = \"pkcs11:object=a?pin-source=prompt\" # \""),
    ];
    for typed in typed {
        assert_ne!(typed, settings);
        t.write("place/signing.toml", typed);
        let refused = t.run("firmseal serve place --standby");
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("a standby has nobody to ask"), "{}", refused.stderr);
    }
    t.write("place/signing.toml", settings);
    let certificate = t.read("place/tls/server.pem");
    t.write("place/tls/server.pem", "no certificate");
    let refused = t.run("firmseal serve place --standby");
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    assert!(refused.stderr.contains("server.pem"), "{}", refused.stderr);
    t.write("place/tls/server.pem", certificate);
    let settings = String::from_utf8(t.read("place/server.toml")).unwrap();
    let provider = "\n[[identity]]\nissuer = \"https://ci.example.com\"\nkind = \"workload\"\naudience = [\"firmseal\"]\n\
                    authority = \"absent.pem\"\ngrant = [{ match = { sub = \"ci\" }, name = \"ci\", roles = [\"signer\"] }]\n";
    t.write("place/server.toml", format!("{settings}{provider}"));
    let refused = t.run("firmseal serve place --standby");
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    assert!(refused.stderr.contains("absent.pem"), "{}", refused.stderr);
    t.write("place/server.toml", settings);
    // One that waits ends when it is told to.
    let mut waiting = Server::standby_in_place(Shell::at(&t.path("")), "place", port);
    waiting.start_unobserved();
    until("it to stand by", || waiting.log().text().contains("standing by").then_some(()));
    waiting.stop();
    server.stop();
}
