//! Shows the plan of a network, and carries it out if told to:
//!
//! ```text
//! cargo run -p onspot-netplan --example network -- eu-west-1a eu-west-1b [--apply | --remove]
//! ```
//!
//! Credentials and region are found where AWS's own tools look for them; with `AWS_ENDPOINT_URL`
//! it works on a look-alike of AWS.

#![allow(clippy::print_stdout)]

use std::error::Error;

use aws_config::BehaviorVersion;
use onspot_netplan::{NetworkSpec, apply, desired, destroy, diff, observe, teardown};
use onspot_reconcile::event_channel;

/// The stack that the network belongs to.
const STACK: &str = "example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (options, zones): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let told = |option: &str| options.iter().any(|given| given == option);
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let region = config.region().ok_or("no region is set")?.to_string();
    let ec2 = aws_sdk_ec2::Client::new(&config);

    let there = observe(&ec2, STACK).await?;
    let plan = if told("--remove") {
        teardown(&there)
    } else {
        diff(&desired(&NetworkSpec::new(STACK, region, zones))?, &there)?
    };
    print!("{}", plan.plan());

    // A program that shows progress would read the other end.
    let (events, _nobody_listens) = event_channel();
    if told("--remove") {
        destroy(&ec2, &plan, &events).await?;
    } else if told("--apply") {
        println!("{:#?}", apply(&ec2, &plan, &events).await?);
    }
    Ok(())
}
