//! A real server and a real client over a home's Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use crate::fake::{Fake, GONE, NAS};
use dunlin_api::wire::Restore;
use dunlin_api::{Client, ClientError, FaultKind, ServeError, Server};
use dunlin_engine::limits::LimitChange;
use dunlin_engine::settings::{How, SettingChange, SettingValue};
use dunlin_engine::types::{Event, WaitOutcome};
use tempfile::TempDir;

async fn served() -> (TempDir, Fake, Server, Client) {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let server = Server::start(home.path(), fake.clone(), None).await.unwrap();
    let client = Client::connect(home.path()).await.unwrap();
    (home, fake, server, client)
}

fn fault(error: ClientError) -> dunlin_api::Fault {
    match error {
        ClientError::Fault(fault) => fault,
        other => panic!("expected a fault, got {other}"),
    }
}

fn warning(number: usize) -> Event {
    Event::Warning { folder: None, message: format!("warning {number}") }
}

#[tokio::test]
async fn every_request_reaches_the_node() {
    let (_home, fake, server, client) = served().await;
    assert_eq!(server.url(), None);
    assert_eq!(client.status().await.unwrap().name, "laptop");
    let info = client.add_folder(Path::new("/a"), Some("A".into())).await.unwrap();
    assert_eq!((info.name.as_str(), info.path.as_str()), ("A", "/a"));
    assert_eq!(client.join("code", Path::new("/b")).await.unwrap().join, "code");
    assert_eq!(client.doctor().await.unwrap()[0].name, "clock");
    assert_eq!(client.devices().await.unwrap()[1].device, NAS);
    // Names with spaces, paths with slashes, and values with odd characters arrive as they are.
    assert_eq!(client.share("My files", None).await.unwrap(), "My files/own");
    let inside = "/srv/my files/a b/%2F?.txt";
    assert_eq!(client.share(inside, Some("read".into())).await.unwrap(), "My files/read");
    client.scan(None).await.unwrap();
    client.scan(Some(inside)).await.unwrap();
    client.pause("My files").await.unwrap();
    client.resume("My files").await.unwrap();
    client.approve("My files").await.unwrap();
    client.undo("My files").await.unwrap();
    let change = SettingChange { value: "ü & 1".into(), local: true, ..SettingChange::default() };
    client.set("My files", "a/b", &change).await.unwrap();
    let add = SettingChange { local: false, how: How::Add, ..change };
    client.set("My files", "ignore", &add).await.unwrap();
    let settings = client.settings("My files").await.unwrap();
    assert_eq!(settings[1].value, SettingValue::Many(vec!["*.tmp".into()]));
    client.verify("My files").await.unwrap();
    client.fetch(Path::new(inside)).await.unwrap();
    assert_eq!(client.history(Path::new(inside), 5).await.unwrap().path, inside);
    let restore = Restore { path: inside.into(), version: Some(3), ..Restore::default() };
    assert_eq!(client.restore(&restore).await.unwrap().restored, 1);
    let both = Restore { at_ms: Some(1), ..restore.clone() };
    assert_eq!(fault(client.restore(&both).await.unwrap_err()).kind, FaultKind::Invalid);
    client.rename_device("nas", "attic").await.unwrap();
    let change =
        LimitChange { device: Some("nas".into()), up: Some(None), ..LimitChange::default() };
    assert_eq!(client.set_limits(&change).await.unwrap().up, Some(5));
    let gone = LimitChange { device: Some(GONE.into()), down: Some(Some(7)), ..change };
    client.set_limits(&gone).await.unwrap();
    client.remove("/srv/my files").await.unwrap();
    let expected = [
        "scan None",
        "scan Some(\"My files\")",
        "pause My files",
        "resume My files",
        "approve My files",
        "undo My files",
        "set My files a/b=ü & 1 true Set",
        "set My files ignore=ü & 1 false Add",
        "settings My files",
        "verify My files",
        "fetch /srv/my files/a b/%2F?.txt",
        "history /srv/my files/a b/%2F?.txt 5",
        "restore RestoreRequest { path: \"/srv/my files/a b/%2F?.txt\", at: None, \
         version: Some(3), to: None, force: false }",
        "rename 12D3KooWNas attic",
        "limit Some(\"12D3KooWNas\") Some(None) None None None",
        "limit Some(\"12D3KooWGone\") Some(None) Some(Some(7)) None None",
        "remove My files",
    ];
    assert_eq!(fake.asked(), expected);
    client.shutdown().await.unwrap();
    assert!(*fake.stopped.borrow());
    server.stop().await;
}

