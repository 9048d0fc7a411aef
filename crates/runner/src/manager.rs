//! `onspot manager`: the leader's loop on an instance.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use onspot_gitlab::{Info, RunnerIdentity, RunnerToken, SystemId};
use onspot_ledger::{Ledger, ManagerId, RunnerName};
use onspot_settings::{ManagedRunner, ManagerSettings};
use tokio_util::sync::CancellationToken;

use crate::capacity::Capacity;
use crate::clock::Clock;
use crate::coordinator::{GitLab, GitLabJobs};
use crate::leader::{LeaderContext, RunnerContext, lead};
use crate::liveness::Liveness;
use crate::metrics::{self, Metrics};
use crate::setup::{SetupError, client_of};

/// A little more than the 50 s for which GitLab by default holds a request for a job.
const LAST_ANSWER: Duration = Duration::from_secs(55);

/// What a manager needs to run.
pub struct ManagerContext {
    /// Its settings.
    pub settings: ManagerSettings,
    /// The runners' tokens, by the runners' names, with all references resolved.
    pub tokens: BTreeMap<String, RunnerToken>,
    /// What is where.
    pub ledger: Arc<dyn Ledger>,
    /// Where each runner's workers come from, by the runners' names
    /// ([`Ec2Fleet`](onspot_fleet::Ec2Fleet)).
    pub capacity: BTreeMap<String, Arc<dyn Capacity>>,
    /// The name of this manager for people: its instance's id.
    pub name: String,
    /// The liveness of the loops.
    pub liveness: Liveness,
    /// The machine's identity for GitLab.
    pub system_id: SystemId,
}

/// Leads, or watches the leader, until `shutdown`.
///
/// # Errors
/// Only if the configuration can't work. An unreachable GitLab or a refused token is no error: it
/// is reported in the log and in `run/leader`, and tried again.
pub async fn run_manager(
    context: ManagerContext,
    shutdown: CancellationToken,
) -> Result<(), SetupError> {
    let ManagerSettings {
        concurrent,
        check_interval,
        timing,
        runners,
        registry_port,
        listen_address,
        // Already used by the caller, for `ledger` and `capacity`.
        stack: _,
        region: _,
        endpoint_url: _,
        bucket: _,
        log_group: _,
        tags: _,
    } = &context.settings;
    if runners.is_empty() {
        return Err(SetupError::NoRunners);
    }
    let mut contexts = BTreeMap::new();
    for runner in runners {
        let served = context_of(runner, &context)?;
        contexts.insert(RunnerName::new(&runner.runner.name), served);
    }
    let metrics = Arc::new(Metrics::new());
    metrics::serve_at(*listen_address, &metrics, &shutdown).await;
    let leader = LeaderContext {
        ledger: context.ledger,
        clock: Clock::system(),
        timing: timing.clone(),
        me: ManagerId::random(&context.name),
        version: onspot_gitlab::VERSION.to_owned(),
        registry: registry_port.and_then(own_address),
        concurrent: *concurrent,
        check_interval: *check_interval,
        liveness: context.liveness,
        metrics: Arc::clone(&metrics),
        last_answer: LAST_ANSWER,
        runners: contexts,
    };
    tracing::info!(manager = %leader.me, runners = leader.runners.len(), "the manager starts");
    lead(Arc::new(leader), shutdown).await;
    Ok(())
}

fn context_of(
    managed: &ManagedRunner,
    context: &ManagerContext,
) -> Result<RunnerContext, SetupError> {
    let ManagedRunner {
        runner,
        policy,
        // Already resolved: `ManagerContext::tokens`.
        token: _,
        // The rest of it is in `ManagerContext::capacity`.
        pool,
    } = managed;
    let name = &runner.name;
    let capacity = context.capacity.get(name).ok_or_else(|| SetupError::Pool {
        runner: name.clone(),
    })?;
    let token = context.tokens.get(name).ok_or_else(|| SetupError::Token {
        runner: name.clone(),
    })?;
    let client = client_of(runner)?;
    let identity = RunnerIdentity::new(token.clone(), context.system_id.clone(), Info::docker());
    Ok(RunnerContext {
        source: Arc::new(GitLab::new(client.clone(), identity)),
        coordinator: Arc::new(GitLabJobs::new(client, runner.clone())),
        capacity: Arc::clone(capacity),
        role_id: pool.role_id.clone(),
        policy: Some(policy.clone()),
        limit: runner.limit,
        request_concurrency: runner.request_concurrency.max(1),
        short_token: token.short(),
    })
}

/// The address at which others in this network reach a port of this instance: its source address
/// for outgoing packets. Finding it out sends no packet.
fn own_address(port: u16) -> Option<SocketAddr> {
    let found = || -> std::io::Result<SocketAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Any address behind the default route works.
        socket.connect((Ipv4Addr::new(169, 254, 169, 254), 80))?;
        socket.local_addr()
    };
    match found() {
        Ok(address) => Some(SocketAddr::new(address.ip(), port)),
        Err(error) => {
            tracing::warn!(%error, "no address to tell workers: they don't use the cache of images");
            None
        }
    }
}
