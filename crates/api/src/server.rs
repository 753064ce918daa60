//! The server: its listeners, its limits and its end.

use std::fs::{File, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::address::ApiAddress;
use crate::control::Control;
use crate::endpoint::{self, Endpoint};
use crate::guard;
use crate::routes;
use crate::token::{TOKEN_FILE, Token};

/// Connections that a listener serves at once; further ones wait in the system's own bounded queue.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take for a request's head, or be idle between requests.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const HEAD_MAX: usize = 32 * 1024;
/// How long requests under way may still run when the server stops.
const GRACE: Duration = Duration::from_secs(2);
/// The pause after a failed accept, which is mostly want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another process serves this home.
    #[error("a node runs already for {0}")]
    AlreadyRunning(PathBuf),
    /// A file or socket of the API cannot be used.
    #[error("cannot use {path}: {source}")]
    Local {
        /// The file or socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The TCP address cannot be listened at.
    #[error("cannot serve the API at {address}: {source}")]
    Address {
        /// The address.
        address: ApiAddress,
        /// Why not.
        source: io::Error,
    },
}

/// A signal that the server stops, as its tasks see it.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Returns once the server stops.
    pub(crate) async fn stopped(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// A running API server. Dropping it ends it at once; [`Server::stop`] ends it in good order.
pub struct Server {
    published: Published,
    url: Option<String>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

/// What tells others of this server; taken away when it ends.
struct Published {
    home: PathBuf,
    endpoint: Endpoint,
    // Held to the end: only then may another server take the socket's place.
    _lock: File,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.endpoint.withdraw(&self.home);
    }
}

impl Server {
    /// Serves `control` on the home's Unix socket, and on TCP if an address is given.
    ///
    /// The home must exist. A socket that a dead node left is replaced.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start<C: Control>(
        home: &Path,
        control: C,
        tcp: Option<ApiAddress>,
    ) -> Result<Self, ServeError> {
        let local = |path: &Path| {
            let path = path.to_owned();
            move |source| ServeError::Local { path, source }
        };
        let home = home.canonicalize().map_err(local(home))?;
        let lock = endpoint::lock(&home)
            .map_err(local(&home))?
            .ok_or_else(|| ServeError::AlreadyRunning(home.clone()))?;
        let socket =
            endpoint::socket_path(&home, &endpoint::runtime_directory()).map_err(local(&home))?;
        let unix = UnixGate::bind(&socket).map_err(local(&socket))?;
        let tcp = match tcp {
            Some(address) => Some(bind_tcp(&home, address).await?),
            None => None,
        };
        let url = tcp.as_ref().map(|(_, _, url)| url.clone());
        let endpoint = Endpoint { socket, url: url.clone(), pid: std::process::id() };
        endpoint.publish(&home).map_err(local(&home))?;

        let (stop, stopped) = watch::channel(false);
        let stopped = Stop(stopped);
        let router = routes::router(control, stopped.clone());
        let mut listeners = JoinSet::new();
        if let Some((listener, token, _)) = tcp {
            let guarded = router.clone().layer(middleware::from_fn_with_state(token, guard::guard));
            listeners.spawn(serve(listener, guarded, stopped.clone()));
        }
        listeners.spawn(serve(unix, router, stopped));
        Ok(Self { published: Published { home, endpoint, _lock: lock }, url, stop, listeners })
    }

    /// Where the API listens on TCP, if it does, such as `http://127.0.0.1:8384`.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Ends event streams, lets requests under way finish for some seconds, and goes.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
        drop(self.published);
    }
}

async fn bind_tcp(
    home: &Path,
    address: ApiAddress,
) -> Result<(TcpListener, Arc<Token>, String), ServeError> {
    let token = Token::load_or_make(home)
        .map_err(|source| ServeError::Local { path: home.join(TOKEN_FILE), source })?;
    let bind = async {
        let listener = TcpListener::bind(address.socket_addr()).await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok((listener, url))
    };
    let (listener, url) = bind.await.map_err(|source| ServeError::Address { address, source })?;
    if !address.is_local() {
        tracing::warn!(
            %url,
            "the API can be reached from other machines, and its token travels unencrypted"
        );
    }
    Ok((listener, Arc::new(token), url))
}

/// Something that connections come in at.
trait Listen: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; `None` for one that was turned away.
    fn accept(&self) -> impl Future<Output = io::Result<Option<Self::Stream>>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = Self::accept(self).await?;
        // Events are small and wanted at once.
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }
}

/// The Unix socket, for processes of this user and of root.
struct UnixGate {
    listener: UnixListener,
    user: u32,
}

impl UnixGate {
    /// Binds the socket. The home's lock must be held: then whatever has the name is left over.
    fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, user: rustix::process::geteuid().as_raw() })
    }
}

impl Listen for UnixGate {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        // The socket's mode is set only after it is bound, and not every system looks at it.
        let caller = stream.peer_cred()?.uid();
        if caller == self.user || caller == 0 {
            return Ok(Some(stream));
        }
        tracing::warn!(caller, "turned away another user's process");
        Ok(None)
    }
}

/// Serves a listener until the stop; then gives the connections a short while to end.
async fn serve<L: Listen>(listener: L, router: Router, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let for_connections = stop.clone();
        tokio::select! {
            () = stop.stopped() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok(Some(stream)) => {
                    connections.spawn(converse(stream, router.clone(), for_connections));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the API");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::debug!("some requests to the API were cut off");
    }
}

/// Serves one connection.
async fn converse<S>(stream: S, router: Router, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        router.clone().call(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}
