//! Archives that are too large for one PUT: uploaded in parts, each by a URL of its own.
//!
//! The worker begins and finishes the upload with its credentials; the helper only sees URLs, each
//! for one part of one object.

use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use url::Url;

use super::{Encryption, S3Cache, chain, expires, signed};
use crate::Error;

/// The most bytes that S3 takes in one PUT.
pub const LARGEST_PUT: u64 = 5 << 30;
/// The most parts that an object may have.
const MOST_PARTS: u64 = 10_000;
/// The size of a part, if that makes not too many.
const USUAL_PART: u64 = 64 << 20;
const MIB: u64 = 1 << 20;

/// An upload in parts that has begun.
#[derive(Debug, Clone)]
pub struct SignedParts {
    /// S3's id of the upload.
    pub upload: String,
    /// The size of each part but the last.
    pub part_bytes: u64,
    /// A URL for each part.
    pub urls: Vec<Url>,
}

/// The size of a part of an archive.
fn part_size(bytes: u64) -> u64 {
    let least = bytes.div_ceil(MOST_PARTS).next_multiple_of(MIB);
    USUAL_PART.max(least)
}

impl S3Cache {
    /// Begins the upload of an archive in parts.
    ///
    /// # Errors
    /// If the key is empty, S3 refuses, or there are no credentials.
    pub async fn begin_parts(
        &self,
        key: &str,
        bytes: u64,
        ttl: Duration,
    ) -> Result<SignedParts, Error> {
        let key = self.object_key(key)?;
        let encryption = self.encryption.as_ref();
        let begun = self
            .uploads
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&key)
            .set_server_side_encryption(encryption.map(Encryption::kind))
            .set_ssekms_key_id(encryption.and_then(Encryption::key).map(str::to_owned))
            .send()
            .await
            .map_err(|error| failed(&error))?;
        let upload = begun.upload_id.unwrap_or_default();
        let part_bytes = part_size(bytes);
        let mut urls = Vec::new();
        for number in (1..).take(usize::try_from(bytes.div_ceil(part_bytes)).unwrap_or(0)) {
            let part = self.uploads.upload_part().bucket(&self.bucket).key(&key);
            let part = part.upload_id(&upload).part_number(number);
            urls.push(signed(part.presigned(expires(ttl)?).await)?);
        }
        Ok(SignedParts {
            upload,
            part_bytes,
            urls,
        })
    }

    /// Makes one object of the uploaded parts.
    ///
    /// # Errors
    /// If S3 refuses.
    pub async fn finish_parts(
        &self,
        key: &str,
        upload: &str,
        etags: Vec<String>,
    ) -> Result<(), Error> {
        let parts = etags.into_iter().zip(1..).map(|(etag, number)| {
            CompletedPart::builder()
                .e_tag(etag)
                .part_number(number)
                .build()
        });
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let request = self.uploads.complete_multipart_upload();
        let request = request.bucket(&self.bucket).key(self.object_key(key)?);
        let finished = request
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await;
        finished.map(drop).map_err(|error| failed(&error))
    }

    /// Gives up an upload in parts. What remains of one that cannot be given up, the bucket's
    /// lifecycle removes.
    pub async fn abandon_parts(&self, key: &str, upload: &str) {
        let Ok(key) = self.object_key(key) else {
            return;
        };
        let request = self.uploads.abort_multipart_upload();
        let request = request.bucket(&self.bucket).key(key).upload_id(upload);
        if let Err(error) = request.send().await {
            tracing::warn!(error = chain(&error), "an upload in parts was not removed");
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::Transfer {
        action: "upload",
        tries: 1,
        message: chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cache_at;
    use super::*;
    use wiremock::matchers::{body_string_contains, method, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    #[test]
    fn parts_are_neither_too_many_nor_too_large() {
        assert_eq!(part_size(LARGEST_PUT + 1), USUAL_PART);
        let largest = 5 << 40;
        assert!(largest / part_size(largest) <= MOST_PARTS);
        assert!(part_size(largest) <= LARGEST_PUT);
    }

    #[tokio::test]
    async fn an_upload_in_parts_has_a_url_for_each_and_becomes_one_object() {
        let server = MockServer::start().await;
        let begun = "<InitiateMultipartUploadResult><UploadId>up</UploadId>\
            </InitiateMultipartUploadResult>";
        Mock::given(method("POST"))
            .and(query_param("uploads", ""))
            .respond_with(ResponseTemplate::new(200).set_body_string(begun))
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(method("POST"))
            .and(query_param("uploadId", "up"))
            .and(body_string_contains(
                "<ETag>&quot;b&quot;</ETag><PartNumber>2</PartNumber>",
            ))
            .respond_with(
                ResponseTemplate::new(200).set_body_string(
                    "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>",
                ),
            )
            .expect(1)
            .mount(&server)
            .await;
        let cache = cache_at(&server.uri());
        let ttl = Duration::from_mins(10);
        let parts = cache
            .begin_parts("main", USUAL_PART + 1, ttl)
            .await
            .unwrap();
        let numbers: Vec<_> = parts
            .urls
            .iter()
            .flat_map(Url::query_pairs)
            .filter(|(name, _)| name == "partNumber")
            .map(|(_, number)| number.into_owned())
            .collect();
        assert_eq!(
            (numbers, parts.upload.as_str()),
            (vec!["1".into(), "2".into()], "up")
        );
        let etags = vec!["\"a\"".into(), "\"b\"".into()];
        cache.finish_parts("main", "up", etags).await.unwrap();
    }
}
