//! `dunlin up`: the node in the foreground.

use std::future::Future;
use std::path::{Path, PathBuf};

use dunlin_api::{ApiAddress, Client, ClientError, Control, Server};
use dunlin_engine::{Node, NodeConfig};

use crate::adapter::{Adapter, fault};
use crate::cli::{Api, NodeFlags, Up};
use crate::commands::narrator::Narrator;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::signals::Signals;

pub(crate) async fn run(context: &Context, up: Up) -> Result<Exit, Failure> {
    let dirs = up.dirs.iter().map(|dir| absolute(dir)).collect::<Result<Vec<_>, _>>()?;
    let running = match Client::connect(&context.home).await {
        Ok(client) => client.status().await,
        Err(error) => Err(error),
    };
    match running {
        // The socket of a process that was killed takes connections until the system has cleared
        // it away, but nobody answers. Should somebody live there after all, the home's lock tells.
        Err(ClientError::NotRunning(_) | ClientError::Connection { .. }) => {
            node(context, &dirs, &up.node, None).await
        }
        Ok(_) => Err(already_running(&context.home)),
        Err(other) => Err(other.into()),
    }
}

fn already_running(home: &Path) -> Failure {
    Failure::new(format!("a node is running already for {}", home.display()))
        .advise("dunlin status, or stop it first")
        .advise("--home DIR for a second node on this machine")
}

/// Runs a node until a signal or a request ends it, and stops it in good order.
pub(crate) async fn node(
    context: &Context,
    dirs: &[PathBuf],
    flags: &NodeFlags,
    join: Option<(&str, &Path)>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let Some(started) = unless_stopped(&mut signals, Node::start(config(context, flags))).await
    else {
        return Ok(Exit::Done);
    };
    let node = started.map_err(|error| Failure::from(fault(&error)).during("cannot start"))?;
    let adapter = Adapter::new(node.clone());
    let result = serve(context, &node, &adapter, dirs, flags, join, &mut signals).await;
    // A second signal means that its sender does not want to wait for good order.
    if unless_stopped(&mut signals, node.shutdown()).await.is_none() {
        return Err(Failure::new("stopped at once, at a second signal"));
    }
    result.map(|()| Exit::Done)
}

fn config(context: &Context, flags: &NodeFlags) -> NodeConfig {
    NodeConfig {
        home: context.home.clone(),
        name: flags.name.clone(),
        listen: flags.listen.clone(),
        peers: flags.peer.clone(),
        mdns: !flags.no_mdns,
        dht: !flags.no_dht,
    }
}

/// What a future gives; `None` when a signal comes first.
async fn unless_stopped<T>(signals: &mut Signals, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        value = future => Some(value),
        () = signals.next() => None,
    }
}

/// Takes the folders up, serves the API, and tells what happens, until the end is asked for.
async fn serve(
    context: &Context,
    node: &Node,
    adapter: &Adapter,
    dirs: &[PathBuf],
    flags: &NodeFlags,
    join: Option<(&str, &Path)>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let prepared = unless_stopped(signals, prepare(adapter, dirs, join)).await;
    let Some(prepared) = prepared else { return Ok(()) };
    prepared?;
    let tcp: Option<ApiAddress> = match flags.api {
        Some(Api::At(address)) => Some(address),
        Some(Api::Off) | None => None,
    };
    let server = Server::start(&context.home, adapter.clone(), tcp).await?;
    node.set_api(server.url().map(str::to_owned));
    // From here on nothing that happens is missed between the first line and the next.
    let events = adapter.subscribe();
    let ready = node.ready().map_err(|error| Failure::from(fault(&error)))?;
    let end = async {
        tokio::select! {
            () = signals.next() => {}
            () = adapter.stop_requested() => {}
        }
    };
    let status = async || adapter.status().await.ok();
    Narrator::new(context.output).tell(Some(&ready), events, status, end).await;
    server.stop().await;
    Ok(())
}

/// Joins and makes the folders that the command line asks for.
async fn prepare(
    adapter: &Adapter,
    dirs: &[PathBuf],
    join: Option<(&str, &Path)>,
) -> Result<(), Failure> {
    if let Some((code, path)) = join {
        let joined = adapter.join(code.to_owned(), path.to_owned()).await;
        joined.map_err(|fault| Failure::from(fault).during("cannot join"))?;
    }
    for dir in dirs {
        let added = adapter.add_folder(dir.clone(), None).await;
        added.map_err(|fault| Failure::from(fault).during("cannot share"))?;
    }
    Ok(())
}
