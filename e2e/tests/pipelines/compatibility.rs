//! `docs/compatibility.md`: what the fixtures prove, and what is known without one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use onspot_e2e::images::repository;
use serde::Deserialize;

use crate::fixture::Fixture;

/// The parts of the table, in its order.
const AREAS: [&str; 11] = [
    "Pipelines",
    "Variables",
    "Sources",
    "Script",
    "Image and services",
    "Cache",
    "Artifacts",
    "Isolation",
    "End of a job",
    "Protocol",
    "config.toml",
];
const BEGIN: &str = "<!-- table: written by e2e/tests/pipelines/compatibility.rs -->\n";

/// A row of `fixtures/compatibility.json`: no fixture can show it, or it is not supported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// `area: feature`.
    feature: String,
    here: Here,
    /// Why not, how it differs, or which test shows it.
    note: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Here {
    Yes,
    Differs,
    No,
}

#[test]
fn the_compatibility_table_is_that_of_the_fixtures() {
    let path = repository().join("docs/compatibility.md");
    let text = std::fs::read_to_string(&path).expect("docs/compatibility.md");
    let (head, documented) = text.split_once(BEGIN).expect("the mark of the table");
    let table = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{table}")).expect("the table is written");
    } else {
        assert_eq!(
            documented, table,
            "run this test with UPDATE_DOCS=1 and commit docs/compatibility.md"
        );
    }
}

fn table() -> String {
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut add = |feature: &str, rest: String| {
        let (area, feature) = split(feature);
        rows.entry(area)
            .or_default()
            .push(format!("| {feature} | {rest} |"));
    };
    for fixture in Fixture::all(&repository().join("fixtures/pipelines")) {
        let covers = fixture.expected.covers.rows();
        assert!(!covers.is_empty(), "{} covers nothing", fixture.name);
        let here = match &fixture.expected.differs {
            Some(how) => format!("differs: {how}"),
            None => "yes".to_owned(),
        };
        for feature in covers {
            add(feature, format!("{here} | `{}`", fixture.name));
        }
    }
    let known = repository().join("fixtures/compatibility.json");
    let known = std::fs::read_to_string(known).expect("fixtures/compatibility.json");
    let known: Vec<Known> = serde_json::from_str(&known).expect("rows");
    for row in known {
        let here = match row.here {
            Here::Yes => "yes".to_owned(),
            Here::Differs => format!("differs: {}", row.note),
            Here::No => format!("no: {}", row.note),
        };
        let shown = match row.here {
            Here::Yes => row.note.clone(),
            Here::Differs | Here::No => String::new(),
        };
        add(&row.feature, format!("{here} | {shown}"));
    }
    let mut text = String::new();
    for (area, mut rows) in rows {
        rows.sort();
        let area = AREAS[area];
        write!(
            text,
            "\n## {area}\n\n| feature | here | shown by |\n|---|---|---|\n"
        )
        .expect("a text");
        for row in rows {
            writeln!(text, "{row}").expect("a text");
        }
    }
    text
}

/// The number of the area, and the feature.
fn split(row: &str) -> (usize, &str) {
    let (area, feature) = row
        .split_once(": ")
        .unwrap_or_else(|| panic!("{row:?} is not `area: feature`"));
    let number = AREAS.iter().position(|known| *known == area);
    (
        number.unwrap_or_else(|| panic!("{area:?} is not one of {AREAS:?}")),
        feature,
    )
}
