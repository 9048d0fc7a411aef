//! scratch
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use onspot_cache::bucket::*;
use onspot_reconcile::event_channel;
#[tokio::test]
async fn go() {
    let cfg = aws_sdk_s3::Config::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1")).force_path_style(true)
        .credentials_provider(Credentials::new("test","test",None,None,"t")).endpoint_url("http://127.0.0.1:24566").build();
    let s3 = aws_sdk_s3::Client::from_conf(cfg);
    let (tx, mut rx) = event_channel();
    tokio::spawn(async move { while let Some(e) = rx.recv().await { println!("  {e}"); } });
    let mut spec = BucketSpec::new("try", "000000000000", "eu-west-1");
    for round in 0..3 {
        if round == 2 { spec.cache_days = 3; }
        let p = diff(&spec, observe(&s3, &spec).await.unwrap().as_ref()).unwrap();
        println!("{}", p.plan());
        apply(&s3, &p, &tx).await.unwrap();
        let o = observe(&s3, &spec).await.unwrap();
        println!("{o:?}");
        assert!(diff(&spec, o.as_ref()).unwrap().is_empty());
    }
    for n in 0..1003 { let _ = n; if n < 5 { s3.put_object().bucket(&spec.name).key(format!("cache/{n}")).body(vec![1u8;10].into()).send().await.unwrap(); } }
    s3.create_multipart_upload().bucket(&spec.name).key("cache/x").send().await.unwrap();
    let other = BucketSpec { account: "111111111111".into(), ..spec.clone() };
    println!("foreign: {:?}", observe(&s3, &other).await);
    let p = teardown(&spec, observe(&s3, &spec).await.unwrap().as_ref());
    println!("{}", p.plan());
    destroy(&s3, &p, &tx).await.unwrap();
    assert!(observe(&s3, &spec).await.unwrap().is_none());
}
