//! How the instances of a stack are listed.

use super::*;

#[tokio::test]
async fn observation_reads_all_pages() {
    let server = MockServer::start().await;
    let second = page(&described("i-2", (48, "terminated")), None);
    Mock::given(body_string_contains("NextToken=more"))
        .respond_with(ResponseTemplate::new(200).set_body_string(second))
        .with_priority(1)
        .mount(&server)
        .await;
    answer(
        &server,
        "DescribeInstances",
        &page(&described("i-1", (16, "running")), Some("more")),
    )
    .await;
    let found = fleet(&server.uri()).observe().await.expect("instances");
    let states: Vec<_> = found.iter().map(|i| (i.id.as_str(), i.state)).collect();
    assert_eq!(
        states,
        [
            ("i-1", InstanceState::Running),
            ("i-2", InstanceState::Terminated)
        ]
    );
    assert_eq!(
        found[1].reason.as_deref(),
        Some("Server.SpotInstanceTermination")
    );
    assert_eq!(found[1].tags.runner(), Some("docker.m3"));
    assert_eq!(found[1].launched_at.to_string(), "2026-11-24T00:00:00Z");
}

#[tokio::test]
async fn an_unknown_instance_does_not_save_the_others() {
    let server = MockServer::start().await;
    Mock::given(body_string_contains("i-gone"))
        .respond_with(refusal("InvalidInstanceID.NotFound", "no such instance"))
        .with_priority(1)
        .mount(&server)
        .await;
    let ended = r#"<TerminateInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <instancesSet/></TerminateInstancesResponse>"#;
    answer(&server, "TerminateInstances", ended).await;
    let ids = ["i-1", "i-gone", "i-2"].map(InstanceId::from);
    fleet(&server.uri())
        .terminate(&ids)
        .await
        .expect("termination");
    let sent = server.received_requests().await.expect("recorded requests");
    assert_eq!(sent.len(), 4, "all at once, then one by one");
}

#[tokio::test]
async fn an_unknown_id_hides_no_other_and_only_its_own_answer_says_that_it_is_unknown() {
    let server = MockServer::start().await;
    let unknown = refusal(
        "InvalidInstanceID.NotFound",
        "The instance ID 'i-2' does not exist",
    );
    Mock::given(body_string_contains("i-2"))
        .respond_with(unknown)
        .with_priority(1)
        .mount(&server)
        .await;
    let running = page(&described("i-1", (16, "running")), None);
    answer(&server, "DescribeInstances", &running).await;
    let ids = [InstanceId::new("i-1"), InstanceId::new("i-2")];
    let found = fleet(&server.uri()).by_id(&ids).await.expect("answers");
    let state = |found: &Option<Instance>| found.as_ref().map(|instance| instance.state);
    let found: Vec<_> = found
        .iter()
        .map(|(id, found)| (id.as_str(), state(found)))
        .collect();
    assert_eq!(
        found,
        [("i-1", Some(InstanceState::Running)), ("i-2", None)]
    );
}

#[tokio::test]
async fn a_refused_look_by_id_says_nothing_of_anybody() {
    let server = MockServer::start().await;
    Mock::given(body_string_contains("DescribeInstances"))
        .respond_with(refusal("RequestLimitExceeded", "slow down"))
        .mount(&server)
        .await;
    let found = fleet(&server.uri()).by_id(&[InstanceId::new("i-1")]).await;
    assert!(found.is_err());
}

#[tokio::test]
async fn a_look_asks_for_instances_that_have_not_ended() {
    let server = MockServer::start().await;
    answer(&server, "DescribeInstances", &page("", None)).await;
    fleet(&server.uri()).observe().await.expect("a look");
    let sent = server.received_requests().await.expect("recorded requests");
    let body = String::from_utf8(sent[0].body.clone()).expect("text");
    assert!(body.contains("instance-state-name"), "{body}");
    assert!(
        body.contains("shutting-down") && !body.contains("=terminated"),
        "{body}"
    );
}
