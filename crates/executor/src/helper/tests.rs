//! The helper with this host's own git and files.

use std::path::Path;
use std::process::Command;

use onspot_cache::Selection;
use onspot_cache::archive::{Format, Level};

use super::request::*;
use super::*;

mod caches;
mod storage;
mod submodules;
mod taken_up;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        bench.git(&["init", "--quiet", "--initial-branch=main"]);
        bench.commit("file", "one\n");
        bench
    }

    fn origin(&self) -> std::path::PathBuf {
        let path = self.dir.path().join("origin");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-C"])
            .arg(self.origin())
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a file and returns the commit.
    fn commit(&self, name: &str, content: &str) -> String {
        std::fs::write(self.origin().join(name), content).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "-m", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn place(&self) -> Place {
        Place {
            builds: self.dir.path().join("builds"),
            project: "group/project".into(),
            world_writable: false,
        }
    }

    fn sources(&self, strategy: Strategy, sha: &str) -> Sources {
        Sources {
            strategy,
            url: format!("file://{}", self.origin().display()),
            logins: Vec::new(),
            reference: "main".into(),
            sha: sha.into(),
            protected: false,
            refspecs: vec!["+refs/heads/main:refs/remotes/origin/main".into()],
            depth: 1,
            object_format: None,
            checkout: true,
            lfs: false,
            clean_flags: vec!["-ffdxq".into()],
            fetch_flags: vec!["--quiet".into()],
            clone_flags: None,
            submodules: None,
            ca_pem: None,
            attempts: 1,
            environment: Vec::new(),
            before: None,
            after: None,
        }
    }

    async fn get(&self, sources: Sources) -> Result<HelperAnswer, HelperError> {
        self.ask(HelperRequest::Claim(Claim { keep: true })).await?;
        self.ask(HelperRequest::GetSources(Box::new(sources))).await
    }

    async fn ask(&self, request: HelperRequest) -> Result<HelperAnswer, HelperError> {
        let call = HelperCall {
            place: self.place(),
            request,
        };
        let line = format!("{}\n", serde_json::to_string(&call).unwrap());
        answer(line.as_bytes()).await
    }

    fn project(&self) -> std::path::PathBuf {
        self.dir.path().join("builds/group/project")
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.project().join(name)).ok()
    }
}

#[tokio::test]
async fn a_fetch_updates_an_earlier_jobs_repository() {
    let bench = Bench::new();
    let first = bench.git(&["rev-parse", "HEAD"]);
    bench
        .get(bench.sources(Strategy::Fetch, &first))
        .await
        .unwrap();
    assert_eq!(bench.read("file").as_deref(), Some("one\n"));
    std::fs::write(bench.project().join("left-over"), "x").unwrap();
    std::fs::write(bench.project().join("file"), "changed by the job").unwrap();
    std::fs::write(bench.project().join(".git/index.lock"), "").unwrap();

    let second = bench.commit("file", "two\n");
    bench
        .get(bench.sources(Strategy::Fetch, &second))
        .await
        .unwrap();
    assert_eq!(bench.read("file").as_deref(), Some("two\n"));
    assert_eq!(bench.read("left-over"), None);

    bench
        .get(bench.sources(Strategy::None, &second))
        .await
        .unwrap();
    assert_eq!(bench.read("file").as_deref(), Some("two\n"));
    bench
        .get(bench.sources(Strategy::Empty, &second))
        .await
        .unwrap();
    assert_eq!(bench.read("file"), None);
}

