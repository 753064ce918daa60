//! The API on TCP, spoken to in plain text, as a program without this client would.

use std::path::Path;

use crate::fake::Fake;
use dunlin_api::Server;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn served() -> (TempDir, Fake, Server, String) {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(home.path(), fake.clone(), Some(address)).await.unwrap();
    let authority = server.url().unwrap().strip_prefix("http://").unwrap().to_owned();
    (home, fake, server, authority)
}

fn token(home: &Path) -> String {
    std::fs::read_to_string(home.join("api-token")).unwrap().trim().to_owned()
}

/// Sends one request and returns the whole answer, head and body.
async fn ask(authority: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let mut request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_token_opens_the_api() {
    let (home, _fake, server, authority) = served().await;
    let bearer = format!("Bearer {}", token(home.path()));
    let headers = [("Host", authority.as_str()), ("Authorization", bearer.as_str())];
    let answer = ask(&authority, "/v1/status", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""name":"laptop""#));
    server.stop().await;
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let (home, _fake, server, authority) = served().await;
    let token = token(home.path());
    let wrong = format!("Bearer {}0", &token[1..]);
    let (short, basic) = (format!("Bearer {}", &token[..8]), format!("Basic {token}"));
    for value in [None, Some(""), Some("Bearer "), Some(&*wrong), Some(&*short), Some(&*basic)] {
        let mut headers = vec![("Host", authority.as_str())];
        headers.extend(value.map(|value| ("Authorization", value)));
        for target in ["/v1/status", "/v1/events", "/nothing"] {
            let answer = ask(&authority, target, &headers).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{value:?}: {answer}");
            assert!(!answer.contains("laptop"));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_rebound_domain_name_is_turned_away_even_with_the_token() {
    let (home, _fake, server, authority) = served().await;
    let bearer = format!("Bearer {}", token(home.path()));
    let right = ("Authorization", bearer.as_str());
    let port = authority.rsplit_once(':').unwrap().1;
    let hosts = [format!("evil.example:{port}"), format!("127.0.0.1.evil.example:{port}")];
    for host in &hosts {
        let answer = ask(&authority, "/v1/status", &[("Host", host), right]).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    let absolute = format!("http://{}/v1/status", hosts[0]);
    let answer = ask(&authority, &absolute, &[("Host", &authority), right]).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = ask(&authority, "/v1/status", &[right]).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_browser_gets_server_sent_events() {
    let (home, fake, server, authority) = served().await;
    let bearer = format!("Bearer {}", token(home.path()));
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {authority}\r\nAuthorization: {bearer}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    let mut stream = TcpStream::connect(&authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    // The first filler shows that the stream listens.
    while !answer.contains(":\n\n") {
        let read = stream.read(&mut buffer).await.unwrap();
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(answer.contains("content-type: text/event-stream"));
    fake.events
        .send(dunlin_engine::types::Event::Warning { folder: None, message: "hot".into() })
        .unwrap();
    server.stop().await;
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("data: {\"event\":\"warning\",\"folder\":null,\"message\":\"hot\"}\n\n")
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_in_json() {
    let (home, _fake, server, authority) = served().await;
    let bearer = format!("Bearer {}", token(home.path()));
    let headers = [("Host", authority.as_str()), ("Authorization", bearer.as_str())];
    let answer = ask(&authority, "/v1/nothing", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains(r#""kind":"not_found""#));
    let answer = ask(&authority, "/v1/join", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains(r#""kind":"invalid""#));
    let answer = ask(&authority, "/v1/wait?timeout_s=soon", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(r#""kind":"invalid""#));
    server.stop().await;
}
