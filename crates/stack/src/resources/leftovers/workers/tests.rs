use jiff::Timestamp;
use onspot_fleet::{InstanceState, Lifecycle, Pool};
use onspot_ledger::{AttemptPhase, BootId, State};
use onspot_reconcile::Tags;

use super::*;

fn spec() -> Spec {
    let text = "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\ntoken = 'env:X'\n";
    Spec::parse(text, "onspot.toml").unwrap()
}

fn worker(id: &str, runner: &str, state: InstanceState) -> Instance {
    Instance {
        id: InstanceId::new(id),
        pool: Pool {
            instance_type: "m6i.large".to_owned(),
            zone: "eu-west-1a".to_owned(),
            lifecycle: Lifecycle::Spot,
        },
        state,
        launched_at: Timestamp::UNIX_EPOCH,
        reason: None,
        private_ip: None,
        tags: Tags::of_stack("ci").with_role(WORKER).with_runner(runner),
        outdated: false,
    }
}

/// A worker's state with one job in this phase.
fn state(phase: AttemptPhase) -> State {
    let now = Timestamp::UNIX_EPOCH;
    let mut state = State::first(&BootId::new("b"), "1", 1, now);
    assert!(state.accept(7, 1, now));
    state.advance(7, 1, phase);
    state
}

fn seen(worker: &Instance, state: State) -> Overview {
    let id = WorkerId::of("AROAEXAMPLE", worker.id.as_str());
    Overview {
        states: BTreeMap::from([(id, state)]),
        ..Overview::default()
    }
}

#[test]
fn workers_of_the_files_runners_are_no_strays() {
    let all = [
        worker("i-kept", "a", InstanceState::Running),
        worker("i-old", "b", InstanceState::Running),
    ];
    let strays = without_runner(&spec(), &all);
    let ids: Vec<_> = strays.iter().map(|stray| stray.id.as_str()).collect();
    assert_eq!(ids, ["i-old"]);
}

#[tokio::test(start_paused = true)]
async fn a_stray_is_busy_until_its_job_is_over_or_it_falls_silent() {
    let stray = worker("i-old", "b", InstanceState::Running);
    let mut watch = Watch::new(Duration::from_mins(3));
    assert!(!watch.is_busy(&stray, &Overview::default()));
    assert!(watch.is_busy(&stray, &seen(&stray, state(AttemptPhase::Started))));
    let over = AttemptPhase::GivenUp {
        started: true,
        why: "interrupted".to_owned(),
    };
    assert!(!watch.is_busy(&stray, &seen(&stray, state(over))));

    let mut hasty = Watch::new(Duration::ZERO);
    let working = seen(&stray, state(AttemptPhase::Started));
    assert!(hasty.is_busy(&stray, &working));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!hasty.is_busy(&stray, &working), "it has lost its lease");
}
