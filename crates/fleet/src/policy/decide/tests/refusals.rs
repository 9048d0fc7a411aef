//! What is and is not launched after refusals by EC2 and after failed boots.

use super::*;
use crate::PoolError;

fn pool(lifecycle: Lifecycle) -> Pool {
    Pool {
        instance_type: "m6i.large".to_owned(),
        zone: "eu-west-1a".to_owned(),
        lifecycle,
    }
}

/// A view in which the pools of these lifecycles ran dry at the start.
fn dry(lifecycles: &[Lifecycle]) -> View {
    let all: Vec<_> = lifecycles
        .iter()
        .map(|lifecycle| (pool(*lifecycle), "InsufficientInstanceCapacity"))
        .collect();
    refused(&all)
}

/// A view in which these pools were refused at the start with these codes.
fn refused(pools: &[(Pool, &str)]) -> View {
    let mut view = View {
        candidates: [Lifecycle::Spot, Lifecycle::OnDemand].map(pool).into(),
        ..View::default()
    };
    for (pool, code) in pools {
        if !view.candidates.contains(pool) {
            view.candidates.push(pool.clone());
        }
        let error = PoolError {
            pool: pool.clone(),
            code: (*code).to_owned(),
            message: String::new(),
        };
        view.pools.note(&error, START);
    }
    view
}

#[test]
fn dry_spot_pools_are_waited_for_and_then_on_demand_helps() {
    let policy = Policy::default();
    let waited = |seconds| Demand {
        longest_wait: Duration::from_secs(seconds),
        ..waiting(1)
    };
    let view = dry(&[Lifecycle::Spot]);
    assert_eq!(decide(&policy, &waited(119), &view, seconds(119)), []);
    let actions = decide(&policy, &waited(120), &view, seconds(120));
    assert_eq!(
        actions,
        [Action::Launch {
            count: 1,
            lifecycle: Lifecycle::OnDemand
        }]
    );
    let never = Policy {
        on_demand_after: None,
        ..policy.clone()
    };
    assert_eq!(decide(&never, &waited(150), &view, seconds(150)), []);
    let actions = decide(&policy, &waited(180), &view, seconds(180));
    assert_eq!(
        actions,
        [Action::Launch {
            count: 1,
            lifecycle: Lifecycle::Spot
        }]
    );
}

#[test]
fn nothing_is_launched_while_all_pools_are_dry() {
    let demand = Demand {
        waiting: 2,
        waiting_on_demand: 1,
        longest_wait: Duration::from_secs(150),
        ..Demand::default()
    };
    let view = dry(&[Lifecycle::Spot, Lifecycle::OnDemand]);
    assert_eq!(decide(&Policy::default(), &demand, &view, seconds(150)), []);
}

/// What is launched for one job that has waited long enough for on-demand.
fn launches_late(view: &View) -> Vec<Action> {
    let demand = Demand {
        longest_wait: Duration::from_mins(10),
        ..waiting(1)
    };
    decide(&Policy::default(), &demand, view, seconds(5))
}

#[test]
fn on_demand_is_bought_for_a_lack_of_capacity_and_for_nothing_else() {
    let spot = pool(Lifecycle::Spot);
    let dry = launches_late(&refused(&[(spot.clone(), "UnfulfillableCapacity")]));
    assert_eq!(launched(&dry, Lifecycle::OnDemand), 1);
    for code in [
        "InvalidAMIID.NotFound",
        "UnauthorizedOperation",
        "SpotMaxPriceTooLow",
        "MaxSpotInstanceCountExceeded",
        "MaxFleetCountExceeded",
        "RequestLimitExceeded",
        "InternalError",
        "Unsupported",
    ] {
        let view = refused(&[(spot.clone(), code)]);
        assert_eq!(launches_late(&view), [], "{code}");
    }
}

#[test]
fn a_pool_that_does_not_exist_keeps_nobody_from_on_demand() {
    let elsewhere = Pool {
        zone: "eu-west-1b".to_owned(),
        ..pool(Lifecycle::Spot)
    };
    let view = refused(&[
        (pool(Lifecycle::Spot), "InsufficientInstanceCapacity"),
        (elsewhere.clone(), "Unsupported"),
    ]);
    assert_eq!(launched(&launches_late(&view), Lifecycle::OnDemand), 1);
    // One existing pool that is not dry is enough for spot.
    let view = refused(&[(elsewhere, "Unsupported")]);
    assert_eq!(launched(&launches_late(&view), Lifecycle::Spot), 1);
}

#[test]
fn a_wrong_configuration_stops_launching() {
    let mut view = view([]);
    let message = "You are not authorized to perform this operation.";
    let (spot, code) = (Lifecycle::Spot, "UnauthorizedOperation");
    view.pools
        .note_call(spot, Refusal::Configuration, code, message, START);
    let demand = Demand {
        waiting_on_demand: 1,
        ..waiting(3)
    };
    let policy = Policy {
        idle_count: 2,
        ..Policy::default()
    };
    assert_eq!(decide(&policy, &demand, &view, seconds(60)), []);
    view.pools.note_new_configuration();
    assert_ne!(decide(&policy, &demand, &view, seconds(60)), []);
}

#[test]
fn an_instance_that_is_shutting_down_leaves_its_place_to_the_next() {
    let policy = Policy {
        limit: 2,
        max_uses: 1,
        ..Policy::default()
    };
    let ending = Stage::Ending { jobs: 0 };
    let actions = decide(&policy, &waiting(1), &view([busy(1, 0), ending]), START);
    assert_eq!(launched(&actions, Lifecycle::Spot), 1);
    // Nor does it push an idle one above the limit.
    let policy = Policy {
        limit: 1,
        ..Policy::default()
    };
    let actions = decide(&policy, &waiting(0), &view([idle(0), ending]), START);
    assert_eq!(actions, []);
}

#[test]
fn after_boots_that_failed_one_worker_at_a_time_is_tried_and_then_none() {
    let mut view = view([]);
    let id = |number: u32| InstanceId::new(format!("i-{number}"));
    view.boots.note_lost(&id(1), START, seconds(600));
    assert_eq!(
        decide(&Policy::default(), &waiting(5), &view, seconds(601)),
        []
    );
    let actions = decide(&Policy::default(), &waiting(5), &view, seconds(700));
    assert_eq!(launched(&actions, Lifecycle::Spot), 1);
    view.boots.note_lost(&id(2), seconds(700), seconds(1300));
    view.boots.note_lost(&id(3), seconds(1400), seconds(2000));
    assert_eq!(
        decide(&Policy::default(), &waiting(5), &view, seconds(5000)),
        []
    );
}
