//! Makes, changes, renews and removes the group.

use std::time::Duration;

use aws_sdk_autoscaling::Client as AutoScaling;
use aws_sdk_autoscaling::types::{Activity, LaunchTemplateSpecification, Tag};
use aws_sdk_ec2::Client as Ec2;
use onspot_reconcile::{CallError, EventSender, Patience, ServiceResultExt, Step, Tags};

use super::failures::Failures;
use super::observe::{find, observe};
use super::{Action, GroupPlan, GroupSpec, GroupState, MANAGER, MemberState, is_outdated};
use crate::{Error, InstanceState, instances, template};

/// How long a new instance profile may stay unknown to Auto Scaling.
const SETTLING: Patience = Patience::new(Duration::from_secs(3), Duration::from_mins(2));
/// How long the group may take to have all its members in service, or to be gone.
const CHANGING: Patience = Patience::new(Duration::from_secs(2), Duration::from_mins(10));
/// For this many seconds Auto Scaling ignores a new manager's health checks.
const GRACE: i32 = 60;

/// Carries out `plan` and waits until all managers are in service and made from the wanted
/// template. Can be repeated after a failure.
///
/// # Errors
///
/// [`Error::Call`] if AWS refuses a call or cannot be reached, [`Error::NoTemplate`] if the launch
/// template does not exist, [`Error::CannotLaunch`] if launches fail repeatedly for one reason,
/// [`Error::TooSlow`] if the group does not get there in time.
pub async fn apply(
    autoscaling: &AutoScaling,
    ec2: &Ec2,
    plan: &GroupPlan,
    events: &EventSender,
) -> Result<(), Error> {
    let Some(change) = plan.change.as_ref().filter(|_| !plan.is_empty()) else {
        return Ok(());
    };
    let what = change.title();
    let step = Step::start(events, what);
    let job = Job {
        autoscaling,
        ec2,
        spec: &plan.spec,
        step: &step,
    };
    for action in &plan.actions {
        if let Err(error) = job.act(*action).await {
            step.failed(&error);
            return Err(error);
        }
    }
    step.done(Some(&plan.spec.name));
    Ok(())
}

/// Carries out a [`teardown`](super::teardown) plan and waits until no manager is left.
///
/// # Errors
///
/// [`Error::Call`] if AWS refuses a call or cannot be reached; [`Error::TooSlow`] if the group or
/// its managers are still there after the wait.
pub async fn destroy(
    autoscaling: &AutoScaling,
    ec2: &Ec2,
    plan: &GroupPlan,
    events: &EventSender,
) -> Result<(), Error> {
    apply(autoscaling, ec2, plan, events).await
}

/// The work on one group.
struct Job<'a> {
    autoscaling: &'a AutoScaling,
    ec2: &'a Ec2,
    spec: &'a GroupSpec,
    step: &'a Step<'a>,
}

