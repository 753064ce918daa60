//! The requests about conflicts.

use std::io::Read;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use dunlin_engine::conflict::ConflictInfo;
use tokio::sync::mpsc;

use super::{Answer, App, DONE, Done, In, InQuery, Refusal, absolute, invalid};
use crate::control::{Control, Ending};
use crate::wire::{ConflictPath, OneConflict, Resolve};

/// Bytes of a content that are read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Pieces of a content that wait for a slow reader.
const PIECES: usize = 4;

pub(super) async fn list<C: Control>(
    State(app): State<App<C>>,
    Path(folder): Path<String>,
    InQuery(query): InQuery<ConflictPath>,
) -> Answer<Vec<ConflictInfo>> {
    let folder = app.folder(&folder).await?;
    Ok(Json(app.control.conflicts(folder, query.path).await?))
}

pub(super) async fn base<C: Control>(
    State(app): State<App<C>>,
    Path(folder): Path<String>,
    InQuery(query): InQuery<OneConflict>,
) -> Result<Response, Refusal> {
    let folder = app.folder(&folder).await?;
    let mut content = app.control.conflict_base(folder, query.path).await?;
    let (pieces, waiting) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let piece = match content.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
                Err(error) => Err(error),
            };
            let over = piece.is_err();
            // Nobody reads any more when it fails.
            if pieces.blocking_send(piece).is_err() || over {
                return;
            }
        }
    });
    let pieces = futures::stream::unfold(waiting, |mut waiting| async move {
        let piece = waiting.recv().await?;
        Some((piece, waiting))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, octets);
    Ok(response)
}

pub(super) async fn resolve<C: Control>(
    State(app): State<App<C>>,
    Path(folder): Path<String>,
    In(body): In<Resolve>,
) -> Done {
    let ending = match (body.keep, body.merged) {
        (Some(keep), None) => Ending::Keep(keep),
        (None, Some(merged)) => Ending::Merged(absolute(merged)?),
        _ => return Err(invalid("one of keep and merged says how the conflict is to end")),
    };
    let folder = app.folder(&folder).await?;
    app.control.resolve_conflict(folder, body.path, ending, body.expect).await?;
    Ok(DONE)
}