#[tokio::test]
async fn nothing_that_an_earlier_job_planted_runs() {
    let bench = Bench::new();
    let sha = bench.git(&["rev-parse", "HEAD"]);
    bench
        .get(bench.sources(Strategy::Fetch, &sha))
        .await
        .unwrap();
    let git = bench.project().join(".git");
    let trap = bench.dir.path().join("sprung");
    let script = format!("#!/bin/sh\ntouch {}\n", trap.display());
    std::fs::create_dir_all(git.join("hooks")).unwrap();
    for hook in [
        "post-checkout",
        "reference-transaction",
        "post-index-change",
    ] {
        let path = git.join("hooks").join(hook);
        std::fs::write(&path, &script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    let config = format!(
        "[core]\n\tfsmonitor = touch {0}\n\tsshCommand = touch {0}\n[filter \"x\"]\n\tsmudge = touch {0}\n",
        trap.display()
    );
    std::fs::write(git.join("config"), config).unwrap();
    std::fs::create_dir_all(git.join("info")).unwrap();
    std::fs::write(git.join("info/attributes"), "* filter=x\n").unwrap();
    bench
        .get(bench.sources(Strategy::Fetch, &sha))
        .await
        .unwrap();
    assert!(!trap.exists());
}

#[tokio::test]
async fn a_repository_with_unknown_content_is_cloned_again() {
    type Plant = fn(&Path);
    let bench = Bench::new();
    let sha = bench.git(&["rev-parse", "HEAD"]);
    let git = bench.project().join(".git");
    let plant: [(&str, Plant); 4] = [
        ("commondir", |path| std::fs::write(path, "/evil").unwrap()),
        ("worktrees", |path| std::fs::create_dir_all(path).unwrap()),
        ("objects/info/alternates", |path| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "/evil").unwrap();
        }),
        ("refs/link", |path| {
            std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        }),
    ];
    for (name, plant) in plant {
        let fetch = || bench.get(bench.sources(Strategy::Fetch, &sha));
        fetch().await.unwrap();
        std::fs::write(git.join("description"), "kept").unwrap();
        fetch().await.unwrap();
        let description = || std::fs::read_to_string(git.join("description"));
        assert_eq!(description().unwrap(), "kept", "{name}");

        plant(&git.join(name));
        fetch().await.unwrap();
        assert!(std::fs::symlink_metadata(git.join(name)).is_err(), "{name}");
        assert_ne!(description().unwrap_or_default(), "kept", "{name}");
    }
}

#[tokio::test]
async fn a_missing_commit_is_an_error() {
    let bench = Bench::new();
    let missing = bench.sources(Strategy::Clone, &"0".repeat(40));
    let error = bench.get(missing).await.unwrap_err();
    assert!(
        error.to_string().starts_with("git checkout ended with "),
        "{error}"
    );
}

#[tokio::test]
async fn hooks_run_around_the_checkout() {
    let bench = Bench::new();
    let sha = bench.git(&["rev-parse", "HEAD"]);
    let script = |line: &str| Some(format!("set -e\n{line}\n"));
    let sources = Sources {
        before: script("test ! -e group/project/file; echo $WHO >before"),
        after: script("test -e file; echo $WHO >after"),
        environment: vec![("WHO".into(), "me".into())],
        ..bench.sources(Strategy::Clone, &sha)
    };
    bench.get(sources).await.unwrap();
    assert_eq!(bench.read("after").as_deref(), Some("me\n"));
    assert!(bench.dir.path().join("builds/before").exists());

    let failing = Sources {
        before: script("exit 3"),
        ..bench.sources(Strategy::Clone, &sha)
    };
    let error = bench.get(failing).await.unwrap_err().to_string();
    assert_eq!(error, "the script ended with exit status: 3");
}

#[tokio::test]
async fn a_cache_larger_than_the_runner_allows_is_not_stored() {
    let bench = Bench::new();
    let sha = bench.git(&["rev-parse", "HEAD"]);
    let sources = bench.sources(Strategy::Clone, &sha);
    bench.get(sources).await.unwrap();
    std::fs::write(bench.project().join("ghosts.txt"), "boo").unwrap();
    let save = |most_bytes| {
        HelperRequest::SaveCache(SaveCache {
            key: "main".into(),
            selection: Selection {
                untracked: true,
                ..Selection::default()
            },
            format: Format::Zip,
            level: Level::Fast,
            to: Location::File(bench.dir.path().join("cache.zip")),
            most_bytes,
            one_put: None,
            headers: Vec::new(),
            stored: None,
            transfer_seconds: None,
        })
    };
    let HelperAnswer::Stored { bytes } = bench.ask(save(None)).await.unwrap() else {
        panic!("without a limit it is stored");
    };
    let exact = bench.ask(save(Some(bytes))).await.unwrap();
    assert_eq!(exact, HelperAnswer::Stored { bytes });
    let larger = bench.ask(save(Some(bytes - 1))).await.unwrap();
    assert_eq!(larger, HelperAnswer::Nothing);
}

