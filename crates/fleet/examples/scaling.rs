//! Shows what the scaling policy decides as jobs arrive: `cargo run --example scaling`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use jiff::Timestamp;
use onspot_fleet::{Demand, InstanceId, Policy, View, decide};

fn main() {
    let policy = Policy {
        limit: 4,
        idle_count: 1,
        ..Policy::default()
    };
    let view = View::<InstanceId>::default();
    for waiting in [0, 2, 10] {
        let demand = Demand {
            waiting,
            ..Demand::default()
        };
        let actions = decide(&policy, &demand, &view, Timestamp::now());
        println!("{waiting} jobs wait: {actions:?}");
    }
}
