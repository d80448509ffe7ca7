//! Signatures of files as a service gives them: HTTPS, policy, log, durable
//! records, each signature verified. Against what its HSM alone can do.
//!
//! The HSM is simulated: it signs for real, so many times a second and no
//! more, and answers after a network's time. One without a limit and
//! SoftHSM2, where it is installed, show the service's own ceiling. Whoever
//! asks is another process on this machine, and has its share of the
//! processors: it is shown beside the service's.
//!
//! `cargo bench --profile dist -p firmseal --bench service [-- 1000 3000 unlimited softhsm]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;
mod hsm;
mod place;
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, ExitCode};
use std::sync::Arc;

use firmseal_keys::DynSigner;

use crate::asking::{Found, Load};
use crate::hsm::{NetworkHsm, Soft};
use crate::place::Service;

/// Signatures each second of a small HSM in the network, and of a large one.
const RATES: [u32; 2] = [1_000, 3_000];
/// Requests at once that keep it busy.
const CLIENTS: usize = 96;
/// Files in one request, where many are asked for at once.
const BATCH: u32 = 16;
/// Requests in flight when they come at a rate, whatever becomes of them.
const OUTSTANDING: usize = 256;
const SECONDS: u32 = 10;
/// Files for each second without a limit.
const FILES: u32 = 5_000;
/// Names the process that measures with SoftHSM2: SoftHSM reads its
/// configuration once per process.
const SOFT: &str = "FIRMSEAL_BENCH_SOFTHSM";

/// Of an HSM in the network, the share that the service gives at least.
fn share(rate: u32) -> f64 {
    if rate < RATES[1] { 0.95 } else { 0.9 }
}

/// Longest time to the proof of all but one in a hundred at half of that, in
/// milliseconds.
const PROOF: f64 = 250.0;

/// A measurement, by the word that asks for it; whether it is within limits.
struct Measure {
    word: String,
    run: Box<dyn Fn(&tokio::runtime::Runtime) -> bool>,
}

fn measures() -> Vec<Measure> {
    let simulated = |rate: Option<u32>| Measure {
        word: rate.map_or("unlimited".to_owned(), |rate| rate.to_string()),
        run: Box::new(move |runtime| {
            let directory = place::directory();
            let hsm = Arc::new(NetworkHsm::new(directory.path(), rate));
            let name = rate.map_or("HSM without a limit".to_owned(), |rate| format!("HSM of {rate}/s"));
            runtime.block_on(measure(&name, hsm, rate))
        }),
    };
    let soft = Measure {
        word: "softhsm".to_owned(),
        run: Box::new(|_| match Soft::installed() {
            None => {
                println!("SoftHSM2 is not installed: run `cargo xtask setup bench`");
                false
            }
            Some(_) => {
                let soft = Soft::create();
                let mut child = Command::new(std::env::current_exe().unwrap());
                child.env(SOFT, "1").env("SOFTHSM2_CONF", soft.conf()).status().unwrap().success()
            }
        }),
    };
    RATES.map(Some).into_iter().chain([None]).map(simulated).chain([soft]).collect()
}

async fn measure(name: &str, hsm: Arc<dyn DynSigner>, rate: Option<u32>) -> bool {
    let least = rate.map(share);
    let told = least.map_or(String::new(), |least| format!("   * at least {least}"));
    let mut service = Service::start(hsm.clone()).await;
    let alone = hsm::alone(&hsm, CLIENTS).await;
    println!("{name}, alone {:>40.0} signatures/s", alone);
    let files = service.files(rate.unwrap_or(FILES) * SECONDS * 5 / 4 + 2 * CLIENTS as u32).await;
    let (found, own) = service.ask(Load::AtOnce(CLIENTS), files).await;
    let through = found.signed as f64 / found.seconds;
    println!("  the service, {CLIENTS} at once            {through:>10.0} signatures/s");
    println!("  service / HSM                       {:>10.3}{told}", through / alone);
    println!("  latency p50 {:.1} ms, p99 {:.1} ms", found.signature.p50, found.signature.p99);
    let each = |cpu: f64, found: &Found| cpu * 1e3 / found.signed as f64;
    println!("  processor for each: service         {:>10.3} ms", each(own.as_secs_f64(), &found));
    println!("                      who asks        {:>10.3} ms", each(found.cpu, &found));
    let files = service.files(rate.unwrap_or(FILES) * SECONDS * 5 / 4 + 4 * BATCH * CLIENTS as u32).await;
    let (found, own) = service.ask(Load::Batches(CLIENTS / 4, BATCH as usize), files).await;
    let in_batches = found.signed as f64 / found.seconds;
    println!("  in batches of {BATCH}, {} at once       {in_batches:>10.0} signatures/s", CLIENTS / 4);
    println!("  service / HSM                       {:>10.3}{told}", in_batches / alone);
    println!("  processor for each: service         {:>10.3} ms", each(own.as_secs_f64(), &found));
    println!("                      who asks        {:>10.3} ms", each(found.cpu, &found));
    // Of what the service gives: asking for more would measure the queue.
    let half = (rate.map_or(f64::MAX, f64::from).min(through) / 2.0) as u32;
    let files = service.files(half * SECONDS + 2 * CLIENTS as u32).await;
    let (found, own) = service.ask(Load::Rate(half), files).await;
    println!("  at half of that, {half}/s asked and {:.0}/s signed:", found.signed as f64 / found.seconds);
    println!("    to the signature  p50 {:.1} ms, p99 {:.1} ms", found.signature.p50, found.signature.p99);
    let (p50, p99) = (found.proof.p50, found.proof.p99);
    println!("    to its proof      p50 {p50:.1} ms, p99 {p99:.1} ms   * p99 below {PROOF} ms");
    println!("    processor for each: service {:.3} ms", each(own.as_secs_f64(), &found));
    service.stop().await;
    least.is_none_or(|least| through.min(in_batches) >= least * alone) && p99 < PROOF
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if asking::is_asked() {
        asking::main(&runtime);
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(SOFT).is_some() {
        let hsm = Arc::new(Soft::open());
        return code(runtime.block_on(measure("SoftHSM2 with 4 sessions", hsm, None)));
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut within = true;
    for measure in measures() {
        if wanted.is_empty() || wanted.contains(&measure.word) {
            within &= (measure.run)(&runtime);
        }
    }
    code(within)
}

fn code(within: bool) -> ExitCode {
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
