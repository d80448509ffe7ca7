//! SPDX, judged by the SPDX project's own libraries: `spdx-tools` reads and
//! validates 2.2 and 2.3, `spdx-python-model` reads 3.0.1 by its model.
//!
//! What we take for a bill of materials they take for a valid one, with the
//! same parts; what they write we read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::python;
use firmseal_evidence::Materials;
use firmseal_evidence::materials::lines;
use serde_json::{Value, json};

/// One line for each document: the parts that the library finds, or what it
/// says against it.
const JUDGE: &str = r#"
import io, json, logging, sys
from spdx_python_model import v3_0_1 as spdx3
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
logging.disable(logging.CRITICAL)

def two(document):
    read = JsonLikeDictParser().parse(document)
    said = validate_full_spdx_document(read)
    if said:
        raise ValueError(said[0].validation_message)
    return [(package.name, package.version or '') for package in read.packages]

def three(text):
    objects = spdx3.SHACLObjectSet()
    spdx3.JSONLDDeserializer().read(io.StringIO(text), objects)
    found = objects.foreach_type(spdx3.software_Package, match_subclass=True)
    return [(package.name or '', package.software_packageVersion or '') for package in found]

for line in open(sys.argv[1]):
    document = json.loads(line)
    try:
        parts = two(document) if 'spdxVersion' in document else three(line)
        print(json.dumps(sorted(parts)))
    except Exception as error:
        print(json.dumps(f'{type(error).__name__} {getattr(error, "messages", error)}'))
"#;

/// Documents that the libraries write themselves.
const WRITE: &str = r#"
import datetime, io, json, sys
from spdx_python_model import v3_0_1 as spdx3
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.model import (Actor, ActorType, CreationInfo, Document, Package, Relationship,
    RelationshipType, SpdxNoAssertion)

then = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
for version in ['SPDX-2.2', 'SPDX-2.3']:
    by = [Actor(ActorType.TOOL, 'a tool'), Actor(ActorType.PERSON, 'A. Person', 'a@example.com')]
    creation = CreationInfo(version, 'SPDXRef-DOCUMENT', 'firmware', 'https://a.example/1', by, then.replace(tzinfo=None))
    document = Document(creation)
    for name, number in [('zlib', '1.3'), ('openssl', '3.2')]:
        document.packages.append(Package('SPDXRef-' + name, name, SpdxNoAssertion(), version=number,
            license_concluded=SpdxNoAssertion(), license_declared=SpdxNoAssertion(),
            copyright_text=SpdxNoAssertion(), files_analyzed=False))
        document.relationships.append(Relationship('SPDXRef-DOCUMENT', RelationshipType.DESCRIBES, 'SPDXRef-' + name))
    print(json.dumps(DocumentConverter().convert(document)))

objects = spdx3.SHACLObjectSet()
person = objects.add(spdx3.Person(_id='https://a.example/me', name='me'))
creation = objects.add(spdx3.CreationInfo(specVersion='3.0.1', created=then, createdBy=[person]))
person.creationInfo = creation
parts = [objects.add(spdx3.software_Package(_id='https://a.example/' + name, creationInfo=creation, name=name,
    software_packageVersion=number)) for name, number in [('zlib', '1.3'), ('openssl', '3.2')]]
objects.add(spdx3.SpdxDocument(_id='https://a.example/d', creationInfo=creation, name='firmware', rootElement=parts))
out = io.BytesIO()
spdx3.JSONLDSerializer().write(objects, out)
print(json.dumps(json.loads(out.getvalue())))
"#;

fn two(version: &str) -> Value {
    json!({
        "spdxVersion": version,
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "firmware",
        "dataLicense": "CC0-1.0",
        "documentNamespace": "https://a.example/spdx/1",
        "creationInfo": {
            "created": "2026-01-01T00:00:00Z",
            "creators": ["Tool: a tool", "Organization: An organisation (a@example.com)"],
        },
        "packages": [
            {
                "SPDXID": "SPDXRef-zlib", "name": "zlib", "versionInfo": "1.3", "downloadLocation": "NOASSERTION",
                "filesAnalyzed": false, "licenseConcluded": "Zlib", "licenseDeclared": "Zlib",
                "copyrightText": "NOASSERTION",
            },
            {
                "SPDXID": "SPDXRef-openssl", "name": "openssl", "versionInfo": "3.2",
                "downloadLocation": "https://www.openssl.org/source/openssl-3.2.0.tar.gz", "filesAnalyzed": false,
                "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0", "copyrightText": "NONE",
            },
        ],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT", "relatedSpdxElement": "SPDXRef-zlib",
                "relationshipType": "DESCRIBES",
            },
        ],
    })
}

