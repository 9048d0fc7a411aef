//! The documents of the metadata service, by path.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cloud::Credential;
use crate::hypervisor::ec2::{Instance, Role};

/// LocalStack's account.
const ACCOUNT: &str = "000000000000";

/// An announced spot interruption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When the instance will be terminated.
    pub at: Timestamp,
}

/// Everything that does not change while the instance lives.
#[derive(Debug, Clone)]
pub struct Documents {
    instance: Instance,
    region: String,
    user_data: Option<Vec<u8>>,
}

impl Documents {
    /// The documents of an instance in a region.
    pub fn new(instance: Instance, region: &str, user_data: Option<Vec<u8>>) -> Self {
        Self {
            instance,
            region: region.to_owned(),
            user_data,
        }
    }

    /// The instance's id.
    pub fn instance_id(&self) -> &str {
        &self.instance.id
    }

    /// The document or listing at a path like `/latest/meta-data/instance-id`; `None`: 404.
    pub fn answer(
        &self,
        path: &str,
        role: Option<&Role>,
        notice: Option<&Notice>,
    ) -> Option<Vec<u8>> {
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return Some(b"latest".to_vec());
        }
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        let is_date = version.len() == 10 && version.starts_with("20");
        if version != "latest" && !is_date {
            return None;
        }
        match rest.trim_end_matches('/') {
            "" => Some(b"dynamic\nmeta-data\nuser-data".to_vec()),
            "user-data" => self.user_data.clone(),
            "dynamic" => Some(b"instance-identity/".to_vec()),
            "dynamic/instance-identity" => Some(b"document".to_vec()),
            "dynamic/instance-identity/document" => Some(self.identity()),
            meta => {
                let name = meta.strip_prefix("meta-data")?.trim_start_matches('/');
                let tree = self.meta_data(role, notice);
                tree.get(name)
                    .cloned()
                    .or_else(|| listing(&tree, name))
                    .map(String::into_bytes)
            }
        }
    }

    fn meta_data(&self, role: Option<&Role>, notice: Option<&Notice>) -> BTreeMap<String, String> {
        let instance = &self.instance;
        let hostname = format!(
            "ip-{}.{}.compute.internal",
            instance.private_ip.replace('.', "-"),
            self.region
        );
        let life_cycle = if instance.spot { "spot" } else { "on-demand" };
        let mut tree = BTreeMap::from(
            [
                ("ami-id", instance.ami.as_str()),
                ("ami-launch-index", "0"),
                ("hostname", &hostname),
                ("instance-id", &instance.id),
                ("instance-life-cycle", life_cycle),
                ("instance-type", &instance.instance_type),
                ("local-hostname", &hostname),
                ("local-ipv4", &instance.private_ip),
                ("placement/availability-zone", &instance.zone),
                ("placement/region", &self.region),
                ("services/domain", "amazonaws.com"),
                ("services/partition", "aws"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        for (key, value) in &instance.tags {
            tree.insert(format!("tags/instance/{key}"), value.clone());
        }
        if let Some(role) = role {
            let info = serde_json::json!({
                "Code": "Success",
                "LastUpdated": instance.launched_at.to_string(),
                "InstanceProfileArn": role.profile_arn,
                "InstanceProfileId": role.profile_id,
            });
            tree.insert("iam/info".to_owned(), info.to_string());
            // The service adds its content, because only the service can request credentials.
            tree.insert(
                format!("iam/security-credentials/{}", role.name),
                String::new(),
            );
        }
        if let Some(notice) = notice {
            let time = notice.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let action = serde_json::json!({"action": "terminate", "time": time});
            tree.insert("spot/instance-action".to_owned(), action.to_string());
            tree.insert("spot/termination-time".to_owned(), time);
        }
        tree
    }

    fn identity(&self) -> Vec<u8> {
        let instance = &self.instance;
        serde_json::json!({
            "accountId": ACCOUNT,
            "architecture": "x86_64",
            "availabilityZone": instance.zone,
            "imageId": instance.ami,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "pendingTime": instance.launched_at.to_string(),
            "privateIp": instance.private_ip,
            "region": self.region,
            "version": "2017-09-30",
        })
        .to_string()
        .into_bytes()
    }
}

/// The names beneath `folder`, with a slash after those of folders; `None` if there are none.
fn listing(tree: &BTreeMap<String, String>, folder: &str) -> Option<String> {
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let names: BTreeSet<String> = tree
        .keys()
        .filter_map(|name| name.strip_prefix(&prefix))
        .map(|rest| match rest.split_once('/') {
            // A tag's key may contain anything; beneath `tags/instance/` there are no folders.
            Some((first, _)) if folder != "tags/instance" => format!("{first}/"),
            _ => rest.to_owned(),
        })
        .collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join("\n"))
}

/// The document with a role's credentials.
pub(super) fn credentials(credential: &Credential, since: Timestamp) -> Vec<u8> {
    let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    serde_json::json!({
        "Code": "Success",
        "LastUpdated": time(since),
        "Type": "AWS-HMAC",
        "AccessKeyId": credential.access_key,
        "SecretAccessKey": credential.secret_key,
        "Token": credential.session_token,
        "Expiration": credential.expires.map(time),
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Documents {
        let instance = Instance {
            id: "i-0123456789abcdef0".to_owned(),
            ami: "ami-1".to_owned(),
            instance_type: "t3.small".to_owned(),
            zone: "eu-west-1a".to_owned(),
            state: "running".to_owned(),
            private_ip: "10.0.1.4".to_owned(),
            spot: true,
            profile: None,
            tags: BTreeMap::from([("onspot:stack".to_owned(), "ci".to_owned())]),
            launched_at: Timestamp::UNIX_EPOCH,
        };
        Documents::new(instance, "eu-west-1", Some(b"#!/bin/bash\n".to_vec()))
    }

    fn role() -> Role {
        Role {
            name: "worker".to_owned(),
            arn: "arn:aws:iam::000000000000:role/worker".to_owned(),
            profile_arn: "arn:aws:iam::000000000000:instance-profile/worker".to_owned(),
            profile_id: "AIPA1".to_owned(),
        }
    }

    fn get(path: &str) -> Option<String> {
        let answer = documents().answer(path, Some(&role()), None)?;
        Some(String::from_utf8(answer).unwrap())
    }

    #[test]
    fn documents_and_listings() {
        assert_eq!(
            get("/latest/meta-data/instance-id").unwrap(),
            "i-0123456789abcdef0"
        );
        assert_eq!(
            get("/2021-03-23/meta-data/placement/region").unwrap(),
            "eu-west-1"
        );
        assert_eq!(
            get("/latest/meta-data/placement/").unwrap(),
            "availability-zone\nregion"
        );
        assert_eq!(
            get("/latest/meta-data/iam/security-credentials/").unwrap(),
            "worker"
        );
        assert_eq!(
            get("/latest/meta-data/tags/instance/onspot:stack").unwrap(),
            "ci"
        );
        assert_eq!(get("/latest/user-data").unwrap(), "#!/bin/bash\n");
        let root = get("/latest/meta-data/").unwrap();
        assert!(root.lines().any(|line| line == "ami-id"), "{root}");
        assert!(root.lines().any(|line| line == "iam/"), "{root}");
        assert_eq!(get("/latest/meta-data/public-keys/"), None);
        assert_eq!(get("/nonsense/meta-data/"), None);
    }

    #[test]
    fn an_interruption_is_only_there_once_announced() {
        let path = "/latest/meta-data/spot/instance-action";
        assert_eq!(get(path), None);
        let notice = Notice {
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        let answer = documents().answer(path, None, Some(&notice)).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["action"], "terminate");
        assert_eq!(answer["time"], "2026-01-02T03:04:05Z");
    }
}
