"""Instances get what their launch template says, as on AWS.

moto forgets the instance profile and the metadata options of a launch template, both for
`RunInstances` (which its Auto Scaling uses) and for `CreateFleet`; without the profile an
instance has no credentials. It also refuses the user-data of a template's second and later
versions, because only `CreateLaunchTemplate` gives it the type that it expects.
"""

from functools import wraps

from localstack.runtime import hooks


def apply_template(backend, instances, data: dict) -> None:
    """Gives `instances` the profile and the metadata options of the template's `data`."""
    from moto.ec2.models.instances import MetadataOptions

    profile = data.get("IamInstanceProfile") or {}
    for instance in instances:
        if profile and instance.id not in backend.iam_instance_profile_associations:
            backend.associate_iam_instance_profile(
                instance.id,
                iam_instance_profile_name=profile.get("Name"),
                iam_instance_profile_arn=profile.get("Arn"),
            )
        if options := data.get("MetadataOptions"):
            instance.metadata_options = MetadataOptions(options)


@hooks.on_infra_start()
def follow_launch_templates() -> None:
    from moto.core.types import Base64EncodedString
    from moto.ec2.models.fleets import Fleet
    from moto.ec2.models.instances import InstanceBackend
    from moto.ec2.models.launch_templates import LaunchTemplateVersion

    create_version = LaunchTemplateVersion.__init__
    run_instances = InstanceBackend.run_instances
    create_fleet = Fleet.__init__

    @wraps(create_version)
    def create_typed_version(self, *args, **kwargs):
        create_version(self, *args, **kwargs)
        if isinstance(user_data := self.data.get("UserData"), str):
            self.data["UserData"] = Base64EncodedString(user_data)

    @wraps(run_instances)
    def run_from_template(self, *args, **kwargs):
        reservation = run_instances(self, *args, **kwargs)
        if template := kwargs.get("launch_template"):
            data = self._get_template_from_args(template).data
            apply_template(self, reservation.instances, data)
        return reservation

    @wraps(create_fleet)
    def create_from_template(self, ec2_backend, *args, **kwargs):
        create_fleet(self, ec2_backend, *args, **kwargs)
        launched = [request.instance for request in self.spot_requests]
        launched += [item["instance"] for item in self.on_demand_instances]
        for config in self.launch_template_configs[:1]:
            data = ec2_backend._get_template_from_args(config["LaunchTemplateSpecification"]).data
            apply_template(ec2_backend, launched, data)

    LaunchTemplateVersion.__init__ = create_typed_version
    InstanceBackend.run_instances = run_from_template
    Fleet.__init__ = create_from_template