fn three() -> Value {
    json!({
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            {
                "type": "CreationInfo", "@id": "_:creation", "specVersion": "3.0.1",
                "created": "2026-01-01T00:00:00Z", "createdBy": ["https://a.example/me"],
            },
            { "type": "Person", "spdxId": "https://a.example/me", "creationInfo": "_:creation", "name": "me" },
            {
                "type": "SpdxDocument", "spdxId": "https://a.example/d", "creationInfo": "_:creation",
                "name": "firmware", "rootElement": ["https://a.example/zlib"],
            },
            {
                "type": "software_Package", "spdxId": "https://a.example/zlib", "creationInfo": "_:creation",
                "name": "zlib", "software_packageVersion": "1.3",
            },
            {
                "type": "software_Package", "spdxId": "https://a.example/openssl", "creationInfo": "_:creation",
                "name": "openssl", "software_packageVersion": "3.2",
            },
        ],
    })
}

/// How many parts there are, and how an approver is shown them.
type Parts = (usize, BTreeSet<String>);

/// Parts with these names and versions.
fn shown(parts: &[(String, String)]) -> Parts {
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version) in parts {
        named.entry(name).or_default().insert(version);
    }
    let line = |(name, versions): (&str, BTreeSet<&str>)| {
        format!("SBOM + {name} {}", versions.into_iter().collect::<Vec<_>>().join(", "))
    };
    (parts.len(), named.into_iter().map(line).collect())
}

/// What the libraries say of documents: the parts, or why not.
fn judged(documents: &[Value]) -> Vec<Result<Parts, String>> {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("documents").to_str().unwrap().to_owned();
    let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    let (done, said) = python(JUDGE, &[&path]);
    assert!(done, "{said}");
    let verdicts: Vec<_> = said
        .lines()
        .map(|line| match serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) {
            Value::String(why) => Err(why),
            parts => {
                let parts: Vec<(String, String)> = serde_json::from_value(parts).unwrap();
                Ok(shown(&parts))
            }
        })
        .collect();
    assert_eq!(verdicts.len(), documents.len());
    verdicts
}

/// What we say of one.
fn read(document: &Value) -> Option<Parts> {
    let none = Materials::read(br#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#).unwrap();
    let materials = Materials::read(document.to_string().as_bytes()).ok()?;
    let lines = lines(Some(&none), Some(&materials)).into_iter().filter(|line| line.starts_with("SBOM + "));
    Some((materials.facts().components as usize, lines.collect()))
}

#[test]
fn both_read_the_same_documents() {
    // One package inside of the document's element, where its id was, and one
    // that is more than a package.
    let mut inside = three();
    let mut inner = inside["@graph"].as_array_mut().unwrap().remove(3);
    inner["type"] = json!("ai_AIPackage");
    inside["@graph"][2]["rootElement"] = json!([inner]);
    let documents = [two("SPDX-2.2"), two("SPDX-2.3"), three(), inside];
    let expected = (2, ["SBOM + openssl 3.2".to_owned(), "SBOM + zlib 1.3".to_owned()].into());
    for (document, verdict) in documents.iter().zip(judged(&documents)) {
        assert_eq!(verdict.as_ref(), Ok(&expected), "{document}");
        assert_eq!(read(document).as_ref(), Some(&expected), "{document}");
    }
}

#[test]
fn we_read_what_they_write() {
    let (done, said) = python(WRITE, &[]);
    assert!(done, "{said}");
    let documents: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 3, "{said}");
    for (document, verdict) in documents.iter().zip(judged(&documents)) {
        let parts = verdict.unwrap_or_else(|why| panic!("{why}: {document}"));
        assert_eq!(parts.0, 2);
        assert_eq!(read(document), Some(parts), "{document}");
    }
}