#[tokio::test]
async fn faults_arrive_as_they_were_made() {
    let (_home, fake, server, client) = served().await;
    let mistyped = fault(client.join("bad", Path::new("/b")).await.unwrap_err());
    assert_eq!(mistyped.kind, FaultKind::Invalid);
    assert_eq!(mistyped.advice.as_deref(), Some("copy it again"));
    let relative = fault(client.join("code", Path::new("b")).await.unwrap_err());
    assert_eq!(relative.kind, FaultKind::Invalid);
    let unknown = fault(client.pause("other").await.unwrap_err());
    assert_eq!(unknown.kind, FaultKind::NotFound);
    let later = fault(client.remove_device(NAS, None).await.unwrap_err());
    assert_eq!(later.kind, FaultKind::Unsupported);
    let huge = SettingChange { value: "x".repeat(100_000), ..SettingChange::default() };
    let huge = fault(client.set("My files", "k", &huge).await.unwrap_err());
    assert_eq!(huge.kind, FaultKind::Invalid);
    let endless = fault(client.wait(Some(f64::INFINITY)).await.unwrap_err());
    assert_eq!(endless.kind, FaultKind::Invalid);
    assert!(fake.asked().is_empty());
    client.remove_device(NAS, Some("My files")).await.unwrap();
    assert_eq!(fake.asked(), [format!("remove {NAS} from My files")]);
    server.stop().await;
}

#[tokio::test]
async fn a_wait_ends_as_the_node_says_or_with_its_caller() {
    let (_home, fake, server, client) = served().await;
    assert_eq!(client.wait(Some(0.5)).await.unwrap(), WaitOutcome::TimedOut);
    assert_eq!(client.wait(Some(9.0)).await.unwrap(), WaitOutcome::InSync);
    let mut waiting = fake.waiting.subscribe();
    let endless = tokio::spawn(async move { client.wait(None).await });
    waiting.wait_for(|count| *count == 1).await.unwrap();
    endless.abort();
    // The node stops waiting for a caller that is gone.
    waiting.wait_for(|count| *count == 0).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn events_come_in_order_and_end_with_the_node() {
    let (_home, fake, server, client) = served().await;
    let mut events = client.events().await.unwrap();
    for number in 0..3 {
        fake.events.send(warning(number)).unwrap();
    }
    for number in 0..3 {
        assert_eq!(events.next().await.unwrap(), Some(warning(number)));
    }
    server.stop().await;
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let (_home, fake, server, client) = served().await;
    let mut events = client.events().await.unwrap();
    // This test's one thread runs nothing else meanwhile, so the channel of four overflows.
    for number in 0..10 {
        fake.events.send(warning(number)).unwrap();
    }
    assert_eq!(events.next().await.unwrap(), Some(Event::Lagged { missed: 6 }));
    assert_eq!(events.next().await.unwrap(), Some(warning(6)));
    server.stop().await;
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_server() {
    let (home, _fake, server, _client) = served().await;
    let socket = home.path().join("api.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    server.stop().await;
    assert!(!socket.exists());
    let error = Client::connect(home.path()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)));
}

#[tokio::test]
async fn a_home_that_never_ran_has_no_node() {
    let home = tempfile::tempdir().unwrap();
    for path in [home.path().to_owned(), home.path().join("missing")] {
        let error = Client::connect(&path).await.unwrap_err();
        assert!(matches!(error, ClientError::NotRunning(_)));
    }
}

#[tokio::test]
async fn what_a_dead_node_left_is_no_node_and_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("api.sock");
    // A killed process leaves its socket bound to nothing, and the file that tells of it.
    drop(UnixListener::bind(&socket).unwrap());
    let endpoint = format!(r#"{{"socket": {socket:?}, "url": null, "pid": 1}}"#);
    std::fs::write(home.path().join("api.json"), endpoint).unwrap();
    let error = Client::connect(home.path()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)));
    let server = Server::start(home.path(), Fake::new(), None).await.unwrap();
    Client::connect(home.path()).await.unwrap().status().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_home_has_one_server() {
    let (home, _fake, server, client) = served().await;
    let second = Server::start(home.path(), Fake::new(), None).await;
    assert!(matches!(second, Err(ServeError::AlreadyRunning(_))));
    // The first is none the worse for it.
    client.status().await.unwrap();
    server.stop().await;
    Server::start(home.path(), Fake::new(), None).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_home_with_a_long_path_can_be_reached() {
    let parent = tempfile::tempdir().unwrap();
    let home = parent.path().join("x".repeat(120));
    std::fs::create_dir(&home).unwrap();
    let server = Server::start(&home, Fake::new(), None).await.unwrap();
    assert!(!home.join("api.sock").exists());
    Client::connect(&home).await.unwrap().status().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_idle_caller() {
    let (home, fake, server, client) = served().await;
    let mut waiting = fake.waiting.subscribe();
    let endless = tokio::spawn(async move { client.wait(None).await });
    waiting.wait_for(|count| *count == 1).await.unwrap();
    let _idle = tokio::net::UnixStream::connect(home.path().join("api.sock")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.stop()).await.unwrap();
    endless.await.unwrap().unwrap_err();
}
