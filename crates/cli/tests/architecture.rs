//! `docs/architecture.md` shows the crates' dependencies as in their manifests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- layers: written by crates/cli/tests/architecture.rs -->\n";
const END: &str = "<!-- end of layers -->";

struct Crate {
    owns: String,
    /// The workspace's crates that it depends on.
    on: Vec<String>,
    /// Further ones that only its tests depend on.
    tests_on: Vec<String>,
}

#[test]
fn the_documented_layers_are_those_of_the_manifests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/architecture.md");
    let text = std::fs::read_to_string(&path).expect("a readable tree");
    let (head, rest) = text.split_once(BEGIN).expect("a readable tree");
    let (documented, tail) = rest.split_once(END).expect("a readable tree");
    let table = table(&crates(&root));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{table}{END}{tail}")).expect("a readable tree");
    } else {
        assert_eq!(
            documented, table,
            "run this test with UPDATE_DOCS=1 and commit docs/architecture.md"
        );
    }
}

#[test]
fn arrows_point_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = crates(&root);
    let must_not = [
        // Deciding must not know the ledger, and planning must not know the jobs.
        ("fleet", "ledger"),
        ("netplan", "gitlab"),
        // Creating a stack and running its jobs only meet in the binary.
        ("stack", "runner"),
        ("runner", "runnerconf"),
        // The settings that both use are only types.
        ("settings", "reconcile"),
        // It checks our runner and other people's, so it must share none of their code.
        ("mock-gitlab", "gitlab"),
    ];
    for (from, to) in must_not {
        assert!(
            crates.contains_key(to),
            "no crate {to}: the rule is out of date"
        );
        assert!(!reaches(&crates, from, to), "{from} stands on {to}");
    }
    for name in crates.keys() {
        assert!(!reaches(&crates, name, name), "{name} depends on itself");
        assert!(name == "e2e" || !reaches(&crates, name, "e2e"), "{name}");
    }
}

fn crates(root: &Path) -> BTreeMap<String, Crate> {
    let folders = std::fs::read_dir(root.join("crates")).expect("a readable tree");
    let folders = folders.map(|entry| entry.expect("a folder").path());
    folders
        .chain([root.join("e2e")])
        .map(|folder| {
            let manifest =
                std::fs::read_to_string(folder.join("Cargo.toml")).expect("a readable tree");
            let manifest: toml::Table = manifest.parse().expect("a readable tree");
            let name = folder
                .file_name()
                .expect("a name")
                .to_str()
                .expect("UTF-8")
                .to_owned();
            let ours = |section: &str| -> Vec<String> {
                let table = manifest.get(section).and_then(toml::Value::as_table);
                let names = table.into_iter().flat_map(toml::Table::keys);
                let mut names: Vec<_> = names
                    .filter_map(|name| name.strip_prefix("onspot-"))
                    .map(str::to_owned)
                    .collect();
                names.sort();
                names
            };
            let owns = manifest["package"]["description"]
                .as_str()
                .expect("a readable tree");
            let found = Crate {
                owns: owns.trim_end_matches('.').to_owned(),
                on: ours("dependencies"),
                tests_on: ours("dev-dependencies"),
            };
            (name, found)
        })
        .collect()
}

/// Whether `from` depends on `to`, directly or not.
fn reaches(crates: &BTreeMap<String, Crate>, from: &str, to: &str) -> bool {
    let on = &crates[from].on;
    on.iter()
        .any(|next| next == to || reaches(crates, next, to))
}

/// The length of the longest chain of dependencies below this one.
fn floor(crates: &BTreeMap<String, Crate>, name: &str) -> usize {
    let below = crates[name].on.iter();
    below.map(|next| floor(crates, next) + 1).max().unwrap_or(0)
}

/// Highest layer first.
fn table(crates: &BTreeMap<String, Crate>) -> String {
    let mut names: Vec<&String> = crates.keys().collect();
    names.sort_by_key(|name| (usize::MAX - floor(crates, name), name.as_str()));
    let mut text = String::from("\n| crate | owns | stands on |\n|---|---|---|\n");
    for name in names {
        let Crate { owns, on, tests_on } = &crates[name];
        let mut on = on.iter().map(|on| format!("`{on}`")).collect::<Vec<_>>();
        on.extend(tests_on.iter().map(|on| format!("`{on}` (tests)")));
        writeln!(text, "| `{name}` | {owns} | {} |", on.join(", ")).expect("a readable tree");
    }
    text.push('\n');
    text
}
