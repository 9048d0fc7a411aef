//! The removal of a stack, against an AWS that has only instances and objects.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use onspot_ledger::{JobKey, JobLabel, Key, Record, Restart, RunnerName, create};
use onspot_reconcile::event_channel;
use url::Url;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;

const ACCOUNT: &str = "123456789012";

/// What is there.
#[derive(Default)]
struct Aws {
    bucket: bool,
    objects: BTreeMap<String, Vec<u8>>,
    /// An instance that EC2 lists only once the launch template is gone.
    late_instance: bool,
    template: bool,
    terminated: Vec<String>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Aws>>);

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut aws = self.0.lock();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if request.headers.contains_key("x-amz-target") {
            return ResponseTemplate::new(200).set_body_string("{}");
        }
        let action = body
            .split('&')
            .find_map(|pair| pair.strip_prefix("Action="));
        match action {
            Some(action) => {
                let content = aws.query(action, &body);
                ResponseTemplate::new(200).set_body_string(format!(
                    "<{action}Response><{action}Result></{action}Result>{content}</{action}Response>"
                ))
            }
            None => aws.s3(request, &body),
        }
    }
}

impl Aws {
    fn query(&mut self, action: &str, body: &str) -> String {
        match action {
            "DescribeLaunchTemplates" if self.template => {
                "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId>
                 <launchTemplateName>onspot-ci-a</launchTemplateName></item></launchTemplates>"
                    .to_owned()
            }
            "DescribeLaunchTemplateVersions" => {
                "<launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId>
                 <versionNumber>1</versionNumber><defaultVersion>true</defaultVersion></item>
                 </launchTemplateVersionSet>"
                    .to_owned()
            }
            "DeleteLaunchTemplate" => {
                self.template = false;
                String::new()
            }
            "TerminateInstances" => {
                self.terminated.push(body.to_owned());
                String::new()
            }
            "DescribeInstances" if self.late_instance && !self.template => {
                let state = if self.terminated.is_empty() {
                    "<code>16</code><name>running</name>"
                } else {
                    "<code>48</code><name>terminated</name>"
                };
                format!(
                    "<reservationSet><item><instancesSet><item><instanceId>i-late</instanceId>
                     <instanceType>m6i.large</instanceType><instanceState>{state}</instanceState>
                     </item></instancesSet></item></reservationSet>"
                )
            }
            _ => String::new(),
        }
    }

    fn s3(&mut self, request: &Request, body: &str) -> ResponseTemplate {
        let missing = |code: &str| {
            ResponseTemplate::new(404).set_body_string(format!(
                "<Error><Code>{code}</Code><Message>not there</Message></Error>"
            ))
        };
        if !self.bucket {
            return missing("NoSuchBucket");
        }
        let key = request.url.path().splitn(3, '/').nth(2).unwrap_or_default();
        let query = request.url.query().unwrap_or_default();
        let etag = |body: &[u8]| format!("\"{:x}\"", crc(body));
        let ok = |body: String| ResponseTemplate::new(200).set_body_string(body);
        match (request.method.as_str(), key) {
            ("GET", "") if query.contains("list-type=2") => ok(self.listing(query, etag)),
            ("GET", "") if query.contains("versions") => {
                let all = self.objects.keys();
                let all: Vec<String> = all
                    .map(|key| {
                        format!("<Version><Key>{key}</Key><VersionId>null</VersionId></Version>")
                    })
                    .collect();
                ok(format!(
                    "<ListVersionsResult>{}</ListVersionsResult>",
                    all.concat()
                ))
            }
            ("GET", "") if query.contains("tagging") => missing("NoSuchTagSet"),
            ("GET", "") if query.contains("uploads") => {
                ok("<ListMultipartUploadsResult/>".to_owned())
            }
            ("GET", "") => missing("NoSuchConfiguration"),
            ("POST", "") => {
                self.objects
                    .retain(|key, _| !body.contains(&format!("<Key>{key}</Key>")));
                ok("<DeleteResult/>".to_owned())
            }
            ("DELETE", "") => {
                self.bucket = false;
                ResponseTemplate::new(204)
            }
            ("GET", key) => match self.objects.get(key) {
                Some(body) => ResponseTemplate::new(200)
                    .set_body_bytes(body.clone())
                    .insert_header("ETag", etag(body)),
                None => missing("NoSuchKey"),
            },
            ("PUT", key) => {
                let header = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
                let now = self.objects.get(key).map(|body| etag(body));
                let holds = match header("if-match") {
                    Some(wanted) => now.as_deref() == Some(wanted),
                    None => now.is_none(),
                };
                if !holds {
                    return ResponseTemplate::new(412);
                }
                let etag = etag(&request.body);
                self.objects.insert(key.to_owned(), request.body.clone());
                ResponseTemplate::new(200).insert_header("ETag", etag)
            }
            _ => ResponseTemplate::new(204),
        }
    }

