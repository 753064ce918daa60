//! The requests: what each does is listed in `docs/api.md`.

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use axum::{Json, Router};
use dunlin_engine::RestoreRequest;
use dunlin_engine::limits::{LimitChange, LimitStatus};
use dunlin_engine::settings::{FolderSetting, SettingChange};
use dunlin_engine::types::{
    Check, FolderInfo, FolderStatus, PathHistory, RestoreReport, Status, VerifyReport, WaitOutcome,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::control::{Control, Fault, FaultKind};
use crate::server::Stop;
use crate::wire::{
    AddFolder, BODY_MAX, DeviceSummary, ErrorBody, Fetch, HistoryOf, Join, RenameDevice, Restore,
    Share, ShareCode, Wait, devices,
};
use crate::{events, select};

mod conflicts;

/// How long a caller may take to send a request's body.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest wait that a caller may ask for: what is longer is a slip of the finger, and would
/// overflow the clock.
const WAIT_S_MAX: f64 = 366.0 * 86_400.0;

/// What the handlers share.
#[derive(Clone)]
struct App<C> {
    control: C,
    stop: Stop,
}

/// All requests, without any check of who asks.
pub(crate) fn router<C: Control>(control: C, stop: Stop) -> Router {
    Router::new()
        .route("/v1/status", get(status::<C>))
        .route("/v1/folders", get(folders::<C>).post(add_folder::<C>))
        .route("/v1/folders/{folder}", get(folder::<C>).delete(remove::<C>))
        .route("/v1/folders/{folder}/share", post(share::<C>))
        .route("/v1/folders/{folder}/scan", post(scan::<C>))
        .route("/v1/folders/{folder}/pause", post(pause::<C>))
        .route("/v1/folders/{folder}/resume", post(resume::<C>))
        .route("/v1/folders/{folder}/approve", post(approve::<C>))
        .route("/v1/folders/{folder}/undo", post(undo::<C>))
        .route("/v1/folders/{folder}/settings", get(settings::<C>))
        .route("/v1/folders/{folder}/settings/{key}", put(set::<C>))
        .route("/v1/folders/{folder}/conflicts", get(conflicts::list::<C>))
        .route("/v1/folders/{folder}/conflicts/base", get(conflicts::base::<C>))
        .route("/v1/folders/{folder}/conflicts/resolve", post(conflicts::resolve::<C>))
        .route("/v1/folders/{folder}/verify", post(verify::<C>))
        .route("/v1/fetch", post(fetch::<C>))
        .route("/v1/history", get(history::<C>))
        .route("/v1/restore", post(restore::<C>))
        .route("/v1/join", post(join::<C>))
        .route("/v1/scan", post(scan_all::<C>))
        .route("/v1/wait", get(wait::<C>))
        .route("/v1/devices", get(list_devices::<C>))
        .route("/v1/devices/{device}", patch(rename_device::<C>).delete(remove_device::<C>))
        .route("/v1/limits", get(limits::<C>).patch(set_limits::<C>))
        .route("/v1/events", get(event_stream::<C>))
        .route("/v1/doctor", get(doctor::<C>))
        .route("/v1/shutdown", post(shutdown::<C>))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(App { control, stop })
}

/// A [`Fault`] as an answer.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Fault);

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            FaultKind::NotFound => StatusCode::NOT_FOUND,
            FaultKind::Invalid => StatusCode::BAD_REQUEST,
            FaultKind::Denied => StatusCode::UNAUTHORIZED,
            FaultKind::Conflict => StatusCode::CONFLICT,
            FaultKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(ErrorBody { error: self.0 })).into_response()
    }
}

type Answer<T> = Result<Json<T>, Refusal>;
type Done = Result<StatusCode, Refusal>;

/// What a request that gives nothing back answers.
const DONE: StatusCode = StatusCode::NO_CONTENT;

/// A request's JSON body, bounded in size and time.
struct In<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for In<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match tokio::time::timeout(BODY_TIME_MAX, Json::<T>::from_request(request, state)).await {
            Ok(Ok(Json(body))) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(invalid(rejection.body_text())),
            Err(_) => Err(invalid("the request's body took too long to arrive")),
        }
    }
}

