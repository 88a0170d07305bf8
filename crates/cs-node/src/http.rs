//! The local API: HTTP/1.1 and JSON on a Unix socket that only its owner can open.
//!
//! `POST /v1` takes a [`Request`] and gives a [`Reply`], or a [`Problem`] as `application/problem+json`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

use crate::api::{Problem, ProblemCode, Reply, Request};
use crate::driver::Handle;

/// Largest request body in bytes: a JSON document at its bound and some.
const MAX_BODY: usize = 1 << 20;

/// Listens on the socket. The node holds the lock of its state directory, so a socket that is there is a dead one's.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the API until the task is dropped.
pub(crate) async fn serve(listener: UnixListener, node: Handle) {
    let router = Router::new()
        .route("/v1", post(answer))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .with_state(node);
    // It ends only with the listener, which this owns.
    let _ = axum::serve(listener, router).await;
}

async fn answer(State(node): State<Handle>, body: axum::body::Bytes) -> Response {
    let result = match serde_json::from_slice::<Request>(&body) {
        Ok(request) => node.ask(request).await,
        Err(error) => Err(Problem::new(
            ProblemCode::Usage,
            format!("Not a request: {error}."),
            "The requests are described in the documentation of `cs_node::api`.",
        )),
    };
    match result {
        Ok(reply) => Json(reply).into_response(),
        Err(problem) => {
            let mut response = (status_of(problem.code), Json(problem)).into_response();
            let kind = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
    }
}

fn status_of(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::Usage | ProblemCode::BadInvitation => StatusCode::BAD_REQUEST,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::Forbidden => StatusCode::FORBIDDEN,
        ProblemCode::NeedsDecision | ProblemCode::Folder => StatusCode::CONFLICT,
        ProblemCode::Unreachable => StatusCode::BAD_GATEWAY,
        ProblemCode::NotRunning => StatusCode::SERVICE_UNAVAILABLE,
        ProblemCode::Disk => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Puts a request to the node that listens on a socket.
///
/// # Errors
/// The node's [`Problem`]; [`ProblemCode::NotRunning`] when nobody listens.
pub async fn ask(socket: &Path, request: &Request) -> Result<Reply, Problem> {
    let Ok(stream) = UnixStream::connect(socket).await else { return Err(not_running()) };
    exchange(stream, request).await.unwrap_or_else(|_| Err(not_running()))
}

/// Whether a node listens on a socket.
pub async fn is_running(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(stream: UnixStream, request: &Request) -> Result<Result<Reply, Problem>, Failure> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let body = Full::new(bytes::Bytes::from(serde_json::to_vec(request)?));
    let call = hyper::Request::post("/v1").header(header::HOST, "cosync").body(body)?;
    let response = sender.send_request(call).await?;
    let good = response.status().is_success();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(if good { Ok(serde_json::from_slice(&body)?) } else { Err(serde_json::from_slice(&body)?) })
}

fn not_running() -> Problem {
    Problem::new(
        ProblemCode::NotRunning,
        "No node is running for this state directory.",
        "Start one: `cosync up`, or `cosync share DIR`. Another state directory is chosen by `--home`.",
    )
}
