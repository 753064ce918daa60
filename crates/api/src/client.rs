//! The client that the command line uses, over a home's Unix socket.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dunlin_engine::limits::{LimitChange, LimitStatus};
use dunlin_engine::settings::{FolderSetting, SettingChange};
use dunlin_engine::types::{
    Check, Event, FolderInfo, PathHistory, RestoreReport, Status, VerifyReport, WaitOutcome,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::control::Fault;
use crate::endpoint::Endpoint;
use crate::wire::{
    ANSWER_MAX, AddFolder, DeviceSummary, ErrorBody, Fetch, Join, LINE_MAX, RenameDevice, Restore,
    Share, ShareCode,
};

mod conflicts;

pub use conflicts::Content;

/// How long the node may take for what it answers out of its memory.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Why a request to a node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No node runs for this home.
    #[error("no node is running for {0}")]
    NotRunning(PathBuf),
    /// The socket or the connection failed.
    #[error("cannot talk to the node at {path}: {source}")]
    Connection {
        /// The socket, or the file that tells of it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The node refused or failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The node's answer makes no sense; its version may be another one.
    #[error("the node gave an answer that makes no sense: {0}")]
    Answer(String),
    /// The node did not answer in time.
    #[error("the node has not answered for {} s", ANSWER_TIME_MAX.as_secs())]
    Silent,
}

/// A way to a running node. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    home: PathBuf,
    socket: PathBuf,
}

/// Whether a request may take as long as it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Usual,
    Endless,
}

impl Client {
    /// Finds the node that runs for a home, and makes sure that it listens.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when there is none, be it that one died and left its socket.
    pub async fn connect(home: &Path) -> Result<Self, ClientError> {
        let endpoint = Endpoint::read(home)
            .map_err(|source| ClientError::Connection { path: home.to_owned(), source })?
            .ok_or_else(|| ClientError::NotRunning(home.to_owned()))?;
        let client = Self { home: home.to_owned(), socket: endpoint.socket };
        client.stream().await?;
        Ok(client)
    }

    /// What the node is doing.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// Makes the directory, given by its absolute path, a folder.
    pub async fn add_folder(
        &self,
        path: &Path,
        label: Option<String>,
    ) -> Result<FolderInfo, ClientError> {
        let body = AddFolder { path: text(path)?, label };
        self.call(Method::POST, "/v1/folders", Some(&body), Patience::Endless).await
    }

    /// Joins a folder at a directory, given by its absolute path.
    pub async fn join(&self, code: &str, path: &Path) -> Result<FolderInfo, ClientError> {
        let body = Join { code: code.to_owned(), path: text(path)? };
        self.call(Method::POST, "/v1/join", Some(&body), Patience::Endless).await
    }

    /// A join code of a folder.
    pub async fn share(&self, folder: &str, tier: Option<String>) -> Result<String, ClientError> {
        let address = format!("/v1/folders/{}/share", segment(folder));
        let body = Share { tier };
        let answer: ShareCode =
            self.call(Method::POST, &address, Some(&body), Patience::Usual).await?;
        Ok(answer.code)
    }

    /// Waits until all folders are in sync, or the seconds have run out.
    pub async fn wait(&self, timeout_s: Option<f64>) -> Result<WaitOutcome, ClientError> {
        let address = match timeout_s {
            Some(seconds) => format!("/v1/wait?timeout_s={seconds}"),
            None => "/v1/wait".to_owned(),
        };
        self.call(Method::GET, &address, None::<&()>, Patience::Endless).await
    }

    /// Has the node look at the disk, in one folder or in all.
    pub async fn scan(&self, folder: Option<&str>) -> Result<(), ClientError> {
        let address = match folder {
            Some(folder) => format!("/v1/folders/{}/scan", segment(folder)),
            None => "/v1/scan".to_owned(),
        };
        self.order(Method::POST, &address, None::<&()>, Patience::Endless).await
    }

    /// Has what is lacking of a file, or below a directory, fetched before all else.
    pub async fn fetch(&self, path: &Path) -> Result<(), ClientError> {
        let body = Fetch { path: text(path)? };
        self.order(Method::POST, "/v1/fetch", Some(&body), Patience::Endless).await
    }

    /// Stops a folder until it is resumed.
    pub async fn pause(&self, folder: &str) -> Result<(), ClientError> {
        self.folder_order(folder, "pause").await
    }

    /// Takes a paused folder up again.
    pub async fn resume(&self, folder: &str) -> Result<(), ClientError> {
        self.folder_order(folder, "resume").await
    }