/// Where each member lies, deepest last.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => return,
    };
    for (name, value) in members {
        let place = format!("{at}/{name}");
        out.push(place.clone());
        places(value, &place, out);
    }
}

/// Each member gone, twice, and something else.
fn mutants(document: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    places(document, "", &mut all);
    let mut out = Vec::new();
    for place in all {
        let (holder, name) = place.rsplit_once('/').unwrap();
        let mut gone = document.clone();
        match gone.pointer_mut(holder).unwrap() {
            Value::Object(members) => drop(members.remove(name)),
            Value::Array(list) => drop(list.remove(name.parse().unwrap())),
            _ => unreachable!(),
        }
        out.push((format!("{place} gone"), gone));
        if let Some(Value::Array(_)) = document.pointer(holder) {
            let mut twice = document.clone();
            let list = twice.pointer_mut(holder).unwrap().as_array_mut().unwrap();
            list.push(list[name.parse::<usize>().unwrap()].clone());
            out.push((format!("{place} twice"), twice));
        }
        let own = document.pointer(&place).unwrap();
        let longer = own.as_str().map(|text| json!(format!("{text} x")));
        let shorter = own.as_str().map(|text| json!(&text[1..]));
        let others =
            [json!(null), json!(7), json!(""), json!("x"), json!(true), json!([]), json!({}), json!(["x"])];
        let inside = [json!([own.clone()])];
        for other in others.into_iter().chain(inside).chain(longer).chain(shorter) {
            let mut changed = document.clone();
            *changed.pointer_mut(&place).unwrap() = other.clone();
            if changed != *document {
                out.push((format!("{place} = {other}"), changed));
            }
        }
    }
    out
}

/// What the libraries refuse and we do not, by where it is, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("/relationships", "how packages hang together is not read; no policy asks it"),
    ("/packages gone", "nor what still relates to a package that is gone: there is none, and none is told"),
    ("/packages/0 gone", "the same"),
    ("/packages = []", "the same"),
    ("/packages = null", "a list that is missing is an empty one"),
    ("/licenseConcluded", "licences are not read"),
    ("/licenseDeclared", "licences are not read"),
    ("/copyrightText", "copyrights are not read"),
    ("/filesAnalyzed", "files are not read"),
    ("/packages/1/downloadLocation = \"ttps:", "a scheme is any that has the form of one"),
    ("/@graph/0/", "who made the document is not read: what vouches for it is the signature around it"),
    ("/@graph/1/", "the same"),
    ("/@graph/2/creationInfo", "the same"),
    ("/@graph/3/creationInfo", "the same"),
    ("/@graph/4/creationInfo", "the same"),
    ("/@graph/2/name", "the document's name is not read"),
    ("/@graph/2/rootElement", "all packages are told, whatever the root is"),
];

#[test]
fn we_never_take_what_they_refuse() {
    let mut cases: Vec<(String, Value)> =
        [two("SPDX-2.2"), two("SPDX-2.3"), three()].iter().flat_map(mutants).collect();
    let long = std::env::var_os("FIRMSEAL_MUTATIONS").is_some();
    if !long {
        cases = cases.into_iter().step_by(7).collect();
    }
    let documents: Vec<Value> = cases.iter().map(|(_, document)| document.clone()).collect();
    let (mut taken, mut wrong, mut known) = (0, Vec::new(), BTreeSet::new());
    for ((what, document), verdict) in cases.iter().zip(judged(&documents)) {
        let Some(parts) = read(document) else { continue };
        taken += 1;
        if verdict.as_ref() == Ok(&parts) {
            continue;
        }
        match DIFFERENCES.iter().find(|(place, _)| what.contains(place)) {
            // Parts are never told otherwise, only where they tell none.
            Some((place, _)) if verdict.is_err() => drop(known.insert(place)),
            _ => wrong.push(format!("{what}: {verdict:?}, here {parts:?}")),
        }
    }
    assert!(taken > 10, "{taken} of {} mutants are documents", cases.len());
    assert!(wrong.is_empty(), "{} of {taken}:\n{}", wrong.len(), wrong.join("\n"));
    if long {
        let gone: Vec<_> = DIFFERENCES.iter().filter(|(place, _)| !known.contains(place)).collect();
        assert!(gone.is_empty(), "these are no differences any more: {gone:?}");
    }
}
