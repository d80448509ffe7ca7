//! Alerts, judged by Prometheus's own promtool.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use firmseal_e2e::Shell;

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

#[test]
fn alerts_fire_when_they_should() {
    let t = Shell::at(&rules());
    t.ok("promtool check rules firmseal.rules.yml").says("SUCCESS");
    t.ok("promtool test rules firmseal.rules.test.yml").says("SUCCESS");
}

/// Nobody is woken by what is well, or without being told what to do.
#[test]
fn each_alert_fires_stays_quiet_and_has_a_runbook() {
    let read = |name: &str| std::fs::read_to_string(rules().join(name)).unwrap();
    let (rules, tests) = (read("firmseal.rules.yml"), read("firmseal.rules.test.yml"));
    let quiet = tests.split("\n  - name: ").find(|test| test.starts_with("a service that signs is quiet"));
    let quiet = quiet.unwrap();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 16, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        assert!(quiet.contains(&format!("alertname: {name} }}")), "{name} is never seen quiet");
        assert!(tests.contains(&format!("alertname: {name}\n        exp_alerts:")), "{name} never fires");
        let book = alert.lines().find_map(|line| line.trim().strip_prefix("runbook: "));
        let book = book.unwrap_or_else(|| panic!("{name} names no runbook"));
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(book);
        assert!(page.is_file(), "{name}: there is no {book}");
    }
}
