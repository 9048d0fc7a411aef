//! The part of EC2 that the loops see.

use parking_lot::Mutex;
use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_fleet::{Instance, InstanceId, InstanceState, LaunchRequest, Launched, Lifecycle, Pool};
use onspot_ledger::RunnerName;
use onspot_reconcile::Tags;
use onspot_runner::Clock;
use onspot_runner::capacity::{Capacity, CapacityError, LookedUp};

/// All machines.
pub(crate) struct Machines {
    clock: Clock,
    all: Mutex<Vec<Instance>>,
    launched: Mutex<Vec<String>>,
    strays: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
    /// Those that the list misses.
    unlisted: Mutex<BTreeSet<String>>,
    /// Those that are not even known by their ids.
    unknown: Mutex<BTreeSet<String>>,
}

impl Machines {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            all: Mutex::default(),
            launched: Mutex::default(),
            strays: Mutex::default(),
            ended: Mutex::default(),
            unlisted: Mutex::default(),
            unknown: Mutex::default(),
        }
    }

    fn machine(&self, id: &str, state: InstanceState, lifecycle: Lifecycle) -> Instance {
        Instance {
            id: InstanceId::new(id),
            pool: Pool::unknown(lifecycle),
            state,
            launched_at: self.clock.now(),
            reason: None,
            private_ip: None,
            tags: Tags::new(),
            outdated: false,
        }
    }

    /// A machine runs.
    pub(crate) fn add(&self, instance: &str) {
        // An on-demand machine.
        let machine = self.machine(instance, InstanceState::Running, Lifecycle::OnDemand);
        self.all.lock().push(machine);
    }

    /// A machine of the stack runs that has the tag of no runner.
    pub(crate) fn add_stray(&self, instance: &str) {
        self.strays.lock().push(instance.to_owned());
    }

    /// The names of the machines that were ended.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.ended.lock().clone()
    }

    /// EC2 says that a machine runs.
    pub(crate) fn boot(&self, instance: &str) {
        for machine in self.all.lock().iter_mut() {
            if machine.id.as_str() == instance {
                machine.state = InstanceState::Running;
            }
        }
    }

    /// EC2 says that a machine is being terminated.
    pub(crate) fn shut_down(&self, instance: &str) {
        for machine in self.all.lock().iter_mut() {
            if machine.id.as_str() == instance {
                machine.state = InstanceState::ShuttingDown;
            }
        }
    }

    /// EC2 says that a machine is terminated.
    pub(crate) fn end(&self, instance: &str) {
        for machine in self.all.lock().iter_mut() {
            if machine.id.as_str() == instance {
                machine.state = InstanceState::Terminated;
            }
        }
    }

    /// EC2's list misses a machine: somebody edited its tags, or the list lags behind.
    pub(crate) fn unlist(&self, instance: &str) {
        self.unlisted.lock().insert(instance.to_owned());
    }

    /// EC2 finds a machine neither by its tags nor by its id.
    pub(crate) fn unknow(&self, instance: &str) {
        self.unlist(instance);
        self.unknown.lock().insert(instance.to_owned());
    }

    /// EC2 lists and knows a machine again.
    pub(crate) fn list_again(&self, instance: &str) {
        self.unlisted.lock().remove(instance);
        self.unknown.lock().remove(instance);
    }

    /// The names of machines that were bought and not started yet.
    pub(crate) fn bought(&self) -> Vec<String> {
        std::mem::take(&mut *self.launched.lock())
    }

    /// The names of the machines that run.
    pub(crate) fn live(&self) -> Vec<String> {
        let machines = self.all.lock();
        let live = machines.iter().filter(|machine| machine.state.is_live());
        live.map(|machine| machine.id.to_string()).collect()
    }
}

impl Capacity for Machines {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async {
            let unlisted = self.unlisted.lock();
            let mut machines = self.all.lock().clone();
            machines.retain(|machine| !unlisted.contains(machine.id.as_str()));
            Ok(machines)
        }
        .boxed()
    }

    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        async move {
            let (all, unknown) = (self.all.lock(), self.unknown.lock());
            let known = |id: &InstanceId| {
                let mut all = all.iter();
                all.find(|machine| machine.id == *id && !unknown.contains(id.as_str()))
                    .cloned()
            };
            let found = instances.into_iter().map(|id| {
                let machine = known(&id);
                (id, machine)
            });
            Ok(found.collect())
        }
        .boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn launch(&self, request: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>> {
        async move {
            let mut instances = Vec::new();
            for _ in 0..request.count {
                let mut machines = self.all.lock();
                let name = format!("i-{}", machines.len() + 1);
                machines.push(self.machine(&name, InstanceState::Pending, request.lifecycle));
                instances.extend(machines.last().cloned());
                self.launched.lock().push(name);
            }
            Ok(Launched {
                instances,
                errors: Vec::new(),
            })
        }
        .boxed()
    }

    fn terminate(&self, instances: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        async move {
            for instance in instances {
                self.end(instance.as_str());
                self.ended.lock().push(instance.to_string());
            }
            Ok(())
        }
        .boxed()
    }

    fn strays(&self, _: Vec<RunnerName>) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        let names = self.strays.lock().clone();
        let stray = |name: &String| self.machine(name, InstanceState::Running, Lifecycle::Spot);
        let strays = names.iter().map(stray);
        let strays = strays.collect();
        async move { Ok(strays) }.boxed()
    }
}