/// A request's query, with an answer in JSON when it is wrong.
struct InQuery<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(invalid(rejection.body_text())),
        }
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal(Fault::new(FaultKind::Invalid, message))
}

/// The path of a body: absolute, for the node's own working directory means nothing to a caller.
fn absolute(path: String) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Refusal(
        Fault::new(FaultKind::Invalid, format!("{} is not an absolute path", path.display()))
            .advise("give the whole path, from the root on"),
    ))
}

impl<C: Control> App<C> {
    /// The exact name of the folder that is meant.
    async fn folder(&self, wanted: &str) -> Result<String, Refusal> {
        Ok(select::folder_of(&self.control.status().await?, wanted)?)
    }

    /// The PeerId of the device that is meant.
    async fn device(&self, wanted: &str) -> Result<String, Refusal> {
        Ok(select::device_of(&self.control.status().await?, wanted)?)
    }
}

async fn status<C: Control>(State(app): State<App<C>>) -> Answer<Status> {
    Ok(Json(app.control.status().await?))
}

async fn folders<C: Control>(State(app): State<App<C>>) -> Answer<Vec<FolderStatus>> {
    Ok(Json(app.control.status().await?.folders))
}

async fn folder<C: Control>(
    State(app): State<App<C>>,
    Path(wanted): Path<String>,
) -> Answer<FolderStatus> {
    let status = app.control.status().await?;
    let name = select::folder_of(&status, &wanted)?;
    match status.folders.into_iter().find(|folder| folder.name == name) {
        Some(folder) => Ok(Json(folder)),
        None => Err(Refusal(Fault::new(FaultKind::NotFound, format!("no folder {wanted:?}")))),
    }
}

async fn add_folder<C: Control>(
    State(app): State<App<C>>,
    In(body): In<AddFolder>,
) -> Answer<FolderInfo> {
    Ok(Json(app.control.add_folder(absolute(body.path)?, body.label).await?))
}

async fn join<C: Control>(State(app): State<App<C>>, In(body): In<Join>) -> Answer<FolderInfo> {
    Ok(Json(app.control.join(body.code, absolute(body.path)?).await?))
}

async fn share<C: Control>(
    State(app): State<App<C>>,
    Path(folder): Path<String>,
    In(body): In<Share>,
) -> Answer<ShareCode> {
    let folder = app.folder(&folder).await?;
    Ok(Json(ShareCode { code: app.control.share(folder, body.tier).await? }))
}

async fn scan<C: Control>(State(app): State<App<C>>, Path(folder): Path<String>) -> Done {
    let folder = app.folder(&folder).await?;
    app.control.scan(Some(folder)).await?;
    Ok(DONE)
}

async fn scan_all<C: Control>(State(app): State<App<C>>) -> Done {
    app.control.scan(None).await?;
    Ok(DONE)
}

async fn pause<C: Control>(State(app): State<App<C>>, Path(folder): Path<String>) -> Done {
    app.control.pause(app.folder(&folder).await?).await?;
    Ok(DONE)
}

async fn resume<C: Control>(State(app): State<App<C>>, Path(folder): Path<String>) -> Done {
    app.control.resume(app.folder(&folder).await?).await?;
    Ok(DONE)
}

async fn remove<C: Control>(State(app): State<App<C>>, Path(folder): Path<String>) -> Done {
    app.control.remove(app.folder(&folder).await?).await?;
    Ok(DONE)
}

async fn approve<C: Control>(State(app): State<App<C>>, Path(folder): Path<String>) -> Done {
    app.control.approve(app.folder(&folder).await?).await?;
    Ok(DONE)
}

async fn undo<C: Control>(State(app): State<App<C>>, Path(folder): Path<String>) -> Done {
    app.control.undo(app.folder(&folder).await?).await?;
    Ok(DONE)
}

async fn settings<C: Control>(
    State(app): State<App<C>>,
    Path(folder): Path<String>,
) -> Answer<Vec<FolderSetting>> {
    Ok(Json(app.control.settings(app.folder(&folder).await?).await?))
}

async fn set<C: Control>(
    State(app): State<App<C>>,
    Path((folder, key)): Path<(String, String)>,
    In(change): In<SettingChange>,
) -> Done {
    app.control.set(app.folder(&folder).await?, key, change).await?;
    Ok(DONE)
}