impl Job<'_> {
    async fn act(&self, action: Action) -> Result<(), Error> {
        match action {
            Action::Create => {
                self.create().await?;
                self.await_members().await
            }
            Action::Update => {
                self.update().await?;
                self.tag().await?;
                self.await_members().await
            }
            Action::Renew => self.renew().await,
            Action::Delete => self.delete().await,
        }
    }

    /// Makes the group. A group of this name that is still being deleted must be gone first.
    async fn create(&self) -> Result<(), Error> {
        let template = self.template().await?;
        let end = tokio::time::Instant::now() + CHANGING.limit;
        loop {
            self.await_end_of_predecessor().await?;
            match self.try_to_create(&template).await {
                Err(error) if error.is_already_there() => {
                    let found = find(self.autoscaling, &self.spec.name).await?;
                    if found.is_some_and(|group| group.status.is_none()) {
                        return Ok(());
                    }
                }
                other => return Ok(other?),
            }
            if tokio::time::Instant::now() > end {
                return Err(self.too_slow("deleted"));
            }
            tokio::time::sleep(CHANGING.every).await;
        }
    }

    /// Waits until no group of this name is being deleted.
    async fn await_end_of_predecessor(&self) -> Result<(), Error> {
        let deleting = async || {
            let group = find(self.autoscaling, &self.spec.name).await?;
            Ok::<_, CallError>(group.is_some_and(|group| group.status.is_some()))
        };
        if !deleting().await? {
            return Ok(());
        }
        self.step.waiting("the earlier group to be gone");
        let gone = CHANGING
            .until(async || deleting().await.map(|is| (!is).then_some(())))
            .await?;
        gone.ok_or_else(|| self.too_slow("deleted"))
    }

    async fn try_to_create(&self, template: &LaunchTemplateSpecification) -> Result<(), CallError> {
        let spec = self.spec;
        SETTLING
            .retry(is_unsettled, async || {
                self.autoscaling
                    .create_auto_scaling_group()
                    .auto_scaling_group_name(&spec.name)
                    .launch_template(template.clone())
                    .min_size(self.count())
                    .max_size(self.count())
                    .desired_capacity(self.count())
                    .vpc_zone_identifier(spec.subnets.join(","))
                    .health_check_type("EC2")
                    .health_check_grace_period(GRACE)
                    .set_tags(Some(self.tags()))
                    .send()
                    .await
                    .calling("CreateAutoScalingGroup")
            })
            .await
            .map(drop)
    }

    async fn update(&self) -> Result<(), Error> {
        let spec = self.spec;
        let template = self.template().await?;
        SETTLING
            .retry(is_unsettled, async || {
                self.autoscaling
                    .update_auto_scaling_group()
                    .auto_scaling_group_name(&spec.name)
                    .launch_template(template.clone())
                    .min_size(self.count())
                    .max_size(self.count())
                    .desired_capacity(self.count())
                    .vpc_zone_identifier(spec.subnets.join(","))
                    .send()
                    .await
                    .calling("UpdateAutoScalingGroup")
            })
            .await?;
        Ok(())
    }

    /// Sets the tags. This comes after the change of the launch template, so that an instance that
    /// starts in between has an old content tag: it is replaced needlessly, but none is missed.
    async fn tag(&self) -> Result<(), Error> {
        let call = self
            .autoscaling
            .create_or_update_tags()
            .set_tags(Some(self.tags()));
        call.send().await.calling("CreateOrUpdateTags")?;
        let found = self.state().await?.unwrap_or_default().tags;
        let drift = self.spec.all_tags().drift(&found);
        if !drift.remove().is_empty() {
            let call = self.autoscaling.delete_tags();
            let call = call.set_tags(Some(self.sdk_tags(drift.remove())));
            call.send().await.calling("DeleteTags")?;
        }
        Ok(())
    }

    /// Replaces outdated managers one after the other. Nothing is lost: jobs continue without a
    /// manager until another one takes over.
    async fn renew(&self) -> Result<(), Error> {
        let state = self.state().await?.unwrap_or_default();
        for member in state
            .members
            .iter()
            .filter(|member| is_outdated(self.spec, member))
        {
            self.step
                .waiting(format!("manager {} to be replaced", member.id));
            self.replace(member).await?;
            let left = CHANGING
                .until(async || {
                    let members = self.state().await?.unwrap_or_default().members;
                    Ok::<_, Error>(members.iter().all(|m| m.id != member.id).then_some(()))
                })
                .await?;
            left.ok_or_else(|| self.too_slow("without the old manager"))?;
            self.await_members().await?;
        }
        Ok(())
    }

    /// Terminates a member; the group launches another one. A member that is already gone is no
    /// error.
    async fn replace(&self, member: &MemberState) -> Result<(), Error> {
        let ended = CHANGING
            .retry(is_busy, async || {
                let call = self.autoscaling.terminate_instance_in_auto_scaling_group();
                let call = call
                    .instance_id(member.id.as_str())
                    .should_decrement_desired_capacity(false);
                call.send()
                    .await
                    .calling("TerminateInstanceInAutoScalingGroup")
            })
            .await;
        match ended {
            Err(error) if is_unknown(&error) => Ok(()),
            other => other.map(drop).map_err(Error::from),
        }
    }

    async fn delete(&self) -> Result<(), Error> {
        let asked = CHANGING
            .retry(is_busy, async || {
                let call = self.autoscaling.delete_auto_scaling_group();
                let call = call
                    .auto_scaling_group_name(&self.spec.name)
                    .force_delete(true);
                call.send().await.calling("DeleteAutoScalingGroup")
            })
            .await;
        match asked {
            Err(error) if error.is_not_found() || is_unknown(&error) => {}
            other => drop(other?),
        }
        self.step.waiting("its instances to end");
        let gone = CHANGING
            .until(async || {
                let group = find(self.autoscaling, &self.spec.name).await?;
                let managers = instances(self.ec2, &self.spec.stack, Some(MANAGER)).await?;
                let ended = managers
                    .iter()
                    .all(|m| m.state == InstanceState::Terminated);
                Ok::<_, Error>((group.is_none() && ended).then_some(()))
            })
            .await?;
        gone.ok_or_else(|| self.too_slow("deleted"))
    }

    /// Waits until all wanted members are in service. Gives up early when launches fail repeatedly
    /// for the same reason.
    async fn await_members(&self) -> Result<(), Error> {
        let mut told = String::new();
        let mut failures = Failures::default();
        let limit = tokio::time::Instant::now() + CHANGING.limit;
        loop {
            let members = self.state().await?.unwrap_or_default().members;
            let ready = members.iter().filter(|member| member.in_service).count();
            if ready >= self.spec.count as usize {
                return Ok(());
            }
            failures.note(self.last_activity().await);
            if failures.are_enough() || tokio::time::Instant::now() > limit {
                return Err(match failures.reason {
                    Some(why) => Error::CannotLaunch {
                        group: self.spec.name.clone(),
                        why,
                    },
                    None => self.too_slow("complete"),
                });
            }
            let progress = || format!("{ready} of {} managers in service", self.spec.count);
            let why = failures.reason.clone().unwrap_or_else(progress);
            if why != told {
                self.step.waiting(&why);
                told = why;
            }
            tokio::time::sleep(CHANGING.every).await;
        }
    }

    /// The group's latest activity. It only explains another failure, so a failing call is ignored.
    async fn last_activity(&self) -> Option<Activity> {
        let call = self.autoscaling.describe_scaling_activities();
        let call = call
            .auto_scaling_group_name(&self.spec.name)
            .max_records(1)
            .send()
            .await;
        call.ok()?.activities?.into_iter().next()
    }

    async fn state(&self) -> Result<Option<GroupState>, Error> {
        observe(
            self.autoscaling,
            self.ec2,
            &self.spec.stack,
            &self.spec.name,
        )
        .await
    }

    /// The launch template's current default version, by number, so that the group itself shows
    /// which version it uses.
    async fn template(&self) -> Result<LaunchTemplateSpecification, Error> {
        let mut templates = template::observe(self.ec2, &self.spec.stack).await?;
        let template = templates.remove(&self.spec.template);
        let template = template.ok_or_else(|| Error::NoTemplate {
            template: self.spec.template.clone(),
        })?;
        Ok(LaunchTemplateSpecification::builder()
            .launch_template_name(&self.spec.template)
            .version(template.default.number.to_string())
            .build())
    }

    fn tags(&self) -> Vec<Tag> {
        self.sdk_tags(&self.spec.all_tags())
    }

    fn sdk_tags(&self, tags: &Tags) -> Vec<Tag> {
        let tag = |(key, value): (&str, &str)| {
            Tag::builder()
                .key(key)
                .value(value)
                .propagate_at_launch(true)
                .resource_type("auto-scaling-group")
                .resource_id(&self.spec.name)
                .build()
        };
        tags.iter().map(tag).collect()
    }

    fn count(&self) -> i32 {
        i32::try_from(self.spec.count).unwrap_or(i32::MAX)
    }

    fn too_slow(&self, state: &'static str) -> Error {
        Error::TooSlow {
            what: format!("auto scaling group {}", self.spec.name),
            state,
            seconds: CHANGING.limit.as_secs(),
        }
    }
}

/// Whether a retry may help: IAM is eventually consistent, and a group that is changing refuses
/// changes.
fn is_unsettled(error: &CallError) -> bool {
    let new_profile = || {
        let message = error.message().to_ascii_lowercase();
        error.code() == Some("ValidationError") && message.contains("instance profile")
    };
    is_busy(error) || new_profile()
}

/// Whether another change of the group is still in progress.
fn is_busy(error: &CallError) -> bool {
    matches!(
        error.code(),
        Some("ScalingActivityInProgress" | "ResourceContention" | "ResourceInUse")
    )
}

/// Auto Scaling has no code of its own for a group or an instance that it does not know.
fn is_unknown(error: &CallError) -> bool {
    let message = error.message().to_ascii_lowercase();
    error.code() == Some("ValidationError") && message.contains("not found")
}
