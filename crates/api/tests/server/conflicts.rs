//! The requests about conflicts, as a client makes them.

use crate::fake::{BASE_BYTES, Fake};
use dunlin_api::wire::Resolve;
use dunlin_api::{Client, ClientError, FaultKind, Server};
use dunlin_engine::conflict::Keep;

#[tokio::test]
async fn conflicts_are_listed_read_and_resolved() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let server = Server::start(home.path(), fake.clone(), None).await.unwrap();
    let client = Client::connect(home.path()).await.unwrap();

    let all = client.conflicts("My files", None).await.unwrap();
    assert_eq!((all[0].folder.as_str(), all[0].path.as_str()), ("My files", "a/b c"));
    let odd = "ä&b=?/c + d#.txt";
    assert_eq!(client.conflicts("My files", Some(odd)).await.unwrap()[0].path, odd);

    let mut base = client.conflict_base("My files", odd).await.unwrap();
    let mut read = 0;
    while let Some(piece) = base.next().await.unwrap() {
        assert!(piece.iter().all(|byte| *byte == 7));
        read += piece.len() as u64;
    }
    assert_eq!(read, BASE_BYTES);
    let none = client.conflict_base("My files", "made apart").await.unwrap_err();
    assert!(matches!(none, ClientError::Fault(fault) if fault.kind == FaultKind::NotFound));

    let keep = Resolve { path: odd.into(), keep: Some(Keep::That), ..Resolve::default() };
    client.resolve_conflict("My files", &keep).await.unwrap();
    let merged = Resolve {
        path: "p".into(),
        merged: Some("/tmp/m".into()),
        expect: Some(vec!["1".into()]),
        ..Resolve::default()
    };
    client.resolve_conflict("My files", &merged).await.unwrap();
    for wrong in [
        Resolve { path: "p".into(), ..Resolve::default() },
        Resolve { keep: Some(Keep::Both), ..merged.clone() },
        Resolve { merged: Some("not/absolute".into()), ..merged.clone() },
    ] {
        let error = client.resolve_conflict("My files", &wrong).await.unwrap_err();
        assert!(matches!(error, ClientError::Fault(fault) if fault.kind == FaultKind::Invalid));
    }
    let expected = [
        format!("resolve My files {odd} Keep(That) None"),
        "resolve My files p Merged(\"/tmp/m\") Some([\"1\"])".to_owned(),
    ];
    assert_eq!(fake.asked(), expected);
    server.stop().await;
}
