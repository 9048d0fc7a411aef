//! The decision itself.

use jiff::{SignedDuration, Timestamp};

use super::{Demand, Policy, Reason, Scale, Stage, View, Worker, renew};
use crate::{Lifecycle, Pool, Refusal};

#[cfg(test)]
mod tests;

/// What to do now to serve `demand` within `policy`.
///
/// It launches no workers beyond the limit, drains a worker that has jobs only if it is outdated,
/// and terminates only drained workers and those that never reported. It keeps no memory: the same
/// values give the same answer, so the caller has to show the effect of its actions in the next
/// `view`.
pub fn decide<Id: Clone + Ord>(
    policy: &Policy,
    demand: &Demand,
    view: &View<Id>,
    now: Timestamp,
) -> Vec<Scale<Id>> {
    let policy = &*policy.at(now);
    let of = |worker: &Worker<Id>, reason| Scale::Terminate {
        worker: worker.id.clone(),
        reason,
    };
    let workers = || view.workers.iter();
    let drained = workers().filter(|worker| has_left(worker));
    let lost = workers().filter(|worker| is_lost(policy, worker, now));
    let mut actions: Vec<Scale<Id>> = drained
        .map(|worker| of(worker, Reason::Drained))
        .chain(lost.map(|worker| of(worker, Reason::NeverReported)))
        .collect();

    let supply = Supply::count(policy, view, now);
    let wanted = Wanted::of(policy, demand, &supply);
    actions.extend(launches(policy, demand, view, &supply, &wanted, now));
    actions.extend(drains(policy, demand, view, now));
    let renewed = renew::drains(view, &actions);
    actions.extend(renewed);
    actions
}

/// Free places for jobs, by how they are paid for.
#[derive(Debug, Default)]
struct Supply {
    /// Free and coming places on spot instances.
    spot: u32,
    /// Free and coming places on on-demand instances.
    on_demand: u32,
    /// Instances that count against the limit.
    instances: u32,
    /// Instances that launch or boot.
    coming: u32,
    /// Instances that have jobs.
    busy: u32,
}

impl Supply {
    fn count<Id>(policy: &Policy, view: &View<Id>, now: Timestamp) -> Self {
        let mut supply = Self::default();
        for worker in view.workers.iter().filter(|worker| worker.counts()) {
            // A worker that is being terminated counts until EC2 confirms it, because the limit
            // also protects the account's quota.
            supply.instances += 1;
            if is_lost(policy, worker, now) {
                continue;
            }
            supply.coming += u32::from(worker.is_coming());
            supply.busy += u32::from(worker.is_busy());
            let free = free_places(policy, worker);
            match worker.pool.lifecycle {
                Lifecycle::Spot => supply.spot += free,
                Lifecycle::OnDemand => supply.on_demand += free,
            }
        }
        supply
    }
}

/// The places that are missing.
#[derive(Debug)]
struct Wanted {
    /// For jobs that must not run on spot.
    on_demand: u32,
    /// For the other waiting jobs.
    any: u32,
    /// For workers kept idle.
    idle: u32,
}

impl Wanted {
    fn of(policy: &Policy, demand: &Demand, supply: &Supply) -> Self {
        let strict = demand.waiting_on_demand.min(demand.waiting);
        let on_demand = strict.saturating_sub(supply.on_demand);
        // On-demand places that are left by jobs that need on-demand serve any other job.
        let places = supply.spot + supply.on_demand.saturating_sub(strict);
        let others = demand.waiting - strict;
        let any = others.saturating_sub(places);
        let spare = places.saturating_sub(others);
        let idle_places = idle_target(policy, supply.busy) * capacity(policy);
        Self {
            on_demand,
            any,
            idle: idle_places.saturating_sub(spare),
        }
    }
}

/// The launches, bounded by the limit and the growth rate.
fn launches<Id>(
    policy: &Policy,
    demand: &Demand,
    view: &View<Id>,
    supply: &Supply,
    wanted: &Wanted,
    now: Timestamp,
) -> Vec<Scale<Id>> {
    if view.boots.halted(now).is_some() {
        return Vec::new();
    }
    let mut room = policy.limit.saturating_sub(supply.instances);
    if policy.max_growth > 0 {
        room = room.min(policy.max_growth.saturating_sub(supply.coming));
    }
    if view.boots.are_doubtful() {
        room = room.min(1_u32.saturating_sub(supply.coming));
    }
    let mut take = |places: u32| {
        let count = places.div_ceil(capacity(policy)).min(room);
        room -= count;
        count
    };
    // Jobs that only on-demand can serve are the most urgent.
    let strict = if has_pool(view, Lifecycle::OnDemand, now) {
        take(wanted.on_demand)
    } else {
        0
    };
    let mut counts = [(Lifecycle::OnDemand, strict), (Lifecycle::Spot, 0)];
    if let Some(lifecycle) = usable_lifecycle(policy, demand, view, now) {
        let slot = usize::from(lifecycle == Lifecycle::Spot);
        counts[slot].1 += take(wanted.any + wanted.idle);
    }
    let launched = counts.into_iter().filter(|(_, count)| *count > 0);
    launched
        .map(|(lifecycle, count)| Scale::Launch { count, lifecycle })
        .collect()
}

/// The lifecycle of ordinary launches: the policy's own; on-demand once all spot pools are dry and
/// a job has waited long enough; none while all pools are dry.
fn usable_lifecycle<Id>(
    policy: &Policy,
    demand: &Demand,
    view: &View<Id>,
    now: Timestamp,
) -> Option<Lifecycle> {
    if has_pool(view, policy.lifecycle, now) {
        return Some(policy.lifecycle);
    }
    let waited = policy
        .on_demand_after
        .is_some_and(|after| demand.longest_wait >= after);
    let fallback = demand.waiting > 0
        && waited
        && are_dry(view, policy.lifecycle, now)
        && has_pool(view, Lifecycle::OnDemand, now);
    fallback.then_some(Lifecycle::OnDemand)
}

