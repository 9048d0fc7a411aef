//! Submodules: had anew without being cloned anew, and harmless.

use super::*;

/// A repository with a submodule that has a submodule itself.
struct Nested {
    bench: Bench,
    /// The commit of the project.
    sha: String,
}

/// Git in a folder beside the project's origin.
fn git_in(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(["-c", "protocol.file.allow=always", "-C"])
        .arg(dir)
        .args(args)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(dir: &Path, file: &str, content: &str) {
    std::fs::write(dir.join(file), content).unwrap();
    git_in(dir, &["add", "."]);
    git_in(dir, &["commit", "--quiet", "-m", file]);
}

impl Nested {
    fn new() -> Self {
        let bench = Bench::new();
        let (library, leaf) = (
            bench.dir.path().join("library"),
            bench.dir.path().join("leaf"),
        );
        for dir in [&library, &leaf] {
            std::fs::create_dir_all(dir).unwrap();
            git_in(dir, &["init", "--quiet", "--initial-branch=main"]);
            commit(dir, "first", "1\n");
            commit(dir, "second", "2\n");
        }
        git_in(
            &library,
            &["submodule", "--quiet", "add", "../leaf", "deep/leaf"],
        );
        git_in(&library, &["commit", "--quiet", "-m", "leaf"]);
        let origin = bench.origin();
        git_in(
            &origin,
            &["submodule", "--quiet", "add", "../library", "lib"],
        );
        git_in(&origin, &["commit", "--quiet", "-m", "lib"]);
        let sha = bench.git(&["rev-parse", "HEAD"]);
        Self { bench, sha }
    }

    fn sources(&self, depth: u32, protected: bool) -> Sources {
        // As a job may: its submodules are files here, and not behind a server.
        let settings = [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
            ("GIT_CONFIG_VALUE_0", "always"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Sources {
            submodules: Some(Submodules {
                recursive: true,
                depth,
                paths: Vec::new(),
                update_flags: Vec::new(),
            }),
            protected,
            environment: settings.to_vec(),
            ..self.bench.sources(Strategy::Fetch, &self.sha)
        }
    }

    /// A file by which a kept repository is told from a new clone.
    fn marks(&self) -> [std::path::PathBuf; 3] {
        let git = self.bench.project().join(".git");
        ["", "modules/lib/", "modules/lib/modules/deep/leaf/"]
            .map(|folder| git.join(format!("{folder}description")))
    }
}

#[tokio::test]
async fn submodules_are_kept_and_not_cloned_anew() {
    let nested = Nested::new();
    for protected in [false, true] {
        for depth in [0, 1, 1, 0] {
            nested
                .bench
                .get(nested.sources(depth, protected))
                .await
                .unwrap();
            for mark in nested.marks() {
                let was_kept = std::fs::read_to_string(&mark).unwrap() == "kept";
                let is_first = !protected && depth == 0 && !was_kept;
                assert!(was_kept || is_first, "{}, depth {depth}", mark.display());
                std::fs::write(&mark, "kept").unwrap();
            }
            assert_eq!(nested.bench.read("lib/second").as_deref(), Some("2\n"));
            let leaf = nested.bench.project().join("lib/deep/leaf");
            let count = git_in(&leaf, &["rev-list", "--count", "HEAD"]);
            assert_eq!(count, if depth == 0 { "2" } else { "1" });
            assert_eq!(git_in(&leaf, &["status", "--short"]), "");
            assert_eq!(git_in(&leaf, &["for-each-ref", "refs/onspot"]), "");
        }
    }
}

#[tokio::test]
async fn a_new_version_of_a_submodule_is_fetched() {
    let mut nested = Nested::new();
    nested.bench.get(nested.sources(1, false)).await.unwrap();
    let library = nested.bench.dir.path().join("library");
    commit(&library, "second", "3\n");
    let origin = nested.bench.origin();
    git_in(&origin.join("lib"), &["pull", "--quiet", "origin", "main"]);
    commit(&origin, "file", "two\n");
    nested.sha = nested.bench.git(&["rev-parse", "HEAD"]);
    nested.bench.get(nested.sources(1, false)).await.unwrap();
    assert_eq!(nested.bench.read("lib/second").as_deref(), Some("3\n"));
}

#[tokio::test]
async fn a_job_without_submodules_finds_their_folders_empty() {
    let nested = Nested::new();
    nested.bench.get(nested.sources(1, false)).await.unwrap();
    let without = Sources {
        submodules: None,
        ..nested.sources(1, false)
    };
    nested.bench.get(without).await.unwrap();
    let project = nested.bench.project();
    assert_eq!(std::fs::read_dir(project.join("lib")).unwrap().count(), 0);
    assert!(!project.join(".git/modules").exists());
}

/// Makes a submodule run something wherever git would.
fn arm(nested: &Nested, trap: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let script = nested.bench.dir.path().join("trap.sh");
    std::fs::write(
        &script,
        format!("#!/bin/sh\ntouch {}\ncat\n", trap.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    let project = nested.bench.project();
    let own = project.join("lib/evil.git");
    git_in(
        &project.join("lib"),
        &["init", "--quiet", "--bare", "evil.git"],
    );
    for git in [project.join(".git/modules/lib"), own.clone()] {
        let hooks = git.join("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        for hook in ["post-checkout", "reference-transaction"] {
            let hook = hooks.join(hook);
            std::fs::copy(script, &hook).unwrap();
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&hook, executable).unwrap();
        }
        let config = git.join("config");
        for (key, value) in [
            ("core.fsmonitor", script),
            ("core.sshCommand", script),
            ("core.gitProxy", script),
            ("core.alternateRefsCommand", script),
            ("filter.trap.smudge", script),
            ("filter.trap.clean", script),
            ("credential.helper", script),
            ("remote.origin.uploadpack", script),
            ("submodule.deep/leaf.update", &format!("!{script}")),
        ] {
            git_in(
                &project,
                &["config", "--file", config.to_str().unwrap(), key, value],
            );
        }
        std::fs::create_dir_all(git.join("info")).unwrap();
        std::fs::write(git.join("info/attributes"), "* filter=trap\n").unwrap();
    }
    std::fs::write(
        project.join("lib/.git"),
        format!("gitdir: {}\n", own.display()),
    )
    .unwrap();
}

#[tokio::test]
async fn nothing_that_an_earlier_job_planted_in_a_submodule_runs() {
    let nested = Nested::new();
    let trap = nested.bench.dir.path().join("sprung");
    for protected in [false, true] {
        nested
            .bench
            .get(nested.sources(1, protected))
            .await
            .unwrap();
        arm(&nested, &trap);
        nested
            .bench
            .get(nested.sources(1, protected))
            .await
            .unwrap();
        assert!(!trap.exists());
        assert_eq!(nested.bench.read("lib/second").as_deref(), Some("2\n"));
        arm(&nested, &trap);
        let without = Sources {
            submodules: None,
            ..nested.sources(1, protected)
        };
        nested.bench.get(without).await.unwrap();
        assert!(!trap.exists());
    }
}

#[tokio::test]
async fn a_folder_of_a_submodule_that_became_a_link_leads_nowhere() {
    let nested = Nested::new();
    nested.bench.get(nested.sources(1, false)).await.unwrap();
    let victim = nested.bench.dir.path().join("victim");
    std::fs::create_dir_all(&victim).unwrap();
    std::fs::write(victim.join("file"), "x").unwrap();
    let lib = nested.bench.project().join("lib");
    std::fs::remove_dir_all(&lib).unwrap();
    std::os::unix::fs::symlink(&victim, &lib).unwrap();
    nested.bench.get(nested.sources(1, false)).await.unwrap();
    assert!(victim.join("file").exists() && !lib.is_symlink());
    assert_eq!(nested.bench.read("lib/second").as_deref(), Some("2\n"));
}

#[tokio::test]
async fn between_attempts_nothing_is_left_of_the_working_tree() {
    let nested = Nested::new();
    let bench = &nested.bench;
    // Fails once, and leaves what would be in the way of another attempt.
    let after = "if [ ! -e ../failed ]; then touch ../failed left; echo x >file; exit 1; fi";
    let sources = Sources {
        attempts: 2,
        after: Some(format!("set -e; {after}")),
        ..nested.sources(1, false)
    };
    bench.get(sources).await.unwrap();
    assert_eq!(bench.read("left"), None);
    assert_eq!(bench.read("file").as_deref(), Some("one\n"));
    assert_eq!(bench.read("lib/second").as_deref(), Some("2\n"));
}