    /// Lets a held mass deletion or mass overwrite happen.
    pub async fn approve(&self, folder: &str) -> Result<(), ClientError> {
        self.folder_order(folder, "approve").await
    }

    /// Takes a held mass deletion or mass overwrite back.
    pub async fn undo(&self, folder: &str) -> Result<(), ClientError> {
        self.folder_order(folder, "undo").await
    }

    /// Forgets a folder; its files stay.
    pub async fn remove(&self, folder: &str) -> Result<(), ClientError> {
        let address = format!("/v1/folders/{}", segment(folder));
        self.order(Method::DELETE, &address, None::<&()>, Patience::Endless).await
    }

    /// The settings of a folder.
    pub async fn settings(&self, folder: &str) -> Result<Vec<FolderSetting>, ClientError> {
        self.get(&format!("/v1/folders/{}/settings", segment(folder))).await
    }

    /// Changes a setting of a folder.
    pub async fn set(
        &self,
        folder: &str,
        key: &str,
        change: &SettingChange,
    ) -> Result<(), ClientError> {
        let address = format!("/v1/folders/{}/settings/{}", segment(folder), segment(key));
        self.order(Method::PUT, &address, Some(change), Patience::Usual).await
    }

    /// The versions of a file or directory, given by its absolute path.
    pub async fn history(&self, path: &Path, limit: usize) -> Result<PathHistory, ClientError> {
        let address = format!("/v1/history?path={}&limit={limit}", segment(&text(path)?));
        self.call(Method::GET, &address, None::<&()>, Patience::Endless).await
    }

    /// Brings back older versions, or what was deleted.
    pub async fn restore(&self, restore: &Restore) -> Result<RestoreReport, ClientError> {
        self.call(Method::POST, "/v1/restore", Some(restore), Patience::Endless).await
    }

    /// Has a folder read back, and repaired.
    pub async fn verify(&self, folder: &str) -> Result<VerifyReport, ClientError> {
        let address = format!("/v1/folders/{}/verify", segment(folder));
        self.call(Method::POST, &address, None::<&()>, Patience::Endless).await
    }

    /// The node's devices, its own first.
    pub async fn devices(&self) -> Result<Vec<DeviceSummary>, ClientError> {
        self.get("/v1/devices").await
    }

    /// Gives a device another name.
    pub async fn rename_device(&self, device: &str, name: &str) -> Result<(), ClientError> {
        let address = format!("/v1/devices/{}", segment(device));
        let body = RenameDevice { name: name.to_owned() };
        self.order(Method::PATCH, &address, Some(&body), Patience::Usual).await
    }

    /// Ends a device's membership in all folders, or in one of them.
    pub async fn remove_device(
        &self,
        device: &str,
        folder: Option<&str>,
    ) -> Result<(), ClientError> {
        let mut address = format!("/v1/devices/{}", segment(device));
        if let Some(folder) = folder {
            address = format!("{address}?folder={}", segment(folder));
        }
        self.order(Method::DELETE, &address, None::<&()>, Patience::Usual).await
    }

    /// The limits of block transfer.
    pub async fn limits(&self) -> Result<LimitStatus, ClientError> {
        self.get("/v1/limits").await
    }

    /// Changes the limits of block transfer, and returns what they are then.
    pub async fn set_limits(&self, change: &LimitChange) -> Result<LimitStatus, ClientError> {
        self.call(Method::PATCH, "/v1/limits", Some(change), Patience::Usual).await
    }

    /// The node's look at its own health.
    pub async fn doctor(&self) -> Result<Vec<Check>, ClientError> {
        self.get("/v1/doctor").await
    }

