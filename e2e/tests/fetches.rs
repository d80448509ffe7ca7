//! Who fetched what: the log lines of a server that hands out firmware, and
//! what deploy/elastic makes of them.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::device::Model;
use firmseal_e2e::{Device, Server, Shell};
use serde_json::Value;

const PIPELINE: &str = include_str!("../../deploy/elastic/firmseal-server.pipeline.json");
const TEMPLATE: &str = include_str!("../../deploy/elastic/firmseal-server.template.json");

/// What stands under `a.b.c`.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

#[test]
fn each_fetch_says_who_fetched_what() {
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 50_000]);
    let order = "--product gateway --channel stable --version 1.0.0 --epoch 1 --component main=firmware.bin";
    let release = t.json(&format!("firmseal release create {order}"));
    let id = release["id"].as_str().unwrap();
    t.ok(&format!("firmseal release envelope {id} -o release.suit"));
    let payload = release["components"][0]["payload"].as_str().unwrap().to_owned();
    let url = format!("{}/payloads/{payload}", server.public());
    t.ok(&format!("curl -sS --fail --cacert place/tls/server.pem -r 100-199 -o part.bin {url}"));
    let model = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
    let device = Device::enrol(&t, &server, "gateway-1", &model);
    t.ok(&format!("firmseal rollout create {id}"));
    device.ok("poll-once");
    let own = t.json("firmseal device list")[0]["id"].as_str().unwrap().to_owned();

    let fetched = server.logged("served");
    let by = |listener: &str| {
        let lines = fetched.iter().filter(|line| line["span"]["listener"] == listener);
        lines.collect::<Vec<_>>()
    };
    // An operator: the envelope, as its digest has it.
    let lines = by("operator");
    let line = lines.iter().find(|line| line["blob"] == release["envelope"]).unwrap();
    assert!(!line["span"]["who"].as_str().unwrap().is_empty(), "{line}");
    assert_eq!((&line["target"], &line["status"]), (&"firmseal_access".into(), &200.into()));
    // Nobody in particular: a part of the payload.
    let line = by("public")[0];
    assert_eq!(
        (line["blob"].as_str(), &line["span"]["who"]),
        (Some(payload.as_str()), &Value::Null),
        "{line}"
    );
    assert_eq!((&line["from"], &line["bytes"], &line["size"]), (&100.into(), &100.into(), &50_000.into()));
    // A device: envelope and payload, under its own id.
    let device = by("device");
    assert!(device.len() >= 2, "{device:?}");
    assert!(device.iter().all(|line| line["span"]["who"] == own.as_str()), "{device:?}");
    assert!(device.iter().any(|line| line["blob"] == payload.as_str()), "{device:?}");
    assert!(device.iter().all(|line| line["span"]["peer"].as_str().unwrap().contains(':')));

    // Every field that the pipeline renames stands in a line, and goes where
    // the template maps it.
    let mut lines = fetched.clone();
    lines.extend(server.logged("answered"));
    let (pipeline, template): (Value, Value) =
        (serde_json::from_str(PIPELINE).unwrap(), serde_json::from_str(TEMPLATE).unwrap());
    let mappings = &template["template"]["mappings"]["properties"];
    let mut renamed = 0;
    for rename in pipeline["processors"].as_array().unwrap().iter().filter_map(|step| step.get("rename")) {
        let (from, to) = (rename["field"].as_str().unwrap(), rename["target_field"].as_str().unwrap());
        assert!(lines.iter().any(|line| at(line, from).is_some()), "no line has {from}");
        let mapped = at(mappings, &to.replace('.', ".properties."));
        assert!(mapped.is_some_and(|field| field["type"].is_string()), "{to} is not mapped");
        renamed += 1;
    }
    assert!(renamed > 10, "{renamed} fields");
    assert!(lines.iter().all(|line| at(line, "timestamp").is_some()));
    assert!(lines.iter().any(|line| line["ms"].is_u64()));
}