/// Whether anything of this lifecycle may be launched.
fn has_pool<Id>(view: &View<Id>, lifecycle: Lifecycle, now: Timestamp) -> bool {
    let mut pools = pools_of(view, lifecycle).peekable();
    view.pools.halted(lifecycle, now).is_none()
        && (pools.peek().is_none() || pools.any(|pool| !view.pools.is_out(pool, now)))
}

/// Whether every pool that exists lacks capacity, rather than a permission, a quota or a higher
/// price. Only then does it help to buy the more expensive lifecycle.
fn are_dry<Id>(view: &View<Id>, lifecycle: Lifecycle, now: Timestamp) -> bool {
    if let Some(halted) = view.pools.halted(lifecycle, now) {
        return halted.refusal == Refusal::Capacity;
    }
    let refusals = pools_of(view, lifecycle)
        .map(|pool| view.pools.why_out(pool, now).map(|refused| refused.refusal));
    let of_use: Vec<_> = refusals
        .filter(|why| *why != Some(Refusal::NotOffered) && *why != Some(Refusal::Configuration))
        .collect();
    !of_use.is_empty() && of_use.iter().all(|why| *why == Some(Refusal::Capacity))
}

fn pools_of<Id>(view: &View<Id>, lifecycle: Lifecycle) -> impl Iterator<Item = &Pool> {
    view.candidates
        .iter()
        .filter(move |pool| pool.lifecycle == lifecycle)
}

/// Idle workers that are used up, above the limit, or unneeded and idle for too long.
fn drains<Id: Clone + Ord>(
    policy: &Policy,
    demand: &Demand,
    view: &View<Id>,
    now: Timestamp,
) -> Vec<Scale<Id>> {
    let idle = view.workers.iter().filter_map(|worker| {
        let since = worker.idle_since()?;
        Some((worker, since.duration_until(now)))
    });
    let mut idle: Vec<(&Worker<Id>, SignedDuration)> = idle.collect();
    // The worker that is idle for longest goes first; ids make the order total.
    idle.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.id.cmp(&b.0.id)));
    let (used_up, idle): (Vec<_>, Vec<_>) = idle
        .into_iter()
        .partition(|(worker, _)| is_used_up(policy, worker));

    let busy = view.workers.iter().filter(|worker| worker.is_busy());
    let kept = idle_target(policy, u32::try_from(busy.count()).unwrap_or(u32::MAX));
    let needed = demand
        .waiting
        .saturating_add(kept.saturating_mul(capacity(policy)));
    let places: u32 = idle
        .iter()
        .map(|(worker, _)| free_places(policy, worker))
        .sum();
    let mut spare = places.saturating_sub(needed);
    let counted = view.workers.iter().filter(|worker| worker.counts()).count();
    let mut above_limit = counted.saturating_sub(policy.limit as usize);
    let idle_time = SignedDuration::try_from(policy.idle_time).unwrap_or(SignedDuration::MAX);

    let not_needed = idle.into_iter().filter(|(worker, idle_for)| {
        let places = free_places(policy, worker);
        let goes = places <= spare && (*idle_for >= idle_time || above_limit > 0);
        if goes {
            spare -= places;
            above_limit = above_limit.saturating_sub(1);
        }
        goes
    });
    used_up
        .into_iter()
        .chain(not_needed)
        .map(|(worker, _)| Scale::Drain {
            worker: worker.id.clone(),
        })
        .collect()
}

/// How many more jobs a worker can take, now or once it has booted.
fn free_places<Id>(policy: &Policy, worker: &Worker<Id>) -> u32 {
    let free = match worker.stage {
        Stage::Launching | Stage::Booting => capacity(policy),
        Stage::Ready { .. } if worker.idle_since().is_some() => capacity(policy),
        Stage::Ready { free, .. } => free,
        Stage::Leaving { .. } | Stage::Ending { .. } => 0,
    };
    match policy.max_uses {
        0 => free,
        max => free.min(max.saturating_sub(worker.uses)),
    }
}

/// Whether a worker has finished all its jobs and may be terminated.
fn has_left<Id>(worker: &Worker<Id>) -> bool {
    matches!(
        worker.stage,
        Stage::Leaving {
            jobs: 0,
            done: true,
            ..
        }
    )
}

/// Whether a worker has had as many jobs as it may.
fn is_used_up<Id>(policy: &Policy, worker: &Worker<Id>) -> bool {
    policy.max_uses > 0 && worker.uses >= policy.max_uses
}

/// Whether a worker has not reported within the boot timeout.
fn is_lost<Id>(policy: &Policy, worker: &Worker<Id>, now: Timestamp) -> bool {
    let limit = SignedDuration::try_from(policy.boot_limit).unwrap_or(SignedDuration::MAX);
    worker.is_coming() && worker.launched_at.duration_until(now) > limit
}

/// How many workers to keep idle while `busy` ones have jobs.
fn idle_target(policy: &Policy, busy: u32) -> u32 {
    if policy.idle_scale_factor <= 0.0 {
        return policy.idle_count;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and the value is not negative"
    )]
    let scaled = (f64::from(busy) * policy.idle_scale_factor) as u32;
    scaled.clamp(
        policy.idle_count_min.min(policy.idle_count),
        policy.idle_count,
    )
}

/// Jobs at a time on a new instance.
fn capacity(policy: &Policy) -> u32 {
    let slots = policy.capacity_per_instance.max(1);
    match policy.max_uses {
        0 => slots,
        max => slots.min(max),
    }
}