#[tokio::test]
async fn a_cache_is_saved_and_restored_by_files() {
    let bench = Bench::new();
    let sha = bench.git(&["rev-parse", "HEAD"]);
    bench
        .get(bench.sources(Strategy::Clone, &sha))
        .await
        .unwrap();
    std::fs::write(bench.project().join("ghosts.txt"), "boo").unwrap();
    let archive = bench.dir.path().join("somewhere/cache.zip");
    let save = |selection| {
        HelperRequest::SaveCache(SaveCache {
            key: "main".into(),
            selection,
            format: Format::TarZstd,
            level: Level::Fast,
            to: Location::File(archive.clone()),
            most_bytes: Some(1 << 20),
            one_put: None,
            headers: Vec::new(),
            stored: None,
            transfer_seconds: None,
        })
    };
    let untracked = Selection {
        untracked: true,
        ..Selection::default()
    };
    let stored = bench.ask(save(untracked)).await.unwrap();
    assert!(matches!(stored, HelperAnswer::Stored { bytes } if bytes > 0));

    bench
        .get(bench.sources(Strategy::Clone, &sha))
        .await
        .unwrap();
    assert_eq!(bench.read("ghosts.txt"), None);
    let candidates = |list: &[(&str, &Path)]| {
        let candidates = list
            .iter()
            .map(|(key, path)| Candidate {
                key: (*key).to_owned(),
                from: Location::File(path.to_path_buf()),
                other: None,
            })
            .collect();
        HelperRequest::RestoreCache(RestoreCache {
            candidates,
            attempts: 1,
            selection: Selection::default(),
            transfer_seconds: None,
        })
    };
    let nowhere = Path::new("/nonexistent/cache.zip");
    let found = bench
        .ask(candidates(&[("new", nowhere), ("main", &archive)]))
        .await
        .unwrap();
    assert_eq!(
        found,
        HelperAnswer::Restored {
            key: Some("main".into()),
            fingerprint: None,
        }
    );
    assert_eq!(bench.read("ghosts.txt").as_deref(), Some("boo"));

    let nothing = Selection {
        paths: vec!["nothing".into()],
        ..Selection::default()
    };
    assert_eq!(
        bench.ask(save(nothing)).await.unwrap(),
        HelperAnswer::Nothing
    );
    let broken = bench.dir.path().join("broken");
    std::fs::write(&broken, "rubbish").unwrap();
    let found = bench.ask(candidates(&[("broken", &broken)])).await.unwrap();
    assert_eq!(
        found,
        HelperAnswer::Restored {
            key: None,
            fingerprint: None,
        }
    );
}

#[tokio::test]
async fn a_clean_up_removes_the_login() {
    let bench = Bench::new();
    let sha = bench.git(&["rev-parse", "HEAD"]);
    bench
        .get(bench.sources(Strategy::Clone, &sha))
        .await
        .unwrap();
    let temp = bench.dir.path().join("builds/group/project.tmp");
    assert!(temp.join("git-login.config").exists());
    bench.ask(HelperRequest::CleanUp).await.unwrap();
    assert!(!temp.exists());
}

#[tokio::test]
async fn rubbish_is_not_a_call() {
    for line in ["", "rubbish\n", "{\"place\":null}\n"] {
        assert!(
            matches!(answer(line.as_bytes()).await, Err(HelperError::Call(_))),
            "{line}"
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let url = Location::Url("https://bucket/key?X-Amz-Signature=secret".into());
    assert_eq!(format!("{url:?}"), "Url([hidden])");
}
