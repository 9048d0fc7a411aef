//! A ledger in memory with S3's semantics: for one host without AWS, and for tests.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::store::{Answer, Condition, ETag, Ledger, Listed, Put};

/// Objects in memory with exactly S3's semantics: a version is derived from the content, so an
/// object that returns to an earlier content has its earlier version again.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    objects: Mutex<BTreeMap<String, (Vec<u8>, ETag)>>,
}

impl MemoryLedger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, (Vec<u8>, ETag)>> {
        // No operation below can panic between two changes, so a poisoned map is still consistent.
        self.objects.lock()
    }
}

fn etag_of(body: &[u8]) -> ETag {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    ETag::new(format!("\"{:016x}\"", hasher.finish()))
}

impl Ledger for MemoryLedger {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<(Vec<u8>, ETag)>> {
        Box::pin(async move { Ok(self.objects().get(key).cloned()) })
    }

    fn put_if<'a>(&'a self, key: &'a str, body: Vec<u8>, condition: Condition) -> Answer<'a, Put> {
        Box::pin(async move {
            let mut objects = self.objects();
            let holds = match (&condition, objects.get(key)) {
                (Condition::Absent, None) => true,
                (Condition::Matches(wanted), Some((_, etag))) => wanted == etag,
                (Condition::Absent, Some(_)) | (Condition::Matches(_), None) => false,
            };
            if !holds {
                return Ok(Put::Refused);
            }
            let etag = etag_of(&body);
            objects.insert(key.to_owned(), (body, etag.clone()));
            Ok(Put::Written(etag))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            Ok(self
                .objects()
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, (_, etag))| Listed {
                    key: key.clone(),
                    etag: etag.clone(),
                })
                .collect())
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.objects().remove(key);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(put: Put) -> ETag {
        match put {
            Put::Written(etag) => etag,
            Put::Refused | Put::Conflict => panic!("refused"),
        }
    }

    #[tokio::test]
    async fn a_write_is_applied_only_if_its_condition_holds() {
        let ledger = MemoryLedger::new();
        let missing = Condition::Matches(ETag::new("\"1\""));
        assert_eq!(
            ledger.put_if("a", b"0".into(), missing).await.unwrap(),
            Put::Refused
        );

        let first = written(
            ledger
                .put_if("a", b"1".into(), Condition::Absent)
                .await
                .unwrap(),
        );
        let again = ledger
            .put_if("a", b"2".into(), Condition::Absent)
            .await
            .unwrap();
        assert_eq!(again, Put::Refused);

        let replace = Condition::Matches(first.clone());
        written(
            ledger
                .put_if("a", b"2".into(), replace.clone())
                .await
                .unwrap(),
        );
        assert_eq!(
            ledger.put_if("a", b"3".into(), replace).await.unwrap(),
            Put::Refused
        );
        assert_eq!(ledger.get("a").await.unwrap().unwrap().0, b"2");
    }

    #[tokio::test]
    async fn equal_contents_have_equal_versions_as_on_s3() {
        let ledger = MemoryLedger::new();
        let first = written(
            ledger
                .put_if("a", b"1".into(), Condition::Absent)
                .await
                .unwrap(),
        );
        let second = written(
            ledger
                .put_if("a", b"2".into(), Condition::Matches(first.clone()))
                .await
                .unwrap(),
        );
        written(
            ledger
                .put_if("a", b"1".into(), Condition::Matches(second))
                .await
                .unwrap(),
        );
        // A stale writer that holds the first version succeeds; that is why objects have counters.
        written(
            ledger
                .put_if("a", b"9".into(), Condition::Matches(first))
                .await
                .unwrap(),
        );
    }

    #[tokio::test]
    async fn a_listing_has_the_keys_with_the_prefix_in_order() {
        let ledger = MemoryLedger::new();
        for key in ["b/2", "a/1", "b/1", "c"] {
            written(
                ledger
                    .put_if(key, key.into(), Condition::Absent)
                    .await
                    .unwrap(),
            );
        }
        ledger.delete("b/3").await.unwrap();
        let keys: Vec<_> = ledger
            .list("b/")
            .await
            .unwrap()
            .into_iter()
            .map(|o| o.key)
            .collect();
        assert_eq!(keys, ["b/1", "b/2"]);
    }
}