    fn listing(&self, query: &str, etag: impl Fn(&[u8]) -> String) -> String {
        let prefix = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("prefix="));
        let prefix = prefix.unwrap_or_default().replace("%2F", "/");
        let found = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix));
        let found: Vec<String> = found
            .map(|(key, body)| {
                let etag = etag(body);
                format!("<Contents><Key>{key}</Key><ETag>{etag}</ETag></Contents>")
            })
            .collect();
        format!("<ListBucketResult>{}</ListBucketResult>", found.concat())
    }
}

fn crc(body: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

async fn clients(fake: &Fake) -> (MockServer, Clients) {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any())
        .respond_with(fake.clone())
        .mount(&server)
        .await;
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .endpoint_url(server.uri())
        .build();
    let url = Url::parse(&server.uri()).unwrap();
    let region = "eu-west-1".to_owned();
    let clients = Clients::new(&config, region, Some(url), ACCOUNT.to_owned());
    (server, clients)
}

/// Records which jobs exist when they are to be ended.
#[derive(Default)]
struct Jobs {
    ended: Mutex<Option<Vec<String>>>,
    untold: Vec<String>,
}

impl JobsEnd for Jobs {
    fn end<'a>(
        &'a self,
        ledger: &'a dyn Ledger,
    ) -> BoxFuture<'a, Result<JobsEnded, onspot_ledger::Error>> {
        Box::pin(async {
            let listed = ledger.list(onspot_ledger::key::JOBS).await?;
            let keys: Vec<_> = listed.into_iter().map(|object| object.key).collect();
            let told = keys.len();
            *self.ended.lock() = Some(keys);
            let untold = self.untold.clone();
            Ok(JobsEnded { told, untold })
        })
    }
}

async fn take_down(clients: &Clients, jobs: &Jobs) -> Removed {
    let (events, _nobody_listens) = event_channel();
    let patience = Duration::from_secs(20);
    Box::pin(down("ci", clients, jobs, patience, &events))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_worker_that_a_manager_bought_in_its_last_moment_is_terminated_too() {
    let fake = Fake::default();
    {
        let mut aws = fake.0.lock();
        (aws.template, aws.late_instance) = (true, true);
    }
    let (_server, clients) = clients(&fake).await;
    let jobs = Jobs::default();
    take_down(&clients, &jobs).await;
    assert_eq!(*jobs.ended.lock(), None, "no bucket, no jobs");
    let aws = fake.0.lock();
    assert!(
        aws.terminated.iter().any(|body| body.contains("i-late")),
        "{:?}",
        aws.terminated
    );
}

#[tokio::test]
async fn a_job_that_still_runs_ends_before_its_ledger_goes() {
    let fake = Fake::default();
    fake.0.lock().bucket = true;
    let (_server, clients) = clients(&fake).await;
    let bucket = Names::new("ci", "eu-west-1").unwrap().bucket(ACCOUNT);
    let ledger = hello::ledger(&clients, &bucket);
    let job = JobKey::new(&RunnerName::new("a"), 7);
    let now = jiff::Timestamp::now();
    let record = Record::received(JobLabel::default(), Restart::Allowed, now, now);
    create(&ledger, &Key::record(&job), record)
        .await
        .unwrap()
        .unwrap();

    let jobs = Jobs {
        untold: vec!["job 7 of a: no GitLab".to_owned()],
        ..Jobs::default()
    };
    let removed = take_down(&clients, &jobs).await;
    let note = "GitLab was not told about the end of job 7 of a: no GitLab";
    assert_eq!(removed.notes, [note]);
    let ended = jobs.ended.lock().clone().unwrap();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(!fake.0.lock().bucket, "the bucket goes last");
}
