//! The IAM policies of managers and workers.

use onspot_reconcile::{ROLE, STACK};
use serde_json::{Value, json};

use crate::clients::{domain, partition};
use crate::names::{Names, cache_prefix};

/// The version of IAM's policy language.
const VERSION: &str = "2012-10-17";

/// The tag of a repository in ECR whose images the jobs of a stack may have: the stack's name.
const PULL: &str = "onspot:pull";

/// Whom a stack's roles are for.
#[derive(Debug, Clone, Copy)]
pub struct WorkerGrant<'a> {
    /// The stack.
    pub names: &'a Names,
    /// The account's number.
    pub account: &'a str,
    /// The runner's slug.
    pub slug: &'a str,
}

/// What the managers' policy depends on.
#[derive(Debug, Clone)]
pub struct ManagerGrant<'a> {
    /// The stack.
    pub names: &'a Names,
    /// The account's number.
    pub account: &'a str,
    /// The names of the workers' roles.
    pub worker_roles: Vec<String>,
    /// The names of the SSM parameters with the runners' tokens.
    pub token_parameters: Vec<String>,
    /// Those of them that somebody else made, maybe encrypted with a key of their own.
    pub foreign_parameters: Vec<String>,
}

/// Lets EC2 give the role to its instances.
pub fn trust_policy(region: &str) -> Value {
    let service = match partition(region) {
        "aws-cn" => "ec2.amazonaws.com.cn",
        _ => "ec2.amazonaws.com",
    };
    json!({
        "Version": VERSION,
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": service },
            "Action": "sts:AssumeRole",
        }],
    })
}