async fn fetch<C: Control>(State(app): State<App<C>>, In(body): In<Fetch>) -> Done {
    app.control.fetch(absolute(body.path)?).await?;
    Ok(DONE)
}

async fn history<C: Control>(
    State(app): State<App<C>>,
    InQuery(query): InQuery<HistoryOf>,
) -> Answer<PathHistory> {
    Ok(Json(app.control.history(absolute(query.path)?, query.limit).await?))
}

async fn restore<C: Control>(
    State(app): State<App<C>>,
    In(body): In<Restore>,
) -> Answer<RestoreReport> {
    if body.at_ms.is_some() && body.version.is_some() {
        return Err(invalid("at_ms and version contradict each other: give one of them"));
    }
    let request = RestoreRequest {
        path: absolute(body.path)?,
        at: body.at_ms,
        version: body.version,
        to: body.to.map(absolute).transpose()?,
        force: body.force,
    };
    Ok(Json(app.control.restore(request).await?))
}

async fn verify<C: Control>(
    State(app): State<App<C>>,
    Path(folder): Path<String>,
) -> Answer<VerifyReport> {
    Ok(Json(app.control.verify(app.folder(&folder).await?).await?))
}

async fn wait<C: Control>(
    State(app): State<App<C>>,
    InQuery(query): InQuery<Wait>,
) -> Answer<WaitOutcome> {
    if query.timeout_s.is_some_and(|seconds| !(0.0..=WAIT_S_MAX).contains(&seconds)) {
        return Err(invalid(format!("timeout_s must be between 0 and {WAIT_S_MAX}")));
    }
    Ok(Json(app.control.wait(query.timeout_s).await?))
}

async fn list_devices<C: Control>(State(app): State<App<C>>) -> Answer<Vec<DeviceSummary>> {
    Ok(Json(devices(&app.control.status().await?)))
}

async fn rename_device<C: Control>(
    State(app): State<App<C>>,
    Path(device): Path<String>,
    In(body): In<RenameDevice>,
) -> Done {
    app.control.rename_device(app.device(&device).await?, body.name).await?;
    Ok(DONE)
}

/// Which of the folders is meant.
#[derive(Deserialize)]
struct InFolder {
    folder: Option<String>,
}

async fn remove_device<C: Control>(
    State(app): State<App<C>>,
    Path(device): Path<String>,
    InQuery(query): InQuery<InFolder>,
) -> Done {
    let folder = match query.folder {
        Some(folder) => Some(app.folder(&folder).await?),
        None => None,
    };
    app.control.remove_device(app.device(&device).await?, folder).await?;
    Ok(DONE)
}

async fn limits<C: Control>(State(app): State<App<C>>) -> Answer<LimitStatus> {
    Ok(Json(app.control.limits().await?))
}

async fn set_limits<C: Control>(
    State(app): State<App<C>>,
    In(mut change): In<LimitChange>,
) -> Answer<LimitStatus> {
    if let Some(device) = change.device {
        let has_limits = app.control.limits().await?.devices.iter().any(|l| l.device == device);
        // Limits can be taken from a device that is no member any more.
        let known = if has_limits { device } else { app.device(&device).await? };
        change.device = Some(known);
    }
    app.control.set_limits(change).await?;
    Ok(Json(app.control.limits().await?))
}

async fn event_stream<C: Control>(State(app): State<App<C>>, headers: HeaderMap) -> Response {
    events::stream(&headers, app.control.subscribe(), app.stop)
}

async fn doctor<C: Control>(State(app): State<App<C>>) -> Answer<Vec<Check>> {
    Ok(Json(app.control.doctor().await?))
}

async fn shutdown<C: Control>(State(app): State<App<C>>) -> StatusCode {
    app.control.shutdown().await;
    StatusCode::ACCEPTED
}

async fn nothing_here() -> Refusal {
    Refusal(Fault::new(FaultKind::NotFound, "the API has nothing at this address"))
}

async fn wrong_method() -> Response {
    let fault = Fault::new(FaultKind::Invalid, "this address does not take this method");
    (StatusCode::METHOD_NOT_ALLOWED, Json(ErrorBody { error: fault })).into_response()
}
