//! What `onspot status` prints.

use jiff::{SignedDuration, Timestamp};
use onspot_fleet::{InstanceState, Lifecycle};
use onspot_ledger::{
    BootId, Greeting, JobLabel, Leader, ManagerId, Restart, RunnerName, Verdict, WorkerId,
};
use onspot_stack::ResourceStatus;

use super::*;

/// Noon.
fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn instance_of(id: &str, runner: Option<&str>, reported: Option<State>) -> InstanceStatus {
    InstanceStatus {
        id: id.to_owned(),
        runner: runner.map(str::to_owned),
        instance_type: "m7i.large".to_owned(),
        zone: "eu-west-1a".to_owned(),
        lifecycle: if runner.is_some() {
            Lifecycle::Spot
        } else {
            Lifecycle::OnDemand
        },
        state: InstanceState::Running,
        launched_at: before(7500),
        reported,
    }
}

fn record(name: &str, seconds: i64) -> Record {
    let label = JobLabel {
        project: "group/cowsay".to_owned(),
        name: name.to_owned(),
        stage: "build".to_owned(),
    };
    Record::received(label, Restart::Allowed, before(seconds), now())
}

#[test]
fn a_stack_at_work() {
    let worker = WorkerId::of("AROA", "i-0aaaaaaaaaaaaaaaa");
    let mut leader = Leader::first(&ManagerId::new("i-0cccc/1f"), "0.1.0", before(300));
    let greeting = Greeting {
        verified_at: Some(before(40)),
        error: None,
    };
    leader
        .runners
        .insert(RunnerName::new("docker.m3"), greeting);
    let refused = Greeting {
        verified_at: None,
        error: Some("GitLab refuses the token".into()),
    };
    leader.runners.insert(RunnerName::new("other"), refused);
    let mut busy = State::first(&BootId::random(), "0.1.0", 1, before(60));
    busy.accept(17, 1, before(50));
    let running = record("build", 65)
        .assigned(&worker, None, before(60))
        .unwrap();
    let over = record("old", 4000)
        .finishing(Verdict::success(), before(3900))
        .unwrap();
    let ledger = Overview {
        leader: Some(leader),
        records: [
            ("docker.m3/17".to_owned(), running),
            (
                "docker.m3/18".to_owned(),
                record("a job with quite a long name", 5),
            ),
        ]
        .into(),
        past: [("docker.m3/3".to_owned(), over)].into(),
        ..Overview::default()
    };
    let status = Status {
        stack: "ci".to_owned(),
        region: "eu-west-1".to_owned(),
        resources: vec![ResourceStatus {
            resource: "vpc".to_owned(),
            name: "ci".to_owned(),
            id: Some("vpc-1".to_owned()),
        }],
        managers: vec![instance_of("i-0cccccccccccccccc", None, None)],
        workers: vec![
            instance_of("i-0aaaaaaaaaaaaaaaa", Some("docker.m3"), Some(busy)),
            instance_of("i-0bbbbbbbbbbbbbbbb", Some("docker.m3"), None),
        ],
        ledger: Some(ledger),
    };
    let text = text(&status, now());
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn the_reason_for_not_launching_workers_is_shown() {
    let mut leading = Leader::first(&ManagerId::new("i-0cccc/1f"), "0.1.0", before(300));
    let why = "Nothing is launched. The console of i-1 ended with:\n  FAILED\n".to_owned();
    leading.launches.insert(RunnerName::new("a"), why);
    let overview = Overview {
        leader: Some(leading),
        ..Overview::default()
    };
    insta::assert_snapshot!(leader(&overview, now()), @r"
    leader: i-0cccc/1f for 5m, term 1, onspot 0.1.0
    runner a launches no workers: Nothing is launched. The console of i-1 ended with:
        FAILED
    ");
}

#[test]
fn objects_set_aside_are_shown_with_the_reason() {
    let why = "run/job/r/7 is not what this version writes";
    let ledger = Overview {
        aside: [("job/r/7".to_owned(), why.to_owned())].into(),
        ..Overview::default()
    };
    let mut status = Status {
        stack: "ci".to_owned(),
        region: "eu-west-1".to_owned(),
        resources: Vec::new(),
        managers: Vec::new(),
        workers: Vec::new(),
        ledger: Some(ledger),
    };
    let shown = text(&status, now());
    assert!(
        shown.contains("set aside") && shown.contains(why),
        "{shown}"
    );
    status.ledger = Some(Overview::default());
    assert!(!text(&status, now()).contains("set aside"));
}

#[test]
fn ages_have_one_or_two_parts() {
    for (seconds, expected) in [
        (-5, "0s"),
        (45, "45s"),
        (60, "1m"),
        (3661, "1h 1m"),
        (90_000, "1d 1h"),
    ] {
        assert_eq!(age(before(seconds), now()), expected);
    }
}
