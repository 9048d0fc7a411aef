//! *Twice up, then down*: a killed `up` can be repeated, the next one changes nothing, and `down`
//! leaves nothing, neither in AWS nor as containers.

use std::time::Duration;

use onspot_e2e::cloud::{Call, Principal};
use onspot_e2e::engine::{self, labels};
use onspot_e2e::world::StackOptions;

use crate::aws;
use crate::scene::{STEP, Scene, none_of, prove_from_nothing, wait};

#[tokio::test(flavor = "multi_thread")]
async fn proof_twice_up_then_down() {
    let options = StackOptions {
        idle_count: 1,
        registry_cache: true,
        ..StackOptions::default()
    };
    prove_from_nothing(options, async |scene| {
        let nothing = aws::inventory(&scene.world).await;
        up_is_cut_off(scene).await;
        let first = scene.up().await;
        assert!(!changes(&first).is_empty(), "{first}");
        wait("an idle worker boots", STEP, async || {
            match scene.workers().len() {
                1 => Ok(()),
                number => Err(format!("{number} workers")),
            }
        })
        .await;
        let made = aws::inventory(&scene.world).await;

        let mark = scene.world.cloud().calls().len();
        let second = scene.up().await;
        assert_eq!(changes(&second), Vec::<String>::new());
        let writes = writes_since(scene, mark);
        assert!(writes.is_empty(), "{writes:?}");
        assert_eq!(aws::inventory(&scene.world).await, made);

        let down = scene.onspot(&["down", "--yes"]).await;
        let down = down.last().expect("what was removed");
        let removed = down["plan"]["changes"].as_array().expect("changes");
        assert!(removed.len() > 20, "it says what it removed: {down}");
        let left: Vec<_> = aws::inventory(&scene.world)
            .await
            .difference(&nothing)
            .cloned()
            .collect();
        assert!(left.is_empty(), "{left:?}");
        wait("no guest is left", STEP, async || {
            none_of(&guests(scene).await)
        })
        .await;

        let again = scene.onspot(&["down", "--yes"]).await;
        let again = again.last().expect("that there is nothing");
        assert_eq!(again["plan"]["changes"].as_array().map(Vec::len), Some(0));
        scene.nothing_was_wrong();
    })
    .await;
}

/// Kills `up` when it has created a part of the network.
async fn up_is_cut_off(scene: &Scene) {
    let config = scene.config.display().to_string();
    let arguments = [&scene.up_arguments()[..], &["--config".to_owned(), config]].concat();
    let mut command = scene.world.onspot(&arguments).expect("a command");
    command.kill_on_drop(true);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut up = command.spawn().expect("onspot up");
    wait("up has made a subnet", Duration::from_mins(1), async || {
        let subnets = scene
            .world
            .cloud()
            .calls()
            .matching(|call| call.action == "CreateSubnet");
        if subnets.is_empty() {
            Err("no subnet yet".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    up.kill().await.expect("a kill");
}

/// The changes reported by an `up`.
fn changes(up: &serde_json::Value) -> Vec<String> {
    let changes = up["outputs"]["changes"]["changes"].as_array();
    let changes = changes.unwrap_or_else(|| panic!("no changes in {up}"));
    let acting = changes.iter().filter(|change| change["kind"] != "keep");
    acting.map(ToString::to_string).collect()
}

/// The operator's modifying calls.
fn writes_since(scene: &Scene, mark: usize) -> Vec<Call> {
    const READS: [&str; 6] = ["Describe", "Get", "List", "Head", "Simulate", "AssumeRole"];
    let calls = scene.world.cloud().calls().since(mark).into_iter();
    calls
        .filter(|call| call.principal == Principal::Operator)
        .filter(|call| !READS.iter().any(|read| call.action.starts_with(read)))
        // Taking, renewing and releasing the lock changes nothing of the stack.
        .filter(|call| !call.resource.ends_with("/lock"))
        .collect()
}

async fn guests(scene: &Scene) -> Vec<String> {
    let label = format!("{}={}", labels::WORLD, scene.world.id());
    let found = engine::containers(scene.world.docker(), &label)
        .await
        .expect("containers");
    let guests = found.into_iter().filter(|found| {
        found
            .labels
            .get(labels::PART)
            .is_some_and(|part| part == "guest")
    });
    guests.map(|guest| guest.id).collect()
}
