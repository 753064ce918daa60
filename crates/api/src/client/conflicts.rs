//! What the client asks about conflicts.

use bytes::Bytes;
use dunlin_engine::conflict::ConflictInfo;
use http_body_util::{BodyExt, Full};
use hyper::Method;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::{Client, ClientError, Patience, segment, successful};
use crate::wire::Resolve;

impl Client {
    /// The conflicts of a folder by path, or the one that the thing at `path`, in the folder, is a
    /// side of.
    pub async fn conflicts(
        &self,
        folder: &str,
        path: Option<&str>,
    ) -> Result<Vec<ConflictInfo>, ClientError> {
        let query = path.map(|path| format!("?path={}", segment(path))).unwrap_or_default();
        let address = format!("/v1/folders/{}/conflicts{query}", segment(folder));
        self.get(&address).await
    }

    /// What all sides of a conflict replaced, piece by piece.
    pub async fn conflict_base(&self, folder: &str, path: &str) -> Result<Content, ClientError> {
        let (folder, path) = (segment(folder), segment(path));
        let address = format!("/v1/folders/{folder}/conflicts/base?path={path}");
        let request = self.request(Method::GET, &address, None::<&()>)?;
        // It may have to come from another device first.
        let (sender, response) = self.send(request).await?;
        let body = successful(response).await?.into_body();
        Ok(Content { _sender: sender, body, client: self.clone() })
    }

    /// Ends a conflict.
    pub async fn resolve_conflict(&self, folder: &str, body: &Resolve) -> Result<(), ClientError> {
        let address = format!("/v1/folders/{}/conflicts/resolve", segment(folder));
        self.order(Method::POST, &address, Some(body), Patience::Endless).await
    }
}

/// A content that a node sends.
#[derive(Debug)]
pub struct Content {
    // Held so that the connection outlives the request.
    _sender: SendRequest<Full<Bytes>>,
    body: Incoming,
    client: Client,
}

impl Content {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or the node cannot read on.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| self.client.broken(error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
