//! A kept repository that an earlier job manipulated or broke: the next job gets the same as from a
//! fresh clone.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;

/// Git as used by a job, in the kept repository.
fn git(bench: &Bench, args: &[&str]) -> String {
    fed(bench, args, b"")
}

fn fed(bench: &Bench, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-C"])
        .arg(bench.project())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bench with three commits; returns the last one.
fn three() -> (Bench, String) {
    let bench = Bench::new();
    bench.commit("file", "two\n");
    let last = bench.commit("other", "three\n");
    (bench, last)
}

fn of_protected(sources: Sources, protected: bool) -> Sources {
    Sources {
        protected,
        ..sources
    }
}

/// Marks a repository, to distinguish reuse from a new clone.
fn mark(bench: &Bench) {
    std::fs::write(bench.project().join(".git/description"), "kept").unwrap();
}

fn was_kept(bench: &Bench) -> bool {
    let description = std::fs::read_to_string(bench.project().join(".git/description"));
    description.unwrap_or_default() == "kept"
}

#[tokio::test]
async fn the_history_is_as_long_as_each_job_requests() {
    for protected in [false, true] {
        let (bench, last) = three();
        let with_depth = |depth| Sources {
            depth,
            ..of_protected(bench.sources(Strategy::Fetch, &last), protected)
        };
        for (depth, commits) in [(1, "1"), (0, "3"), (2, "2"), (1, "1"), (2, "2"), (0, "3")] {
            bench.get(with_depth(depth)).await.unwrap();
            let count = git(&bench, &["rev-list", "--count", "HEAD"]);
            assert_eq!(count, commits, "depth {depth}");
            let is_shallow = git(&bench, &["rev-parse", "--is-shallow-repository"]);
            assert_eq!(is_shallow, (depth != 0).to_string(), "depth {depth}");
            assert_eq!(bench.project().join(".git/shallow").exists(), depth != 0);
        }
        mark(&bench);
        bench.get(with_depth(0)).await.unwrap();
        assert!(was_kept(&bench), "nothing of this needs a new clone");
    }
}

#[tokio::test]
async fn a_history_cut_by_a_job_is_completed() {
    let (bench, last) = three();
    let whole = || Sources {
        depth: 0,
        ..bench.sources(Strategy::Fetch, &last)
    };
    bench.get(whole()).await.unwrap();
    let git_dir = bench.project().join(".git");
    std::fs::write(git_dir.join("shallow"), format!("{last}\n")).unwrap();
    std::fs::create_dir_all(git_dir.join("info")).unwrap();
    std::fs::write(git_dir.join("info/grafts"), format!("{last}\n")).unwrap();
    assert_eq!(git(&bench, &["rev-list", "--count", "HEAD"]), "1");
    bench.get(whole()).await.unwrap();
    assert_eq!(git(&bench, &["rev-list", "--count", "HEAD"]), "3");
}

#[tokio::test]
async fn an_index_of_an_earlier_job_hides_no_file() {
    for protected in [false, true] {
        for bit in ["--skip-worktree", "--assume-unchanged"] {
            let (bench, last) = three();
            let sources = || of_protected(bench.sources(Strategy::Fetch, &last), protected);
            bench.get(sources()).await.unwrap();
            mark(&bench);
            git(&bench, &["update-index", bit, "file"]);
            std::fs::write(bench.project().join("file"), "evil\n").unwrap();
            bench.get(sources()).await.unwrap();
            assert_eq!(bench.read("file").as_deref(), Some("two\n"), "{bit}");
            assert!(was_kept(&bench));
        }
    }
}

/// Writes other content under the name of an object, loose.
fn rewrite_loose(bench: &Bench, name: &str) {
    let packs = bench.project().join(".git/objects/pack");
    let kept: Vec<PathBuf> = std::fs::read_dir(&packs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for path in kept {
        if path.extension().is_some_and(|kind| kind == "pack") {
            let pack = std::fs::read(&path).unwrap();
            std::fs::remove_file(path.with_extension("idx")).unwrap();
            std::fs::remove_file(&path).unwrap();
            fed(bench, &["unpack-objects", "-q"], &pack);
        }
    }
    let evil = fed(bench, &["hash-object", "-w", "--stdin"], b"evil\n");
    let object = |name: &str| {
        let (folder, file) = name.split_at(2);
        let objects = bench.project().join(".git/objects");
        objects.join(folder).join(file)
    };
    let target = object(name);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(&target);
    std::fs::copy(object(&evil), target).unwrap();
}

/// Writes other content under the name of an object, in a pack with a false index.
fn rewrite_packed(bench: &Bench, name: &str) {
    let evil = fed(bench, &["hash-object", "-w", "--stdin"], b"evil\n");
    let packs = bench.project().join(".git/objects/pack");
    let base = packs.join("pack");
    let hash = fed(
        bench,
        &["pack-objects", "-q", base.to_str().unwrap()],
        format!("{evil}\n").as_bytes(),
    );
    let path = packs.join(format!("pack-{hash}.idx"));
    let mut index = std::fs::read(&path).unwrap();
    let wanted = hex::decode(name).unwrap();
    for first in 0..=255_usize {
        let count = u32::from(first >= usize::from(wanted[0]));
        index[8 + first * 4..][..4].copy_from_slice(&count.to_be_bytes());
    }
    index[8 + 256 * 4..][..20].copy_from_slice(&wanted);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, index).unwrap();
    // The only pack, so that it is the one that is read.
    let others: Vec<PathBuf> = std::fs::read_dir(&packs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|other| other.file_stem() != path.file_stem())
        .collect();
    for other in others {
        if other.extension().is_some_and(|kind| kind == "pack") {
            let pack = std::fs::read(&other).unwrap();
            std::fs::remove_file(other.with_extension("idx")).unwrap();
            std::fs::remove_file(&other).unwrap();
            fed(bench, &["unpack-objects", "-q"], &pack);
        }
    }
    let (folder, file) = name.split_at(2);
    let loose = bench.project().join(".git/objects").join(folder).join(file);
    let _ = std::fs::remove_file(loose);
}

#[tokio::test]
async fn an_object_under_a_false_name_is_not_checked_out_for_a_protected_branch() {
    type Rewrite = fn(&Bench, &str);
    let ways: [(&str, Rewrite); 2] = [("loose", rewrite_loose), ("packed", rewrite_packed)];
    for (way, rewrite) in ways {
        let (bench, last) = three();
        let sources = || of_protected(bench.sources(Strategy::Fetch, &last), true);
        bench.get(sources()).await.unwrap();
        let name = git(&bench, &["rev-parse", "HEAD:file"]);
        rewrite(&bench, &name);
        // The manipulation works: git itself checks out the false content.
        std::fs::remove_file(bench.project().join("file")).unwrap();
        git(&bench, &["checkout", "-f", "-q", "HEAD"]);
        assert_eq!(bench.read("file").as_deref(), Some("evil\n"), "{way}");

        bench.get(sources()).await.unwrap();
        assert_eq!(bench.read("file").as_deref(), Some("two\n"), "{way}");
        assert_eq!(git(&bench, &["cat-file", "-p", &name]), "two", "{way}");
    }
}

#[tokio::test]
async fn references_of_an_earlier_job_are_ignored() {
    for protected in [false, true] {
        let (bench, last) = three();
        let sources = || Sources {
            depth: 0,
            ..of_protected(bench.sources(Strategy::Fetch, &last), protected)
        };
        bench.get(sources()).await.unwrap();
        mark(&bench);
        let first = git(&bench, &["rev-parse", "HEAD~2"]);
        git(&bench, &["tag", "v9.9"]);
        git(&bench, &["branch", "main", &first]);
        git(&bench, &["replace", &last, &first]);
        git(&bench, &["pack-refs", "--all"]);
        git(&bench, &["tag", "v9.10"]);
        bench.get(sources()).await.unwrap();
        let refs = git(&bench, &["for-each-ref", "--format=%(refname)"]);
        assert_eq!(refs, "refs/remotes/origin/main");
        assert_eq!(git(&bench, &["log", "-1", "--format=%s"]), "other");
        assert!(was_kept(&bench));
    }
}

#[tokio::test]
async fn excluded_files_survive_and_unchanged_files_keep_their_times() {
    for protected in [false, true] {
        let (bench, first) = three();
        let sources = |sha: &str| Sources {
            clean_flags: vec!["-ffdx".into(), "-e".into(), "keep/".into()],
            ..of_protected(bench.sources(Strategy::Fetch, sha), protected)
        };
        bench.get(sources(&first)).await.unwrap();
        let file = bench.project().join("file");
        std::fs::create_dir(bench.project().join("keep")).unwrap();
        std::fs::write(bench.project().join("keep/built"), "x").unwrap();
        std::fs::write(bench.project().join("left"), "x").unwrap();
        let before = std::fs::metadata(&file).unwrap();
        let second = bench.commit("other", "four\n");
        bench.get(sources(&second)).await.unwrap();
        assert_eq!(bench.read("keep/built").as_deref(), Some("x"));
        assert_eq!(bench.read("left"), None);
        assert_eq!(bench.read("other").as_deref(), Some("four\n"));
        let after = std::fs::metadata(&file).unwrap();
        let stays = (before.ino(), before.mtime_nsec()) == (after.ino(), after.mtime_nsec());
        assert_eq!(stays, !protected);
        assert_eq!(git(&bench, &["status", "--short"]), "?? keep/");
    }
}

#[tokio::test]
async fn without_a_checkout_the_repository_keeps_its_commit() {
    let (bench, first) = three();
    let sources = |sha: &str, checkout| Sources {
        checkout,
        ..bench.sources(Strategy::Fetch, sha)
    };
    bench.get(sources(&first, true)).await.unwrap();
    let second = bench.commit("other", "four\n");
    bench.get(sources(&second, false)).await.unwrap();
    assert_eq!(git(&bench, &["rev-parse", "HEAD"]), first);
    assert_eq!(git(&bench, &["status", "--short"]), "");
    assert_eq!(git(&bench, &["rev-parse", "origin/main"]), second);
}

#[tokio::test]
async fn a_broken_repository_is_cloned_again() {
    type Break = fn(&Path);
    let ways: [(&str, Break); 3] = [
        ("HEAD", |git| std::fs::write(git.join("HEAD"), "?").unwrap()),
        ("objects", |git| {
            std::fs::remove_dir_all(git.join("objects")).unwrap();
            std::fs::create_dir(git.join("objects")).unwrap();
        }),
        ("shallow", |git| {
            std::fs::write(git.join("shallow"), "rubbish\n").unwrap();
        }),
    ];
    for protected in [false, true] {
        for (name, spoil) in ways {
            let (bench, last) = three();
            let sources = || of_protected(bench.sources(Strategy::Fetch, &last), protected);
            bench.get(sources()).await.unwrap();
            spoil(&bench.project().join(".git"));
            bench.get(sources()).await.unwrap();
            assert_eq!(bench.read("file").as_deref(), Some("two\n"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_git_lfs_file_with_a_false_name_is_not_used() {
    let (bench, last) = three();
    let sources = || of_protected(bench.sources(Strategy::Fetch, &last), true);
    bench.get(sources()).await.unwrap();
    let lfs = bench.project().join(".git/lfs");
    let folder = lfs.join("objects/aa/bb");
    std::fs::create_dir_all(&folder).unwrap();
    let truth = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    std::fs::write(folder.join(truth), "x").unwrap();
    std::fs::write(folder.join("aabb"), "evil").unwrap();
    std::fs::write(lfs.join("unknown"), "x").unwrap();
    mark(&bench);
    bench.get(sources()).await.unwrap();
    assert!(was_kept(&bench));
    assert!(folder.join(truth).exists());
    assert!(!folder.join("aabb").exists() && !lfs.join("unknown").exists());
}

#[tokio::test]
async fn git_settings_of_the_job_are_kept() {
    let (bench, last) = three();
    let settings = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "user.name"),
        ("GIT_CONFIG_VALUE_0", "of the job"),
    ];
    let environment = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let sources = Sources {
        environment: environment.to_vec(),
        after: Some("git config user.name >seen; git config gc.auto >>seen".into()),
        ..bench.sources(Strategy::Clone, &last)
    };
    bench.get(sources).await.unwrap();
    assert_eq!(bench.read("seen").as_deref(), Some("of the job\n0\n"));
}

#[tokio::test]
async fn a_repository_keeps_few_packs_after_many_fetches() {
    let (bench, _) = three();
    let packs = || {
        let folder = std::fs::read_dir(bench.project().join(".git/objects/pack")).unwrap();
        let paths = folder.map(|entry| entry.unwrap().path());
        let packs = paths.filter(|path| path.extension().is_some_and(|kind| kind == "pack"));
        packs.count()
    };
    let mut most = 0;
    for number in 0..25 {
        let sha = bench.commit("file", &format!("{number}\n"));
        let sources = bench.sources(Strategy::Fetch, &sha);
        let protected = number % 2 == 0;
        bench.get(of_protected(sources, protected)).await.unwrap();
        assert_eq!(bench.read("file"), Some(format!("{number}\n")));
        assert!(number == 0 || was_kept(&bench));
        mark(&bench);
        most = most.max(packs());
    }
    assert!(most > 10 && packs() < 10, "{most}, then {}", packs());
}
