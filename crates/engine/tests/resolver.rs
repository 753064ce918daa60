//! A program that embeds two nodes and decides about their conflicts by itself.

#![allow(clippy::unwrap_used)]

use std::io::read_to_string;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dunlin_engine::conflict::{Case, Verdict};
use dunlin_engine::types::{Event, WaitOutcome};
use dunlin_engine::{Node, NodeConfig};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

async fn start(base: &Path, name: &str, peers: Vec<String>) -> Node {
    let config = NodeConfig {
        home: base.join(format!("home-{name}")),
        name: Some(name.to_owned()),
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()],
        peers,
        mdns: false,
        dht: false,
    };
    Node::start(config).await.unwrap()
}

async fn in_sync(nodes: &[&Node]) {
    for node in nodes {
        assert_eq!(node.wait_in_sync(Some(PATIENCE)).await, WaitOutcome::InSync);
    }
}

/// All lines of both versions that are not in the base, after those of the base.
fn union(case: &mut Case) -> Verdict {
    let Some(base) = case.base.as_mut() else { return Verdict::Leave };
    let mut merged = read_to_string(base).unwrap();
    let mut sides =
        [read_to_string(&mut case.winner).unwrap(), read_to_string(&mut case.copy).unwrap()];
    sides.sort();
    for line in sides.iter().flat_map(|side| side.lines()) {
        if !merged.lines().any(|old| old == line) {
            merged.push_str(line);
            merged.push('\n');
        }
    }
    Verdict::Merged(merged.into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_registered_function_merges_with_the_base_and_leaves_what_has_none() {
    let base = tempfile::tempdir().unwrap();
    let dirs = ["a", "b", "c"].map(|name| base.path().join(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let a = start(base.path(), "a", Vec::new()).await;
    let code = a.add_folder(&dirs[0], None).await.unwrap().join;
    std::fs::write(dirs[0].join("list.bin"), "base\n").unwrap();
    let listen = a.status().listen;
    let b = start(base.path(), "b", listen.clone()).await;
    let c = start(base.path(), "c", listen).await;
    b.join(&code, &dirs[1]).await.unwrap();
    c.join(&code, &dirs[2]).await.unwrap();
    in_sync(&[&c, &b, &a]).await;
    assert_eq!(std::fs::read(dirs[1].join("list.bin")).unwrap(), b"base\n");
    a.shutdown().await;
    b.shutdown().await;
    drop((a, b));

    // C keeps the old version when the new ones come; nobody else has it.
    for (dir, who) in dirs.iter().zip(["a", "b"]) {
        std::fs::write(dir.join("list.bin"), format!("base\nby {who}\n")).unwrap();
        std::fs::write(dir.join("apart.bin"), who).unwrap();
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let listen = c.status().listen;
    let a = start(base.path(), "a", listen.clone()).await;
    let b = start(base.path(), "b", [listen, a.status().listen].concat()).await;
    let mut events = a.subscribe();
    for node in [&a, &b] {
        let asked = Arc::clone(&asked);
        node.set_resolver(move |case: &mut Case| {
            asked.fetch_add(1, Ordering::Relaxed);
            union(case)
        });
    }
    let over = async {
        loop {
            match events.recv().await.unwrap() {
                Event::ConflictResolved { path, .. } if path.starts_with("list") => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    in_sync(&[&a, &b, &c]).await;
    for dir in &dirs {
        assert_eq!(std::fs::read(dir.join("list.bin")).unwrap(), b"base\nby a\nby b\n");
    }
    let left = c.conflicts(&dirs[2].to_string_lossy(), None).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].path.as_str(), &left[0].base), ("apart.bin", &None));
    assert!(asked.load(Ordering::Relaxed) >= 1);
    for node in [a, b, c] {
        node.shutdown().await;
    }
}
