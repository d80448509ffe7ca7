//! Grafana's dashboards: every query is one that Prometheus reads, and names
//! what the server, the monitor or a recording rule makes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use firmseal_e2e::Shell;
use serde_json::Value;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(deploy("grafana")).unwrap().map(|file| file.unwrap().path());
    let named = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
    };
    files.map(named).collect()
}

/// What panels ask for.
fn queries(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter(|panel| panel["type"] != "row").map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{} shows nothing", panel["title"]);
        targets
    });
    targets.flatten().map(|target| target["expr"].as_str().unwrap()).collect()
}

#[test]
fn every_query_is_one_that_prometheus_reads() {
    let t = Shell::new();
    let mut rules = "groups:\n- name: dashboards\n  rules:\n".to_owned();
    let mut count = 0;
    for (_, dashboard) in dashboards() {
        for query in queries(&dashboard) {
            let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*");
            assert!(!query.contains('$'), "{query}: promtool knows no such variable");
            count += 1;
            let quoted = serde_json::to_string(&query).unwrap();
            rules += &format!("  - record: query:{count}\n    expr: {quoted}\n");
        }
    }
    assert!(count > 40, "{count} queries");
    t.write("queries.yml", rules);
    t.ok("promtool check rules queries.yml").says(&format!("SUCCESS: {count} rules found"));
}

#[test]
fn panels_have_places_of_their_own_and_dashboards_names() {
    for (name, dashboard) in dashboards() {
        assert_eq!(dashboard["uid"], *name, "a link to it has to go on working");
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{name}: {} is too wide", panel["title"]);
            for (x, y) in
                (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y)))
            {
                assert!(taken.insert((x, y)), "{name}: {} lies over another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_alert_about_the_monitor_fires_when_it_should() {
    let t = Shell::at(&deploy("prometheus"));
    t.ok("promtool check rules firmseal-monitor.rules.yml").says("SUCCESS");
    t.ok("promtool test rules firmseal-monitor.rules.test.yml").says("SUCCESS");
}