    /// Asks the node to stop.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.order(Method::POST, "/v1/shutdown", None::<&()>, Patience::Usual).await
    }

    /// All that happens from now on.
    pub async fn events(&self) -> Result<EventStream, ClientError> {
        let request = self.request(Method::GET, "/v1/events", None::<&()>)?;
        let (sender, response) = in_time(self.send(request)).await?;
        let response = successful(response).await?;
        Ok(EventStream {
            _sender: sender,
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            socket: self.socket.clone(),
        })
    }

    async fn folder_order(&self, folder: &str, verb: &str) -> Result<(), ClientError> {
        let address = format!("/v1/folders/{}/{verb}", segment(folder));
        self.order(Method::POST, &address, None::<&()>, Patience::Endless).await
    }

    async fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, ClientError> {
        self.call(Method::GET, address, None::<&()>, Patience::Usual).await
    }

    /// A request that answers with a document.
    async fn call<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        address: &str,
        body: Option<&B>,
        patience: Patience,
    ) -> Result<T, ClientError> {
        let bytes = self.exchange(method, address, body, patience).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// A request that answers with nothing.
    async fn order<B: Serialize + Sync>(
        &self,
        method: Method,
        address: &str,
        body: Option<&B>,
        patience: Patience,
    ) -> Result<(), ClientError> {
        self.exchange(method, address, body, patience).await.map(drop)
    }

    async fn exchange<B: Serialize + Sync>(
        &self,
        method: Method,
        address: &str,
        body: Option<&B>,
        patience: Patience,
    ) -> Result<Bytes, ClientError> {
        let request = self.request(method, address, body)?;
        let exchange = async {
            let (_sender, response) = self.send(request).await?;
            collect(successful(response).await?).await
        };
        match patience {
            Patience::Usual => in_time(exchange).await,
            Patience::Endless => exchange.await,
        }
    }

    fn request<B: Serialize>(
        &self,
        method: Method,
        address: &str,
        body: Option<&B>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let builder = Request::builder().method(method).uri(address).header(HOST, "localhost");
        let request = match body {
            Some(body) => {
                let json =
                    serde_json::to_vec(body).map_err(|e| ClientError::Answer(e.to_string()))?;
                builder.header(CONTENT_TYPE, "application/json").body(Full::from(json))
            }
            None => builder.body(Full::default()),
        };
        request.map_err(|error| self.broken(error))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(SendRequest<Full<Bytes>>, Response<Incoming>), ClientError> {
        let stream = TokioIo::new(self.stream().await?);
        let (mut sender, connection) =
            http1::handshake(stream).await.map_err(|error| self.broken(error))?;
        // Ends by itself once the answer is read or its reader is gone.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the node ended early");
            }
        });
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        Ok((sender, response))
    }

    async fn stream(&self) -> Result<UnixStream, ClientError> {
        match UnixStream::connect(&self.socket).await {
            Ok(stream) => Ok(stream),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Err(ClientError::NotRunning(self.home.clone()))
            }
            Err(source) => Err(ClientError::Connection { path: self.socket.clone(), source }),
        }
    }

    fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Connection { path: self.socket.clone(), source: io::Error::other(error) }
    }
}

/// The events of a node, as they happen.
#[derive(Debug)]
pub struct EventStream {
    // Held so that the connection outlives the request.
    _sender: SendRequest<Full<Bytes>>,
    body: Incoming,
    buffer: BytesMut,
    // How much of the buffer is known to hold no end of a line.
    searched: usize,
    socket: PathBuf,
}

impl EventStream {
    /// The next event as the node wrote it, without the line's end; `None` when the node stops.
    ///
    /// # Errors
    /// When the connection breaks, or a line is longer than [`LINE_MAX`].
    pub async fn next_line(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                let line = line.trim_ascii();
                // Blank lines only say that the node is alive.
                if line.is_empty() {
                    continue;
                }
                return match std::str::from_utf8(line) {
                    Ok(line) => Ok(Some(line.to_owned())),
                    Err(error) => Err(ClientError::Answer(error.to_string())),
                };
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_MAX {
                return Err(ClientError::Answer(format!("a line of more than {LINE_MAX} bytes")));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    let source = io::Error::other(error);
                    return Err(ClientError::Connection { path: self.socket.clone(), source });
                }
            }
        }
    }

    /// The next event that this version knows; `None` when the node stops.
    ///
    /// # Errors
    /// As [`EventStream::next_line`].
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        while let Some(line) = self.next_line().await? {
            // A newer node may tell of things that this version has no name for.
            if let Ok(event) = serde_json::from_str(&line) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

async fn in_time<T>(
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(ANSWER_TIME_MAX, request).await.map_err(|_| ClientError::Silent)?
}

/// The answer, if it is a success; else what it says went wrong.
async fn successful(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = collect(response).await?;
    match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) => Err(body.error.into()),
        Err(_) => Err(unexplained(status)),
    }
}

fn unexplained(status: StatusCode) -> ClientError {
    ClientError::Answer(format!("HTTP status {status} without a reason"))
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    match Limited::new(response.into_body(), ANSWER_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(ClientError::Answer(error.to_string())),
    }
}

/// A path as JSON can carry it.
fn text(path: &Path) -> Result<String, ClientError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{} is not UTF-8, and cannot be sent to the node", path.display());
        Fault::new(crate::control::FaultKind::Invalid, message).into()
    })
}

/// A text as one segment of an address: all but unreserved characters are percent-encoded.
fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