/// A worker may use its own order, payloads and state, its runner's cache, the program that it
/// runs, and logs.
///
/// `aws:userid` of an instance is `<role id>:<instance id>`, which is also the worker's id in the
/// ledger. This way IAM itself protects a worker's jobs from other workers. Workers may list the
/// bucket because S3 otherwise answers 403 instead of 404 for an object that does not exist (API
/// reference of `GetObject`), and a worker could not tell an absent order from a forbidden one. A
/// list shows names, never contents. IAM has no variable for an instance's id alone, so a worker
/// may append to the log stream of any worker in its stack, but read none.
pub fn worker_policy(grant: WorkerGrant<'_>) -> Value {
    let WorkerGrant {
        names,
        account,
        slug,
    } = grant;
    let (bucket, objects) = bucket_arns(names, account);
    let me = "${aws:userid}";
    let cache = format!("{objects}/{}/*", cache_prefix(slug));
    json!({
        "Version": VERSION,
        "Statement": [
            allow("OwnOrder", ["s3:GetObject"], json!([
                format!("{objects}/run/order/{me}"),
                format!("{objects}/run/payload/{me}/*"),
            ])),
            // A worker reads who leads, because it shuts itself down without a leader.
            allow("Leader", ["s3:GetObject"], json!(format!("{objects}/run/leader"))),
            allow("OwnState", ["s3:GetObject", "s3:PutObject"], json!(
                format!("{objects}/run/state/{me}")
            )),
            allow("Cache", [
                "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ], json!(cache)),
            allow("Program", ["s3:GetObject"], json!(format!("{objects}/bin/*"))),
            allow("NotThereIsNotForbidden", ["s3:ListBucket"], json!(bucket)),
            // A token for a registry opens what its role may pull, and ECR knows no resource for it.
            allow("LogInToRegistries", ["ecr:GetAuthorizationToken"], json!("*")),
            pull_images(names, account),
            logs(names, account, "worker"),
        ],
    })
}

/// Pulling the images of those repositories of the account that their owner has tagged for this
/// stack. Jobs name images freely: an untagged repository is none of theirs.
fn pull_images(names: &Names, account: &str) -> Value {
    let region = names.region();
    // The repositories of all regions: images are often kept in one.
    let repositories = format!("arn:{}:ecr:*:{account}:repository/*", partition(region));
    with_condition(
        allow(
            "PullTaggedImages",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            json!(repositories),
        ),
        json!({ "StringEquals": { format!("aws:ResourceTag/{PULL}"): names.stack() } }),
    )
}

/// A manager may use the ledger, the instances of its own stack, the tokens of its runners, and
/// logs.
///
/// The tags in a request limit what it may create; the tags on a resource limit what may be
/// changed. Images and the like do not have onspot's tags and may be used, but not changed.
pub fn manager_policy(grant: &ManagerGrant<'_>) -> Value {
    let ManagerGrant {
        names,
        account,
        worker_roles,
        token_parameters,
        foreign_parameters,
    } = grant;
    let (bucket, objects) = bucket_arns(names, account);
    let mut statements = vec![
        allow(
            "Ledger",
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            json!(format!("{objects}/run/*")),
        ),
        allow(
            "Program",
            ["s3:GetObject"],
            json!(format!("{objects}/bin/*")),
        ),
        allow("LedgerNames", ["s3:ListBucket"], json!(bucket)),
    ];
    statements.extend(instance_statements(names, account));
    let parameters: Vec<_> = token_parameters
        .iter()
        .map(|name| arn(names, account, "ssm", &parameter(name)))
        .collect();
    statements.push(allow("Tokens", ["ssm:GetParameter"], json!(parameters)));
    if !foreign_parameters.is_empty() {
        statements.push(decrypt(names, account, foreign_parameters));
    }
    let roles: Vec<_> = worker_roles
        .iter()
        .map(|role| role_arn(names, account, role))
        .collect();
    statements.push(with_condition(
        allow("GiveRolesToWorkers", ["iam:PassRole"], json!(roles)),
        json!({ "StringLike": { "iam:PassedToService": "ec2.amazonaws.com*" } }),
    ));
    statements.push(logs(names, account, "manager"));
    json!({ "Version": VERSION, "Statement": statements })
}

/// Lets managers launch, tag and terminate workers.
fn instance_statements(names: &Names, account: &str) -> Vec<Value> {
    let launch = ["ec2:CreateFleet", "ec2:RunInstances"];
    let ec2 = |kinds: &[&str]| -> Vec<String> {
        let arn = |kind: &&str| arn(names, account, "ec2", &format!("{kind}/*"));
        kinds.iter().map(arn).collect()
    };
    let (stack, region) = (names.stack(), names.region());
    let (requested, tagged) = (
        format!("aws:RequestTag/{STACK}"),
        format!("aws:ResourceTag/{STACK}"),
    );
    let role = format!("aws:ResourceTag/{ROLE}");
    let made = ec2(&["fleet", "instance", "volume"]);
    let tagged_at_launch = ec2(&[
        "fleet",
        "instance",
        "volume",
        "network-interface",
        "spot-instances-request",
    ]);
    let ours = ec2(&["launch-template", "subnet", "security-group"]);
    // Resources that come and go with an instance get their tags from the launch template, if at
    // all, and AWS does not promise that those count as tags of the request. Images belong to
    // somebody else, so their ARN has no account.
    let mut untagged = ec2(&["network-interface", "spot-instances-request"]);
    let image = |kind| format!("arn:{}:ec2:{region}::{kind}/*", partition(region));
    untagged.extend(["image", "snapshot"].map(image));
    vec![
        with_condition(
            allow("LaunchTagged", launch, json!(made)),
            json!({ "StringEquals": { &requested: stack } }),
        ),
        with_condition(
            allow("LaunchFromOurs", launch, json!(ours)),
            json!({ "StringEquals": { &tagged: stack } }),
        ),
        allow("LaunchUntagged", launch, json!(untagged)),
        with_condition(
            allow(
                "TagWhatIsLaunched",
                ["ec2:CreateTags"],
                json!(tagged_at_launch),
            ),
            json!({ "StringEquals": {
                &requested: stack,
                "ec2:CreateAction": ["CreateFleet", "RunInstances"],
            } }),
        ),
        with_condition(
            allow(
                "GiveBackWorkers",
                ["ec2:TerminateInstances", "ec2:GetConsoleOutput"],
                json!(ec2(&["instance"])),
            ),
            json!({ "StringEquals": { &tagged: stack, &role: "worker" } }),
        ),
        // EC2 knows no resource-level permissions for these.
        with_condition(
            allow(
                "Look",
                [
                    "ec2:DescribeInstances",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeSubnets",
                ],
                json!("*"),
            ),
            json!({ "StringEquals": { "aws:RequestedRegion": region } }),
        ),
    ]
}

/// Lets managers decrypt these parameters if they are encrypted with a customer's key, through SSM
/// only. AWS's own key needs no permission.
fn decrypt(names: &Names, account: &str, parameters: &[String]) -> Value {
    let region = names.region();
    let arns: Vec<_> = parameters
        .iter()
        .map(|name| arn(names, account, "ssm", &parameter(name)))
        .collect();
    // The key may belong to another account.
    let keys = format!("arn:{}:kms:{region}:*:key/*", partition(region));
    with_condition(
        allow("DecryptTokens", ["kms:Decrypt"], json!(keys)),
        json!({ "StringEquals": {
            "kms:ViaService": format!("ssm.{region}.{}", domain(region)),
            "kms:EncryptionContext:PARAMETER_ARN": arns,
        } }),
    )
}

/// Appending to the log streams `<role>/…`.
fn logs(names: &Names, account: &str, role: &str) -> Value {
    let group = format!("log-group:{}", names.log_group());
    allow(
        "Logs",
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        json!(arn(
            names,
            account,
            "logs",
            &format!("{group}:log-stream:{role}/*")
        )),
    )
}

fn allow<const N: usize>(sid: &str, actions: [&str; N], resource: impl Into<Value>) -> Value {
    let resource: Value = resource.into();
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions.to_vec(), "Resource": resource })
}

fn with_condition(mut statement: Value, condition: Value) -> Value {
    statement["Condition"] = condition;
    statement
}

/// The bucket's own ARN, and the beginning of the ARNs of its objects.
fn bucket_arns(names: &Names, account: &str) -> (String, String) {
    let arn = format!(
        "arn:{}:s3:::{}",
        partition(names.region()),
        names.bucket(account)
    );
    (arn.clone(), arn)
}

fn arn(names: &Names, account: &str, service: &str, resource: &str) -> String {
    let region = names.region();
    format!(
        "arn:{}:{service}:{region}:{account}:{resource}",
        partition(region)
    )
}

fn role_arn(names: &Names, account: &str, role: &str) -> String {
    format!(
        "arn:{}:iam::{account}:role{}{role}",
        partition(names.region()),
        names.iam_path()
    )
}

/// A parameter's name as in its ARN.
fn parameter(name: &str) -> String {
    format!("parameter{}", crate::resources::parameters::full_name(name))
}
